"""Threads that start, or say why not."""

import threading
from typing import TypeVar

from ssyncd.errors import ShortageError

T = TypeVar("T", bound=threading.Thread)


def begin(thread: T) -> T:
    """Start it. ShortageError if the system allows no further one."""
    try:
        thread.start()
    except RuntimeError as error:
        raise ShortageError(
            f"no thread for {thread.name}: this user or container may have no more of them (see `ulimit -u`, `TasksMax`)"
        ) from error
    return thread
