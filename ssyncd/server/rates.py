"""How often something may be tried."""

import math
import time
from collections.abc import Callable, Hashable

SOURCES = 10_000


class Rate:
    """So many tries a minute from each source, any of them at once; older ones are given back evenly."""

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most = per_minute
        self._second = per_minute / 60
        self._now = now
        self._spent: dict[Hashable, tuple[float, float]] = {}

    def wait(self, source: Hashable) -> int:
        """Count a try: 0 if it may be made, else the seconds until the next may."""
        now = self._now()
        spent, since = self._spent.pop(source, (0.0, now))
        spent = max(0.0, spent - (now - since) * self._second)
        allowed = spent + 1 <= self._most
        self._spent[source] = (spent + 1 if allowed else spent, now)
        if len(self._spent) > SOURCES:
            del self._spent[next(iter(self._spent))]
        return 0 if allowed else math.ceil((spent + 1 - self._most) / self._second)
