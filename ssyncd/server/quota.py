"""How many bytes of chunks an account may store."""

from aiohttp import web

from ssyncd.errors import RefusedError
from ssyncd.server.services import Services

QUOTA: web.AppKey["Quota"] = web.AppKey("quota")


class Quota:
    """Counts from what was there when an account is first asked for; what the collector removes counts again after a `reset`.
    `most` 0: there is no bound."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used: dict[str, int] = {}

    async def check(self, core: Services, user: str, more: int) -> None:
        """RefusedError 507 if so many more bytes would be too much."""
        if not self._most:
            return
        if user not in self._used:
            self._used[user] = await core.carry(core.blobs.usage, user)
        if self._used[user] + more > self._most:
            raise RefusedError(f"the account may store {self._most} bytes of chunks, and these would be more", 507)

    def add(self, user: str, size: int) -> None:
        if user in self._used:
            self._used[user] += size

    def reset(self) -> None:
        self._used.clear()
