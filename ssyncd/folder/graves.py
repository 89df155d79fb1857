"""After the state was lost: what is here just as it was when another machine deleted it, was deleted, and is not new.

The server's history is asked before the first look (`history`); its answer is in the record until everything was compared once.
"""

import logging
from collections.abc import Callable, Iterable

from ssyncd.folder.record import Record
from ssyncd.planner.plan import Rekey
from ssyncd.planner.tree import Entry, Place

log = logging.getLogger(__name__)

LOST = "lost"
"""The name in the meta table that says that the state was lost, and not everything was compared since."""


class Graves:
    """`rekey` gives a local entry another key."""

    def __init__(self, record: Record, rekey: Callable[[Rekey], None]) -> None:
        self._record = record
        self._rekey = rekey
        self._by_place: dict[Place, list[Entry]] = {}
        if LOST in record.meta:
            for row in record.ghosts.tombs():
                if row.entry is not None:
                    self._by_place.setdefault(row.entry.place, []).append(row.entry)

    def match(self, keys: Iterable[str]) -> None:
        """Of these keys, which are about to be planned: what was deleted elsewhere was agreed on once."""
        if self._by_place:
            for key in keys:
                self._match(key)

    def _match(self, key: str) -> None:
        record, local = self._record, self._record.local.get(key)
        if local is None or not local.read or key in record.base or key in record.remote:
            return
        if record.remote.at(*local.place):
            return  # another one took its place
        for grave in self._by_place.get(local.place, ()):
            if grave.kind is not local.kind or not local.same_content(grave) or grave.key in record.remote:
                continue
            if grave.key != key and grave.key in record.local:
                continue
            if grave.key != key:
                self._rekey(Rekey(key, grave.key))
            log.info("%r was deleted elsewhere", record.local.path(grave.key))
            record.set_base(grave)
            return

    def end(self) -> None:
        """Everything was compared: what comes now is new."""
        if LOST in self._record.meta:
            self._by_place.clear()
            self._record.set_meta(LOST, None)


def bury(record: Record, removed: Iterable[Entry]) -> None:
    """The state was lost: note that, and what the server's history tells to be removed."""
    record.set_meta(LOST, "1")
    for entry in removed:
        record.bury(entry)
