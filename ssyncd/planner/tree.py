"""Entry and Tree: the one picture of a folder, of which there are three (base, local, remote)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from blake3 import blake3

from ssyncd.planner.names import is_conflict_name


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

    @property
    def place(self) -> tuple[str, str]:
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
    """The key of an entry created at this place: BLAKE3(kind, parent key, name) cut to 128 bits, 32 hex digits.

    The kind is part of it because an object never changes its kind: a file and a directory made at one place at the same
    time on two machines have to be two objects.
    """
    return blake3(f"{kind}\0{parent}\0{name}".encode()).digest(16).hex()


class Tree:
    """Entries by key, with an index of children. Several entries may claim one place (a remote tree can be hurt so)."""

    __slots__ = ("_children", "_entries", "conflicts", "get", "size")

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self.size = 0
        """Bytes in all files whose content is known."""
        self.conflicts = 0
        """How many are named like a conflict copy."""
        # The entry of a key, or None. Not a method of ours: it is called several times for each key of each plan.
        self.get: Callable[[str], Entry | None] = self._entries.get
        # parent -> name -> the key there; several keys of one place are a dict, so that thousands of them stay cheap.
        self._children: dict[str, dict[str, str | dict[str, None]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def copy(self) -> "Tree":
        """Another tree of the same entries."""
        tree = Tree()
        tree._entries.update(self._entries)
        tree._children = {
            parent: {name: dict(found) if isinstance(found, dict) else found for name, found in names.items()}
            if any(isinstance(found, dict) for found in names.values())
            else names.copy()
            for parent, names in self._children.items()
        }
        tree.size, tree.conflicts = self.size, self.conflicts
        return tree

    def put(self, entry: Entry) -> None:
        """Add or replace the entry of this key."""
        before = self._entries.get(entry.key)
        if before is None or before.parent != entry.parent or before.name != entry.name:
            if before is not None:
                self._unlink(before)
            self._link(entry)
        if before is not None and before.content is not None:
            self.size -= before.content.size
        if entry.content is not None:
            self.size += entry.content.size
        self._entries[entry.key] = entry

    def remove(self, key: str) -> Entry | None:
        """Take the entry out; its children stay, without a parent."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._unlink(entry)
            if entry.content is not None:
                self.size -= entry.content.size
        return entry

    def at(self, parent: str, name: str) -> tuple[str, ...]:
        """The keys of all entries that claim this place."""
        names = self._children.get(parent)
        found = names.get(name) if names else None
        if found is None:
            return ()
        return (found,) if isinstance(found, str) else tuple(found)

    def children(self, parent: str) -> list[str]:
        """The keys of all entries directly in this directory ("" is the top)."""
        keys: list[str] = []
        names = self._children.get(parent)
        for found in names.values() if names else ():
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

    def misplaced(self) -> list[Entry]:
        """Those that share their place, whose directory is not in the tree, and directories without a way to the top."""
        entries, misplaced = self._entries, list[Entry]()
        for parent, names in self._children.items():
            lost = parent != "" and parent not in entries
            for found in names.values():
                if isinstance(found, dict):
                    misplaced.extend(entries[key] for key in found)
                elif lost or (entries[found].kind is Kind.DIR and self.path(found) is None):
                    misplaced.append(entries[found])
        return misplaced

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
        self.put(replace(entry, key=new))
        for child in self.children(old):
            self.put(replace(self._entries[child], parent=new))

    def _link(self, entry: Entry) -> None:
        self.conflicts += is_conflict_name(entry.name)
        names = self._children.setdefault(entry.parent, {})
        found = names.setdefault(entry.name, entry.key)
        if isinstance(found, dict):
            found[entry.key] = None
        elif found != entry.key:
            names[entry.name] = {found: None, entry.key: None}

    def _unlink(self, entry: Entry) -> None:
        self.conflicts -= is_conflict_name(entry.name)
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
