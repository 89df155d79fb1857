"""What a step stands on: where entries are and what is there; and what the base says after it."""

from ssyncd.disk.base import Stat
from ssyncd.errors import ChangedError, GoneError
from ssyncd.folder.record import Record
from ssyncd.planner.reconcile import base_after
from ssyncd.planner.tree import Entry


class Footing:
    """By what the record has of this disk: GoneError, ChangedError where there is no such thing any more."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def path(self, key: str) -> str:
        path = self.record.local.path(key)
        if path is None:
            raise GoneError(key, "its directory is gone")
        return path

    def path_at(self, parent: str, name: str) -> str:
        above = self.path(parent) if parent else ""
        return f"{above}/{name}" if above else name

    def free_path(self, parent: str, name: str) -> str:
        """A path where nothing is, for all we know: whoever was to leave it may not have, or has gone without our knowing."""
        path = self.path_at(parent, name)
        if self.record.local.at(parent, name):
            raise ChangedError(path, "its place is not free")
        return path

    def here(self, key: str) -> Entry:
        """The local entry; an earlier step of the same plan may have found that it is gone."""
        entry = self.record.local.get(key)
        if entry is None:
            raise GoneError(key, "it is not here any more")
        return entry

    def expected(self, key: str, path: str) -> Stat:
        stat = self.record.stats.get(key)
        if stat is None:
            raise ChangedError(path, "it has not been looked at")
        return stat

    def based(self, key: str, before: Entry | None) -> None:
        """The base says what was really done by a step; `before` it the local entry was this."""
        local, remote = self.record.local.get(key), self.record.remote.get(key)
        if local is not None and local.same(remote):
            self.record.agree(key)
            return
        after = base_after(self.record.base.get(key), before, local, remote)
        if after is None:
            self.record.drop_base(key)
        else:
            self.record.set_base(after)
