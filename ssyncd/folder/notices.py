"""What is on its way to the server: who begins to send a long content says so, who will need it fetches it meanwhile. Who begins
to delete says how many entries, and others need not wait until they know.

A notice is no object: it goes to those who are connected at that moment, and nobody keeps it. It says what an entry will be, and
is believed only so far that its bytes are fetched, verified and staged: what happens in the folder is decided by the entry
itself, when it comes. Should none come, the bytes are dropped after a while. One of deletions has the key of one of those entries
and `{"deletions": NUMBER}`.
"""

import logging
from collections.abc import Callable, Iterable

from ssyncd.content.body import Body, parse_content
from ssyncd.content.chunks import MIB
from ssyncd.disk.base import Disk
from ssyncd.errors import ContentError, DiskError
from ssyncd.folder.entries import to_data, to_entry
from ssyncd.folder.exclusion import Exclusion
from ssyncd.folder.record import Record
from ssyncd.folder.settings import Clock
from ssyncd.folder.supply import Supply
from ssyncd.planner.tree import Entry, Kind
from ssyncd.protocol.channel import Channel
from ssyncd.protocol.messages import Notice
from ssyncd.transfer import FetchJob

log = logging.getLogger(__name__)

LONG = 16 * MIB
"""Bytes from which on a content is worth a notice."""
KEPT = 600.0
"""Seconds that what was fetched, or could not be, may wait for its entry."""
MOST = 100
"""Notices that wait for the directory that their entry is in."""


class Notices:
    """`least` is the size in bytes of a content that is told of."""

    def __init__(self, record: Record, disk: Disk, supply: Supply, channel: Channel, exclusion: Exclusion) -> None:
        self.clock = Clock()
        self.least = LONG
        self.deletions_come: Callable[[int, float], None] = lambda _number, _now: None
        self._record = record
        self._disk = disk
        self._supply = supply
        self._channel = channel
        self._exclusion = exclusion
        self._waiting: dict[str, tuple[Entry, Body]] = {}
        # Of what was fetched ahead: when it is dropped.
        self._until: dict[str, float] = {}

    @property
    def next(self) -> float | None:
        return min(self._until.values(), default=None)

    def give(self, entry: Entry, body: Body) -> None:
        """This content is being sent."""
        if entry.content is not None and entry.content.size >= self.least:
            self._channel.notify(entry.key, to_data(entry, body))

    def give_deletions(self, key: str, number: int) -> None:
        """So many entries, this one of them, are being deleted."""
        self._channel.notify(key, {"deletions": number})

    def heard(self, notice: Notice) -> None:
        """Somebody is sending a content, or deletions."""
        number = notice.data.get("deletions")
        if type(number) is int and number > 0:
            self.deletions_come(number, self.clock.monotonic())
            return
        try:
            entry = to_entry(notice.key, notice.data)
            if entry.kind is not Kind.FILE:
                return
            _, body = parse_content(notice.data.get("content"))
        except ContentError as error:
            log.debug("no notice: %s", error)
            return
        if body.data is None:
            self._waiting.pop(entry.key, None)
            self._waiting[entry.key] = entry, body
            while len(self._waiting) > MOST:
                del self._waiting[next(iter(self._waiting))]

    def go_on(self) -> None:
        """Fetch what is of use, where its directory is known; drop what nobody came for."""
        for key, (entry, body) in list(self._waiting.items()):
            if not entry.parent or self._record.remote.path(entry.parent) is not None:
                del self._waiting[key]
                self._begin(entry, body)
        now = self.clock.monotonic()
        for key in [key for key, until in self._until.items() if until <= now]:
            del self._until[key]
            self._forget(key)

    def _forget(self, key: str) -> None:
        try:
            self._supply.forget(key)
        except DiskError as error:
            log.debug("what was fetched ahead is still there: %s", error)

    def failed(self, job: FetchJob) -> Iterable[str]:
        """It cannot be had ahead. The key, if its entry has come meanwhile: it is to be fetched like any other."""
        if self._supply.fetch_failed(job.key):
            return (job.key,)
        self.ended(job)
        return ()

    def ended(self, job: FetchJob) -> None:
        """It is staged before its entry has come, or there is a part of it."""
        self._until[job.key] = self.clock.monotonic() + KEPT

    def _begin(self, entry: Entry, body: Body) -> None:
        content = entry.content
        if content is None or not self._is_of_use(entry):
            return
        try:
            if content.size + self._supply.ahead <= self._disk.free() // 2:
                self._supply.fetch_ahead(entry.key, content, body)
        except DiskError as error:
            log.debug("nothing is fetched ahead: %s", error)

    def _is_of_use(self, entry: Entry) -> bool:
        """Whether the server does not have it yet, it is not here, and we know of nothing that keeps it from coming here."""
        remote, local = self._record.remote.get(entry.key), self._record.local.get(entry.key)
        if remote is not None and remote.same_content(entry):
            return False
        if local is not None and (local.content is None or local.same_content(entry)):
            return False
        if local is None and self._record.local.at(entry.parent, entry.name):
            return False
        above = self._record.remote.path(entry.parent) if entry.parent else ""
        return above is not None and not self._exclusion.excludes(f"{above}/{entry.name}".lstrip("/"), False)
