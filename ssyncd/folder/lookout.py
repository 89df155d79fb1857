"""What the kernel does not tell of is looked at again and again: directories that it does not watch for us (too many, or not
permitted), until it does, and the whole folder where other machines can change it.
"""

import logging
import math

from ssyncd.disk.base import Watcher
from ssyncd.folder.agenda import Agenda
from ssyncd.folder.local import Local
from ssyncd.folder.settings import Clock

log = logging.getLogger(__name__)

PERIOD = 5.0
"""Seconds between two looks, at least."""
PACE = 10_000
"""Entries in the folder for each further second: looking costs time too."""
SHARED_PERIOD, SHARED_PACE = 60.0, 100
"""The same for a folder that others share: each entry that is looked at may be a question to another machine."""


class Lookout:
    """`go_on` after every round of the control thread. Where the kernel tells of everything it costs nothing while nothing
    happens."""

    def __init__(self, watcher: Watcher, local: Local, agenda: Agenda, clock: Clock, shared: bool) -> None:
        self._watcher = watcher
        self._local = local
        self._agenda = agenda
        self._clock = clock
        self._next = 0.0
        self._next_whole = clock.monotonic() + SHARED_PERIOD if shared else math.inf

    def go_on(self, wait: float | None) -> float | None:
        """Seconds until the next round is due; `wait` is when the engine wants it."""
        now, due = self._clock.monotonic(), math.inf if wait is None else wait
        if now >= self._next_whole:
            self._next_whole = now + max(SHARED_PERIOD, self._entries / SHARED_PACE)
            self._agenda.look_below("", "others may have changed it")
            due = 0.0
        if now < self._next:
            # In this round a new directory may have come that is not watched.
            due = min(due, self._next - now)
        else:
            self._next = now + max(PERIOD, self._entries / PACE)
            self._look()
            due = 0.0 if self._local.unwatched else due
        due = min(due, self._next_whole - now)
        return None if due == math.inf else due

    @property
    def _entries(self) -> int:
        return len(self._local.record.local)

    def _look(self) -> None:
        unwatched = self._watcher.unwatched()
        if len(unwatched) != len(self._local.unwatched):
            self._say(unwatched)
        self._local.unwatched = unwatched
        if not unwatched:
            return
        for path, reason in unwatched.items():
            if path:
                self._agenda.look_below(path, f"not watched: {reason}")
        self._watcher.retry()

    def _say(self, unwatched: dict[str, str]) -> None:
        if not unwatched:
            log.info("every directory is watched again")
            return
        path, reason = next(iter(unwatched.items()))
        log.warning("%d directories are not watched, among them %s: %s", len(unwatched), path or "the folder", reason)
