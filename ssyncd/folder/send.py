"""Sending what the plan wants the server to hold: contents first, then the change that names them."""

import logging
from collections.abc import Callable

from ssyncd.content.body import INLINE_LIMIT, Body
from ssyncd.disk.base import Disk
from ssyncd.errors import DiskError
from ssyncd.folder.agenda import Agenda
from ssyncd.folder.bodies import Bodies
from ssyncd.folder.entries import change, creation
from ssyncd.folder.record import Record
from ssyncd.folder.settings import Clock
from ssyncd.planner.order import leaves_at
from ssyncd.planner.plan import Send, SendDelete
from ssyncd.planner.tree import Entry, Kind, Place
from ssyncd.protocol.channel import Channel
from ssyncd.transfer import Transfers, UploadJob, read_small

log = logging.getLogger(__name__)

REPAIR_DELAY = 5.0
"""Seconds that whoever hurt the structure has to mend it, before we do."""
REMEMBERED = 10_000


class Sender:
    """Pending sends in the order they are to go. `random_key` makes ccids; `read_again(key)` has a file read anew."""

    def __init__(
        self, record: Record, disk: Disk, transfers: Transfers, bodies: Bodies, agenda: Agenda, channel: Channel
    ) -> None:
        self.record = record
        self.channel = channel
        self.clock = Clock()
        self.device = ""
        self.random_key: Callable[[], str] = lambda: ""
        self.read_again: Callable[[str], None] = lambda _: None
        self.begun: Callable[[Entry, Body], None] = lambda _entry, _body: None
        """Told of what is uploaded from now on."""
        self.make_durable: Callable[[], bool] = lambda: True
        """What is on the disk now, against a power cut; False where that fails."""
        self.pending: dict[str, Send | SendDelete] = {}
        self.uploading: dict[str, str] = {}
        self._disk = disk
        self._transfers = transfers
        self._bodies = bodies
        self._agenda = agenda
        self._uploaded: dict[str, None] = {}
        self._durable = False
        self._repairs: dict[str, float] = {}
        # Who is in flight, by the place it will have; others may be left from before.
        self._coming: dict[Place, str] = {}

    def replace(self, keys: set[str], sends: list[Send | SendDelete]) -> None:
        """These keys were planned again: what was pending for them is replaced."""
        for key in keys:
            self.pending.pop(key, None)
        for send in sends:
            self.pending[send.key] = send

    def send(self) -> None:
        """As many as fit in the channel's window."""
        self._durable = False
        if len(self._coming) > 2 * self.channel.in_flight:
            self._coming = {place: key for place, key in self._coming.items() if self.channel.busy(key)}
        for key, send in list(self.pending.items()):
            if self.channel.room() <= 0:
                return
            if self.channel.busy(key) or key in self._agenda.keys:
                continue  # what was touched since it was planned is planned again first
            if (send.repair and not self._repair_due(key)) or not self._in_order(send):
                continue
            if self._send(key, send):
                self._repairs.pop(key, None)
                self.pending.pop(key, None)

    def _repair_due(self, key: str) -> bool:
        now = self.clock.monotonic()
        due = self._repairs.setdefault(key, now + REPAIR_DELAY)
        if due > now:
            self._agenda.at(due, key)
        return due <= now

    def _in_order(self, send: Send | SendDelete) -> bool:
        """No child before its directory: they arrive in this order. Nobody to a place that another is still on the way to and has
        left since: two directories at one place become one; nor before the deletion of a file or link there. No directory's
        deletion before that of what is in it was taken: if the server should refuse one of those, another machine would take the
        directory for one to be mended. Nor while it is not known where all is that the server has: what we made just before a
        crash may be in it."""
        if isinstance(send, Send):
            parent = send.entry.parent
            if (
                parent
                and not self.channel.busy(parent)
                and (parent not in self.record.remote or parent in self.pending)
            ):
                return False
            if any(
                isinstance(self.pending.get(there), SendDelete)
                for there in leaves_at(send.entry.place, self.record.remote)
            ):
                return False
            before = self._coming.get(send.entry.place, send.key)
            return before == send.key or not self.channel.busy(before)
        if self._is_coming_into(send.key) or (self.channel.awaits_objects and self._is_directory(send.key)):
            return False
        above = self._above(send.key)
        return above.issuperset(self.record.remote.children(send.key))

    def _is_coming_into(self, directory: str) -> bool:
        """Whether something is on its way into this directory, and will have to be deleted before it."""
        return any(parent == directory and self.channel.busy(key) for (parent, _), key in self._coming.items())

    def _is_directory(self, key: str) -> bool:
        entry = self.record.remote.get(key)
        return entry is not None and entry.kind is Kind.DIR

    def _above(self, key: str) -> set[str]:
        """The directories on the way up: hostile ones can be inside each other, and would wait for each other for ever."""
        above = set[str]()
        entry = self.record.remote.get(key)
        while entry is not None and entry.parent and entry.parent not in above:
            above.add(entry.parent)
            entry = self.record.remote.get(entry.parent)
        return above

    def _send(self, key: str, send: Send | SendDelete) -> bool:
        ghost, remote = self.record.ghosts.get(key), self.record.remote.get(key)
        if isinstance(send, SendDelete):
            if remote is not None and ghost is not None:
                if not self._is_durable():
                    return False
                self.channel.submit(key, None, ghost.version, self.random_key(), keep=False)
            return True
        entry, body = send.entry, None
        if entry.kind is Kind.FILE and (remote is None or not remote.same_content(entry)):
            body = self._body(key, entry)
            if body is None or (remote is not None and not self._is_durable()):
                return False
        diff = creation(entry, body) if remote is None or ghost is None else change(remote, entry, body)
        if diff:
            source = None if remote is None or ghost is None else ghost.version
            ccid = self.random_key()
            self.channel.submit(key, diff, source, ccid, keep=False)
            if remote is not None:
                if self._coming.get(remote.place) == key:
                    del self._coming[remote.place]
                if (local := self.record.local.get(key)) is not None and local.place != entry.place:
                    self.record.ledger.add_ahead(ccid)
            self._coming[entry.place] = key
        if entry.content is not None:
            self._bodies.served(entry.content.hash)
        return True

    def _is_durable(self) -> bool:
        """Before the server lets something go. What a user put in its place must not be taken back by a power cut: the old would
        be here again, and be taken away by the server's word."""
        self._durable = self._durable or self.make_durable()
        return self._durable

    def _body(self, key: str, entry: Entry) -> Body | None:
        """The bytes or chunk rows, once the server has the chunks. None: not yet, or not any more; the key will be touched."""
        content = entry.content
        assert content is not None
        body = self._bodies.get(content.hash)
        if body is None:
            body = self._read_again(key, entry)
        if body is None or body.data is not None or content.hash in self._uploaded:
            return body
        self._upload(key, entry, body)
        return None

    def _read_again(self, key: str, entry: Entry) -> Body | None:
        local, stat, path = self.record.local.get(key), self.record.stats.get(key), self.record.local.path(key)
        assert entry.content is not None
        if local is None or stat is None or path is None or not local.same_content(entry):
            self.pending.pop(key, None)
            self._agenda.touch(key)
            return None
        if stat.size > INLINE_LIMIT:
            self._forget_content(key)
            return None
        try:
            done = read_small(self._disk, path, stat, self.device)
        except DiskError as error:
            self._agenda.look(path)
            self._agenda.failed(key, error.reason, self.clock.monotonic())
            self.pending.pop(key, None)
            return None
        if done.content.hash != entry.content.hash:
            self._forget_content(key)
            return None
        return done.body

    def _forget_content(self, key: str) -> None:
        """Nobody knows its chunks any more, or it holds something else: it is read again from the beginning."""
        self.pending.pop(key, None)
        self.read_again(key)

    def _upload(self, key: str, entry: Entry, body: Body) -> None:
        content, stat, path = entry.content, self.record.stats.get(key), self.record.local.path(key)
        assert content is not None
        local = self.record.local.get(key)
        if self.uploading.get(key) == content.hash:
            return
        if stat is None or path is None or local is None or not local.same_content(entry):
            self.pending.pop(key, None)
            self._agenda.touch(key)
            return
        self.uploading[key] = content.hash
        self._transfers.submit([UploadJob(key, path, stat, content, body)])
        self.begun(entry, body)

    def uploaded(self, key: str, hash: str) -> None:
        self.uploading.pop(key, None)
        self._uploaded[hash] = None
        while len(self._uploaded) > REMEMBERED:
            del self._uploaded[next(iter(self._uploaded))]

    def upload_failed(self, key: str) -> None:
        """It is planned again when it is to be tried again, and not sent before."""
        self.uploading.pop(key, None)
        self.pending.pop(key, None)

    def forget_uploads(self) -> None:
        """Another connection, perhaps another server behind it: whether it has the chunks must be asked again."""
        self._uploaded.clear()
