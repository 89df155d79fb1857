"""System calls that Python has no name for: renameat2, openat2, syncfs (Linux man pages, section 2).

Each is looked for once. Where one is missing (another system, an old kernel, a sandbox that forbids it) there is a slower way
with the same promise, or `has_rename2` is False and the caller finds its own.
"""

import ctypes
import errno
import fcntl
import os
import signal
import stat
import sys
import time
from contextlib import suppress
from typing import Any

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

OPEN_FILES = "/proc/self/fd"
"""Where an open file or directory has a path, for calls that take nothing else."""

O_PATH: int = getattr(os, "O_PATH", 0)
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_RESOLVE = _NO_XDEV | _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH
_REALTIME_COARSE = 5  # see clock_gettime(2)
_OPENAT2 = 437  # one number on every architecture (it is newer than the common table)


class _OpenHow(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


def _function(name: str, *arguments: Any) -> Any:
    function = getattr(_libc, name, None) if sys.platform == "linux" else None
    if function is not None:
        function.argtypes = arguments
        function.restype = ctypes.c_long if name == "syscall" else ctypes.c_int
    return function


_renameat2 = _function("renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_syncfs = _function("syncfs", ctypes.c_int)
_fstatfs = _function("fstatfs", ctypes.c_int, ctypes.c_void_p)
_syscall = _function("syscall", ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)
_hows: dict[int, Any] = {}

_fadvise = getattr(os, "posix_fadvise", None)

has_rename2: bool = _renameat2 is not None


def stamp() -> int:
    """The clock that the kernel stamps files with, in nanoseconds since the epoch (current_time() in its fs/inode.c)."""
    try:
        return time.clock_gettime_ns(_REALTIME_COARSE)
    except OSError:
        return time.time_ns()


def _failure(path: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)


def close(handle: int) -> None:
    """Of what was not written to. It is closed whatever is said to that (close(2)): on a file system that has died, ENOTCONN."""
    try:  # noqa: SIM105 - once and more for each file that is read or put; `suppress` takes ten times as long
        os.close(handle)
    except OSError:
        pass


def rename2(source: int, name: str, target: int, new_name: str, flags: int) -> None:
    """renameat2. EINVAL or ENOSYS where the file system does not know the flag."""
    if _renameat2(source, os.fsencode(name), target, os.fsencode(new_name), flags):
        raise _failure(name)


def sync_filesystem(handle: int) -> None:
    """Make everything written to this file system durable; errors of earlier writes are told (Linux 5.8)."""
    if _syncfs is None:
        os.sync()
    elif _syncfs(handle):
        raise _failure("")


def drop_behind(handle: int, end: int) -> None:
    """Have the bytes before `end` begin to go to the disk, and drop from memory those that are there: posix_fadvise(2), DONTNEED.

    Says nothing of whether they get there: `sync_filesystem` does.
    """
    if _fadvise is not None:
        with suppress(OSError):
            _fadvise(handle, 0, end, os.POSIX_FADV_DONTNEED)


_FUSE = 0x65735546
_SHARED = {
    0x6969,  # NFS
    0x517B, 0xFF534D42, 0xFE534D42,  # SMB
    0x01021997,  # 9P: folders of the host in WSL and virtual machines
    0x786F4256, 0xBACBACBC,  # VirtualBox, VMware
    0x00C36400, 0x5346414F, 0x6B414653, 0x73757245,  # Ceph, AFS, Coda
    0x0BD00BD0, 0x47504653, 0x01161970, 0x7461636F,  # Lustre, GPFS, GFS2, OCFS2
}  # fmt: skip
"""Of linux/magic.h and statfs(2)."""


def is_shared(handle: int) -> bool:
    """Whether this is on a file system that others may change without a word of the kernel here: another machine, or whoever
    writes to what a FUSE file system shows. False where the system cannot tell."""
    kind = _kind(handle)
    # FUSE that has a block device of its own (NTFS, exFAT) is no other's.
    return kind in _SHARED or (kind == _FUSE and os.major(os.fstat(handle).st_dev) == 0)


def _kind(handle: int) -> int:
    """Of the file system, as in linux/magic.h; 0 where the system cannot tell."""
    # `struct statfs` begins with the type, a word.
    found = (ctypes.c_ulong * 64)()
    return 0 if _fstatfs is None or _fstatfs(handle, found) else found[0] & 0xFFFFFFFF


def boot() -> str:
    """Names this run of the operating system (proc_sys_kernel(5)); "" where it has no name."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def has_writer(handle: int) -> bool | None:
    """Whether a program has this file open for writing, or mapped; None where the system cannot tell.

    A read lease is refused with EAGAIN as long as anybody has (fcntl(2), "Leases"); one that was given is given back at once.
    """
    try:
        # Who opens the file while we hold the lease makes the kernel signal us; SIGIO would end the process, SIGURG not.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        # EACCES: a file of another user; EINVAL: no regular file, or a file system without leases. NFS 4 and SMB say EAGAIN of
        # any file for which their server has not given a delegation (an oplock).
        return True if error.errno == errno.EAGAIN and _kind(handle) not in _SHARED else None
    return False


def open_beneath(root: int, path: str, flags: int) -> int:
    """Open `path` from the directory `root`, through no link and onto no other file system: ELOOP, EXDEV."""
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    if not _has_openat2:
        return _open_by_steps(root, path, flags)
    return _open2(root, path, flags)


def _open2(root: int, path: str, flags: int) -> int:
    how = _hows.get(flags)
    if how is None:
        how = _hows[flags] = ctypes.pointer(_OpenHow(flags, 0, _RESOLVE))
    name = os.fsencode(path)
    while True:
        handle: int = _syscall(_OPENAT2, root, name, how, ctypes.sizeof(_OpenHow))
        if handle >= 0:
            return handle
        if ctypes.get_errno() not in (errno.EINTR, errno.EAGAIN):
            raise _failure(path)


def _open_by_steps(root: int, path: str, flags: int) -> int:
    """As openat2, one component at a time: a directory moved meanwhile is followed, a link never."""
    device = os.fstat(root).st_dev
    *heads, last = path.split("/")
    here = root
    try:
        for name in heads:
            deeper = os.open(name, O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            here, before = deeper, here
            if before != root:
                close(before)
        handle = os.open(last, flags, dir_fd=here)
    finally:
        if here != root:
            close(here)
    found = os.fstat(handle)
    if stat.S_ISDIR(found.st_mode) and found.st_dev != device:
        close(handle)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    return handle


def _find_openat2() -> bool:
    """ENOSYS before Linux 5.6, EPERM in sandboxes that do not know it."""
    if _syscall is None or not O_PATH:
        return False
    try:
        os.close(_open_probe())
    except OSError:
        return False
    return True


def _open_probe() -> int:
    here = os.open("/", O_PATH | os.O_DIRECTORY)
    try:
        return _open2(here, ".", O_PATH | os.O_CLOEXEC)
    finally:
        os.close(here)


_has_openat2 = _find_openat2()
