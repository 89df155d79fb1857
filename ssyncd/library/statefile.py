"""A memory in a file: SQLite, one transaction for each step, one program at a time."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from ssyncd.errors import BusyError, ProtocolError, StateCorruptError, StateError
from ssyncd.library.memory import Edit, Loaded, Writes
from ssyncd.library.values import Data
from ssyncd.protocol.changes import ClientChange, parse_client_change
from ssyncd.protocol.encoding import dumps_stored, loads
from ssyncd.protocol.ghosts import Ghost, Sent

VERSION = 1
"""PRAGMA user_version of the schema."""


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise BusyError(f"{path}: another program uses this state file") from error
        raise StateError(f"{path}: {error}") from error
    except sqlite3.ProgrammingError as error:
        raise StateError(f"{path}: {error}") from error
    except (sqlite3.Error, ProtocolError, ValueError, TypeError) as error:
        raise StateCorruptError(f"{path}: {error}") from error
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error


class StateFile:
    """Used by one thread at a time. `owner` says what the state is of; a file of anything else is refused.

    What `write` returned for survives the end of the program, by kill -9 too; a power cut may take the last moment.
    StateError, StateCorruptError, BusyError.
    """

    def __init__(self, path: Path, owner: Mapping[str, str]) -> None:
        self.path = path
        with _mapped(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(owner)
            except BaseException:
                self._db.close()
                raise

    def _prepare(self, owner: Mapping[str, str]) -> None:
        # Held until closed: two programs with one ledger of what was sent would take each other's answers.
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA wal_autocheckpoint=5000")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._db.executescript("BEGIN IMMEDIATE;" + files(__package__).joinpath("state.sql").read_text("utf-8"))
            self._db.execute(f"PRAGMA user_version={VERSION}")
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", owner.items())
            self._db.execute("COMMIT")
            return
        if version != VERSION:
            raise StateError(f"{self.path}: no state of this version of ssyncd ({version}, not {VERSION})")
        self._db.execute("BEGIN EXCLUSIVE")
        self._db.execute("COMMIT")
        found = self._meta()
        for name, value in owner.items():
            if found.get(name) != value:
                raise StateError(f"{self.path}: belongs to another {name}: {found.get(name)}, not {value}")

    def close(self) -> None:
        with _mapped(self.path):
            self._db.close()

    def _meta(self) -> dict[str, str]:
        return dict(self._db.execute("SELECT name, value FROM meta"))

    def load(self) -> Loaded:
        with _mapped(self.path):
            return Loaded(
                self._meta(),
                {key: Ghost(version, _data(data)) for key, version, data in self._db.execute("SELECT * FROM ghosts")},
                [
                    Sent(ccid, key, source, _change(change))
                    for _, ccid, key, source, change in self._db.execute("SELECT * FROM sent ORDER BY rank")
                ],
                {
                    key: Edit(_data(base), _data(wanted), ccid, refused, 0, _data(first))
                    for key, ccid, refused, base, wanted, first in self._db.execute("SELECT * FROM edits")
                },
            )

    def write(self, writes: Writes) -> None:
        """All of it in one transaction, or nothing."""
        with _mapped(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._write(writes)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _write(self, writes: Writes) -> None:
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", writes.meta.items())
        rows = [(key, ghost.version, _stored(ghost.data)) for key, ghost in writes.ghosts.items()]
        self._db.executemany("INSERT OR REPLACE INTO ghosts VALUES (?, ?, ?)", rows)
        # A change that is only stored again keeps its rank.
        self._db.executemany(
            "INSERT INTO sent (ccid, key, source, change) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (ccid) DO UPDATE SET change=excluded.change",
            [(sent.ccid, sent.key, sent.source, _sent(sent)) for sent in writes.sent.values() if sent is not None],
        )
        self._remove("sent", "ccid", writes.sent)
        edits = [(key, edit) for key, edit in writes.edits.items() if edit is not None]
        self._db.executemany(
            "INSERT OR REPLACE INTO edits VALUES (?, ?, ?, ?, ?, ?)",
            [(key, e.ccid, e.refused, _stored(e.base), _stored(e.wanted), _stored(e.first)) for key, e in edits],
        )
        self._remove("edits", "key", writes.edits)

    def _remove(self, table: str, column: str, rows: Mapping[str, Any]) -> None:
        gone = [(name,) for name, row in rows.items() if row is None]
        self._db.executemany(f"DELETE FROM {table} WHERE {column}=?", gone)


def _stored(data: Data) -> bytes | None:
    return None if data is None else dumps_stored(data)


def _data(stored: bytes | None) -> Data:
    if stored is None:
        return None
    value = loads(stored)
    if not isinstance(value, dict):
        raise ProtocolError("an object that is none")
    return value


def _sent(sent: Sent) -> bytes | None:
    return None if sent.change is None else sent.change.encoded().encode()


def _change(stored: bytes | None) -> ClientChange | None:
    if stored is None:
        return None
    change = parse_client_change(loads(stored))
    if not isinstance(change, ClientChange):
        raise ProtocolError(f"a change that is none: {change.reason}")
    return change
