"""Who is entangled with an entry that came, went, moved or was written."""

from collections.abc import Iterable

from ssyncd.disk.base import Disk
from ssyncd.errors import DiskError
from ssyncd.folder.agenda import Agenda
from ssyncd.folder.record import Record
from ssyncd.planner.tree import Entry


def touch_around(agenda: Agenda, record: Record, key: str, *entries: Entry | None) -> None:
    """Its directory, what is in it and who claims its place have to be planned too, where it was and where it is."""
    touch_freed(agenda, record, key, *entries)
    for entry in entries:
        if entry is not None and (record.ghosts.get(entry.parent) is not None or entry.parent in record.local):
            # Of a directory that nobody has told us of, nothing can be planned but that all in it has to wait.
            agenda.touch(entry.parent)


def look_at_other_names(agenda: Agenda, record: Record, disk: Disk, written: Iterable[str]) -> None:
    """Of a file with several names (hard links) the watcher tells by which one it was written; all of them show it."""
    shared = {
        stat.inode for key in written if (stat := record.stats.get(key)) and _has_others(disk, record.local.path(key))
    }
    if shared:
        for key in record.stats.of(shared).difference(written):
            if (path := record.local.path(key)) is not None:
                agenda.look(path)


def _has_others(disk: Disk, path: str | None) -> bool:
    try:
        return path is not None and disk.names(path) > 1
    except DiskError:
        return False


def touch_freed(agenda: Agenda, record: Record, key: str, *entries: Entry | None) -> None:
    """As above, but not its directory: it was planned with what went away."""
    trees = record.remote, record.local
    for tree in trees:
        if inside := tree.children(key):
            agenda.touch_all(inside)
        for entry in entries:
            others = tree.at(entry.parent, entry.name) if entry is not None else ()
            if others and others != (key,):
                agenda.touch_all(other for other in others if other != key)
