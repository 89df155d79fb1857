"""What a folder tells of itself: its control thread writes the latest status down, any thread reads it or waits for another."""

import math
import threading
import time
from collections.abc import Callable

from msgspec.structs import replace

from ssyncd.status import FolderStatus, Phase, Trouble

SLOW = 10.0
"""Seconds without a pause after which the disk may be one that does not answer: a network's, or a broken one."""
PACE = 0.1
"""Seconds between two times that whoever waits is woken for mere counts: each time takes the interpreter from the teller."""


class Board:
    """`told` is the status told last."""

    def __init__(self, first: FolderStatus) -> None:
        self.told = first
        # Guards what is told; notified whenever that changes, at once or, of counts, soon; or the teller gets on.
        self._changed = threading.Condition()
        self._changes = 0
        self._notified = -math.inf
        self._kept_back = False
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
            news = ended or _but_counts(status) != _but_counts(self.told)
            self._kept_back |= status != self.told
            self.told, self._ended = status, ended
            if news or (self._kept_back and self._until_due() <= 0.0):
                self._notify()

    def pause(self, seconds: float | None) -> float | None:
        """How long the teller may wait for work, if not for `seconds`: then it has to tell again, for counts that nobody was
        woken for."""
        if not self._kept_back:
            return seconds
        due = max(0.0, self._until_due())
        return due if seconds is None else min(seconds, due)

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

    def _until_due(self) -> float:
        return self._notified + PACE - time.monotonic()

    def _notify(self) -> None:
        self._changes += 1
        self._notified, self._kept_back = time.monotonic(), False
        self._changed.notify_all()


def _but_counts(status: FolderStatus) -> tuple[object, ...]:
    return status.phase, status.online, status.conflicts, status.holds, status.troubles, status.last_error
