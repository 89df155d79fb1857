"""How one folder is to be synced."""

import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from ssyncd.disk import system


class Direction(StrEnum):
    BOTH = "both"
    PULL = "pull"


class FolderSettings(Struct, frozen=True):
    """`state` is the directory for the state database; `hold_share` and `hold_least`: a plan that deletes more than this share
    of the entries, and at least so many, waits for the user; `ignore`: further lines in gitignore syntax;
    `object_limit`: bytes of JSON in one object, at a server that does not tell; `upload_limit` and `download_limit`: bytes of
    contents a second, together with all folders of the process; 0: as fast as it goes."""

    path: Path
    name: str
    state: Path
    device: str
    direction: Direction = Direction.BOTH
    ca_file: Path | None = None
    text_merge: bool = True
    hold_share: float = 0.5
    hold_least: int = 20
    workers: int = 2
    ignore: tuple[str, ...] = ()
    object_limit: int = 512 * 1024
    upload_limit: int = 0
    download_limit: int = 0


class Clock(Struct, frozen=True):
    """`monotonic` in seconds, `wall` in nanoseconds since the epoch; handed in, so that a simulation can own the time.

    `stamp` is what files are stamped with: behind `wall`, and standing still, for as long as a busy machine puts off its tick.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], int] = time.time_ns
    stamp: Callable[[], int] = system.stamp
