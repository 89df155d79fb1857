"""Entry and Tree: the one picture of a folder, of which there are three (base, local, remote)."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from blake3 import blake3


class Kind(StrEnum):
    FILE = "file"
    DIR = "dir"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds: BLAKE3 `hash` (64 hex digits), `size` in bytes, `mtime` in microseconds, `by` the device.

    Two contents with one hash are the same content, whatever the rest says.
    """

    hash: str
    size: int
    mtime: int
    by: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory or link. `content` of a file is None only in the local tree, while it has not been read yet."""

    key: str
    parent: str
    name: str
    kind: Kind
    content: Content | None = None
    exec: bool = False
    target: str = ""


def birth_key(parent: str, name: str) -> str:
    """The key of an entry created at this place: BLAKE3(parent key, NUL, name) cut to 128 bits, 32 hex digits."""
    return blake3(f"{parent}\0{name}".encode()).digest(16).hex()


class Tree:
    """Entries by key, with an index of children. Several entries may claim one place (a remote tree can be hurt so)."""

    __slots__ = ("_children", "_entries")

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._children: dict[str, dict[str, str | tuple[str, ...]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def put(self, entry: Entry) -> None:
        """Add or replace the entry of this key."""
        before = self._entries.get(entry.key)
        if before is None or before.parent != entry.parent or before.name != entry.name:
            if before is not None:
                self._unlink(before)
            self._link(entry)
        self._entries[entry.key] = entry

    def remove(self, key: str) -> Entry | None:
        """Take the entry out; its children stay, without a parent."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._unlink(entry)
        return entry

    def at(self, parent: str, name: str) -> tuple[str, ...]:
        """The keys of all entries that claim this place."""
        found = self._children.get(parent, {}).get(name, ())
        return (found,) if isinstance(found, str) else found

    def children(self, parent: str) -> list[str]:
        """The keys of all entries directly in this directory ("" is the top)."""
        keys: list[str] = []
        for found in self._children.get(parent, {}).values():
            if isinstance(found, str):
                keys.append(found)
            else:
                keys.extend(found)
        return keys

    def path(self, key: str) -> str | None:
        """Names from the top joined by "/"; None if a parent is missing or the parents form a cycle."""
        names: list[str] = []
        seen = set[str]()
        while key:
            entry = self._entries.get(key)
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

    def below(self, key: str) -> Iterator[str]:
        """Every key under a directory, parents before children."""
        for child in self.children(key):
            yield child
            yield from self.below(child)

    def _link(self, entry: Entry) -> None:
        names = self._children.setdefault(entry.parent, {})
        found = names.get(entry.name)
        if found is None:
            names[entry.name] = entry.key
        else:
            names[entry.name] = (found, entry.key) if isinstance(found, str) else (*found, entry.key)

    def _unlink(self, entry: Entry) -> None:
        names = self._children[entry.parent]
        found = names[entry.name]
        if isinstance(found, str):
            del names[entry.name]
            if not names:
                del self._children[entry.parent]
            return
        rest = tuple(key for key in found if key != entry.key)
        names[entry.name] = rest[0] if len(rest) == 1 else rest
