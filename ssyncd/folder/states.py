"""What a folder remembers from one run to the next: a directory with a database, found again when the folder was moved.

lock        flock while somebody has it
state.db    see `ssyncd.state`; its meta table tells the marker ("folder"), path and name of the folder
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from ssyncd.disk.root import identity_at, open_lock, take_lock
from ssyncd.errors import RootError, StateCorruptError, StateError, StateNewerError
from ssyncd.folder.record import Record
from ssyncd.folder.settings import FolderSettings
from ssyncd.state.database import Database, peek

log = logging.getLogger(__name__)

_FILE = "state.db"


class State:
    """Of the folder at `path`, opened: BusyError if another process has it, StateError if it cannot be used. A database that
    cannot be read is put aside: what it knew is found again by comparing with the server (design section 2)."""

    def __init__(self, directory: Path, path: Path) -> None:
        self._file = directory / _FILE
        with ExitStack() as opened, _told(directory):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            opened.enter_context(_locked(directory, path))
            self.database = self._open()
            self._close = opened.pop_all().close

    def _open(self) -> Database:
        try:
            return Database(self._file)
        except (StateCorruptError, StateNewerError) as error:
            _put_aside(self._file, error)
            return Database(self._file)

    def begin_anew(self, error: StateCorruptError) -> None:
        with _told(self._file):
            self.database.close()
            _put_aside(self._file, error)
            self.database = self._open()

    def close(self) -> None:
        self.database.close()
        self._close()


class Known(Struct, frozen=True):
    """What a state directory remembers is the folder `name`, which was at `path`."""

    directory: Path
    path: Path
    name: str

    def move(self, directory: Path) -> None:
        """What is there, of a folder that is not, is put aside. BusyError, StateError."""
        with _told(self.directory), _locked(self.directory, self.path):
            if directory.exists():
                directory.rename(f"{directory}.{_now()}")
            self.directory.rename(directory)


def identify(record: Record, marker: str, settings: FolderSettings) -> None:
    """Note by what the folder is found again. RootError if this is not the one that the trees tell of."""
    if record.meta.get("folder", marker) != marker and len(record.base):
        raise RootError("this is not the folder that was synced before: its marker is missing or another's")
    record.set_meta("folder", marker)
    record.set_meta("path", json.dumps(str(settings.path)))
    record.set_meta("name", settings.name)


def known(states: Path, path: Path, expected: Path) -> Iterator[Known]:
    """State directories of the folder at a path, by its marker: it had another name, or was elsewhere, where it is not any more.
    None if the one to expect has it, or if that cannot be told now."""
    identity, there = identity_at(path), peek(expected / _FILE)
    if not identity or there is None or there.get("folder") == identity:
        return
    for file in states.glob(f"*/{_FILE}"):
        meta = peek(file)
        if meta is None or meta.get("folder") != identity or file.parent == expected:
            continue
        with suppress(LookupError, TypeError, ValueError):  # damaged: then it is not known
            one = Known(file.parent, Path(json.loads(meta["path"])), meta["name"])
            if one.path == path or identity_at(one.path) not in (identity, None):
                yield one


@contextmanager
def _locked(directory: Path, path: Path) -> Iterator[None]:
    lock = open_lock(directory / "lock")
    try:
        take_lock(lock, str(path))
        yield
    finally:
        os.close(lock)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StateError(f"{error.filename or path}: cannot be used: {error.strerror}") from error


def _put_aside(file: Path, error: StateError) -> None:
    aside = file.with_name(f"{file.name}.damaged-{_now()}")
    log.warning("%s: kept as %s: comparing everything with the server", error, aside.name)
    with suppress(FileNotFoundError):
        file.rename(aside)
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def _now() -> int:
    return time.time_ns() // 1_000_000_000
