"""What a folder tells of itself: its control thread writes the latest status down, any thread reads it or waits for another."""

import threading
import time
from collections.abc import Callable

from msgspec.structs import replace

from ssyncd.status import FolderStatus, Phase, Trouble

SLOW = 10.0
"""Seconds without a pause after which the disk may be one that does not answer: a network's, or a broken one."""


class Board:
    """`told` is the status told last."""

    def __init__(self, first: FolderStatus) -> None:
        self.told = first
        # Guards `told` and _ended; notified whenever one of them changes.
        self._changed = threading.Condition()
        self._ended = False
        self._busy_since: float | None = None

    def busy(self, busy: bool) -> None:
        """The teller begins to work, or to wait for work."""
        self._busy_since = time.monotonic() if busy else None

    def tell(self, status: FolderStatus, ended: bool = False) -> None:
        with self._changed:
            if status != self.told or ended:
                self.told = status
                self._ended = ended
                self._changed.notify_all()

    def read(self) -> FolderStatus:
        """The same; or, if the teller has not got through with something for long, that."""
        since, status = self._busy_since, self.told
        busy = 0.0 if since is None else time.monotonic() - since
        if busy < SLOW:
            return status
        trouble = Trouble(".", f"busy with one thing for {busy:.0f} seconds: its disk may not answer")
        phase = Phase.SYNCING if status.in_sync else status.phase
        return replace(status, phase=phase, troubles=(trouble, *status.troubles))

    def wait(self, timeout: float | None, until: Callable[[FolderStatus], bool]) -> bool:
        """True as soon as `until` says so of what is told, False after `timeout` seconds or when nothing more will be."""
        deadline = None if timeout is None else time.monotonic() + timeout
        seen: FolderStatus | None = None
        while True:
            with self._changed:
                while self.told is seen and not self._ended:
                    left = None if deadline is None else deadline - time.monotonic()
                    if (left is not None and left <= 0) or not self._changed.wait(left):
                        return False
                seen, ended = self.told, self._ended
            if until(seen):
                return True
            if ended:
                return False
