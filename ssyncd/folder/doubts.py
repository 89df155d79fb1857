"""Has the server lost something? An old backup was put in place, or everything is gone: its versions went back.

After an index, whatever is not as our ghosts had it may be news, or the past. The version we had tells: a server that still has
it in its history has gone on from there. One that has not never heard of what was agreed since, so nothing may be deleted or
replaced here for its sake: what it lacks is new to it, and where it is as it once was ours is an edit of that. What it was given
since it was put back is neither, and is kept beside ours.
"""

import logging
from collections.abc import Callable

from msgspec import Struct

from ssyncd.folder.entries import WHOLE
from ssyncd.folder.record import Record
from ssyncd.planner.tree import Entry
from ssyncd.protocol.events import Updated, VersionArrived
from ssyncd.protocol.ghosts import Ghost, same_data

log = logging.getLogger(__name__)


class _Doubt(Struct, frozen=True):
    ghost: Ghost
    base: Entry


class Doubts:
    """Keys in doubt are not planned. `ask` asks the server for one version of an object.

    In the record the worst is taken for true until the answer comes, so that a crash before it loses nothing.
    """

    def __init__(self, record: Record, ask: Callable[[str, int], None]) -> None:
        self._record = record
        self._ask = ask
        self._doubts: dict[str, _Doubt] = {}
        self._lost = 0

    def __contains__(self, key: object) -> bool:
        return key in self._doubts

    def listed(self, event: Updated) -> None:
        """What an index said of an object, or that it did not list it, is in the record."""
        key, record, before = event.key, self._record, event.before
        base, remote = record.base.get(key), record.remote.get(key)
        if base is None or before is None or before.data is None or key in self._doubts:
            return
        self._doubts[key] = _Doubt(before, base)
        if remote is not None and self._was_ours(remote, base, event.after.version, before.version):
            record.set_base(remote)
        else:
            record.drop_base(key)
        self._ask(key, before.version)

    def _was_ours(self, remote: Entry, base: Entry, version: int, before: int) -> bool:
        """Whether what the server shows is our own past."""
        return version < before and (remote.same_content(base) or self._record.held(remote.key, version, remote))

    def arrived(self, event: VersionArrived) -> bool:
        """Whether this answer was for us."""
        doubt = self._doubts.get(event.key)
        if doubt is None or doubt.ghost.version != event.version:
            return False
        del self._doubts[event.key]
        data = doubt.ghost.data or {}
        if event.data is not None and same_data(data, event.data, WHOLE):
            self._record.set_base(doubt.base)
        else:
            log.debug("the server has lost version %d of %r", event.version, doubt.base.name)
            self._lost += 1
        if self._lost and not self._doubts:
            log.warning("the server has lost versions of %d entries: they are offered again", self._lost)
            self._lost = 0
        return True
