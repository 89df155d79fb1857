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
        # Guards what is told; notified whenever that changes, or the teller gets on.
        self._changed = threading.Condition()
        self._changes = 0
        self._ended = False
        self._busy_since: float | None = None

    def busy(self, busy: bool) -> None:
        """The teller begins to work, or to wait for work."""
        was_slow = self._busy() >= SLOW
        self._busy_since = time.monotonic() if busy else None
        if was_slow:
            with self._changed:
                self._notify()

    def tell(self, status: FolderStatus, ended: bool = False) -> None:
        with self._changed:
            if status != self.told or ended:
                self.told = status
                self._ended = ended
                self._notify()

    def read(self) -> FolderStatus:
        """The same; or, if the teller has not got through with something for long, that."""
        busy, status = self._busy(), self.told
        if busy < SLOW:
            return status
        trouble = Trouble(".", f"busy with one thing for {busy:.0f} seconds: its disk may not answer")
        phase = Phase.SYNCING if status.in_sync else status.phase
        return replace(status, phase=phase, troubles=(trouble, *status.troubles))

    def wait(self, timeout: float | None, until: Callable[[FolderStatus], bool]) -> bool:
        """True as soon as `until` says so of what is read, False after `timeout` seconds or when nothing more will be told."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._changed:
                changes, ended = self._changes, self._ended
            if until(self.read()):
                return True
            if ended:
                return False
            with self._changed:
                while self._changes == changes:
                    left = None if deadline is None else deadline - time.monotonic()
                    if (left is not None and left <= 0) or not self._changed.wait(left):
                        return False

    def _busy(self) -> float:
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _notify(self) -> None:
        self._changes += 1
        self._changed.notify_all()
