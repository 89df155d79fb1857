"""The rows of the state database, as values and as columns."""

import sys
from typing import Any, NamedTuple

from msgspec import Struct, field

from ssyncd.disk.base import Stat
from ssyncd.planner.tree import Content, Entry, Kind

_KINDS = {str(kind): kind for kind in Kind}

Columns = tuple[Any, ...]


class RemoteRow(NamedTuple):
    """A ghost. `entry` of a dead one is its last; None where we never knew it."""

    key: str
    version: int
    dead: bool
    placed: int
    mine: bool
    entry: Entry | None


class BaseRow(NamedTuple):
    """`same`: the entry is the one in the remote row; `stat` None: agreed, but not on this disk in this form; `version`: the
    server's, when its content was agreed on."""

    entry: Entry
    stat: Stat | None
    version: int = 0
    same: bool = False


RestingRow = tuple[str, int, int, int, bytes, str, bytes, int, int, str, int, int, int, int]
"""A file that is at rest (see `database.AT_REST`): key, version, placed, mine, parent, name, hash, size, mtime, by, exec, and the
mtime, ctime and inode of its stat."""


class SentRow(NamedTuple):
    ccid: str
    key: str
    source: int | None


class OvertakenRow(NamedTuple):
    """Content that our change replaced without having seen it; `entry` as it was in that version."""

    version: int
    entry: Entry


class Writes(Struct):
    """What one transaction writes; None removes."""

    meta: dict[str, str | None] = field(default_factory=dict)
    remote: dict[str, RemoteRow] = field(default_factory=dict)
    base: dict[str, BaseRow | None] = field(default_factory=dict)
    sent: dict[str, SentRow | None] = field(default_factory=dict)
    overtaken: dict[tuple[str, int], OvertakenRow | None] = field(default_factory=dict)
    chunks: dict[str, bytes | None] = field(default_factory=dict)
    past: dict[tuple[str, int], str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any((self.meta, self.remote, self.base, self.sent, self.overtaken, self.chunks, self.past))


PLACE = ("parent", "name")
FACETS = ("hash", "size", "mtime", "by", "exec", "target")
ENTRY = (*PLACE, "kind", *FACETS)
REMOTE = ("version", "dead", "placed", "mine", *ENTRY)
STAT = ("stat_kind", "stat_size", "stat_mtime", "stat_ctime", "stat_inode", "stat_exec")
BASE = ("base_version", "same", *(f"base_{name}" for name in ENTRY), *STAT)


def place(entry: Entry) -> tuple[bytes, str]:
    return bytes.fromhex(entry.parent), entry.name


def facets(entry: Entry) -> Columns:
    content = entry.content
    known = (bytes.fromhex(content.hash), content.size, content.mtime, content.by) if content else (None,) * 4
    return (*known, entry.exec, entry.target)


def _of_entry(entry: Entry | None) -> Columns:
    return (None,) * len(ENTRY) if entry is None else (*place(entry), entry.kind, *facets(entry))


def of_remote(row: RemoteRow) -> Columns:
    return (row.version, row.dead, row.placed, row.mine, *_of_entry(row.entry))


def of_base(row: BaseRow | None) -> Columns:
    if row is None:
        return (None,) * len(BASE)
    return (row.version, row.same, *_of_entry(None if row.same else row.entry), *(row.stat or (None,) * len(STAT)))


def remote(key: str, columns: Columns) -> RemoteRow | None:
    version, dead, placed, mine = columns[:4]
    if version is None:
        return None
    known = columns[6] is not None
    return RemoteRow(key, version, bool(dead), placed, bool(mine), entry(key, columns[4:]) if known else None)


def base(key: str, columns: Columns, ghost: RemoteRow | None) -> BaseRow | None:
    """ValueError: it is to be the same as the ghost, which has no entry."""
    version, same = columns[:2]
    if version is None:
        return None
    found = (ghost.entry if ghost is not None and not ghost.dead else None) if same else entry(key, columns[2:11])
    if found is None:
        raise ValueError(f"the base entry {key} has no remote entry to be equal to")
    return BaseRow(found, _stat(columns[11:]), version, bool(same))


def _stat(columns: Columns) -> Stat | None:
    kind, size, mtime, ctime, inode, exec = columns
    return Stat(kind, size, mtime, ctime, inode, exec if exec is None else bool(exec)) if kind is not None else None


def entry(key: str, columns: Columns) -> Entry:
    parent, name, kind, hash, size, mtime, by, exec, target = columns
    # What many rows have in common is one object.
    content = Content(hash.hex(), size, mtime, _shared(by)) if hash is not None else None
    return Entry(key, _shared(parent.hex()), name, _KINDS.get(kind) or Kind(kind), content, bool(exec), target)


def _shared(text: str) -> str:
    return sys.intern(text) if type(text) is str else text  # a damaged file may hold anything
