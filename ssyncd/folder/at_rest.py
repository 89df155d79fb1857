"""Files at rest: what is one and the same in all three trees, with its stat and its ghost, held in a row of bytes.

A row takes some 150 bytes, the objects it stands for take 1,000, and a folder starts without making them. Directories and
links are few, and directories are asked for with everything that is in them: they stay entries.
"""

import struct
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, Generic, TypeVar

from ssyncd.disk.base import Stat
from ssyncd.planner.names import is_conflict_name
from ssyncd.planner.structure import Placed
from ssyncd.planner.tree import Content, Entry, Kind
from ssyncd.state.rows import RemoteRow, RestingRow

T = TypeVar("T")

# Whether it is executable, whether its place is ours; the numbers of its parent and its device; version, placed, size, mtime;
# mtime, ctime and inode of its stat; the number of its row in the database; hash. The name follows, in UTF-8.
_ROW = struct.Struct("<??IIqqqqqqqq32s")
_STAT = struct.Struct("<?25xq8xqqq")
_INODE = struct.Struct("<58xq")
_ID = struct.Struct("<66xq")
NOWHERE = Placed(0, False)
CACHED = 256
"""Entries made of rows that are kept, so that who asks again gets the same one."""


class FilesAtRest:
    """Implements `planner.tree.AtRest`. `released` takes the ghost and the stat of what is at rest no more; `ids` holds the
    numbers of the rows in the database for all others."""

    def __init__(self, released: Callable[[RemoteRow, Stat], None], ids: dict[str, int]) -> None:
        self.rows: dict[str, bytes] = {}
        self.names: dict[str, dict[str, str]] = {}
        self.size = 0
        self.conflicts = 0
        self._released = released
        self._ids = ids
        self._texts: list[str] = []
        self._numbers: dict[str, int] = {}
        self._made: dict[str, Entry] = {}

    def load(self, rows: Iterable[RestingRow]) -> Iterator[tuple[str, int]]:
        """Take in what the database has of this kind; the key and the stat's mtime of each."""
        parents: dict[bytes, tuple[int, dict[str, str]]] = {}
        for key, version, placed, mine, above, name, hash, size, mtime, by, exec, *stat in rows:
            if above not in parents:
                parent = above.hex()
                parents[above] = self._number(parent), self.names.setdefault(parent, {})
            number, names = parents[above]
            facts = (version, placed, size, mtime, *stat, self._ids.pop(key))
            self.rows[key] = _ROW.pack(exec, mine, number, self._number(by), *facts, hash) + name.encode()
            if names.setdefault(name, key) is key:
                self._count(name, size)
            else:
                self._released(*self._take_out(key))
            yield key, stat[0]

    def _number(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return number

    def add(self, ghost: RemoteRow, stat: Stat) -> bool:
        """Whether it is at rest now: it has to be a living file that is on this disk just as the server has it."""
        key, entry = ghost.key, ghost.entry
        if entry is None or entry.content is None or ghost.dead or not ghost.version:
            return False
        hash, size, mtime, by = entry.content
        if stat.kind != "file" or stat.size != size or stat.exec != entry.exec or entry.key != key:
            return False
        if self.names.get(entry.parent, {}).get(entry.name, key) != key:
            return False
        facts = (ghost.version, ghost.placed, size, mtime, stat.mtime, stat.ctime, stat.inode, self._ids.pop(key))
        numbers = self._number(entry.parent), self._number(by)
        row = _ROW.pack(entry.exec, ghost.mine, *numbers, *facts, bytes.fromhex(hash))
        self.rows[key] = row + entry.name.encode()
        self.names.setdefault(entry.parent, {})[entry.name] = key
        self._count(entry.name, size)
        return True

    def _count(self, name: str, size: int) -> None:
        self.size += size
        self.conflicts += is_conflict_name(name)

    def get(self, key: str) -> Entry | None:
        row = self.rows.get(key)
        if row is None:
            return None
        entry = self._made.get(key)
        if entry is None:
            if len(self._made) >= CACHED:
                self._made.clear()
            entry = self._made[key] = self._entry(key, row, _ROW.unpack_from(row))
        return entry

    def _entry(self, key: str, row: bytes, facts: tuple[Any, ...]) -> Entry:
        exec, _, parent, by, _, _, size, mtime, *_, hash = facts
        content = Content(hash.hex(), size, mtime, self._texts[by])
        return Entry(key, self._texts[parent], row[_ROW.size :].decode(), Kind.FILE, content, exec)

    def stat(self, key: str) -> Stat | None:
        row = self.rows.get(key)
        if row is None:
            return None
        exec, size, mtime, ctime, inode = _STAT.unpack_from(row)
        return Stat("file", size, mtime, ctime, inode, exec)

    def id(self, key: str) -> int | None:
        """The number of its row in the database."""
        row = self.rows.get(key)
        if row is None:
            return None
        id: int = _ID.unpack_from(row)[0]
        return id

    def ghost(self, key: str) -> RemoteRow | None:
        row = self.rows.get(key)
        if row is None:
            return None
        _, mine, _, _, version, placed, *_ = _ROW.unpack_from(row)
        return RemoteRow(key, version, False, placed, mine, self.get(key))

    def release(self, key: str) -> None:
        ghost, stat = self._take_out(key)
        assert ghost.entry is not None
        parent, name = ghost.entry.place
        del self.names[parent][name]
        if not self.names[parent]:
            del self.names[parent]
        self.size -= stat.size
        self.conflicts -= is_conflict_name(name)
        self._released(ghost, stat)

    def _take_out(self, key: str) -> tuple[RemoteRow, Stat]:
        row = self.rows.pop(key)
        facts = _ROW.unpack_from(row)
        entry = self._made.pop(key, None) or self._entry(key, row, facts)
        exec, mine, _, _, version, placed, size, _, mtime, ctime, inode, id, _ = facts
        self._ids[key] = id
        return RemoteRow(key, version, False, placed, mine, entry), Stat("file", size, mtime, ctime, inode, exec)


class ByKey(Generic[T]):
    """What belongs to entries: `resting` tells it of those at rest, `held` has it of all others."""

    def __init__(self, at_rest: FilesAtRest, resting: Callable[[str], T | None]) -> None:
        self.held: dict[str, T] = {}
        self._at_rest = at_rest
        self._rows = at_rest.rows
        self._resting = resting

    def get(self, key: str) -> T | None:
        value = self.held.get(key)
        return self._resting(key) if value is None and key in self._rows else value

    def __setitem__(self, key: str, value: T) -> None:
        if key in self._rows:
            self._at_rest.release(key)
        self.held[key] = value

    def pop(self, key: str, default: None = None) -> T | None:
        if key in self._rows:
            self._at_rest.release(key)
        return self.held.pop(key, default)


class StatsByKey(ByKey[Stat]):
    """Of what is on this disk."""

    def __init__(self, at_rest: FilesAtRest) -> None:
        super().__init__(at_rest, at_rest.stat)

    def of(self, inodes: Container[int]) -> set[str]:
        """Who has one of these inodes: all are looked through."""
        found = {key for key, stat in self.held.items() if stat.inode in inodes}
        return found.union(key for key, row in self._rows.items() if _INODE.unpack_from(row)[0] in inodes)


class Ghosts(ByKey[RemoteRow]):
    """Of all objects, the deleted ones included."""

    def __init__(self, at_rest: FilesAtRest) -> None:
        super().__init__(at_rest, at_rest.ghost)

    def version(self, key: str) -> int:
        """0 if there is none."""
        row = self.get(key)
        return row.version if row is not None else 0

    def placed(self, key: str) -> Placed:
        row = self.get(key)
        return NOWHERE if row is None else Placed(row.placed, row.mine)

    def tomb(self, key: str) -> Entry | None:
        """What was deleted on the server."""
        row = self.held.get(key)
        return row.entry if row is not None and row.dead else None

    def tombs(self) -> list[RemoteRow]:
        return [row for row in self.held.values() if row.dead]
