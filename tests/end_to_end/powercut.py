"""What a disk may hold after a power cut, from the file-system calls that `preload/recording.c` wrote down.

Certain is only what was made durable: the bytes of a file by `fsync` of that file, a name by `fsync` of a directory it is or was
in (with the names of new directories above it, as all journalling file systems do), everything by `syncfs`. Of the rest a disk
has nothing, all, or any part: of bytes any blocks, of names any changes that make sense (each whole: renames are atomic).
After "All file systems are not created equal" (Pillai et al., OSDI 2014).
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from pathlib import Path
from random import Random

BLOCK = 4096
_HEAD = struct.Struct("=IIIIQQ")


class Kind(IntEnum):
    """As in recording.c."""

    WRITE = 1
    TRUNCATE = 2
    SYNC = 3
    SYNC_ALL = 4
    CREATE = 5
    MKDIR = 6
    RENAME = 7
    UNLINK = 8
    RMDIR = 9
    LINK = 10


@dataclass(frozen=True, slots=True)
class Call:
    """`end`: where its record ends in the file."""

    kind: Kind
    path: str
    other: str
    inode: int
    offset: int
    data: bytes
    end: int


def read_calls(record: Path) -> Iterator[Call]:
    """A last one that is not whole is left out: its process was ended."""
    with record.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            kind, first, second, size, inode, offset = _HEAD.unpack(head)
            rest = file.read(first + second + size)
            if len(rest) < first + second + size:
                return
            path, other = os.fsdecode(rest[:first]), os.fsdecode(rest[first : first + second])
            yield Call(Kind(kind), path, other, inode, offset, rest[first + second :], file.tell())


class Rest(Enum):
    """What becomes of all that was not made durable."""

    NOTHING = "nothing"
    SOME = "some"
    ALL = "all"


@dataclass
class Node:
    """A file: its bytes for certain, and the calls since."""

    bytes: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)

    def sync(self) -> None:
        for call in self.pending:
            change(self.bytes, call, None)
        self.pending.clear()

    def after(self, rest: Rest, random: Random) -> bytes:
        found = bytearray(self.bytes)
        for call in self.pending:
            if rest is Rest.ALL or (rest is Rest.SOME and random.random() < 0.7):
                change(found, call, random if rest is Rest.SOME else None)
        return bytes(found)


def change(content: bytearray, call: Call, random: Random | None) -> None:
    """Do a write or a truncation; with `random` some blocks of a write only."""
    if call.kind is Kind.TRUNCATE:
        del content[call.offset :]
        content.extend(bytes(call.offset - len(content)))
        return
    at, end = call.offset, call.offset + len(call.data)
    while at < end:
        until = min(end, (at // BLOCK + 1) * BLOCK)
        if random is None or random.random() < 0.6:
            content.extend(bytes(max(0, until - len(content))))
            content[at:until] = call.data[at - call.offset : until - call.offset]
        at = until


Names = dict[str, Node | None]
"""Each path and its file, None for a directory."""


class Disk:
    """A directory as it was when recording began, all of it durable, and what happens to it from then on."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._names: Names = {self._root: None}
        self._inodes: dict[int, Node] = {}
        self._directories = {os.stat(root).st_ino: self._root}
        self._pending: list[tuple[Call, Node | None]] = []
        for above, directories, files in os.walk(root):
            for name in directories:
                path = f"{above}/{name}"
                self._names[path] = None
                self._directories[os.stat(path).st_ino] = path
            for name in files:
                path = Path(above, name)
                node = self._inodes[path.stat().st_ino] = Node(bytearray(path.read_bytes()))
                self._names[str(path)] = node

    def take(self, call: Call) -> None:
        match call.kind:
            case Kind.WRITE | Kind.TRUNCATE:
                self._inodes[call.inode].pending.append(call)
            case Kind.SYNC:
                self._sync(call.inode)
            case Kind.SYNC_ALL:
                for node in self._inodes.values():
                    node.sync()
                for _ in range(len(self._pending)):
                    self._settle(0)
            case Kind.CREATE:
                self._directories.pop(call.inode, None)
                node = self._inodes[call.inode] = Node()
                self._pending.append((call, node))
            case Kind.MKDIR:
                self._directories[call.inode] = call.path
                self._pending.append((call, None))
            case _:
                self._pending.append((call, None))

    def _sync(self, inode: int) -> None:
        """Of a file: its bytes. Of a directory: the changes of names in it, and those before that they follow from."""
        if inode not in self._directories:
            self._inodes[inode].sync()
            return
        directory = self._directories[inode]
        needed = {directory}
        chosen: list[int] = []
        for at in range(len(self._pending) - 1, -1, -1):
            call = self._pending[at][0]
            places = {call.path, call.other} - {""}
            above = {os.path.dirname(place) for place in places}
            if directory in above or not needed.isdisjoint(places):
                chosen.append(at)
                needed |= places | above
        for done, at in enumerate(reversed(chosen)):
            self._settle(at - done)

    def _settle(self, at: int) -> None:
        call, node = self._pending.pop(at)
        rename(self._names, call, node)

    def after_cut(self, into: Path, rest: Rest, random: Random) -> None:
        """Make the directory as it may be found when the power is back."""
        names = dict(self._names)
        for call, node in self._pending:
            if rest is Rest.ALL or (rest is Rest.SOME and random.random() < 0.7):
                rename(names, call, node)
        for path in sorted(names):
            place, node = into / os.path.relpath(path, self._root), names[path]
            if node is None:
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.write_bytes(node.after(rest, random))


def rename(names: Names, call: Call, node: Node | None) -> None:
    """Do a change of names, if what it needs is there."""
    above = os.path.dirname(call.other or call.path)
    if above not in names or names[above] is not None:
        return
    match call.kind:
        case Kind.CREATE | Kind.MKDIR:
            names[call.path] = node
        case Kind.UNLINK | Kind.RMDIR:
            if not any(path.startswith(call.path + "/") for path in names):
                names.pop(call.path, None)
        case Kind.LINK:
            if call.path in names:
                names[call.other] = names[call.path]
        case Kind.RENAME:
            for path in [path for path in names if path == call.path or path.startswith(call.path + "/")]:
                names[call.other + path.removeprefix(call.path)] = names.pop(path)
