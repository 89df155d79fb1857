"""MemoryDisk and MemoryWatcher: a folder in memory with a user at it, for tests and simulations. Deterministic.

disk = MemoryDisk()
watcher = MemoryWatcher(disk)
disk.user.write("notes.txt", b"milk")       # what a person or another program does
disk.on_step = hook                         # runs before each elementary call of ours; may act as the user, or raise OSError
disk.crash()                                # what was not flushed is undone
"""

import errno
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random

from ssyncd.disk.base import Deliver, Hint, Rescan, Stat, Touched
from ssyncd.disk.checked import CheckedDisk
from ssyncd.disk.faults import OWN, is_own
from ssyncd.disk.kernel import MemoryCalls
from ssyncd.disk.nodes import FileSystem, Node, fail


def ticking_clock(start: int = 1_700_000_000_000_000_000, step: int = 1_000_000) -> Callable[[], int]:
    """Nanoseconds; every look at it moves it on by `step`."""
    return itertools.count(start, step).__next__


class MemoryDisk(CheckedDisk):
    """See `base.Disk`. `capacity` in bytes; `folds` for a disk where "a" and "A" are one name; `exchanges` as in `calls`."""

    def __init__(
        self,
        identity: str = "memory",
        clock: Callable[[], int] | None = None,
        *,
        folds: bool = False,
        exchanges: bool = True,
        reuse_inodes: bool = True,
        capacity: int | None = None,
    ) -> None:
        files = FileSystem(clock or ticking_clock(), folds, reuse_inodes)
        self.files = files
        self.user = User(files)
        self.user.make_dir(OWN)
        self.user.make_dir(f"{OWN}/stage")
        self.user.write(f"{OWN}/folder", identity.encode())
        files.sync()
        self.memory = MemoryCalls(files, exchanges, capacity)
        self.memory.identity = identity
        super().__init__(self.memory, identity)

    def like_fat(self) -> "MemoryDisk":
        """From now on it keeps no execute bits, and of times every second second."""
        self.files.keeps_exec = self.memory.keeps_exec = False
        self.files.grain = self.memory.grain = self.grain = 2_000_000_000
        return self

    @property
    def on_step(self) -> Callable[[str, str], None] | None:
        return self.memory.on_step

    @on_step.setter
    def on_step(self, hook: Callable[[str, str], None] | None) -> None:
        self.memory.on_step = hook

    @property
    def unsynced(self) -> int:
        """How many changes since the last flush a crash could undo."""
        return self.files.unsynced

    def crash(self, keep: int = 0, keep_data: bool = False) -> None:
        """The machine loses power and starts again: the first `keep` changes of names and attributes since the last flush
        survive, and bytes written since then only with `keep_data`. Staged and open files must not be used any more."""
        self.files.crash(keep, keep_data)
        self.restart()

    def restart(self) -> None:
        """The process ends at this point and starts again; the system goes on, so nothing that was done is undone."""
        self.memory.on_step = None
        self.memory.reset()
        super().__init__(self.memory, self.identity)

    def lose_root(self, reason: str = "the folder is gone") -> None:
        """From now on `check_root` and listing the root raise RootError; "" ends that."""
        self.memory.lost = reason

    def close(self) -> None:
        """Nothing is held."""


class User:
    """What other programs do to the folder: no call is checked, none runs `on_step`; watchers hear of it as from the kernel."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files

    @contextmanager
    def _acting(self, *hints: Hint) -> Iterator[None]:
        with self._files.lock:
            self._files.begin()
            yield
        shown = tuple(hint for hint in hints if not is_own(hint.path))
        if shown:
            self._files.tell(shown)

    def _split(self, path: str) -> tuple[Node, str]:
        head, _, name = path.rpartition("/")
        return self._files.walk(head), name

    def _enter(self, path: str, node: Node | None) -> None:
        directory, name = self._split(path)
        self._files.enter(directory, name, node)

    def write(self, path: str, data: bytes, mtime: int | None = None) -> Stat:
        """In place: a file that is there keeps its inode. `mtime` in nanoseconds."""
        with self.open(path) as writing:
            writing.write(data)
        if mtime is not None:
            with self._acting(Touched(path)):
                self._files.change(writing.node, mtime=mtime)
        return self._files.stat(writing.node)

    def save(self, path: str, data: bytes) -> Stat:
        """As most editors do: a new file beside, renamed over the old one."""
        beside = f"{path}~"
        self.write(beside, data)
        self.rename(beside, path)
        return self._files.stat(self._files.walk(path))

    def open(self, path: str, keep: bool = False) -> "Writing":
        """Opened for writing, emptied unless `keep`; open until closed."""
        with self._acting(Touched(path, writing=True)):
            directory, name = self._split(path)
            found = directory.children.get(self._files.key(name))
            node = self._files.new("file", 0o644) if found is None else found[1]
            if node.kind != "file":
                raise fail(errno.EINVAL, path)
            if found is None:
                self._files.enter(directory, name, node)
            if not keep:
                self._files.truncate(node)
            node.writers += 1
        return Writing(self._files, node, path)

    def read(self, path: str) -> bytes:
        return bytes(self._files.walk(path).data)

    def make_dir(self, path: str) -> None:
        with self._acting(Rescan(path, "a new directory")):
            self._enter(path, self._files.new("dir", 0o755))

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        with self._acting(Touched(path)):
            node = self._files.new("link", 0o777)
            node.target = target
            self._enter(path, node)

    def name_too(self, path: str, other: str) -> None:
        """A hard link: the file has another name."""
        with self._acting(Touched(other)):
            self._enter(other, self._files.walk(path))

    def rename(self, source: str, target: str) -> None:
        """Replaces a file at the target, as rename(2) does."""
        with self._acting(Touched(source), Touched(target)):
            node = self._files.walk(source)
            self._enter(source, None)
            self._enter(target, node)

    def set_exec(self, path: str, exec: bool) -> None:
        with self._acting(Touched(path)):
            node = self._files.walk(path)
            self._files.change(node, mode=node.mode | 0o111 if exec else node.mode & ~0o111)

    def delete(self, path: str) -> None:
        """With all below it, as `rm -r` does: the contents first."""
        for child, _ in list(self._files.walk(path).children.values()):
            self.delete(f"{path}/{child}")
        with self._acting(Touched(path)):
            self._enter(path, None)

    def tree(self) -> dict[str, bytes | str | None]:
        """Path to the bytes of a file, the target of a link, None for a directory; `.ssyncd` left out."""
        found: dict[str, bytes | str | None] = {}
        with self._files.lock:
            self._collect(self._files.root, "", found)
        return found

    def _collect(self, directory: Node, prefix: str, found: dict[str, bytes | str | None]) -> None:
        for name, node in sorted(directory.children.values(), key=lambda entry: entry[0]):
            if prefix or name != OWN:
                found[prefix + name] = bytes(node.data) if node.kind == "file" else node.target or None
                self._collect(node, f"{prefix}{name}/", found)


class Writing:
    """A file that a program has open for writing."""

    def __init__(self, files: FileSystem, node: Node, path: str) -> None:
        self._files = files
        self.node = node
        self._path = path

    def write(self, data: bytes) -> None:
        """At the end."""
        with self._files.lock:
            self._files.begin()
            self._files.write(self.node, data, len(self.node.data))
        self._tell(writing=True)

    def store(self, data: bytes) -> None:
        """Over the beginning, through a memory map, to a page that waits for the disk already: no time and no event tells."""
        with self._files.lock:
            self.node.data[: len(data)] = data

    def close(self) -> None:
        with self._files.lock:
            self.node.writers -= 1
        self._tell(writing=False)

    def _tell(self, writing: bool) -> None:
        if not is_own(self._path):
            self._files.tell((Touched(self._path, writing),))

    def __enter__(self) -> "Writing":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class MemoryWatcher:
    """Hints for everything that happens in a MemoryDisk, our own changes too. With `auto` each is delivered at once; without,
    they wait until the test says what comes of them."""

    def __init__(self, disk: MemoryDisk, auto: bool = True) -> None:
        self.auto = auto
        self.pending: list[tuple[Hint, ...]] = []
        self._files = disk.files
        self._deliver: Deliver | None = None
        self._unwatched: dict[str, str] = {}

    def start(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._files.tell = self._hear

    def stop(self) -> None:
        self._deliver = None
        self.pending.clear()

    def _hear(self, hints: tuple[Hint, ...]) -> None:
        if self._deliver is None or any(_is_below(hint.path, self._unwatched) for hint in hints):
            return
        self.pending.append(hints)
        if self.auto:
            self.deliver()

    def deliver(self, count: int | None = None) -> int:
        """Deliver the first `count` waiting calls, or all; how many it were."""
        chosen = self.pending[:count]
        del self.pending[: len(chosen)]
        for hints in chosen:
            self._send(hints)
        return len(chosen)

    def _send(self, hints: Sequence[Hint]) -> None:
        if self._deliver is not None:
            self._deliver(hints)

    def drop(self, count: int | None = None) -> None:
        """Lose waiting calls without a word: what no watcher should do, and an engine should survive until the next rescan."""
        del self.pending[:count]

    def shuffle(self, random: Random) -> None:
        random.shuffle(self.pending)

    def overflow(self) -> None:
        """The kernel's queue was too short: everything waiting is lost, and said to be."""
        self.pending.clear()
        self._send((Rescan("", "the kernel's queue overflowed"),))

    def unwatch(self, path: str, reason: str = "permission denied") -> None:
        """From now on nothing is heard from this directory and below, until `retry`."""
        if self._files.walk(path).kind != "dir":
            raise fail(errno.ENOTDIR, path)
        self._unwatched[path] = reason

    def unwatched(self) -> dict[str, str]:
        return dict(self._unwatched)

    def retry(self) -> None:
        paths, self._unwatched = list(self._unwatched), {}
        for path in paths:
            self._send((Rescan(path, "it can be watched again"),))


def _is_below(path: str, directories: dict[str, str]) -> bool:
    return any(path.startswith(f"{directory}/") or not directory for directory in directories)
