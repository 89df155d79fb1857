"""The seam to the folder on disk. Two implementations keep these promises: `real.RealDisk` and `memory.MemoryDisk`.

Paths are relative to the root, names joined by "/"; "" is the root. A path is a chain of single components, each opened
relative to its parent and never through a symbolic link. Nothing outside the root is ever read or changed. Everything of
ours is below `.ssyncd/`, which no listing shows. Names that are not UTF-8 come with surrogate escapes.

Every method maps `OSError` to the tree in `ssyncd.errors`. "Looks" means: what is found is compared with `expected` by
`Stat.same`, atomically with the change where the file system can; on a mismatch nothing is changed and `ChangedError` is
raised (`GoneError` if nothing is there). Nor is a file replaced or removed that a program has open for writing: `ChangedError`.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, TypeGuard

from msgspec import Struct

from ssyncd.errors import DiskError

WORD = (1 << 63) - 1
"""Times of a stat are at most so far from 1970 (until 2262), inode numbers are cut to as many bits: a database takes no more."""


def bounded(time: int) -> int:
    return min(max(time, -WORD), WORD)


class Stat(NamedTuple):
    """What lstat says: `kind` is "file", "dir", "link", "root", "mount" or "other"; times in nanoseconds; `exec` the owner's
    execute bit, None on a file system that keeps none.

    Not synced are "root", a directory that is the root of another ssyncd folder, "mount", one of another file system or a Btrfs
    subvolume, and "other": devices, sockets, pipes.
    """

    kind: str
    size: int
    mtime: int
    ctime: int
    inode: int
    exec: bool | None

    def exec_or(self, known: bool) -> bool:
        """The execute bit, or what is known of it where the file system keeps none."""
        return known if self.exec is None else self.exec

    def same(self, other: "Stat | None") -> TypeGuard["Stat"]:
        """Whether this is the same thing with the same bytes, as far as lstat can tell (a rename changes ctime: left out)."""
        return (
            other is not None
            and self.inode == other.inode
            and self.kind == other.kind
            and (self.kind == "dir" or (self.size == other.size and self.mtime == other.mtime))
        )


class Stats(Protocol):
    """Stats by key, as a dict has them."""

    def get(self, key: str, /) -> Stat | None: ...
    def __setitem__(self, key: str, stat: Stat, /) -> None: ...
    def pop(self, key: str, default: None, /) -> Stat | None: ...


class Reader(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes: ...
    def read_at(self, size: int, offset: int) -> bytes: ...
    def read_once(self, size: int, offset: int) -> bytes:
        """As `read_at`, of a file that is gone through once: no memory is kept for what was read so."""

    def stat(self) -> Stat: ...
    def being_written(self) -> bool:
        """As in `Read`; False where the system cannot tell."""

    def close(self) -> None: ...


class Staged(Protocol):
    """A file being written in `.ssyncd/`, seen by nobody; `close` before it is put in place. What is written of a
    long one goes to the disk soon, and no memory is kept for it."""

    tag: str
    name: str
    """Its name there."""

    def write(self, data: bytes, /) -> None: ...
    def write_at(self, data: bytes, offset: int) -> None: ...
    def read_at(self, size: int, offset: int) -> bytes: ...
    def size(self) -> int: ...
    def close(self) -> None:
        """DiskError: only now the disk says that it could not keep the bytes; they are forgotten."""

    def discard(self) -> None:
        """Forget the bytes. What cannot be removed now is a leftover."""


class Leftover(Struct, frozen=True):
    """Something found in `.ssyncd/` after a crash: under the tag (an entry's key) given when it was put there.

    `origin` is "staged" (bytes of ours, perhaps not all), "parked" or "aside" (may be a user's: look before it is dropped).
    """

    tag: str
    name: str
    stat: Stat

    @property
    def origin(self) -> str:
        """By the name (see `stage`). Of two things that were changing places, ours is the one whose inode the name tells."""
        origin, _, inode = self.name.split(".")[1].partition("-")
        return "staged" if inode == str(self.stat.inode) else {"swap": "aside", "keep": "parked"}.get(origin, origin)


class Doomed(NamedTuple):
    """A file or a link that is to be removed; `tag` as in `Leftover`."""

    path: str
    tag: str
    expected: Stat


class Wanted(NamedTuple):
    """A file that is to be read, if it is this one."""

    path: str
    expected: Stat


class Read(NamedTuple):
    """All bytes of a small file. `being_written`: a program had it open for writing before; what it writes through a memory map
    from then on may leave no other time."""

    data: bytes
    being_written: bool


class Arrival(NamedTuple):
    """A staged file that is to be put at a path where nothing is; `mtime` in microseconds."""

    staged: Staged
    path: str
    mtime: int
    exec: bool


class Disk(Protocol):
    """Safe to call from several threads; a `Staged` or `Reader` belongs to one thread at a time."""

    identity: str
    """From the marker in `.ssyncd/`: the identity this folder was given when ssyncd first met it."""
    grain: int
    """Nanoseconds by which the times of files step, beyond what the system's clock does."""
    skew: int
    """Nanoseconds by which the clock that stamps files may differ from the system's: that of another machine."""

    def check_root(self) -> None:
        """RootError if the root is missing, replaced or unmounted, or its marker is gone or names another folder."""

    def close(self) -> None:
        """Let go of the folder and its lock."""

    def list(self, path: str) -> dict[str, Stat]:
        """All names in a directory, `.ssyncd` left out at the top. GoneError, UnreadableError; never a part of a listing.
        RootError for "" as `check_root`."""

    def stat(self, path: str) -> Stat | None:
        """None if nothing is there."""

    def names(self, path: str) -> int:
        """How many names the file at a path has (hard links), here and elsewhere; 0 if nothing is there."""

    def read_link(self, path: str) -> str:
        """DiskError also for a text that is not UTF-8."""

    def open(self, path: str) -> Reader:
        """A regular file for reading, not through a link; never blocks on a FIFO (UnreadableError)."""

    def read_files(self, wanted: Sequence[Wanted]) -> Iterator[Read | DiskError]:
        """What small files hold, in this order, as `open` gives them; ChangedError for what is another file by now, or was
        written while it was read. Takes fewer calls for each the more of one directory follow each other."""

    def being_written(self, path: str) -> bool:
        """Whether a program has this file open for writing; False where the system cannot tell, or nothing is there."""

    def stage(self, tag: str, resume: bool = False) -> Staged:
        """A new staged file; with `resume` the one a broken-off transfer left under this tag, if any, bytes kept."""

    def flush(self) -> None:
        """Make everything written so far durable (one syncfs where there is one)."""

    def put(
        self, staged: Staged, path: str, expected: Stat | None, mtime: int, exec: bool, keep: str | None = None
    ) -> Stat:
        """Put a staged file at a path; `mtime` in microseconds. Looks: None means that nothing is there yet. The file that
        was there is removed only after it proved to be the expected one; or it is kept, under another path in the same
        directory. ChangedError, and nothing is changed, if anything is there."""

    def put_new(self, arrivals: Sequence[Arrival]) -> dict[str, Stat | DiskError]:
        """Where nothing is, as `put` does, with fewer calls for each the more are in one directory. What is there now, by path,
        or why it could not be put."""

    def make_dir(self, path: str) -> Stat:
        """ChangedError if something is there."""

    def make_link(self, path: str, target: str, expected: Stat | None, keep: str | None = None) -> Stat:
        """Looks, as `put`."""

    def move(self, source: str, target: str, expected: Stat) -> Stat:
        """Rename. Looks at source; ChangedError if anything is at target."""

    def park(self, path: str, tag: str, expected: Stat) -> None:
        """Move aside into `.ssyncd/` (to break a cycle of renames). Looks."""

    def unpark(self, tag: str, path: str) -> Stat:
        """Move back from `.ssyncd/`. ChangedError if anything is at path."""

    def set_exec(self, path: str, exec: bool, expected: Stat) -> Stat: ...

    def remove(self, path: str, tag: str, expected: Stat) -> None:
        """Move aside, look, remove. A directory is removed only when it is empty (ChangedError otherwise)."""

    def remove_files(self, doomed: Sequence[Doomed]) -> dict[str, DiskError]:
        """Files and links, as `remove` does, with fewer calls for each the more are in one directory. What stayed, by path, and
        why."""

    def leftovers(self) -> Sequence[Leftover]:
        """What a crash left in `.ssyncd/`: parked, moved aside, or staged."""

    def open_leftover(self, leftover: Leftover) -> Reader: ...

    def restore(self, leftover: Leftover, path: str) -> Stat:
        """Move a leftover to a path; ChangedError if anything is there."""

    def drop(self, leftover: Leftover) -> None: ...

    def free(self) -> int:
        """Bytes free for us."""


class Touched(Struct, frozen=True):
    """Something happened at a path. `writing`: a program has it open for writing and has not closed it yet."""

    path: str
    writing: bool = False


class Rescan(Struct, frozen=True):
    """Events may have been lost below a path ("" for all); `reason` is for the log."""

    path: str
    reason: str


Hint = Touched | Rescan


class Deliver(Protocol):
    def __call__(self, hints: Sequence[Hint], /) -> None:
        """Called from the watcher's thread; must not block. Both ends of one rename come in one call."""


class Watcher(Protocol):
    """Tells where to look. Two implementations: `watcher.DiskWatcher` (watchdog) and `memory.MemoryWatcher`."""

    def start(self, deliver: Deliver) -> None:
        """Returns when every directory is watched. RootError if the root cannot be watched at all."""

    def unwatched(self) -> dict[str, str]:
        """Directories (and all below them) that are not watched now, with the reason."""

    def retry(self) -> None:
        """Try the unwatched directories again; each that is watched now is told by a Rescan."""

    def stop(self) -> None:
        """Returns when no more hint will come and every thread has ended."""
