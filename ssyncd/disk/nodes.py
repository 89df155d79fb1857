"""FileSystem: inodes and names in memory, with what a crash undoes."""

import errno
import heapq
import os
import threading
from collections.abc import Callable
from functools import partial

from ssyncd.disk.base import Hint, Stat
from ssyncd.disk.faults import OWN


class Node:
    """An inode. `children` maps the folded name to (name, node); `parent` and `name` are kept for directories only."""

    __slots__ = (
        "children",
        "ctime",
        "data",
        "inode",
        "kind",
        "links",
        "mode",
        "mtime",
        "name",
        "parent",
        "target",
        "writers",
    )

    def __init__(self, kind: str, inode: int, mode: int, now: int) -> None:
        self.kind = kind
        self.inode = inode
        self.mode = mode
        self.mtime = self.ctime = now
        self.data = bytearray()
        self.target = ""
        self.children: dict[str, tuple[str, Node]] = {}
        self.parent: Node | None = None
        self.name = ""
        self.links = 0
        self.writers = 0

    @property
    def size(self) -> int:
        return {"file": len(self.data), "link": len(os.fsencode(self.target))}.get(self.kind, 4096)


def fail(number: int, name: str = "") -> OSError:
    return OSError(number, os.strerror(number), name)


class FileSystem:
    """Nodes, and changes to them that can be undone as long as they are not synced. `tell` gets the hints of each change."""

    def __init__(self, clock: Callable[[], int], folds: bool, reuse_inodes: bool) -> None:
        self.clock = clock
        self.folds = folds
        self.keeps_exec = True
        self.grain = 0
        self.tell: Callable[[tuple[Hint, ...]], object] = len  # nobody listens
        # Guards everything here; held for one call of ours or one act of the user. Hints are told after it is released.
        self.lock = threading.RLock()
        self._reuse = reuse_inodes
        self._free: list[int] = []
        self._last = 1
        self._undo: list[list[Callable[[], object]]] = []
        self._before: dict[Node, bytes] = {}
        self.root = Node("dir", 1, 0o755, clock())

    # Reading

    def key(self, name: str) -> str:
        return name.casefold() if self.folds else name

    def child(self, directory: Node, name: str) -> Node:
        if directory.kind != "dir":
            raise fail(errno.ENOTDIR, name)
        if name == ".":
            return directory
        if len(os.fsencode(name)) > 255:
            raise fail(errno.ENAMETOOLONG, name)
        found = directory.children.get(self.key(name))
        if found is None:
            raise fail(errno.ENOENT, name)
        return found[1]

    def walk(self, path: str) -> Node:
        """Never through a link."""
        node = self.root
        for name in path.split("/") if path else []:
            if node.kind == "link":
                raise fail(errno.ELOOP, path)
            node = self.child(node, name)
        return node

    def path(self, node: Node) -> str:
        """Of a directory; "?" in front if it is no longer in the tree."""
        names: list[str] = []
        while node.parent is not None:
            names.append(node.name)
            node = node.parent
        return "/".join(reversed(names if node is self.root else [*names, "?"]))

    def below(self, directory: Node, name: str) -> str:
        head = self.path(directory)
        return f"{head}/{name}" if head else name

    def stat(self, node: Node) -> Stat:
        kind = "root" if node is not self.root and self._is_root(node) else node.kind
        exec = bool(node.mode & 0o100) if self.keeps_exec else None
        mtime, ctime = (time - time % (self.grain or 1) for time in (node.mtime, node.ctime))
        return Stat(kind, node.size, mtime, ctime, node.inode, exec)

    def _is_root(self, node: Node) -> bool:
        own = node.children.get(OWN)
        return own is not None and "folder" in own[1].children

    # Changing: each between `begin` and the next one is undone as a whole

    def begin(self) -> None:
        self._undo.append([])

    def new(self, kind: str, mode: int) -> Node:
        if self._free:
            return Node(kind, heapq.heappop(self._free), mode, self.clock())
        self._last += 1
        return Node(kind, self._last, mode, self.clock())

    def enter(self, directory: Node, name: str, node: Node | None) -> None:
        """Give the name to this node, or to none."""
        key = self.key(name)
        before = directory.children.get(key)
        self._undo[-1].append(lambda: self._set(directory, key, before))
        self._set(directory, key, None if node is None else (name, node))
        directory.mtime = directory.ctime = self.clock()
        if node is not None:
            node.ctime = directory.ctime
            if node.inode in self._free:  # a rename takes the old name away first
                self._free.remove(node.inode)
                heapq.heapify(self._free)
        if self._reuse and before is not None and before[1].links == 0 and before[1] is not node:
            heapq.heappush(self._free, before[1].inode)

    def _set(self, directory: Node, key: str, entry: "tuple[str, Node] | None") -> None:
        before = directory.children.pop(key, None)
        if before is not None:
            before[1].links -= 1
            if before[1].parent is directory and before[1].name == before[0]:
                before[1].parent = None
        if entry is not None:
            name, node = entry
            directory.children[key] = entry
            node.links += 1
            if node.kind == "dir":
                node.parent, node.name = directory, name

    def change(self, node: Node, **attributes: int) -> None:
        for name, value in attributes.items():
            self._undo[-1].append(partial(setattr, node, name, getattr(node, name)))
            setattr(node, name, value)
        node.ctime = self.clock()

    def write(self, node: Node, data: bytes, offset: int) -> None:
        self._before.setdefault(node, bytes(node.data))
        if offset > len(node.data):
            node.data.extend(bytes(offset - len(node.data)))
        node.data[offset : offset + len(data)] = data
        self.change(node, mtime=self.clock())

    def truncate(self, node: Node) -> None:
        self._before.setdefault(node, bytes(node.data))
        node.data = bytearray()
        self.change(node, mtime=self.clock())

    # Lasting

    def sync(self) -> None:
        self._undo.clear()
        self._before.clear()

    @property
    def unsynced(self) -> int:
        """How many changes a crash could undo."""
        return len(self._undo)

    def crash(self, keep: int, keep_data: bool) -> None:
        for group in reversed(self._undo[keep:]):
            for undo in reversed(group):
                undo()
        if not keep_data:
            for node, data in self._before.items():
                node.data = bytearray(data)
        self.sync()
        self._free = []
        self._settle(self.root, set())

    def _settle(self, directory: Node, taken: set[int]) -> None:
        """Nobody has anything open after a crash, and no two nodes have one number."""
        for _, node in directory.children.values():
            node.writers = 0
            if node.inode in taken and node.links == 1:
                self._last += 1
                node.inode = self._last
            taken.add(node.inode)
            self._settle(node, taken)
