"""RealDisk: the folder on a real disk."""

import errno
import os
import stat
from collections import ChainMap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path

from ssyncd.disk import heritage, system
from ssyncd.disk.base import WORD, Stat, bounded
from ssyncd.disk.calls import unlink_each
from ssyncd.disk.checked import CheckedDisk
from ssyncd.disk.faults import OWN, disk_error, reason_of
from ssyncd.disk.heritage import Heritage
from ssyncd.disk.root import Root
from ssyncd.errors import UnusableError

_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}
_AS_DIRECTORY = system.O_PATH | os.O_DIRECTORY
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_NESTED_MARKER = f"{OWN}/folder"
SKEW = 1_000_000_000
"""Nanoseconds; of machines that are told the time."""
# Nanoseconds: the last one before a second that is even, as FAT's are.
_ODD_TIME = 1_700_000_002 * 10**9 - 1


class RealDisk(CheckedDisk):
    """A folder on this machine. `identity` is what a new marker says; `fresh` tells that there was none. None is made if the
    folder is `known`: then it must have one.

    RootError if the root cannot be used, BusyError if another ssyncd has it.
    """

    def __init__(self, root: str | Path, identity: str | None = None, known: bool = False) -> None:
        self._root = Root(os.path.abspath(root), identity, known)
        self.fresh = self._root.fresh
        self.shared = system.is_shared(self._root.handle)
        self.skew = SKEW if self.shared else 0
        try:
            super().__init__(RealCalls(self._root), self._root.identity)
        except BaseException:
            self._root.close()  # with its lock, for the next try
            raise

    def mark(self) -> str:
        """The word that `set_mark` left in `.ssyncd/`; "" if there is none. DiskError."""
        try:
            return self._root.mark()
        except OSError as error:
            raise disk_error(error, f"{OWN}/mark") from error

    def set_mark(self, word: str) -> None:
        """Durable on return. DiskError."""
        try:
            self._root.set_mark(word)
        except OSError as error:
            raise disk_error(error, f"{OWN}/mark") from error

    def close(self) -> None:
        """Let go of the folder and its lock; nothing else may be called after."""
        self._root.close()


class RealCalls:
    """`calls.Calls` by the kernel."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self.root = root.handle
        self.stage = root.stage
        self._device = root.device
        self.new_mode, self._owners, self._refuses, self.exchanges, self.keeps_exec, self.grain = _probe(root.stage)
        self.folds = _folds(root.handle)

    def open_dir(self, path: str, /) -> int:
        return system.open_beneath(self.root, path, _AS_DIRECTORY) if path else self.root

    def close(self, handle: int, /) -> None:
        if handle != self.root:
            system.close(handle)

    def close_written(self, handle: int, /) -> None:
        os.close(handle)

    def scan(self, path: str, /) -> dict[str, Stat]:
        handle = system.open_beneath(self.root, path or ".", os.O_RDONLY | os.O_DIRECTORY)
        found: dict[str, Stat] = {}
        try:
            with os.scandir(handle) as entries:
                for entry in entries:
                    try:
                        seen = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # gone since its name was read: the truth is that it is not there
                    found[entry.name] = self._stat(seen, handle, entry.name)
        finally:
            system.close(handle)
        return found

    def _stat(self, seen: os.stat_result, directory: int, name: str) -> Stat:
        mode = seen.st_mode
        kind = _KINDS.get(mode & 0o170000, "other")
        if kind == "dir":
            kind = self._kind_of_directory(seen, directory, name)
        exec = mode & 0o100 != 0 if self.keeps_exec else None
        mtime, ctime = seen.st_mtime_ns, seen.st_ctime_ns
        if not (-WORD <= mtime <= WORD and -WORD <= ctime <= WORD):
            mtime, ctime = bounded(mtime), bounded(ctime)
        return Stat(kind, seen.st_size, mtime, ctime, seen.st_ino & WORD, exec)

    def _kind_of_directory(self, seen: os.stat_result, directory: int, name: str) -> str:
        # Only for directories: overlayfs shows files of its layers with another device.
        if seen.st_dev != self._device:
            return "mount"
        if directory == self.root and name in ("", "."):
            return "dir"
        try:
            os.lstat(f"{name}/{_NESTED_MARKER}", dir_fd=directory)
        except OSError:
            return "dir"
        return "root"

    def look(self, directory: int, name: str, /) -> Stat:
        return self._stat(os.lstat(name, dir_fd=directory), directory, name)

    def look_path(self, path: str, /) -> Stat:
        handle = system.open_beneath(self.root, path, system.O_PATH)
        try:
            return self._stat(os.fstat(handle), handle, ".")
        finally:
            system.close(handle)

    def look_open(self, handle: int, /) -> Stat:
        return self._stat(os.fstat(handle), handle, ".")

    def spells(self, directory: int, name: str, /) -> bool:
        handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
        try:
            return name in os.listdir(handle)
        finally:
            system.close(handle)

    def inode(self, handle: int, /) -> int:
        return os.fstat(handle).st_ino

    def mode(self, directory: int, name: str, /) -> int:
        return os.lstat(name, dir_fd=directory).st_mode & 0o777

    def heritage(self, directory: int, name: str, /) -> Heritage:
        return heritage.of_file(directory, name) if name else heritage.of_directory(directory, self.new_mode)

    def give(self, given: Heritage, name: str, /) -> None:
        heritage.give(given, self.stage, name, *self._owners)

    def names(self, directory: int, name: str, /) -> int:
        return os.lstat(name, dir_fd=directory).st_nlink

    def read_link(self, directory: int, name: str, /) -> str:
        return os.readlink(name, dir_fd=directory)

    def open(self, directory: int, name: str, /) -> int:
        return os.open(name, _READ, dir_fd=directory)

    def create(self, directory: int, name: str, /) -> int:
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=directory)

    def reopen(self, directory: int, name: str, /) -> int:
        return os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)

    def read(self, handle: int, size: int, /) -> bytes:
        return os.read(handle, size)

    def read_at(self, handle: int, size: int, offset: int, /) -> bytes:
        return os.pread(handle, size, offset)

    def write_at(self, handle: int, data: bytes, offset: int, /) -> None:
        done = os.pwrite(handle, data, offset)
        while done < len(data):
            done += os.pwrite(handle, memoryview(data)[done:], offset + done)

    def drop_behind(self, handle: int, end: int, /) -> None:
        system.drop_behind(handle, end)

    def set_mtime(self, directory: int, name: str, mtime: int, /) -> None:
        os.utime(name, ns=(mtime, mtime), dir_fd=directory, follow_symlinks=False)

    def chmod(self, directory: int, name: str, mode: int, /) -> None:
        os.chmod(name, mode, dir_fd=directory)

    def chmod_open(self, handle: int, mode: int, /) -> None:
        os.fchmod(handle, mode)

    def rename(self, source: int, name: str, target: int, new_name: str, /) -> None:
        if self._refuses:
            system.rename2(source, name, target, new_name, system.RENAME_NOREPLACE)
        else:
            _rename_unaided(source, name, target, new_name, self.stage)

    def exchange(self, one: int, name: str, other: int, other_name: str, /) -> None:
        system.rename2(one, name, other, other_name, system.RENAME_EXCHANGE)

    def symlink(self, target: str, directory: int, name: str, /) -> None:
        os.symlink(target, name, dir_fd=directory)

    def mkdir(self, directory: int, name: str, /) -> None:
        os.mkdir(name, dir_fd=directory)

    def unlink(self, directory: int, name: str, /) -> None:
        os.unlink(name, dir_fd=directory)

    def unlink_all(self, directory: int, lots: Iterator[Sequence[str]], /) -> dict[str, OSError]:
        first, second = next(lots, ()), next(lots, None)
        if second is None:
            return unlink_each(self.unlink, directory, first)
        # A file system may wait for the disk with each unlink: ext4 that discards what is freed does.
        with ThreadPoolExecutor(1, "ssyncd-unlink") as beside:
            ends = [beside.submit(unlink_each, self.unlink, directory, lot) for lot in chain((first, second), lots)]
        return dict(ChainMap(*(end.result() for end in ends)))

    def rmdir(self, directory: int, name: str, /) -> None:
        os.rmdir(name, dir_fd=directory)

    def being_written(self, directory: int, name: str, /) -> bool:
        try:
            handle = os.open(name, _READ, dir_fd=directory)
        except OSError:
            return False
        try:
            return self.has_writer(handle)
        finally:
            system.close(handle)

    def has_writer(self, handle: int, /) -> bool:
        return system.has_writer(handle) or False

    def sync(self) -> None:
        system.sync_filesystem(self.root)

    def free(self) -> int:
        seen = os.fstatvfs(self.root)
        return seen.f_bavail * seen.f_frsize

    def check(self) -> None:
        self._root.check()


def _probe(stage: int) -> tuple[int, tuple[int, int], bool, bool, bool, int]:
    """What this file system does: (mode of a new file, its user and group, rename that never replaces, exchange, execute bits,
    step of times)."""
    one, other = "probe-1", "probe-2"
    _clear(stage, one, other)
    try:
        for name in (one, other):
            os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=stage))
        seen = os.lstat(one, dir_fd=stage)
        mode = stat.S_IMODE(seen.st_mode)
        keeps_exec, grain = _keeps_exec(stage, one, mode ^ 0o100), _step_of_times(stage, one)
        exchanges = _works(stage, one, other, system.RENAME_EXCHANGE)
        os.unlink(other, dir_fd=stage)
        refuses = _works(stage, one, other, system.RENAME_NOREPLACE)
    except OSError as error:
        raise UnusableError(f"the folder cannot be written: {reason_of(error)}") from error
    finally:
        _clear(stage, one, other)
    return mode, (seen.st_uid, seen.st_gid), refuses, exchanges, keeps_exec, grain


def _keeps_exec(stage: int, name: str, mode: int) -> bool:
    """FAT and its like refuse, or say that they have done it."""
    try:
        os.chmod(name, mode, dir_fd=stage)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ENOTSUP):
            return False
        raise
    return (os.lstat(name, dir_fd=stage).st_mode ^ mode) & 0o100 == 0


def _step_of_times(stage: int, name: str) -> int:
    os.utime(name, ns=(_ODD_TIME, _ODD_TIME), dir_fd=stage)
    lost = _ODD_TIME - os.lstat(name, dir_fd=stage).st_mtime_ns
    return abs(lost) + 1 if lost else 0


def _works(stage: int, one: str, other: str, flags: int) -> bool:
    if not system.has_rename2:
        return False
    try:
        system.rename2(stage, one, stage, other, flags)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ENOTSUP):
            return False
        raise
    return True


def _clear(stage: int, *names: str) -> None:
    for name in names:
        with suppress(OSError):
            os.unlink(name, dir_fd=stage)


def _folds(root: int) -> bool:
    """Our own directory answers to another spelling of its name."""
    try:
        os.lstat(OWN.upper(), dir_fd=root)
    except OSError:
        return False
    return True


def _rename_unaided(source: int, name: str, target: int, new_name: str, stage: int) -> None:
    """Where rename cannot refuse to replace. Out of the stage a second name (link) refuses by itself; into it nobody else
    makes names; else, and for directories or without links, the target is checked first and can be overtaken."""
    if source == stage and _linked(source, name, target, new_name):
        os.unlink(name, dir_fd=source)
        return
    if _is_there(target, new_name):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name)
    os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)


def _linked(source: int, name: str, target: int, new_name: str) -> bool:
    try:
        os.link(name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EISDIR, errno.EMLINK):
            return False
        raise
    return True


def _is_there(directory: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return False
    return True
