"""What the parts of a running server share."""

import asyncio
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from ssyncd.errors import RefusedError
from ssyncd.protocol.changes import ClientChange
from ssyncd.protocol.encoding import dumps_stored
from ssyncd.server.accounts import Accounts
from ssyncd.server.applications import Applications
from ssyncd.server.arrivals import Arrivals
from ssyncd.server.blobs.base import Blobs
from ssyncd.server.hub import Hub
from ssyncd.server.quota import Quota
from ssyncd.server.settings import ServerSettings
from ssyncd.server.storage.base import NOBODY, OPTIONS, AccountStorage, ChangeStorage, Token
from ssyncd.server.writer import NO_SPACE, Group, Outcome, Submission, Writer

P = ParamSpec("P")
T = TypeVar("T")

READERS = 3
# Argon2 takes 64 MiB and a core for each sign-in.
PASSWORDS = 2
CARRIERS = 4


class Services:
    """Made on the event loop. Tiny look-ups in the database are done there, everything longer in threads."""

    def __init__(
        self, settings: ServerSettings, storage: ChangeStorage, accounts: AccountStorage, blobs: Blobs
    ) -> None:
        self.settings = settings
        self.storage = storage
        self.accounts = Accounts(accounts)
        self.applications = Applications(accounts)
        self.blobs = blobs
        self.hub = Hub(storage)
        self.arrivals = Arrivals()
        self.quota = Quota(settings.storage_quota, self._stored)
        self.used: dict[bytes, int] = {}
        self._loop = asyncio.get_running_loop()
        self._readers = ThreadPoolExecutor(READERS, "ssyncd-reader")
        self._passwords = ThreadPoolExecutor(PASSWORDS, "ssyncd-password")
        self._carriers = ThreadPoolExecutor(CARRIERS, "ssyncd-chunks")
        self._buckets: dict[tuple[str, str, str], int] = {}
        self._owners: dict[int, str] = {}
        self._naming = asyncio.Lock()
        # Chunks are hashed and written by one thread at a time: two would mostly wait for each other at the interpreter's lock,
        # and the event loop with them. Waiting for the disk afterwards is done at the same time.
        self.storing = asyncio.Semaphore()
        self.writer = Writer(storage, self._deliver, object_limit=settings.object_limit)
        self.writer.start()

    def _deliver(self, group: Group) -> None:
        # On the writer's thread: one hand-over for all of a group.
        self._loop.call_soon_threadsafe(self._publish, group)

    def _publish(self, group: Group) -> None:
        self.hub.publish(group.entries)
        for submission, outcome in group.outcomes:
            if isinstance(outcome, int):
                self.quota.add(self._owners[submission.bucket], -submission.size)
            submission.done(outcome)

    async def read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Blocking work on the database, in a thread."""
        return await self._loop.run_in_executor(self._readers, functools.partial(work, *args, **kwargs))

    async def carry(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Blocking work on chunks, in a thread."""
        return await self._loop.run_in_executor(self._carriers, functools.partial(work, *args, **kwargs))

    async def hash_password(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Work that hashes a password, in one of few threads."""
        return await self._loop.run_in_executor(self._passwords, functools.partial(work, *args, **kwargs))

    async def bucket(self, token: Token, name: str) -> int:
        """The number of a bucket of the token's account, or of the options of its application. RefusedError 403."""
        if name == OPTIONS and not token.admin:
            raise RefusedError("this needs an admin token", 403)
        wanted = (NOBODY if name == OPTIONS else token.user, token.app, name)
        number = self._buckets.get(wanted)
        if number is None:
            async with self._naming:
                number = self._buckets[wanted] = await self.read(self.storage.bucket, *wanted)
                self._owners[number] = wanted[0]
        await self.quota.ask_for(wanted[0])
        return number

    async def remove_bucket(self, token: Token, name: str) -> None:
        """With all its history. RefusedError 404, or 409 while a client has it open: that would write into nothing."""
        async with self._naming:
            number = dict(self.storage.buckets(token.user, token.app)).get(name)
            if number is None:
                raise RefusedError("not found", 404)
            if self.hub.has_listeners(number):
                raise RefusedError("in use", 409)
            # Whoever opens it from here on waits for the new one.
            self._buckets.pop((token.user, token.app, name), None)
            await self.read(self.storage.remove_bucket, number)

    async def submit(self, bucket: int, client: str, change: ClientChange) -> Outcome:
        """One change by itself, as over HTTP; what became of it."""
        answered: asyncio.Future[Outcome] = self._loop.create_future()

        def done(outcome: Outcome) -> None:
            # The request may have been given up meanwhile.
            if not answered.done():
                answered.set_result(outcome)

        self.take(Submission(bucket, client, change, done))
        return await answered

    def take(self, submission: Submission) -> None:
        """To be written, if the account has room for it. It counts at once: much may come before the first of it is stored."""
        if self.quota.most:
            submission.size = len(dumps_stored((submission.change.diff, submission.change.whole)))
            if not self.quota.take(self._owners[submission.bucket], submission.size):
                submission.done(NO_SPACE)
                return
        self.writer.submit(submission)

    async def _stored(self, user: str) -> int:
        """Bytes, roughly."""
        return await self.read(self.storage.usage, user) + await self.carry(self.blobs.usage, user)

    def check(self, secret: str) -> Token | None:
        """What an access token stands for."""
        token = self.accounts.check(secret)
        if token is not None:
            self.used[token.digest] = int(time.time())
        return token

    def close(self) -> None:
        """Writes what is queued, then ends all threads."""
        self.writer.stop()
        self._readers.shutdown(cancel_futures=True)
        self._passwords.shutdown(cancel_futures=True)
        self._carriers.shutdown(cancel_futures=True)
