"""The elementary calls a disk is made of: what one system call does, and no more.

`checked.CheckedDisk` builds every promise of `base.Disk` from these, once; `real.RealCalls` asks the kernel, `kernel.MemoryCalls`
is a kernel in memory. So the order of calls that a test interrupts at every point is the order that runs on a user's disk.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from ssyncd.disk.base import Stat
from ssyncd.disk.heritage import Heritage


class Calls(Protocol):
    """Every call raises OSError with the errno the kernel gives. A directory is an open handle; names are single components."""

    root: int
    stage: int
    new_mode: int
    """Permission bits a new file gets here: 0666 less the umask."""
    exchanges: bool
    """Whether `exchange` works on this file system."""
    keeps_exec: bool
    """Whether a file can be made executable here, and not; `chmod` is of no use where it cannot."""
    grain: int
    """Nanoseconds by which the times of files step here, beyond what the system's clock does; two seconds on FAT."""
    folds: bool
    """Whether names that differ in case (or in Unicode form) name one thing here."""

    def open_dir(self, path: str, /) -> int:
        """A directory for use in other calls, from the root, never through a link or onto another file system. ELOOP, EXDEV."""

    def close(self, handle: int, /) -> None:
        """Never fails: what a file system that has died has to say to it changes nothing."""

    def close_written(self, handle: int, /) -> None:
        """Of a file that was written to: some file systems (FUSE, NFS) say only here what they could not keep. Closed it is."""

    def scan(self, path: str, /) -> dict[str, Stat]: ...
    def look(self, directory: int, name: str, /) -> Stat:
        """lstat."""

    def look_path(self, path: str, /) -> Stat:
        """lstat by the way `open_dir` goes."""

    def look_open(self, handle: int, /) -> Stat:
        """fstat."""

    def spells(self, directory: int, name: str, /) -> bool:
        """Whether something here goes by just this name, where `look` takes others too."""

    def inode(self, handle: int, /) -> int: ...
    def mode(self, directory: int, name: str, /) -> int:
        """Permission bits."""

    def heritage(self, directory: int, name: str, /) -> Heritage:
        """Of a file that takes the place of this one; "" for any that is new in the directory."""

    def give(self, heritage: Heritage, name: str, /) -> None:
        """All but the mode to a new file of the stage. Never fails: what cannot be had is left."""

    def names(self, directory: int, name: str, /) -> int: ...
    def read_link(self, directory: int, name: str, /) -> str: ...
    def open(self, directory: int, name: str, /) -> int:
        """For reading; does not follow a link, does not wait."""

    def create(self, directory: int, name: str, /) -> int:
        """A new file with `new_mode`, for reading and writing; EEXIST."""

    def reopen(self, directory: int, name: str, /) -> int:
        """For reading and writing; bytes are kept."""

    def read(self, handle: int, size: int, /) -> bytes: ...
    def read_at(self, handle: int, size: int, offset: int, /) -> bytes: ...
    def write_at(self, handle: int, data: bytes, offset: int, /) -> None: ...
    def drop_behind(self, handle: int, end: int, /) -> None:
        """A hint that no byte before `end` will be needed again soon. Never fails."""

    def set_mtime(self, directory: int, name: str, mtime: int, /) -> None:
        """In nanoseconds."""

    def chmod(self, directory: int, name: str, mode: int, /) -> None: ...
    def chmod_open(self, handle: int, mode: int, /) -> None: ...
    def rename(self, source: int, name: str, target: int, new_name: str, /) -> None:
        """EEXIST if anything is there: never replaces."""

    def exchange(self, one: int, name: str, other: int, other_name: str, /) -> None: ...
    def symlink(self, target: str, directory: int, name: str, /) -> None: ...
    def mkdir(self, directory: int, name: str, /) -> None: ...
    def unlink(self, directory: int, name: str, /) -> None: ...
    def unlink_all(self, directory: int, lots: Iterator[Sequence[str]], /) -> dict[str, OSError]:
        """`unlink` for each name of each lot: which failed, and how. The next lot may be asked for while one is under way."""

    def rmdir(self, directory: int, name: str, /) -> None: ...
    def being_written(self, directory: int, name: str, /) -> bool:
        """Whether a program has this file open for writing; False where the system cannot tell."""

    def has_writer(self, handle: int, /) -> bool:
        """The same of an open file. Never fails."""

    def sync(self) -> None: ...
    def free(self) -> int: ...
    def check(self) -> None:
        """RootError, as `Disk.check_root`."""


def unlink_each(unlink: Callable[[int, str], None], directory: int, names: Iterable[str]) -> dict[str, OSError]:
    """What could not be unlinked, and why."""
    failed: dict[str, OSError] = {}
    for name in names:
        try:
            unlink(directory, name)
        except OSError as error:
            failed[name] = error
    return failed
