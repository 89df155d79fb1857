"""What the control thread has to look at next: keys to plan, paths to look at, and both again at a later time."""

import heapq
import math
from collections.abc import Iterable
from itertools import islice

from ssyncd.planner.names import moved_inside

FIRST_DELAY = 0.05
LONGEST_DELAY = 60.0
LOUD = 3
"""After so many failures in a row a key is named as trouble: a lost race with the user's own writing mends itself."""


def delay_after(failures: int, first: float = FIRST_DELAY, longest: float = LONGEST_DELAY) -> float:
    """Seconds until what has failed so often in a row is tried again; twice as long each time."""
    return min(longest, first * 2.0 ** min(failures, 16))


class Agenda:
    """Times are those of the injected monotonic clock, in seconds."""

    def __init__(self) -> None:
        # In the order they were touched: a directory comes before what is found in it.
        self.keys: dict[str, None] = {}
        self.paths: dict[str, None] = {}
        self.below: dict[str, str] = {}
        self._later: list[tuple[float, str, bool]] = []
        self._failures: dict[str, tuple[int, str]] = {}
        self.waiting: dict[tuple[str, bool], float] = {}
        """What is put off, and until when: keys, and paths (True)."""

    def touch(self, key: str) -> None:
        if key:
            self.keys[key] = None

    def touch_all(self, keys: Iterable[str]) -> None:
        self.keys.update(dict.fromkeys(keys))
        self.keys.pop("", None)

    def take(self, most: int) -> list[str]:
        """The keys touched first; they are off the agenda, also for later: who still has to wait is put off anew."""
        taken = list(islice(self.keys, most))
        for key in taken:
            del self.keys[key]
        if self.waiting:
            for key in taken:
                self.waiting.pop((key, False), None)
        return taken

    def look(self, path: str) -> None:
        self.paths[path] = None

    def look_below(self, path: str, reason: str) -> None:
        self.below[path] = reason

    def moved(self, old: str, new: str) -> None:
        """A directory has another path: what was to be looked at in it is there now."""
        for _, path in moved_inside(self.paths, old, new):
            self.look(path)
        for before, path in ((old, new), *moved_inside(self.below, old, new)):
            if before in self.below:
                self.look_below(path, self.below[before])
        put_off = {path: when for (path, is_path), when in self.waiting.items() if is_path}
        for before, path in moved_inside(put_off, old, new):
            self.at(put_off[before], path, is_path=True)

    def at(self, when: float, key: str, is_path: bool = False) -> None:
        """Touch a key, or look at a path, at a time to come; of several times the first counts."""
        if when < self.waiting.get((key, is_path), math.inf):
            self.waiting[key, is_path] = when
            heapq.heappush(self._later, (when, key, is_path))

    def failed(self, key: str, reason: str, now: float, least: float = FIRST_DELAY) -> None:
        """Something did not work for this key: again after a delay that doubles each time."""
        count = self._failures.get(key, (0, ""))[0] + 1
        self._failures[key] = count, reason
        self.at(now + min(LONGEST_DELAY, max(least, delay_after(count))), key)

    def succeeded(self, key: str) -> None:
        if self._failures:
            self._failures.pop(key, None)

    @property
    def failing(self) -> bool:
        return bool(self._failures)

    def troubles(self) -> dict[str, str]:
        return {key: reason for key, (count, reason) in self._failures.items() if count >= LOUD}

    def retry_all(self) -> None:
        """Whatever waits for a later time is due now."""
        while self._later:
            self._pop()

    def due(self, now: float) -> None:
        """Take over what was put off until now."""
        while self._later and self._later[0][0] <= now:
            self._pop()

    def _pop(self) -> None:
        when, key, is_path = heapq.heappop(self._later)
        if self.waiting.get((key, is_path)) != when:
            return
        del self.waiting[key, is_path]
        if is_path:
            self.look(key)
        else:
            self.touch(key)

    @property
    def next(self) -> float | None:
        """When something put off comes due."""
        while self._later and self.waiting.get(self._later[0][1:]) != self._later[0][0]:
            heapq.heappop(self._later)  # an earlier time came after this one
        return self._later[0][0] if self._later else None

    @property
    def empty(self) -> bool:
        return not (self.keys or self.paths or self.below)
