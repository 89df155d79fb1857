"""What a server does now and then: forget what is too old, and notice what another process did to its accounts."""

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from ssyncd.errors import DiskError, StateError
from ssyncd.server.collector import collect
from ssyncd.server.services import Services
from ssyncd.server.sessions import SESSIONS
from ssyncd.server.settings import DAY
from ssyncd.server.writer import Prune

log = logging.getLogger(__name__)

MINUTE = 60.0
HOUR = 3600.0


class Housekeeping:
    """One task; every round is cheap, and costs nothing in the database if nobody is connected."""

    def __init__(self, core: Services, app: web.Application) -> None:
        self._core = core
        self._app = app
        self._task: asyncio.Task[None] | None = None
        self._measured = self._pruned = 0.0
        # Its time is when chunks were collected last: a process may never live for a day.
        self._stamp = core.settings.data / "collected"
        self._collected = min(time.time(), _time_of(self._stamp))

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._note_use()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._core.settings.housekeeping)
            try:
                await self._round(time.time())
            except (StateError, DiskError) as error:
                log.warning("housekeeping: %s", error)

    async def _round(self, now: float) -> None:
        self._core.hub.trim()
        await self._core.read(self._note_use)
        await self._notice_revoked()
        if now - self._measured >= MINUTE:
            self._measured = now
            await self._core.quota.measure_again()
        if now - self._pruned >= HOUR:
            self._pruned = now
            self._core.writer.submit(self._prune(int(now)))
        if now - self._collected >= 24 * HOUR:
            self._collected = now
            _touch(self._stamp)
            before = now - self._core.settings.chunk_grace
            await self._core.carry(collect, self._core.storage, self._core.blobs, before)

    def _prune(self, now: int) -> Prune:
        settings = self._core.settings
        if not settings.history_days:
            return Prune(now - settings.log_kept)
        kept = settings.history_days * DAY
        return Prune(now - min(settings.log_kept, kept), now - kept)

    async def _notice_revoked(self) -> None:
        """Tokens that `ssyncd user` or another process ended."""
        tokens = self._app[SESSIONS].tokens()
        if tokens:
            valid = await self._core.read(self._core.accounts.still_valid, tokens)
            self._app[SESSIONS].revoke(tokens - valid)

    def _note_use(self) -> None:
        used, self._core.used = self._core.used, {}
        if used:
            self._core.accounts.used(used)


def _time_of(stamp: Path) -> float:
    """Of a new one, if there is none."""
    try:
        return stamp.stat().st_mtime
    except OSError:
        _touch(stamp)
        return time.time()


def _touch(stamp: Path) -> None:
    # Without one, chunks are collected after a day of life only.
    with suppress(OSError):
        stamp.touch()
