"""What is moved aside for a moment, so that others can take its place."""

import logging

from ssyncd.disk.base import Disk, Stat
from ssyncd.errors import DiskError
from ssyncd.folder.record import Record
from ssyncd.planner.names import conflict_name
from ssyncd.planner.tree import Entry, Place

log = logging.getLogger(__name__)


class Parking:
    """By key: the entry as it was, and the path it had."""

    def __init__(self, record: Record, disk: Disk) -> None:
        self._record = record
        self._disk = disk
        self._parked: dict[str, tuple[Entry, str]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._parked

    @property
    def keys(self) -> list[str]:
        return list(self._parked)

    def park(self, entry: Entry, path: str, expected: Stat) -> None:
        self._disk.park(path, entry.key, expected)
        self._parked[entry.key] = entry, path
        # It is nowhere now: whatever becomes of its directory does not happen to it.
        self._record.local.remove(entry.key)

    def unpark(self, key: str, path: str) -> tuple[Entry, str, Stat]:
        """Put it at this path: the entry and the path it had, and what is there now."""
        stat = self._disk.unpark(key, path)
        return *self._parked.pop(key), stat

    def former(self, key: str) -> Entry:
        return self._parked[key][0]

    def beside(self, key: str) -> Place:
        """A place for what can not go back to its own, as somebody else is there, or its directory is gone."""
        entry, local = self._parked[key][0], self._record.local
        parent = entry.parent if not entry.parent or local.path(entry.parent) is not None else ""
        return parent, conflict_name(entry.name, None, "moved aside", lambda name: bool(local.at(parent, name)))

    def give_up(self, key: str, error: DiskError) -> None:
        """Neither place can be had: it stays in `.ssyncd/`, where it is found again as a leftover."""
        entry, _ = self._parked.pop(key)
        log.warning("%s was moved aside and could not be put back yet: %s", entry.name, error)
