"""How fast contents go: so many bytes a second for all that share a limit."""

import functools
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

LONGEST_SLICE = 64 * 1024
SHORTEST_SLICE = 4096
SLICES_A_SECOND = 8


class Throttle:
    """Thread-safe. `rate` in bytes a second; what is not used is not saved up."""

    def __init__(self, rate: int, now: Callable[[], float] = time.monotonic) -> None:
        self.slice = max(SHORTEST_SLICE, min(LONGEST_SLICE, rate // SLICES_A_SECOND))
        """Bytes that may well go at once."""
        self._rate = rate
        self._now = now
        self._lock = threading.Lock()  # guards _free, the time when all that was reserved has gone
        self._free = 0.0

    def reserve(self, size: int) -> float:
        """Seconds to wait before so many bytes are sent, or after they were received."""
        with self._lock:
            now = self._now()
            start = max(now, self._free)
            self._free = start + size / self._rate
            return start - now


class Limits(NamedTuple):
    up: Throttle | None = None
    down: Throttle | None = None


UNLIMITED = Limits()


@functools.cache
def limits(up: int, down: int) -> Limits:
    """Of this process: everybody who asks for the same shares them. Bytes a second; 0 is no limit."""
    return Limits(*(Throttle(rate) if rate else None for rate in (up, down)))
