"""Contents that a change of ours overtook: each is fetched from the server's history and kept as a conflict copy."""

import logging
from collections.abc import Callable

from ssyncd.errors import ContentError, DiskError
from ssyncd.folder.apply import Applier
from ssyncd.planner.names import conflict_name
from ssyncd.planner.tree import Kind
from ssyncd.protocol.events import VersionArrived
from ssyncd.state.rows import OvertakenRow

log = logging.getLogger(__name__)


class Overtaken:
    """Works off `record.overtaken`; a row goes when its copy is on this disk, so that a crash only repeats it."""

    def __init__(self, applier: Applier, ask: Callable[[str, int], None]) -> None:
        self._applier = applier
        self._record = applier.record
        self._ask = ask
        self._asked: set[tuple[str, int]] = set()
        self._retry = True

    def retry(self) -> None:
        """Look at all of them again."""
        self._asked.clear()
        self._retry = True

    def save(self) -> None:
        """Keep those whose content is here; ask for the others."""
        if not self._retry and len(self._asked) == len(self._record.overtaken):
            return
        self._retry = False
        for (key, version), row in list(self._record.overtaken.items()):
            if row.entry.kind is Kind.LINK:
                self._keep(row)
            elif (key, version) not in self._asked:
                self._asked.add((key, version))
                self._ask(key, version)

    def arrived(self, event: VersionArrived) -> bool:
        """Whether the answer was for us; its body is among the bodies."""
        row = self._record.overtaken.get((event.key, event.version))
        if row is None:
            return False
        if event.data is None:
            log.warning("version %d of %r is no longer on the server", event.version, row.entry.name)
            self._record.drop_overtaken(event.key, event.version)
        else:
            self._keep(row)
        return True

    def fetched(self, tag: str) -> None:
        """A large content is staged under this tag."""
        for row in list(self._record.overtaken.values()):
            if _tag(row) == tag:
                self._keep(row)

    def _keep(self, row: OvertakenRow) -> None:
        try:
            done = self._make_copy(row)
        except (ContentError, DiskError) as error:
            log.warning("the conflict copy of %r has to wait: %s", row.entry.name, error)
            self._asked.discard((row.entry.key, row.version))
            return
        if done:
            self._record.drop_overtaken(row.entry.key, row.version)
            self._asked.discard((row.entry.key, row.version))

    def _make_copy(self, row: OvertakenRow) -> bool:
        applier, record = self._applier, self._record
        parent = row.entry.parent if row.entry.parent in record.local else ""
        name = self._name(row, parent)
        if name is None:
            return True
        key = applier.local.new_key(parent, name, row.entry.kind)
        copy = row.entry._replace(key=key, parent=parent, name=name)
        if copy.content is None:
            applier.make_extra(copy)
        elif applier.supply.want(_tag(row), copy.content, row.version):
            applier.make_extra(copy, _tag(row))
        else:
            return False
        log.info("%r is what another machine had written to %r", name, row.entry.name)
        return True

    def _name(self, row: OvertakenRow, parent: str) -> str | None:
        """The copy's name; None if the content is there under a name of this form already."""
        local, entry = self._record.local, row.entry
        here = [local.get(key) for key in local.at(parent, entry.name)]
        if entry.key not in self._record.remote and not here:
            return entry.name  # our deletion overtook a change: it lives again
        when, by = (entry.content.mtime, entry.content.by) if entry.content else (None, entry.key[:6])
        first = conflict_name(entry.name, when, by, lambda _: False)
        for key in local.at(parent, first):
            there = local.get(key)
            if there is not None and there.same_content(entry):
                return None
        return conflict_name(entry.name, when, by, lambda name: bool(local.at(parent, name)))


def _tag(row: OvertakenRow) -> str:
    """What its staged file is called: no entry has this key."""
    return f"{int(row.entry.key, 16) ^ (row.version + 1):032x}"
