"""Entry and Tree: the one picture of a folder, of which there are three (base, local, remote)."""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from itertools import chain
from typing import NamedTuple, Protocol

from blake3 import blake3

from ssyncd.planner.names import is_conflict_name

Place = tuple[str, str]
"""Where an entry is: the key of its directory ("" at the top) and its name there."""


class Kind(StrEnum):
    FILE = "file"
    DIR = "dir"
    LINK = "link"


class Content(NamedTuple):
    """What a file holds: BLAKE3 `hash` (64 hex digits), `size` in bytes, `mtime` in microseconds, `by` the device.

    Two contents with one hash are the same content, whatever the rest says.
    """

    hash: str
    size: int
    mtime: int
    by: str


class Entry(NamedTuple):
    """One file, directory or link. `content` of a file is None only in the local tree, while it has not been read yet."""

    key: str
    parent: str
    name: str
    kind: Kind
    content: Content | None = None
    exec: bool = False
    target: str = ""

    @property
    def place(self) -> Place:
        return self.parent, self.name

    @property
    def read(self) -> bool:
        """Whether we know what it holds."""
        return self.kind is not Kind.FILE or self.content is not None

    def same_content(self, other: "Entry") -> bool:
        """Equal bytes (files) or equal text (links); false while either has not been read."""
        if self.content is not None:
            return other.content is not None and self.content.hash == other.content.hash
        return self.kind is not Kind.FILE and other.content is None and self.target == other.target

    def same(self, other: "Entry | None") -> bool:
        """Equal in every facet; a different mtime alone makes no difference."""
        return self is other or (
            other is not None
            and self.name == other.name
            and self.parent == other.parent
            and self.kind is other.kind
            and self.exec == other.exec
            and self.same_content(other)
        )


def birth_key(parent: str, name: str, kind: Kind) -> str:
    """The key of an entry created at this place, 32 hex digits: BLAKE3(kind, parent key, name), but that of a directory begins
    with 0, and that of anything else with f and 7 digits of BLAKE3(parent key).

    The kind is part of it because an object never changes its kind: a file and a directory made at one place at the same
    time on two machines have to be two objects. An index comes in the order of keys: so it names directories first, and then
    what is in one of them together, and few of them have to be opened at a time.
    """
    born = blake3(f"{kind}\0{parent}\0{name}".encode()).digest(16).hex()
    return f"0{born[1:]}" if kind is Kind.DIR else _inside(parent) + born[8:]


@lru_cache(1000)
def _inside(parent: str) -> str:
    return f"f{blake3(parent.encode()).digest(4).hex()[1:]}"


class AtRest(Protocol):
    """Entries that are one and the same in several trees, held once for all of them. No two have one place."""

    size: int
    conflicts: int

    @property
    def rows(self) -> Mapping[str, object]:
        """By key, always the same mapping; what they are is not the trees' affair."""

    @property
    def names(self) -> Mapping[str, Mapping[str, str]]:
        """Parent to name to key, always the same mapping."""

    def get(self, key: str, /) -> Entry | None: ...

    def release(self, key: str, /) -> None:
        """One of the trees is going to change this entry: each of them holds it by itself from now on (`Tree.hold`)."""


class _NoneAtRest:
    rows: Mapping[str, object] = {}
    names: Mapping[str, Mapping[str, str]] = {}
    size = conflicts = 0

    def get(self, _: str) -> Entry | None:
        return None

    def release(self, _: str) -> None:
        """Is never asked to."""


class _Entries(dict[str, Entry]):
    """With `[]`, what is at rest is found too, or None; all else is about what the tree holds by itself."""

    __slots__ = ("_get", "_rows")

    def __init__(self, at_rest: AtRest) -> None:
        self._rows, self._get = at_rest.rows, at_rest.get

    def __missing__(self, key: str) -> Entry | None:
        return self._get(key) if key in self._rows else None


class Tree:
    """Entries by key, with an index of children. Several entries may claim one place (a remote tree can be hurt so).

    What is `at_rest` is in the tree, too.
    """

    __slots__ = ("_at_rest", "_children", "_conflicts", "_entries", "_names", "_rows", "_size", "get")

    def __init__(self, at_rest: AtRest | None = None) -> None:
        self._at_rest = at_rest = _NoneAtRest() if at_rest is None else at_rest
        self._rows, self._names = at_rest.rows, at_rest.names
        self._entries = _Entries(at_rest)
        self._size = self._conflicts = 0
        # The entry of a key, or None. Not a method of ours: it is called several times for each key of each plan.
        self.get: Callable[[str], Entry | None] = self._entries.__getitem__
        # parent -> name -> the key there; several keys of one place are a dict, so that thousands of them stay cheap.
        self._children: dict[str, dict[str, str | dict[str, None]]] = {}

    def __len__(self) -> int:
        return len(self._entries) + len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return chain(self._entries, self._rows)

    def __contains__(self, key: str) -> bool:
        return key in self._entries or key in self._rows

    @property
    def held(self) -> dict[str, Entry]:
        """What this tree holds by itself."""
        return self._entries

    @property
    def size(self) -> int:
        """Bytes in all files whose content is known."""
        return self._size + self._at_rest.size

    @property
    def conflicts(self) -> int:
        """How many are named like a conflict copy."""
        return self._conflicts + self._at_rest.conflicts

    def put(self, entry: Entry) -> None:
        """Add or replace the entry of this key."""
        if entry.key in self._rows:
            self._at_rest.release(entry.key)
        self.hold(entry)

    def hold(self, entry: Entry) -> None:
        """Put an entry that is not at rest, or not any more."""
        before = self._entries.get(entry.key)
        if before is entry:
            return
        if before is None:
            self._link(entry)
        else:
            if before.parent != entry.parent or before.name != entry.name:
                self._unlink(before)
                self._link(entry)
            if before.content is not None:
                self._size -= before.content.size
        if entry.content is not None:
            self._size += entry.content.size
        self._entries[entry.key] = entry

    def remove(self, key: str) -> Entry | None:
        """Take the entry out; its children stay, without a parent."""
        if key in self._rows:
            self._at_rest.release(key)
        return self.let_go(key)

    def let_go(self, key: str) -> Entry | None:
        """Take out an entry that is not at rest, or is about to be."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._unlink(entry)
            if entry.content is not None:
                self._size -= entry.content.size
        return entry

    def at(self, parent: str, name: str) -> tuple[str, ...]:
        """The keys of all entries that claim this place."""
        held, rest = self._children.get(parent), self._names.get(parent)
        found = held.get(name) if held is not None else None
        keys = () if found is None else (found,) if isinstance(found, str) else tuple(found)
        resting = rest.get(name) if rest is not None else None
        return keys if resting is None else (*keys, resting)

    def names(self, parent: str) -> Iterator[tuple[str, str]]:
        """Name and key of all entries directly in this directory ("" is the top)."""
        for name, found in self._children.get(parent, {}).items():
            if isinstance(found, str):
                yield name, found
            else:
                yield from ((name, key) for key in found)
        yield from self._names.get(parent, {}).items()

    def children(self, parent: str) -> list[str]:
        """The keys of all entries directly in this directory ("" is the top)."""
        if parent not in self._children and parent not in self._names:
            return []  # as of every file
        return [key for _, key in self.names(parent)]

    def path(self, key: str) -> str | None:
        """Names from the top joined by "/"; None if a parent is missing or the parents form a cycle."""
        names: list[str] = []
        seen = set[str]()
        while key:
            entry = self.get(key)
            if entry is None or key in seen:
                return None
            seen.add(key)
            names.append(entry.name)
            key = entry.parent
        return "/".join(reversed(names))

    def find(self, path: str) -> str | None:
        """The key at a path ("" for the top), if just one entry claims each place on the way."""
        key = ""
        for name in path.split("/") if path else []:
            found = self.at(key, name)
            if len(found) != 1:
                return None
            key = found[0]
        return key

    def misplaced(self) -> list[Entry]:
        """Those that share their place, whose directory is not in the tree, and directories without a way to the top."""
        return [entry for parent in {**self._children, **self._names} for entry in self._misplaced(parent)]

    def _misplaced(self, parent: str) -> Iterator[Entry]:
        """Of those in one directory."""
        held, resting = self._children.get(parent, {}), self._names.get(parent, {})
        if parent and parent not in self:
            suspects = self.children(parent)
        elif held:
            suspects = []
            for name, found in held.items():
                if isinstance(found, dict) or name in resting:
                    suspects.extend(self.at(parent, name))
                elif self._entries[found].kind is Kind.DIR and self.path(found) is None:
                    suspects.append(found)
        else:
            return
        yield from (entry for key in suspects if (entry := self.get(key)) is not None)

    def below(self, key: str) -> list[str]:
        """Every key under a directory, parents before children. The tree must have no cycle here."""
        keys = self.children(key)
        for child in keys:
            keys.extend(self.children(child))
        return keys

    def rekey(self, old: str, new: str) -> None:
        """Give an entry another key, one that is not in the tree; what is inside it follows."""
        entry = self.remove(old)
        if entry is None:
            return
        self.put(entry._replace(key=new))
        for child in self.children(old):
            if (inner := self.get(child)) is not None:
                self.put(inner._replace(parent=new))

    def _link(self, entry: Entry) -> None:
        self._conflicts += is_conflict_name(entry.name)
        names = self._children.setdefault(entry.parent, {})
        found = names.setdefault(entry.name, entry.key)
        if isinstance(found, dict):
            found[entry.key] = None
        elif found != entry.key:
            names[entry.name] = {found: None, entry.key: None}

    def _unlink(self, entry: Entry) -> None:
        self._conflicts -= is_conflict_name(entry.name)
        names = self._children[entry.parent]
        found = names[entry.name]
        if isinstance(found, dict):
            del found[entry.key]
            if len(found) == 1:
                names[entry.name] = next(iter(found))
            return
        del names[entry.name]
        if not names:
            del self._children[entry.parent]
