"""The root of a synced folder and what of ours is in it: the marker, the lock and the stage, all below `.ssyncd/`.

.ssyncd/          0700
  folder          JSON {"folder": identity}: which folder this is
  lock            flock while a daemon has the folder; its text is the pid
  mark            a word that changes now and then: a folder put back from a backup has an old one
  stage/          files on their way in, things on their way out
"""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import orjson

from ssyncd.disk import system
from ssyncd.disk.faults import OWN, reason_of
from ssyncd.disk.heritage import DEFAULT
from ssyncd.errors import BusyError, RootError, UnusableError

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.ENODEV, errno.ENXIO)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_MARKER = "folder"
_MARK = "mark"
_MARKER_LIMIT = 4096


class Root:
    """The opened root. BusyError if another daemon has it, RootError if it cannot be used.

    `handle` and `stage` are directory handles on the file system `device`; `identity` is what the marker says, `fresh` whether
    we just wrote it.
    """

    def __init__(self, path: str, identity: str | None = None, known: bool = False) -> None:
        self.path = path
        self._known = known
        self._open: list[int] = []
        try:
            self._enter(identity)
        except BaseException:
            self.close()
            raise

    def _enter(self, identity: str | None) -> None:
        _refuse_nested(self.path)
        with _told_as_root_error(self.path):
            self.handle = self._keep(os.open(self.path, _DIRECTORY))
            # Before anything of ours is made: a disk may be mounted there otherwise, or it may be somebody else's.
            if self._known and not _is_marked(self.handle):
                raise self._no_marker()
            self._own = self._keep(_own_directory(self.handle, OWN))
            self.stage = self._keep(_own_directory(self._own, "stage"))
            take_lock(self._keep(open_lock("lock", self._own)), self.path)
            self.device = os.fstat(self.handle).st_dev
            if os.fstat(self.stage).st_dev != self.device:
                raise UnusableError(f"{self.path}: another file system is mounted on {OWN}")
            found = _read_marker(self._own, self.path)
            if found is None and self._known:
                # It may be on its way back: a marker made now would replace the one that comes.
                raise self._no_marker()
            self.fresh = found is None
            self.identity = found or identity or secrets.token_hex(16)
            if self.fresh:
                _write(self._own, _MARKER, orjson.dumps({"folder": self.identity}) + b"\n")
            self._marker = _fingerprint(self._own)

    def _no_marker(self) -> RootError:
        return RootError(f"{self.path}: this is not the folder that was synced before: its marker is missing")

    def _keep(self, handle: int) -> int:
        self._open.append(handle)
        return handle

    def check(self) -> None:
        """RootError if the path no longer leads here, or the marker is gone or names another folder."""
        with _told_as_root_error(self.path):
            there, here = os.stat(self.path), os.fstat(self.handle)
            if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
                raise RootError(f"{self.path}: the folder was replaced, or its disk was taken out")
            own, ours = os.lstat(OWN, dir_fd=self.handle), os.fstat(self._own)
            if (own.st_dev, own.st_ino) != (ours.st_dev, ours.st_ino):
                raise RootError(f"{self.path}: {OWN} was replaced")
            marker = _fingerprint(self.handle, f"{OWN}/{_MARKER}")
            if marker != self._marker:
                self._reread(marker)

    def _reread(self, marker: tuple[int, int, int]) -> None:
        own = os.open(OWN, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self.handle)
        try:
            found = _read_marker(own, self.path)
        finally:
            system.close(own)
        if found != self.identity:
            raise RootError(f"{self.path}: {OWN}/{_MARKER} names another folder")
        self._marker = marker

    def mark(self) -> str:
        """ "" if there is none. OSError: unreadable is not missing."""
        try:
            return _read(self._own, _MARK).decode("ascii", "replace").strip()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EISDIR, errno.ELOOP):
                return ""
            raise

    def set_mark(self, word: str) -> None:
        """OSError: the old one stands."""
        _write(self._own, _MARK, word.encode() + b"\n")

    def close(self) -> None:
        while self._open:
            system.close(self._open.pop())


def open_lock(path: str | os.PathLike[str], directory: int | None = None) -> int:
    """OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)


def take_lock(lock: int, path: str) -> None:
    """Until it is closed; one that a crash left has no owner any more: the kernel let it go. BusyError names who has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise BusyError(f"{path}: another ssyncd has this folder (pid {pid})") from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def identity_at(path: str | os.PathLike[str]) -> str | None:
    """What the marker of the folder at a path says; "" if there is none, None if it cannot be read now."""
    try:
        own = os.open(os.path.join(path, OWN), _DIRECTORY | os.O_NOFOLLOW)
        try:
            return _read_marker(own, os.fspath(path)) or ""
        finally:
            system.close(own)
    except OSError as error:
        return "" if error.errno in _GONE else None
    except UnusableError:
        return None


def is_missing(path: str | os.PathLike[str]) -> bool:
    """Whether there is no directory. What cannot be looked at, as on a file system that has died, is not missing."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        return error.errno in _GONE


def missing(path: str | os.PathLike[str]) -> RootError:
    return RootError(f"{path}: the folder is missing: mount it or put it back, or start it where it is now")


@contextmanager
def _told_as_root_error(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT and error.filename in (None, path):
            raise missing(path) from error
        kind = RootError if error.errno in _GONE else UnusableError
        where = f" ({error.filename})" if error.filename not in (None, path) else ""
        raise kind(f"{path}: {reason_of(error)}{where}") from error


def _refuse_nested(path: str) -> None:
    """Two folders must not share entries: look for a marker in every parent."""
    parent = os.path.dirname(os.path.realpath(path))
    while True:
        if os.path.lexists(os.path.join(parent, OWN, _MARKER)):
            raise UnusableError(f"{path}: is inside {parent}, which is synced as a folder of its own")
        above = os.path.dirname(parent)
        if above == parent:
            return
        parent = above


def _own_directory(parent: int, name: str) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    handle = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    if stat.S_IMODE(os.fstat(handle).st_mode) & 0o077:
        os.fchmod(handle, 0o700)
    # Else what comes into it would have rights that are not for where it goes then.
    with suppress(OSError):
        os.removexattr(handle, DEFAULT)
    return handle


def _is_marked(root: int) -> bool:
    try:
        os.lstat(f"{OWN}/{_MARKER}", dir_fd=root)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _fingerprint(directory: int, name: str = _MARKER) -> tuple[int, int, int]:
    found = os.lstat(name, dir_fd=directory)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read_marker(own: int, path: str) -> str | None:
    try:
        text = _read(own, _MARKER)
    except FileNotFoundError:
        return None
    try:
        identity = orjson.loads(text)["folder"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnusableError(f"{path}: {OWN}/{_MARKER} is damaged; move it away to let this be a new folder") from error
    if not isinstance(identity, str) or not identity:
        raise UnusableError(f"{path}: {OWN}/{_MARKER} is damaged; move it away to let this be a new folder")
    return identity


def _read(own: int, name: str) -> bytes:
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=own)
    try:
        return os.read(handle, _MARKER_LIMIT)
    finally:
        system.close(handle)


def _write(own: int, name: str, data: bytes) -> None:
    """Written beside and renamed, so that a crash leaves no half of it."""
    beside = f"{name}.new"
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600, dir_fd=own)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        system.close(handle)
    os.rename(beside, name, src_dir_fd=own, dst_dir_fd=own)
    os.fsync(own)
