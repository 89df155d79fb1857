"""How many bytes an account may store: its objects with their history, and chunks."""

from collections.abc import Awaitable, Callable

from ssyncd.errors import RefusedError
from ssyncd.server.writer import NO_SPACE

SMALL = 1024
"""Bytes of a change that is taken all the same, so that a full account can still rename and move; removals always are."""


class Quota:
    """What an account stores is measured when it is first asked for, and what comes is added, roughly. `most` 0: there is no
    bound, and nothing is measured."""

    def __init__(self, most: int, measure: Callable[[str], Awaitable[int]]) -> None:
        self.most = most
        self._measure = measure
        self._used: dict[str, int] = {}
        self._full: set[str] = set()

    async def ask_for(self, user: str) -> None:
        """Has to come before all else."""
        if self.most and user not in self._used:
            self._used[user] = await self._measure(user)

    async def check(self, user: str, more: int) -> None:
        """RefusedError 507 if so many more bytes of chunks would be too much."""
        await self.ask_for(user)
        if self._exceeded(user, more):
            raise RefusedError(f"the account may store {self.most} bytes, and these would be more", NO_SPACE)

    def take(self, user: str, size: int) -> bool:
        """Count a change of so many bytes, if there is room for it."""
        room = size <= SMALL or not self._exceeded(user, size)
        if room:
            self.add(user, size)
        return room

    def _exceeded(self, user: str, more: int) -> bool:
        if not self.most or self._used[user] + more <= self.most:
            return False
        self._full.add(user)
        return True

    def add(self, user: str, size: int) -> None:
        if self.most:
            self._used[user] += size

    async def measure_again(self) -> None:
        """What the accounts store that had no room since the last time: what was removed meanwhile counts no more."""
        full, self._full = self._full, set()
        for user in full:
            self._used[user] = await self._measure(user)
