"""Contents that a change of ours overtook: each is fetched from the server's history and kept as a conflict copy."""

import logging
from collections.abc import Callable, Iterator

from ssyncd.errors import ContentError, DiskError
from ssyncd.folder.agenda import LOUD, delay_after
from ssyncd.folder.apply import Applier
from ssyncd.planner.names import conflict_name
from ssyncd.planner.tree import Entry, Kind
from ssyncd.protocol.events import VersionArrived
from ssyncd.state.rows import OvertakenRow

log = logging.getLogger(__name__)

_Id = tuple[str, int]
"""The key of an entry, and the version that was overtaken."""


class Overtaken:
    """Works off `record.overtaken`; a row goes when its copy is on this disk, so that a crash only repeats it. What failed is
    tried again, later each time."""

    def __init__(self, applier: Applier, ask: Callable[[str, int], None]) -> None:
        self._applier = applier
        self._record = applier.record
        self._ask = ask
        self._asked: set[_Id] = set()
        self._later: dict[_Id, float] = {}
        self._failures: dict[_Id, tuple[int, str]] = {}
        self._retry = True

    def retry(self) -> None:
        """Look at all of them again."""
        self._asked.clear()
        self._later.clear()
        self._retry = True

    @property
    def next(self) -> float | None:
        """When one of them is to be tried again."""
        return min(self._later.values(), default=None)

    def troubles(self) -> Iterator[tuple[str, str]]:
        """Keys and reasons of those that have failed so often that it is no chance."""
        return (
            (key, f"the conflict copy of it has to wait: {reason}")
            for (key, _), (count, reason) in self._failures.items()
            if count >= LOUD
        )

    def save(self) -> None:
        """Keep those whose content is here; ask for the others."""
        now = self._applier.local.clock.monotonic()
        for one in [one for one, due in self._later.items() if due <= now]:
            del self._later[one]
            self._asked.discard(one)
        if not self._retry and len(self._asked) == len(self._record.overtaken):
            return
        self._retry = False
        for one, row in list(self._record.overtaken.items()):
            if one in self._asked:
                continue
            self._asked.add(one)
            if row.entry.kind is Kind.LINK:
                self._keep(row)
            else:
                self._ask(*one)

    def arrived(self, event: VersionArrived) -> bool:
        """Whether the answer was for us; its body is among the bodies."""
        row = self._record.overtaken.get((event.key, event.version))
        if row is None:
            return False
        if event.data is None:
            log.warning("version %d of %r is no longer on the server", event.version, row.entry.name)
            self._drop(row)
        else:
            self._keep(row)
        return True

    def fetched(self, tag: str) -> None:
        """A large content is staged under this tag."""
        for row in self._tagged(tag):
            self._keep(row)

    def missed(self, tag: str, reason: str) -> bool:
        """A large content cannot be had now. Whether it was for us."""
        rows = self._tagged(tag)
        for row in rows:
            self._put_off(row, reason)
        return bool(rows)

    def _tagged(self, tag: str) -> list[OvertakenRow]:
        return [row for row in self._record.overtaken.values() if _tag(row) == tag]

    def _keep(self, row: OvertakenRow) -> None:
        try:
            if self._make_copy(row):
                self._drop(row)
        except (ContentError, DiskError) as error:
            self._put_off(row, error.reason if isinstance(error, DiskError) else str(error))

    def _put_off(self, row: OvertakenRow, reason: str) -> None:
        log.warning("the conflict copy of %r has to wait: %s", row.entry.name, reason)
        one = row.entry.key, row.version
        count = self._failures.get(one, (0, ""))[0] + 1
        self._failures[one] = count, reason
        self._later[one] = self._applier.local.clock.monotonic() + delay_after(count)

    def _drop(self, row: OvertakenRow) -> None:
        one = row.entry.key, row.version
        self._record.drop_overtaken(*one)
        self._asked.discard(one)
        self._later.pop(one, None)
        self._failures.pop(one, None)

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
        if entry.key not in self._record.remote and not here and not self._is_left_out(parent, entry):
            return entry.name  # our deletion overtook a change: it lives again
        when, by = (entry.content.mtime, entry.content.by) if entry.content else (None, entry.key[:6])
        first = conflict_name(entry.name, when, by, lambda _: False)
        for key in local.at(parent, first):
            there = local.get(key)
            if there is not None and there.same_content(entry):
                return None
        return conflict_name(entry.name, when, by, lambda name: bool(local.at(parent, name)))

    def _is_left_out(self, parent: str, entry: Entry) -> bool:
        """Under its own name, by the rules of this machine: something that is no entry may be there."""
        above = self._record.local.path(parent)
        path = f"{above}/{entry.name}" if above else entry.name
        return self._applier.local.exclusion.ignores(path, entry.kind is Kind.DIR)


def _tag(row: OvertakenRow) -> str:
    """What its staged file is called: no entry has this key."""
    return f"{int(row.entry.key, 16) ^ (row.version + 1):032x}"
