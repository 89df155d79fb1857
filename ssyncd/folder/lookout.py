"""Directories that the kernel does not watch for us (too many, or not permitted): looked at again and again until it does."""

import logging

from ssyncd.disk.base import Watcher
from ssyncd.folder.agenda import Agenda
from ssyncd.folder.local import Local
from ssyncd.folder.settings import Clock

log = logging.getLogger(__name__)

PERIOD = 5.0
"""Seconds between two looks, at least."""
PACE = 10_000
"""Entries in the folder for each further second: looking costs time too."""


class Lookout:
    """`go_on` after every round of the control thread. Where everything is watched it costs nothing while nothing happens."""

    def __init__(self, watcher: Watcher, local: Local, agenda: Agenda, clock: Clock) -> None:
        self._watcher = watcher
        self._local = local
        self._agenda = agenda
        self._clock = clock
        self._next = 0.0

    def go_on(self, wait: float | None) -> float | None:
        """Seconds until the next round is due; `wait` is when the engine wants it."""
        now = self._clock.monotonic()
        if now >= self._next:
            self._next = now + max(PERIOD, len(self._local.record.local) / PACE)
            self._look()
            if not self._local.unwatched:
                return wait
            return 0.0
        # In this round a new directory may have come that is not watched.
        left = self._next - now
        return left if wait is None else min(wait, left)

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
