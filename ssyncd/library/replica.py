"""A bucket as one program sees it: what the server has, and on top of it the program's own edits until they are accepted.

Three layers for an object: the ghost, the ghost with our change that is in flight (`Edit.base`), and what the program wants
(`Edit.wanted`). Whenever the one below moves, the one above is rebased. No I/O, no clock, no chance; `new_ccid` names changes.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ssyncd.errors import ProtocolError
from ssyncd.library.memory import Edit, Memory
from ssyncd.library.merge import merge, same
from ssyncd.library.values import Data, copied
from ssyncd.protocol import jsondiff
from ssyncd.protocol.channel import Channel
from ssyncd.protocol.events import CaughtUp, Event, Refused, Settled, Unanswered, Updated
from ssyncd.protocol.ghosts import Ghost, Sent, source_of
from ssyncd.protocol.messages import Init

# Attempts from one ghost before a change counts as refused for good.
_MOST_TRIES = 3
# How often it is asked whether what is empty still is, before it is filled in by somebody who did not make it.
_QUESTIONS = 3
# Refusals that trying again does not mend: bad object, not allowed, too large.
_FINAL = frozenset({400, 401, 413})


class Change(Struct, frozen=True):
    """One state received. `data` is the object as it is here now, with our edits that were not sent yet on top; None: deleted.
    `before` is what it was here until then. `version` is the server's. `mine`: it is the answer to our own change.
    """

    key: str
    version: int
    data: dict[str, Any] | None
    before: dict[str, Any] | None
    mine: bool


class Refusal(Struct, frozen=True):
    """A change of ours that the server does not take, by Simperium's codes: 400 bad, 401 not allowed, 413 too large, ..."""

    key: str
    code: int


Outcome = Change | Refusal


class Replica:
    """One at a time: the owner holds its lock for every call, and stores `memory.writes` before it sends what the channel has to
    say. What happens to the connection it tells the channel, and the events that come of it `hear`."""

    def __init__(self, init: Init, memory: Memory, new_ccid: Callable[[], str]) -> None:
        self.memory = memory
        self.channel = Channel(init, memory)
        self._new_ccid = new_ccid
        self._outcomes: list[Outcome] = []
        # While the events of a message are taken: the ghost as it was at that event. The store is at the last one already.
        self._ghosts: dict[str, Ghost | None] = {}
        # Edited, not in flight, to be sent as there is room; in the order they became so.
        self._ready: dict[str, None] = {}
        self._refusals = {key: edit.refused for key, edit in memory.edits() if edit.refused}
        self._ready_all()

    # What there is

    def view(self, key: str) -> Data:
        """What the object is here now. Not a copy."""
        edit = self.memory.edit(key)
        return self._ghost_data(key) if edit is None else edit.wanted

    def entities(self) -> dict[str, dict[str, Any]]:
        """Copies of all objects."""
        keys = [*self.memory.keys(), *(key for key, _ in self.memory.edits() if self._ghost_data(key) is None)]
        views = ((key, self.view(key)) for key in keys)
        return {key: copied(data) for key, data in views if data is not None}

    def refused(self) -> dict[str, int]:
        """The codes of edits that the server will not take, by key."""
        return dict(self._refusals)

    def unsent(self) -> int:
        """Objects with an edit that the server has not accepted and may still accept."""
        return self.memory.edited - len(self._refusals)

    def _ghost(self, key: str) -> Ghost | None:
        return self._ghosts[key] if key in self._ghosts else self.memory.get(key)

    def _ghost_data(self, key: str) -> Data:
        ghost = self._ghost(key)
        return None if ghost is None else ghost.data

    # Edits

    def put(self, key: str, wanted: Data, base: Data = None) -> None:
        """Make an object this. With `base`, what `wanted` was made from ({}: nothing): what changed since is merged in."""
        edit, view = self.memory.edit(key), self.view(key)
        if edit is None and not view and base:
            self._keep(key, Edit(view, wanted, first=base))
            return
        if base is not None and view is not None:
            wanted = merge(base, wanted, view)
        self._keep(key, replace(edit or Edit(view, wanted), wanted=wanted, refused=0, tries=0))

    def discard(self, key: str) -> None:
        """Give up what is not in flight of an edit."""
        edit = self.memory.edit(key)
        if edit is not None:
            base = edit.base if edit.ccid else self._ghost_data(key)
            self._keep(key, replace(edit, base=base, wanted=base, refused=0, first=None))

    def _keep(self, key: str, edit: Edit) -> None:
        over = not edit.ccid and same(edit.wanted, self._ghost_data(key))
        self.memory.put_edit(key, None if over else edit)
        if edit.refused and not over:
            self._refusals[key] = edit.refused
        else:
            self._refusals.pop(key, None)
        if over or edit.ccid or edit.refused:
            self._ready.pop(key, None)
        else:
            self._ready[key] = None

    def _ready_all(self) -> None:
        for key, edit in self.memory.edits():
            if not edit.ccid and not edit.refused:
                self._ready[key] = None

    # The connection

    def hear(self, events: list[Event]) -> list[Outcome]:
        """What the events of one message mean, in order."""
        self._outcomes = []
        for event in events:
            if isinstance(event, Updated):
                self._ghosts.setdefault(event.key, event.before)
        for event in events:
            self._take(event)
        self._ghosts.clear()
        return self._outcomes

    def submit(self) -> list[Outcome]:
        """Send as many edits as there is room for."""
        self._outcomes = []
        for key in list(islice(self._ready, self.channel.room())):
            # Busy with what a former edit of it left: `_keep` makes it ready again when that is over.
            if not self.channel.busy(key):
                self._submit(key)
        return self._outcomes

    def _submit(self, key: str) -> None:
        edit, ghost = self.memory.edit(key), self._ghost(key)
        assert edit is not None
        data = ghost.data if ghost else None
        wanted = edit.wanted
        if edit.first is not None and wanted is not None:
            # Two programs that make an object whole overwrite each other, for a creation is merged as if made from nothing.
            # An empty one has no effect where there is something: so only one of them makes it and then fills in what
            # all begin with; the others' questions mostly take longer than that. Then each sends what it changed.
            wanted = {} if data is None or edit.asked < _QUESTIONS else edit.first
        ccid = self._new_ccid()
        try:
            diff = None if wanted is None else jsondiff.diff(data or {}, wanted)
            self.channel.submit(key, diff, source_of(ghost), ccid)
        except ProtocolError:
            # Only what others put there and we keep can be like this: text that is no Unicode, too deep.
            self._keep(key, replace(edit, refused=400))
            self._outcomes.append(Refusal(key, 400))
        else:
            self._keep(key, replace(edit, base=wanted, ccid=ccid))

    # Events

    def _take(self, event: Event) -> None:
        if isinstance(event, Updated):
            self._updated(event)
        elif isinstance(event, Settled | Unanswered):
            self._settled(event.sent)
        elif isinstance(event, Refused):
            self._refused(event)
        elif isinstance(event, CaughtUp):
            self._ready_all()

    def _updated(self, event: Updated) -> None:
        key, edit = event.key, self.memory.edit(event.key)
        before = event.before.data if event.before else None
        self._ghosts[key] = event.after
        if edit is None:
            self._tell(key, before, event.mine is not None)
            return
        shown, mine = edit.wanted, event.mine is not None and event.mine.ccid == edit.ccid
        self._keep(key, self._rebased(edit, before, event.after.data, mine))
        self._tell(key, shown, event.mine is not None)

    def _rebased(self, edit: Edit, before: Data, after: Data, mine: bool) -> Edit:
        """The edit over the next version; `mine` if that is the one our change in flight has made."""
        if edit.first is not None:
            return _begun(edit, before, after, mine)
        if mine or not edit.ccid:
            return Edit(after, merge(edit.base, edit.wanted, after))
        # Somebody else was first: our change in flight will be applied to theirs.
        base = merge(before, edit.base, after)
        return replace(edit, base=base, wanted=merge(edit.base, edit.wanted, base))

    def _settled(self, sent: Sent) -> None:
        """Over without a version to tell of: it had no effect, or it is in the ghost, or it will still come as a version."""
        key, edit, ghost = sent.key, self.memory.edit(sent.key), self._ghost_data(sent.key)
        if edit is None or edit.ccid != sent.ccid:
            return
        shown = edit.wanted
        if edit.first is not None and not ghost:
            self._keep(key, replace(edit, base=ghost, ccid="", asked=edit.asked + 1))
            return
        self._keep(key, Edit(ghost, merge(edit.base if edit.first is None else edit.first, edit.wanted, ghost)))
        self._tell(key, shown, False, always=False)

    def _refused(self, event: Refused) -> None:
        key, edit = event.sent.key, self.memory.edit(event.sent.key)
        if edit is None or edit.ccid != event.sent.ccid:
            return
        tries = edit.tries + 1
        final = event.code in _FINAL or tries >= _MOST_TRIES
        refused = event.code if final else 0
        ghost = self._ghost_data(key)
        first = None if ghost else edit.first
        self._keep(key, replace(edit, base=ghost, ccid="", refused=refused, tries=tries, first=first))
        if final:
            self._outcomes.append(Refusal(key, event.code))

    def _tell(self, key: str, before: Data, mine: bool, always: bool = True) -> None:
        ghost, data = self._ghost(key), self.view(key)
        if always or not same(before, data):
            version = 0 if ghost is None else ghost.version
            self._outcomes.append(Change(key, version, copied(data), copied(before), mine))


def _begun(edit: Edit, before: Data, after: Data, mine: bool) -> Edit:
    """An edit with a `first`, over the next version of what is empty, or was until now."""
    if not after:
        return replace(edit, base=after, ccid="", asked=_QUESTIONS) if mine else edit
    if mine and before:
        # Somebody filled it at the same moment, and what we began with went over what they did since: that is put back.
        return Edit(after, merge(edit.first, edit.wanted, before))
    wanted = merge(edit.first, edit.wanted, after)
    return Edit(after, wanted) if mine or not edit.ccid else replace(edit, wanted=wanted, first=after)
