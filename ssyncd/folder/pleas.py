"""Contents whose chunks the server has lost or spoiled: who cannot get one says so, who has it on its disk sends it again.

A plea is an object of the folder's own bucket, so that it reaches every machine over any Simperium server, now or when that
machine is back. Its key is the hash of the content (64 hex digits, an entry's key has 32), its data names who asks. Whoever has
seen to it that the server has the chunks removes the plea, which tells those who wait to try again. How often a plea for one
content is answered falls off, whoever makes it and why.
"""

import logging
from collections.abc import Callable, Iterable

from ssyncd.content.body import INLINE_LIMIT, Body, chunked, unpack_rows
from ssyncd.errors import ContentError, DiskError
from ssyncd.folder.agenda import delay_after
from ssyncd.folder.bodies import Bodies
from ssyncd.folder.record import Record
from ssyncd.folder.settings import Clock, Direction, FolderSettings
from ssyncd.planner.tree import Entry
from ssyncd.protocol.channel import Channel
from ssyncd.transfer import FetchJob, Job, Transfers, UploadJob

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Contents that are sent again at the same time, at most."""
FIRST_DELAY, LONGEST_DELAY = 1.0, 3600.0
"""Seconds after an answer until the next plea for the same content is answered; twice as long each time."""


class Pleas:
    """`record.pleas` are those that stand. `read_again(key)` has a file read whose chunks nobody knows any more."""

    def __init__(
        self, record: Record, bodies: Bodies, channel: Channel, transfers: Transfers, settings: FolderSettings
    ) -> None:
        self.clock = Clock()
        self.random_key: Callable[[], str] = lambda: ""
        self.read_again: Callable[[str], None] = lambda _: None
        self._record = record
        self._bodies = bodies
        self._channel = channel
        self._transfers = transfers
        self._settings = settings
        # By content hash: the keys here that wait for it, and those hashes for which a plea is to be made.
        self._wanting: dict[str, set[str]] = {}
        self._to_make = dict[str, None]()
        # Pleas that are over, and are to be removed.
        self._over = dict[str, None]()
        # Pleas to be answered, and when; how often each was; those that are being answered.
        self._due: dict[str, float] = dict.fromkeys(record.pleas, 0.0)
        self._answers: dict[str, tuple[int, float]] = {}
        self._sending: set[str] = set()

    @property
    def next(self) -> float | None:
        """When `go_on` has something to do that nothing else will bring up."""
        return min(self._due.values(), default=None) if len(self._sending) < AT_ONCE else None

    # What happens.

    def missed(self, job: Job, error: Exception) -> str:
        """A job failed: what to tell of it. If it is for the server's chunks, a plea is to be made."""
        asks = self._settings.direction is Direction.BOTH
        if asks and isinstance(job, FetchJob) and isinstance(error, ContentError) and self._is_wanted(job):
            self._wanting.setdefault(job.content.hash, set()).add(job.key)
            self._to_make[job.content.hash] = None
            return f"{error}; the machines that have it are asked for it"
        if isinstance(job, UploadJob):
            self._not_sent(job)
        return error.reason if isinstance(error, DiskError) else str(error)

    def _is_wanted(self, job: FetchJob) -> bool:
        """Whether the server has, or had when we overtook it, this content for somebody: it may have gone meanwhile."""
        overtaken = (row.entry for row in self._record.overtaken.values())
        return job.content.hash in map(_hash, (self._record.remote.get(job.key), *overtaken))

    def arrived(self, hash: str) -> None:
        """All chunks of a content could be had."""
        self._wanting.pop(hash, None)
        self._to_make.pop(hash, None)
        if hash in self._record.pleas:
            self._over[hash] = None

    def entry_changed(self, key: str) -> None:
        """The server has another version of an entry: what was wanted for it may not be any more."""
        for hash, keys in list(self._wanting.items()):
            keys.discard(key)
            if not keys:
                self.arrived(hash)

    def changed(self, hash: str) -> Iterable[str]:
        """A plea was made, or removed: the keys that may try again."""
        if hash in self._record.pleas:
            self._end_unwanted([hash])
            self.found(hash)
            return ()
        self._due.pop(hash, None)
        self._to_make.pop(hash, None)
        return self._wanting.pop(hash, ())

    def found(self, hash: str) -> None:
        """A file here turned out to hold this content."""
        if hash in self._record.pleas and hash not in self._sending:
            self._due[hash] = self._answers.get(hash, (0, 0.0))[1]

    def caught_up(self) -> None:
        """What stands is known."""
        self._end_unwanted(self._record.pleas)
        self._due.clear()
        for hash in self._record.pleas:
            self.found(hash)

    def _end_unwanted(self, hashes: Iterable[str]) -> None:
        """Remove our own of which nothing wants the content any more: not at a restart, or while the plea was on its way."""
        record, device = self._record, self._settings.device
        ours = {hash for hash in hashes if record.pleas[hash] == device} - self._wanting.keys()
        if ours:
            wanted = [record.remote.get(key) for key in record.remote]
            wanted += [row.entry for row in record.overtaken.values()]
            self._over.update(dict.fromkeys(sorted(ours.difference(map(_hash, wanted)))))

    def sent(self, job: UploadJob) -> None:
        """The server has all chunks of this content."""
        hash = job.content.hash
        if job.check:
            self._sending.discard(hash)
            if hash in self._record.pleas:
                log.info("the server has %s again, of which it had lost something", job.path)
                self._over[hash] = None

    def _not_sent(self, job: UploadJob) -> None:
        hash = job.content.hash
        if job.check and hash in self._sending:
            self._sending.discard(hash)
            self.found(hash)

    # What is done about it.

    def go_on(self) -> None:
        """While changes can be sent: make, answer and remove what there is to be."""
        for hash in list(self._to_make):
            if self._may_submit(hash):
                del self._to_make[hash]
                if hash not in self._record.pleas:
                    diff = {"by": {"o": "+", "v": self._settings.device}}
                    self._channel.submit(hash, diff, None, self.random_key(), keep=False)
        for hash in list(self._over):
            if self._may_submit(hash):
                del self._over[hash]
                if hash in self._record.pleas:
                    self._channel.submit(hash, None, self._record.ghosts.version(hash), self.random_key(), keep=False)
        now = self.clock.monotonic()
        due = [hash for hash, when in self._due.items() if when <= now][: AT_ONCE - len(self._sending)]
        if due:
            self._answer(due, now)

    def _may_submit(self, hash: str) -> bool:
        return self._channel.room() > 0 and not self._channel.busy(hash)

    def _answer(self, hashes: list[str], now: float) -> None:
        local = self._record.local
        holders = {_hash(local.get(key)): key for key in local}
        for hash in hashes:
            del self._due[hash]
            if hash in holders:
                count = self._answers.get(hash, (0, 0.0))[0]
                self._answers[hash] = count + 1, now + delay_after(count, FIRST_DELAY, LONGEST_DELAY)
                self._send(holders[hash], hash)

    def _send(self, key: str, hash: str) -> None:
        entry, stat, path = self._record.local.get(key), self._record.stats.get(key), self._record.local.path(key)
        if entry is None or entry.content is None or stat is None or path is None:
            return
        if entry.content.size <= INLINE_LIMIT:
            return  # it is in the entry itself
        body = self._body(hash, entry.content.size)
        if body is None:
            self.read_again(key)  # and `found` will be told
            return
        log.info("somebody asks for %s: looking what the server has lost of it", path)
        self._sending.add(hash)
        self._transfers.submit([UploadJob(key, path, stat, entry.content, body, check=True)])

    def _body(self, hash: str, size: int) -> Body | None:
        body, packed = self._bodies.get(hash), self._record.chunks(hash)
        if body is not None and body.chunks:
            return body
        try:
            return None if packed is None else chunked(unpack_rows(packed, size), self._transfers.store.max_chunk)
        except ContentError:
            return None


def _hash(entry: Entry | None) -> str:
    return "" if entry is None or entry.content is None else entry.content.hash
