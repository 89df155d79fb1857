"""What a crash, or a step that failed twice, left in `.ssyncd/`: nothing a user wrote may end there.

Staged files hold only bytes of ours and may be dropped (a broken-off fetch finds its own again by its tag). What was parked,
moved aside or to be kept was at an entry's place and goes back, or beside what is there now; but for what was moved aside to be
removed, is just the version that the base knows, and has something in its place.
"""

import logging

from ssyncd.disk.base import Disk, Leftover
from ssyncd.errors import ChangedError, DiskError
from ssyncd.folder.record import Record
from ssyncd.planner.names import conflict_name

log = logging.getLogger(__name__)


def recover(disk: Disk, record: Record) -> None:
    """Before the first look, and after a step that failed. A leftover that cannot be dealt with now stays for the next time."""
    try:
        leftovers = disk.leftovers()
    except DiskError as error:
        log.warning("%s", error)
        return
    for leftover in leftovers:
        try:
            _recover(disk, record, leftover)
        except DiskError as error:
            log.warning("%s is left in .ssyncd: %s", leftover.name, error)


def _recover(disk: Disk, record: Record, leftover: Leftover) -> None:
    if leftover.origin == "staged" or (leftover.origin == "aside" and _is_empty_directory(disk, leftover)):
        return
    path = record.base.path(leftover.tag)
    known = leftover.stat.same(record.stats.get(leftover.tag))
    if leftover.origin == "aside" and known and path is not None and disk.stat(path) is not None:
        disk.drop(leftover)  # the old version, replaced as planned
        return
    wanted = path if path is not None and _parent_is_there(disk, path) else f"{leftover.tag[:8]} recovered"
    try:
        disk.restore(leftover, wanted)
    except ChangedError:
        directory, _, name = wanted.rpartition("/")
        free = conflict_name(name, leftover.stat.mtime // 1000, "recovered", lambda n: _is_there(disk, directory, n))
        wanted = f"{directory}/{free}" if directory else free
        disk.restore(leftover, wanted)
    log.info("%s, which a crash had left aside, is back", wanted)


def _is_empty_directory(disk: Disk, leftover: Leftover) -> bool:
    """It was to be removed; if nothing is in it, it is now."""
    if leftover.stat.kind != "dir":
        return False
    try:
        disk.drop(leftover)
    except DiskError:
        return False
    return True


def _parent_is_there(disk: Disk, path: str) -> bool:
    directory = path.rpartition("/")[0]
    stat = disk.stat(directory) if directory else None
    return not directory or (stat is not None and stat.kind == "dir")


def _is_there(disk: Disk, directory: str, name: str) -> bool:
    return disk.stat(f"{directory}/{name}" if directory else name) is not None
