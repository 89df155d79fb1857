"""Who waits for chunks that are still on their way to the server. Lives on the event loop."""

from collections.abc import Iterator
from contextlib import contextmanager

from ssyncd.server.blobs.base import Scope
from ssyncd.server.hub import Waiter


class Arrivals:
    def __init__(self) -> None:
        self._waiting: dict[Scope, set[Waiter]] = {}

    @contextmanager
    def watched(self, scope: Scope) -> Iterator[Waiter]:
        """Woken whenever chunks were stored in this scope, from now on."""
        waiter = Waiter(0)
        self._waiting.setdefault(scope, set()).add(waiter)
        try:
            yield waiter
        finally:
            self._waiting[scope].discard(waiter)
            if not self._waiting[scope]:
                del self._waiting[scope]

    def tell(self, scope: Scope) -> None:
        for waiter in self._waiting.get(scope, ()):
            waiter.wake()
