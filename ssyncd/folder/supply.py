"""Getting contents that shall be put on this disk: from the object itself, from a chunk store, from the server's history."""

from collections.abc import Callable, Iterable

from ssyncd.content.body import INLINE_LIMIT, Body, pack_rows, unpack_rows
from ssyncd.disk.base import Disk, Staged
from ssyncd.errors import ContentError, NoSpaceError
from ssyncd.folder.bodies import Bodies
from ssyncd.folder.record import Record
from ssyncd.planner.tree import Content
from ssyncd.transfer import Fetched, FetchJob, Source, Transfers, write_small

SOURCES = 4
"""Files on this disk that are searched for chunks, at most."""


class Supply:
    """Staged files by key, each ready to be put in place. `ask` asks the server for one version of an object."""

    def __init__(
        self, record: Record, disk: Disk, transfers: Transfers, bodies: Bodies, ask: Callable[[str, int], None]
    ) -> None:
        self._record = record
        self._disk = disk
        self._transfers = transfers
        self._bodies = bodies
        self._ask = ask
        self._ready: dict[str, tuple[str, Staged]] = {}
        self._asked: dict[str, str] = {}
        self.fetching: dict[str, Content] = {}
        # What is fetched before the server has told of it: not counted as pending, for it may never do so.
        self._ahead: dict[str, Content] = {}
        # Of which a part is staged; of what is ready or staged in part, what the server has not told of.
        self._partly: set[str] = set()
        self._early: set[str] = set()
        self._swept = False

    @property
    def pending(self) -> int:
        """How many contents are on their way here."""
        return len(self.fetching) + len(self._asked)

    @property
    def ahead(self) -> int:
        """Bytes of the contents that are fetched ahead."""
        return sum(content.size for content in self._ahead.values())

    def has(self, key: str, hash: str) -> bool:
        return self._ready.get(key, ("", None))[0] == hash

    def want(self, key: str, content: Content, version: int, of: str = "") -> bool:
        """See to it that this content gets staged under the key: True if it is, False if its arrival will touch the key.

        `version` of the object holds it (`of`, if the key is a tag of another's). ContentError, NoSpaceError, other DiskErrors.
        """
        if self.has(key, content.hash):
            return True
        self.drop(key)
        body = self._bodies.get(content.hash)
        if body is None:
            if self._asked.get(key) != content.hash:
                self._asked[key] = content.hash
                self._ask(of or key, version)
            return False
        self._asked.pop(key, None)
        if body.data is not None:
            self._ready[key] = content.hash, write_small(self._disk, key, content, body)
            self._bodies.served(content.hash)
            return True
        self._fetch(key, content, body)
        return False

    def _fetch(self, key: str, content: Content, body: Body) -> None:
        if self.fetching.get(key) == content:
            return
        if self._ahead.get(key) == content:
            self.fetching[key] = self._ahead.pop(key)
            return
        if content.size > self._disk.free():
            raise NoSpaceError("", f"{content.size} bytes are wanted, {self._disk.free()} are free")
        self._submit(key, content, body, self.fetching)

    def fetch_ahead(self, key: str, content: Content, body: Body) -> None:
        """The server will soon tell of this content: when it is wanted, it may be here already. DiskError."""
        if key not in self.fetching and key not in self._ready and self._ahead.get(key) != content:
            self._submit(key, content, body, self._ahead)

    def _submit(self, key: str, content: Content, body: Body, under_way: dict[str, Content]) -> None:
        """In the place of any other fetch under this key; it goes on from what that has left."""
        if key in self.fetching or key in self._ahead:
            self._transfers.cancel(key)
        self.fetching.pop(key, None)
        self._ahead.pop(key, None)
        self._partly.discard(key)
        self._early.discard(key)
        under_way[key] = content
        ahead = under_way is self._ahead
        self._transfers.submit([FetchJob(key, content, body, tuple(self._sources(key)), ahead)])

    def _sources(self, key: str) -> Iterable[Source]:
        """Files here that may share chunks with it: above all its own old version."""
        local, stat = self._record.local.get(key), self._record.stats.get(key)
        path = self._record.local.path(key)
        if local is None or local.content is None or stat is None or path is None or local.content.size <= INLINE_LIMIT:
            return
        packed = self._record.chunks(local.content.hash)
        if packed is not None:
            yield Source(path, stat, unpack_rows(packed, local.content.size))
        else:
            yield Source(path, stat)

    def answered(self, *keys: str) -> None:
        """The server answered what was asked for these keys; the body, if any, is among the bodies now."""
        for key in keys:
            self._asked.pop(key, None)

    def read(self, key: str, hash: str, size: int) -> bytes:
        """The bytes of a staged file, which stays staged."""
        self.take(key, hash)
        staged = self._disk.stage(key, resume=True)
        try:
            data = staged.read_at(size, 0)
        finally:
            staged.close()
        self._ready[key] = hash, staged
        return data

    def cut(self, lost: bool) -> None:
        """The connection is gone, and what was asked with it; if it was `lost`, what carries contents is no better."""
        self._asked.clear()
        if lost:
            self._transfers.store.renew()

    def fetched(self, result: Fetched) -> bool:
        """False if it is not wanted, or not yet."""
        key, content = result.job.key, result.job.content
        early = self._ahead.get(key) == content and key not in self._ready
        if not early and self.fetching.get(key) != content:
            result.staged.discard()
            return False
        if content.size > INLINE_LIMIT:
            self._record.set_chunks(content.hash, pack_rows(result.rows))
        self.drop(key)
        self._ready[key] = content.hash, result.staged
        if early:
            del self._ahead[key]
            self._early.add(key)
        else:
            del self.fetching[key]
        return not early

    def fetch_failed(self, key: str) -> bool:
        """Whether it was wanted already."""
        self._partly.add(key)
        if self._ahead.pop(key, None) is not None:
            self._early.add(key)
        return self.fetching.pop(key, None) is not None

    def forget(self, key: str) -> None:
        """A content that was fetched ahead, and that nobody came for, or what there is of it. DiskError."""
        if key in self._early:
            self._early.discard(key)
            self._discard(key)

    def _discard(self, key: str) -> None:
        if key in self._partly:
            self._partly.discard(key)
            self._disk.stage(key, resume=True).discard()
        self.drop(key)

    @property
    def untidy(self) -> bool:
        """Whether there may be something to sweep: not while what is staged may be waiting for something to come."""
        if self.pending:
            return False
        return not self._swept or not self._early.issuperset(self._ready) or not self._early.issuperset(self._partly)

    def sweep(self) -> None:
        """While nothing is wanted that the server has told of: drop what is staged for it all the same, and what earlier runs
        have left. DiskError."""
        for key in sorted({*self._ready, *self._partly} - self._early):
            self._discard(key)
        if not self._swept:
            self._swept = True
            for leftover in self._disk.leftovers():
                if leftover.origin == "staged" and leftover.tag not in self._ahead:
                    self._disk.drop(leftover)

    def take(self, key: str, hash: str) -> Staged:
        """The staged file, from now on the caller's."""
        found = self._ready.get(key)
        if found is None or found[0] != hash:
            raise ContentError("the content is not staged")
        self._early.discard(key)
        return self._ready.pop(key)[1]

    def drop(self, key: str) -> None:
        found = self._ready.pop(key, None)
        self._early.discard(key)
        if found is not None:
            found[1].discard()

    def clear(self) -> None:
        for key in list(self._ready):
            self.drop(key)
