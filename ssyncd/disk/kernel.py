"""MemoryCalls: a kernel with one file system in memory, for tests and simulations. Deterministic.

It keeps what the real one keeps (inodes and their reuse, hard links, mtime and ctime, open files, who writes) and can crash:
changes of names and attributes since the last sync survive as a prefix of their order, as on a journalling file system; bytes
written since then are lost.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

from ssyncd.disk.base import Hint, Rescan, Stat, Touched
from ssyncd.disk.calls import unlink_each
from ssyncd.disk.faults import OWN, is_own
from ssyncd.disk.heritage import Heritage
from ssyncd.disk.nodes import FileSystem, Node, fail
from ssyncd.errors import RootError


class MemoryCalls:
    """`calls.Calls` on a FileSystem. `on_step(call, path)` runs before each call: it may act as a user, or raise OSError."""

    root = 3
    stage = 4
    new_mode = 0o644

    def __init__(self, files: FileSystem, exchanges: bool, capacity: int | None) -> None:
        self.files = files
        self.exchanges = exchanges
        self.folds = files.folds
        self.keeps_exec, self.grain = files.keeps_exec, files.grain
        self.capacity = capacity
        self.identity = ""
        self.lost = ""
        self.on_step: Callable[[str, str], None] | None = None
        # The file system's lock guards the table of handles too. `on_step` and `tell` run outside it.
        self._lock = files.lock
        self._open: dict[int, tuple[Node, bool, list[int]]] = {}
        self.reset()

    def reset(self) -> None:
        """Forget all handles, as when the process has ended."""
        for handle in list(self._open):
            self._let_go(handle)
        self._next = 5
        stage = self.files.walk(f"{OWN}/stage")
        self._open = {self.root: (self.files.root, False, [0]), self.stage: (stage, False, [0])}

    @contextmanager
    def _call(self, name: str, handle: int, child: str = "", changes: bool = False) -> Iterator[Node]:
        hints: list[Hint] = []
        if self.on_step is not None:
            self.on_step(name, self._path_of(handle, child))
        with self._lock:
            node = self._node(handle)
            if changes:
                self.files.begin()
            self._hints = hints
            yield node
        shown = tuple(hint for hint in hints if not (is_own(hint.path) or hint.path.startswith("?")))
        if shown:
            self.files.tell(shown)

    def _path_of(self, handle: int, child: str) -> str:
        node = self._node(handle)
        if node.kind != "dir":
            return ""
        return self.files.below(node, child) if child else self.files.path(node)

    def _node(self, handle: int) -> Node:
        if handle not in self._open:
            raise fail(errno.EBADF)
        return self._open[handle][0]

    def _hand_out(self, node: Node, writes: bool = False) -> int:
        self._next += 1
        self._open[self._next] = (node, writes, [0])
        node.writers += writes
        return self._next

    def _let_go(self, handle: int) -> None:
        node, writes, _ = self._open.pop(handle)
        node.writers -= writes

    def _touch(self, directory: Node, name: str, writing: bool = False) -> None:
        self._hints.append(Touched(self.files.below(directory, name), writing))

    # Looking

    def open_dir(self, path: str, /) -> int:
        if not path:
            return self.root
        with self._call("open_dir", self.root, path):
            node = self.files.walk(path)
            if node.kind != "dir":
                raise fail(errno.ENOTDIR, path)
            return self._hand_out(node)

    def close(self, handle: int, /) -> None:
        with self._lock:
            if handle not in (self.root, self.stage):
                self._let_go(handle)

    def close_written(self, handle: int, /) -> None:
        try:
            with self._call("close_written", handle):
                pass
        finally:
            self.close(handle)

    def scan(self, path: str, /) -> dict[str, Stat]:
        with self._call("scan", self.root, path):
            node = self.files.walk(path)
            if node.kind != "dir":
                raise fail(errno.ENOTDIR, path)
            return {name: self.files.stat(child) for name, child in node.children.values()}

    def look(self, directory: int, name: str, /) -> Stat:
        with self._call("look", directory, name) as node:
            return self.files.stat(self.files.child(node, name))

    def look_path(self, path: str, /) -> Stat:
        with self._call("look", self.root, path):
            return self.files.stat(self.files.walk(path))

    def look_open(self, handle: int, /) -> Stat:
        with self._call("look_open", handle) as node:
            return self.files.stat(node)

    def spells(self, directory: int, name: str, /) -> bool:
        with self._call("spells", directory, name) as node:
            return any(name == child for child, _ in node.children.values())

    def inode(self, handle: int, /) -> int:
        with self._call("inode", handle) as node:
            return node.inode

    def mode(self, directory: int, name: str, /) -> int:
        with self._call("mode", directory, name) as node:
            return self.files.child(node, name).mode & 0o777

    def heritage(self, directory: int, name: str, /) -> Heritage:
        return Heritage(self.mode(directory, name) if name else self.new_mode)

    def give(self, heritage: Heritage, name: str, /) -> None:
        """Here a file has nothing but its mode."""

    def names(self, directory: int, name: str, /) -> int:
        with self._call("names", directory, name) as node:
            return self.files.child(node, name).links

    def read_link(self, directory: int, name: str, /) -> str:
        with self._call("read_link", directory, name) as node:
            found = self.files.child(node, name)
            if found.kind != "link":
                raise fail(errno.EINVAL, name)
            return found.target

    def being_written(self, directory: int, name: str, /) -> bool:
        with self._call("being_written", directory, name) as node:
            found = node.children.get(self.files.key(name))
            return found is not None and found[1].writers > 0

    def has_writer(self, handle: int, /) -> bool:
        return self._node(handle).writers > 0

    def open(self, directory: int, name: str, /) -> int:
        with self._call("open", directory, name) as node:
            found = self.files.child(node, name)
            if found.kind == "link":
                raise fail(errno.ELOOP, name)
            return self._hand_out(found)

    def create(self, directory: int, name: str, /) -> int:
        with self._call("create", directory, name, changes=True) as node:
            made = self._make(node, name, "file", self.new_mode)
            return self._hand_out(made, writes=True)

    def reopen(self, directory: int, name: str, /) -> int:
        with self._call("reopen", directory, name) as node:
            return self._hand_out(self.files.child(node, name), writes=True)

    def read(self, handle: int, size: int, /) -> bytes:
        position = self._open[handle][2]
        data = self.read_at(handle, size, position[0])
        position[0] += len(data)
        return data

    def read_at(self, handle: int, size: int, offset: int, /) -> bytes:
        with self._call("read", handle) as node:
            if node.kind == "dir":
                raise fail(errno.EISDIR)
            return bytes(node.data[offset : offset + size])

    def write_at(self, handle: int, data: bytes, offset: int, /) -> None:
        with self._call("write", handle, changes=True) as node:
            if len(data) > self.free():
                raise fail(errno.ENOSPC)
            self.files.write(node, data, offset)

    def drop_behind(self, handle: int, end: int, /) -> None:
        pass

    # Changing

    def _make(self, directory: Node, name: str, kind: str, mode: int) -> Node:
        self._refuse_taken(directory, name)
        node = self.files.new(kind, mode)
        self.files.enter(directory, name, node)
        return node

    def _refuse_taken(self, directory: Node, name: str) -> None:
        try:
            self.files.child(directory, name)
        except FileNotFoundError:
            return
        raise fail(errno.EEXIST, name)

    def set_mtime(self, directory: int, name: str, mtime: int, /) -> None:
        with self._call("set_mtime", directory, name, changes=True) as node:
            self.files.change(self.files.child(node, name), mtime=mtime)
            self._touch(node, name)

    def chmod(self, directory: int, name: str, mode: int, /) -> None:
        with self._call("chmod", directory, name, changes=True) as node:
            self._refuse_modes(name)
            self.files.change(self.files.child(node, name), mode=mode)
            self._touch(node, name)

    def chmod_open(self, handle: int, mode: int, /) -> None:
        with self._call("chmod", handle, changes=True) as node:
            self._refuse_modes()
            self.files.change(node, mode=mode)

    def _refuse_modes(self, name: str = "") -> None:
        if not self.keeps_exec:
            raise fail(errno.EPERM, name)

    def rename(self, source: int, name: str, target: int, new_name: str, /) -> None:
        # Of the two places, the one that is a user's.
        told = (target, new_name) if source == self.stage else (source, name)
        with self._call("rename", *told, changes=True):
            node = self._node(source)
            moved, to = self.files.child(node, name), self._node(target)
            self._refuse_taken(to, new_name)
            if _is_inside(to, moved):
                raise fail(errno.EINVAL, new_name)
            self.files.enter(node, name, None)
            self.files.enter(to, new_name, moved)
            self._touch(node, name)
            self._hints.append(self._arrived(node, to, new_name, moved))

    def _arrived(self, source: Node, target: Node, name: str, moved: Node) -> Hint:
        """A directory from where nobody watches is new to the watcher; else its watches have moved with it."""
        path, before = self.files.below(target, name), self.files.path(source)
        if moved.kind == "dir" and (is_own(before) or before.startswith("?")):
            return Rescan(path, "a new directory")
        return Touched(path)

    def exchange(self, one: int, name: str, other: int, other_name: str, /) -> None:
        told = (other, other_name) if one == self.stage else (one, name)
        with self._call("exchange", *told, changes=True):
            node, to = self._node(one), self._node(other)
            first, second = self.files.child(node, name), self.files.child(to, other_name)
            self.files.enter(node, name, None)
            self.files.enter(to, other_name, first)
            self.files.enter(node, name, second)
            self._touch(node, name)
            self._touch(to, other_name)

    def symlink(self, target: str, directory: int, name: str, /) -> None:
        with self._call("symlink", directory, name, changes=True) as node:
            self._make(node, name, "link", 0o777).target = target
            self._touch(node, name)

    def mkdir(self, directory: int, name: str, /) -> None:
        with self._call("mkdir", directory, name, changes=True) as node:
            self._make(node, name, "dir", 0o755)
            self._hints.append(Rescan(self.files.below(node, name), "a new directory"))

    def unlink(self, directory: int, name: str, /) -> None:
        with self._call("unlink", directory, name, changes=True) as node:
            if self.files.child(node, name).kind == "dir":
                raise fail(errno.EISDIR, name)
            self.files.enter(node, name, None)
            self._touch(node, name)

    def unlink_all(self, directory: int, lots: Iterator[Sequence[str]], /) -> dict[str, OSError]:
        return unlink_each(self.unlink, directory, chain.from_iterable(lots))

    def rmdir(self, directory: int, name: str, /) -> None:
        with self._call("rmdir", directory, name, changes=True) as node:
            found = self.files.child(node, name)
            if found.kind != "dir":
                raise fail(errno.ENOTDIR, name)
            if found.children:
                raise fail(errno.ENOTEMPTY, name)
            self.files.enter(node, name, None)
            self._touch(node, name)

    # The whole

    def sync(self) -> None:
        with self._call("sync", self.root):
            self.files.sync()

    def free(self) -> int:
        return (1 << 50) if self.capacity is None else max(0, self.capacity - _used(self.files.root))

    def check(self) -> None:
        if self.lost:
            raise RootError(f"memory: {self.lost}")
        try:
            marker = self.files.walk(f"{OWN}/folder")
        except OSError as error:
            raise RootError(f"memory: {OWN}/folder is gone") from error
        if marker.data.decode() != self.identity:
            raise RootError(f"memory: {OWN}/folder names another folder")


def _is_inside(node: Node, directory: Node) -> bool:
    at: Node | None = node
    while at is not None and at is not directory:
        at = at.parent
    return at is not None


def _used(directory: Node) -> int:
    return sum(len(node.data) + _used(node) for _, node in directory.children.values())
