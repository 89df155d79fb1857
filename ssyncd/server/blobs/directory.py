"""Chunks in a directory: `ACCOUNT/BUCKET/2 hex/62 hex`, each file a chunk in its stored form.

A chunk is first written to `incoming/`, under a name that tells where it belongs; one flush makes a whole request durable there,
and then each is renamed to its place. The renames are not flushed: after a power cut, opening the store finishes them.
"""

import errno
import itertools
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ssyncd.errors import ContentError, NoSpaceError, UnreadableError
from ssyncd.server.blobs.base import Scope, Stored
from ssyncd.server.blobs.flush import begin, flush
from ssyncd.server.blobs.sealed import verify

log = logging.getLogger(__name__)

INCOMING = "incoming"
APP = "ssyncd"
# A shorter one is written together with others.
LONG = 64 * 1024
# The system takes no more in one call.
MOST_PIECES = os.sysconf("SC_IOV_MAX")
# So many that were put last are taken to be in the system's memory still.
RECENT = 4096
# Asking for many chunks must not keep the lock for long.
ASK_STEP = 500
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DirectoryBlobs:
    def __init__(self, root: Path, chunk_limit: int) -> None:
        """UnreadableError or NoSpaceError if the directory cannot be used."""
        self._root = root
        self.incoming = root / INCOMING
        self._limit = chunk_limit
        self._serial = itertools.count(1)
        # Guards removing: between looking at a chunk's age and removing it, nobody may be told that it is there; and _recent.
        self._lock = threading.Lock()
        self._recent: dict[str, None] = {}
        with mapped(root):
            self.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._recover()

    def _recover(self) -> None:
        for entry in os.scandir(self.incoming):
            if not self._finish(Path(entry.path)):
                log.info("removed an unfinished chunk: %s", entry.name)
                os.unlink(entry.path)

    def _finish(self, path: Path) -> bool:
        """Put a chunk that a crash left in `incoming` in its place, if it is whole."""
        parts = path.name.split(",")
        if len(parts) != 4:
            return False
        account, bucket, chunk, _ = parts
        try:
            verify(bytes.fromhex(chunk), [path.read_bytes()], self._limit)
        except (ContentError, ValueError):
            return False
        self.place([(str(path), _path(str(self._root / account / bucket), bytes.fromhex(chunk)))])
        return True

    def missing(self, scope: Scope, ids: Sequence[bytes]) -> list[bytes]:
        folder = str(self.folder(scope))
        found: list[bytes] = []
        with mapped(folder):
            for start in range(0, len(ids), ASK_STEP):
                with self._lock:
                    found += [chunk for chunk in ids[start : start + ASK_STEP] if not _touch(folder, chunk)]
        return found

    def upload(self, scope: Scope) -> "DirectoryUpload":
        return DirectoryUpload(self, scope, next(self._serial))

    def get(self, scope: Scope, chunk: bytes) -> bytes | None:
        path = _path(str(self.folder(scope)), chunk)
        with mapped(path):
            try:
                with open(path, "rb", buffering=0) as file:
                    return file.read()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def recent(self, scope: Scope, ids: Sequence[bytes]) -> Iterator[tuple[str, int]]:
        folder = str(self.folder(scope))
        for chunk in ids:
            path = _path(folder, chunk)
            size = _size(path) if path in self._recent else None
            if size is None:
                return
            yield path, size

    def usage(self, user: str) -> int:
        return usage(self._root, user)

    def scopes(self) -> list[Scope]:
        with mapped(self._root):
            return [
                Scope(*_account(account.name), bucket.name.rstrip("~"))
                for account in os.scandir(self._root)
                if account.is_dir() and account.name != INCOMING
                for bucket in os.scandir(account.path)
            ]

    def ids(self, scope: Scope) -> Iterator[bytes]:
        folder = self.folder(scope)
        with mapped(folder):
            for first in sorted(_names(folder)):
                for rest in _names(folder / first):
                    with suppress(ValueError):
                        yield bytes.fromhex(first + rest)

    def remove(self, scope: Scope, chunk: bytes, before: float) -> bool:
        path = _path(str(self.folder(scope)), chunk)
        with mapped(path), self._lock:
            try:
                if os.stat(path).st_mtime >= before:
                    return False
                self._unlink(path)
            except FileNotFoundError:
                return False
            return True

    def discard(self, scope: Scope, chunk: bytes, sealed: bytes) -> None:
        path = _path(str(self.folder(scope)), chunk)
        with self._lock:
            if self.get(scope, chunk) == sealed:
                with mapped(path):
                    self._unlink(path)

    def _unlink(self, path: str) -> None:
        """With the lock."""
        self._recent.pop(path, None)
        os.unlink(path)

    def close(self) -> None:
        pass

    def folder(self, scope: Scope) -> Path:
        account = scope.user if scope.app == APP else f"{scope.user}.{scope.app}"
        # "." and ".." are good names of buckets, but not of directories; no bucket has a "~".
        bucket = scope.bucket + "~" if scope.bucket.strip(".") == "" else scope.bucket
        return self._root / account / bucket

    def place(self, chunks: Sequence[tuple[str, str]]) -> None:
        """Rename durable chunks to where they belong, given as (path, path there); their age begins now."""
        with self._lock:
            for temporary, final in chunks:
                try:
                    os.rename(temporary, final)
                except FileNotFoundError:
                    os.makedirs(final.rpartition("/")[0], mode=0o700, exist_ok=True)
                    os.rename(temporary, final)
                self._recent[final] = None
            while len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]


class DirectoryUpload:
    def __init__(self, blobs: DirectoryBlobs, scope: Scope, number: int) -> None:
        self._blobs = blobs
        self._folder = blobs.folder(scope)
        self._suffix = f"{os.getpid()}-{number}"
        self._staged: dict[bytes, str] = {}

    def add(self, chunks: Sequence[tuple[bytes, Stored]]) -> None:
        for chunk, sealed in chunks:
            if chunk in self._staged:
                continue
            name = f"{self._folder.parent.name},{self._folder.name},{chunk.hex()},{self._suffix}"
            path = f"{self._blobs.incoming}/{name}"
            self._staged[chunk] = name
            with mapped(path):
                _write(path, sealed)

    def commit(self) -> None:
        incoming, folder = self._blobs.incoming, str(self._folder)
        with mapped(incoming):
            flush(incoming, list(self._staged.values()))
            self._blobs.place([(f"{incoming}/{name}", _path(folder, chunk)) for chunk, name in self._staged.items()])
        self._staged = {}

    def abort(self) -> None:
        for name in self._staged.values():
            with suppress(OSError):
                os.unlink(self._blobs.incoming / name)
        self._staged = {}


def usage(root: Path, user: str) -> int:
    """Bytes of all chunks of an account; also of a store that another process has open. UnreadableError."""
    with mapped(root):
        return sum(
            _size(f"{folder}/{name}") or 0
            for account in _names(root)
            if _account(account)[0] == user
            for folder, _, names in os.walk(root / account)
            for name in names
        )


@contextmanager
def mapped(path: Path | str) -> Iterator[None]:
    """NoSpaceError and UnreadableError for what the disk says."""
    try:
        yield
    except OSError as error:
        kind = NoSpaceError if error.errno in _FULL else UnreadableError
        raise kind(str(path), error.strerror or str(error)) from error


def _path(folder: str, chunk: bytes) -> str:
    name = chunk.hex()
    return f"{folder}/{name[:2]}/{name[2:]}"


def _account(name: str) -> tuple[str, str]:
    user, _, app = name.partition(".")
    return user, app or APP


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _size(path: str) -> int | None:
    """None if it cannot be told: who reads the file finds out why."""
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _touch(folder: str, chunk: bytes) -> bool:
    """Whether a chunk is there; if so it is young again."""
    try:
        os.utime(_path(folder, chunk))
    except FileNotFoundError:
        return False
    return True


def _write(path: str, content: Stored) -> None:
    size = sum(map(len, content))
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        done = os.writev(file, content[:MOST_PIECES])
        if done < size:
            rest = memoryview(b"".join(content))[done:]
            while rest:
                rest = rest[os.write(file, rest) :]
        if size >= LONG:
            begin(file)
    finally:
        os.close(file)
