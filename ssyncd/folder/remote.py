"""The remote side of a folder: channel events in; the remote tree is current, and what is entangled is on the agenda."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ssyncd.content.body import parse_body
from ssyncd.errors import ContentError
from ssyncd.folder.agenda import Agenda
from ssyncd.folder.around import touch_around, touch_freed
from ssyncd.folder.bodies import Bodies
from ssyncd.folder.entries import to_entry
from ssyncd.folder.record import Record
from ssyncd.planner.tree import Content, Entry, Kind
from ssyncd.protocol.events import Updated
from ssyncd.protocol.ghosts import Ghost, Sent
from ssyncd.state.rows import OvertakenRow

log = logging.getLogger(__name__)


class Remote:
    """Takes in what the server says of objects."""

    def __init__(self, record: Record, bodies: Bodies, agenda: Agenda) -> None:
        self._record = record
        self._bodies = bodies
        self._agenda = agenda
        self.unseen: Callable[[str], bool] = lambda _: False
        """Whether it is not known what is at a path on the disk."""

    def updated(self, event: Updated) -> None:
        """One version of one object, already in the record."""
        key, record = event.key, self._record
        before, after = _read(key, event.before), self._after(event)
        if event.after.data is not None and event.mine is None and after is not None and after.content is not None:
            self._keep_body(event.after.data.get("content"), after.content)
        self._recall(key, before)
        now = record.remote.get(key)
        # Made or deleted by us, taken as it was, and still so: nothing is left to plan.
        over = event.mine is not None and (before is None or after is None) and after is now and self._is_here(key, now)
        if event.mine is not None:
            if before is not None or not over:
                self._acknowledged(event, event.mine, before, after)
            if after is not None and (before is None or before.place != after.place == (now and now.place)):
                record.place_is_mine(key)
        self._agenda.succeeded(key)
        if over:
            record.agree(key)
            if before is not None:
                touch_freed(self._agenda, record, key, before)
            return
        if before is None and after is not None and not event.cv and not record.has_way_to(after.parent):
            return  # it is touched with its directory, or when the index is complete
        self._agenda.touch(key)
        if before is None or after is None or before.place != after.place:
            touch_around(self._agenda, record, key, before, after)

    def has_way_to(self, key: str) -> bool:
        """Whether the server has told of the way to an entry; what waits for that is touched when it comes."""
        entry = self._record.remote.get(key)
        return entry is None or self._record.has_way_to(entry.parent)

    def _is_here(self, key: str, entry: Entry | None) -> bool:
        local = self._record.local.get(key)
        return local is None if entry is None else entry.same(local)

    def _recall(self, key: str, before: Entry | None) -> None:
        """What is here without a base, but just as the server had it, was agreed: a crash came before that was recorded."""
        local = self._record.local.get(key)
        if before is not None and local is not None and key not in self._record.base and local.same(before):
            self._record.set_base(before)

    def _after(self, event: Updated) -> Entry | None:
        """The entry in that version. The record may be further: all of a message is in it before the first version is told."""
        ghost = self._record.ghosts.get(event.key)
        if ghost is not None and ghost.version == event.after.version:
            return self._record.remote.get(event.key)
        return _read(event.key, event.after)

    def keep_body(self, key: str, data: dict[str, Any]) -> None:
        """Bytes or chunk rows that came with some version of an object will be wanted in a moment."""
        with suppress(ContentError):
            content = to_entry(key, data).content
            if content is not None:
                self._keep_body(data.get("content"), content)

    def _keep_body(self, value: Any, content: Content) -> None:
        """`content` is not of this value where that makes no sense: then the entry is still the one of before."""
        with suppress(ContentError):  # it is asked for again; if it stays like this, fetching names it
            if isinstance(value, dict) and value.get("hash") == content.hash:
                self._bodies.add(content.hash, parse_body(value, content.size))

    def _acknowledged(self, event: Updated, sent: Sent, before: Entry | None, after: Entry | None) -> None:
        """The server took our change: what it changed is agreed. Did it overtake somebody (design section 4)?"""
        record, base, ghost, version = self._record, self._record.base.get(sent.key), event.before, event.after.version
        ahead = record.ledger.take_ahead(sent.ccid)
        overtook = before is not None and ghost is not None and ghost.version > (sent.source or 0)
        if overtook and before is not None and ghost is not None:
            self._save_overtaken(ghost.version, before, after, base)
        local = record.local.get(sent.key)
        if record.ledger.is_doubtful(sent.ccid) and not (local is after or (after is not None and after.same(local))):
            return
        if after is None:
            record.drop_base(sent.key)
        elif before is None:
            if local is not None or not self._is_unseen(after):
                record.set_base(after, version)
        elif base is not None:
            # What was not moved here yet would look as if its user had moved it back.
            stays = ahead and local is not None and local.place == base.place
            advanced = _advance(base, before, after)
            record.set_base(advanced._replace(parent=base.parent, name=base.name) if stays else advanced, version)
        elif _is_settled(local, before, after):
            record.set_base(after, version)

    def _is_unseen(self, entry: Entry) -> bool:
        """Whether this may be on the disk, though the tree has not got it: it was made before a restart, and at its place nobody
        has looked yet, or nobody can. Then nobody has deleted it."""
        path = self._record.remote.path(entry.key)
        return path is not None and self.unseen(path)

    def _save_overtaken(self, version: int, theirs: Entry, ours: Entry | None, base: Entry | None) -> None:
        if theirs.kind is Kind.DIR or (ours is not None and ours.same_content(theirs)):
            return
        if base is not None and base.same_content(theirs):
            return
        log.info("our change of %r overtook version %d, which is kept as a conflict copy", theirs.name, version)
        self._record.add_overtaken(OvertakenRow(version, theirs))


def _read(key: str, ghost: Ghost | None) -> Entry | None:
    if ghost is None or ghost.data is None:
        return None
    try:
        return to_entry(key, ghost.data)
    except ContentError:
        return None


def _is_settled(local: Entry | None, before: Entry, after: Entry) -> bool:
    """Of what was never agreed, whether our change says all of it: if it only gave it another place, its content may not even
    have arrived here yet, or be another one."""
    return local is not None and (local.same_content(after) or not before.same_content(after))


def _advance(base: Entry, before: Entry, after: Entry) -> Entry:
    """The base with those facets that went from before to after."""
    if not before.same_content(after):
        base = base._replace(content=after.content, target=after.target)
    if before.exec != after.exec:
        base = base._replace(exec=after.exec)
    if before.parent != after.parent:
        base = base._replace(parent=after.parent)
    if before.name != after.name:
        base = base._replace(name=after.name)
    return base
