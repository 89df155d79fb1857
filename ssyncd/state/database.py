"""The state database of one folder: one class opens it, one transaction for each round of the control thread."""

import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from ssyncd.disk.base import Stat
from ssyncd.errors import StateCorruptError, StateError, StateNewerError
from ssyncd.planner.tree import Content, Entry, Kind

VERSION = 2
"""PRAGMA user_version of the schema; each only added tables to the one before."""

KEPT_PAST = 100
"""Versions of an object whose content's hash is kept."""
LOG_LIMIT = 2 * 1024 * 1024
"""Bytes of SQLite's log above which a quiet moment is used to empty it."""
_KINDS = {str(kind): kind for kind in Kind}
# On both sides as agreed, and so on this disk.
_AT_REST = """(b.same AND b.version = r.version AND NOT r.dead AND r.kind = 'file' AND r.hash IS NOT NULL AND r.by IS NOT NULL
    AND b.stat_kind = 'file' AND b.stat_size = r.size AND b.stat_exec = r.exec)"""
_RESTING = """r.key, r.version, r.placed, r.mine, r.parent, r.name, r.hash, r.size, r.mtime, r.by, r.exec,
    b.stat_mtime, b.stat_ctime, b.stat_inode"""


class RemoteRow(NamedTuple):
    """A ghost. `entry` of a dead one is its last; None where we never knew it."""

    key: str
    version: int
    dead: bool
    placed: int
    mine: bool
    entry: Entry | None


RestingRow = tuple[bytes, int, int, int, bytes, str, bytes, int, int, str, int, int, int, int]
"""A file that is at rest (see `_AT_REST`): key, version, placed, mine, parent, name, hash, size, mtime, by, exec, and the mtime,
ctime and inode of its stat."""


class BaseRow(NamedTuple):
    """`same`: the entry is the one in the remote row; `stat` None: agreed, but not on this disk in this form; `version`: the
    server's, when its content was agreed on."""

    entry: Entry
    stat: Stat | None
    version: int = 0
    same: bool = False


class SentRow(NamedTuple):
    ccid: str
    key: str
    source: int | None


class OvertakenRow(NamedTuple):
    """Content that our change replaced without having seen it; `entry` as it was in that version."""

    version: int
    entry: Entry


@dataclass(slots=True)
class Writes:
    """What one transaction writes; None or False removes."""

    meta: dict[str, str | None] = field(default_factory=dict)
    remote: dict[str, RemoteRow | None] = field(default_factory=dict)
    base: dict[str, BaseRow | None] = field(default_factory=dict)
    sent: dict[str, SentRow | None] = field(default_factory=dict)
    overtaken: dict[tuple[str, int], OvertakenRow | None] = field(default_factory=dict)
    chunks: dict[str, bytes | None] = field(default_factory=dict)
    past: dict[tuple[str, int], str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any((self.meta, self.remote, self.base, self.sent, self.overtaken, self.chunks, self.past))


@contextmanager
def _mapped(path: Path | str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
        raise StateError(f"{path}: {error}") from error
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        raise StateCorruptError(f"{path}: {error}") from error


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _identity(path: Path | str) -> tuple[int, int] | None:
    """Which file this is; None for one in memory, (0, 0) if it is gone."""
    if str(path) == ":memory:":
        return None
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error
    return found.st_dev, found.st_ino


class Database:
    """Used by one thread at a time. Every method raises StateError."""

    def __init__(self, path: Path | str) -> None:
        """`path`: a file, made with its directories where missing, or ":memory:"."""
        self.path = path
        self._failed = False
        self._grown = False
        with _mapped(path):
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
                self._file = _identity(path)
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        _configure(self._db)
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StateNewerError(
                f"{self.path}: written by a newer ssyncd (schema {version}, this one knows {VERSION})"
            )
        if version < VERSION:
            self._db.executescript("BEGIN;" + files("ssyncd.state").joinpath("schema.sql").read_text())
            self._db.execute(f"PRAGMA user_version={VERSION}")
            self._db.execute("COMMIT")
        # Asked twice, because a page that cannot be read for a moment is told as one that is damaged.
        if version and self._problem() and (problem := self._problem()):
            raise StateCorruptError(f"{self.path}: {problem}")

    def _problem(self) -> str:
        """ "" if the file is whole."""
        found = str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])
        return "" if found == "ok" else found

    def close(self) -> None:
        with _mapped(self.path):
            self._db.close()

    def _renew(self) -> None:
        """After a failure, another connection: one that was opened read-only for the moment stays so for ever, and others keep
        what they took for wrong."""
        if self._file is not None:
            if _identity(self.path) != self._file:
                raise StateCorruptError(f"{self.path}: another file is in its place")
            fresh = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._db, before = fresh, self._db
            before.close()
            _configure(fresh)
        self._failed = False

    def write(self, writes: Writes) -> None:
        """All of it in one transaction, or nothing."""
        with _mapped(self.path):
            if self._failed:
                self._renew()
            self._failed = True
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")  # the one before failed, and to take it back failed, too
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._write_all(writes)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._failed, self._grown = False, True

    def _write_all(self, writes: Writes) -> None:
        self._write("meta", "name", writes.meta.items(), lambda name, value: (name, value))
        self._write("remote", "key", _raw_keys(writes.remote), lambda key, row: (key, *_remote_columns(row)))
        self._write("base", "key", _raw_keys(writes.base), lambda key, row: (key, *_base_columns(row)))
        self._write("sent", "ccid", writes.sent.items(), lambda ccid, r: (ccid, bytes.fromhex(r.key), r.source))
        self._write("chunks", "hash", _raw_keys(writes.chunks), lambda key, rows: (key, rows))
        for (key, version), row in writes.overtaken.items():
            self._db.execute("DELETE FROM overtaken WHERE key=? AND version=?", (bytes.fromhex(key), version))
            if row is not None:
                columns = (bytes.fromhex(key), version, *_place(row.entry), *_facets(row.entry))
                self._db.execute(f"INSERT INTO overtaken VALUES ({_marks(columns)})", columns)
        self._write_past(writes.past)

    def _write_past(self, past: dict[tuple[str, int], str]) -> None:
        rows = [(bytes.fromhex(key), version, bytes.fromhex(hash)) for (key, version), hash in past.items()]
        self._db.executemany("INSERT OR REPLACE INTO past VALUES (?,?,?)", rows)
        old = [(key, version - KEPT_PAST) for key, version, _ in rows if version > KEPT_PAST]
        self._db.executemany("DELETE FROM past WHERE key=? AND version<=?", old)

    def _write(self, table: str, key: str, rows: Iterable[tuple[Any, Any]], columns: Any) -> None:
        put, gone = [], []
        for name, row in rows:
            if row is None:
                gone.append((name,))
            else:
                put.append(columns(name, row))
        if gone:
            self._db.executemany(f"DELETE FROM {table} WHERE {key}=?", gone)
        if put:
            self._db.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({_marks(put[0])})", put)

    def settle(self) -> None:
        """Empty a log that has grown: for a quiet moment, as it waits for the disk. Where there is no room it stays."""
        if not self._grown:
            return
        self._grown = False
        with _mapped(self.path), suppress(OSError, sqlite3.OperationalError):
            if os.stat(f"{self.path}-wal").st_size > LOG_LIMIT:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def meta(self) -> dict[str, str]:
        return dict(self._rows("SELECT name, value FROM meta"))

    def files_at_rest(self) -> Iterator[RestingRow]:
        """Neither `remote` nor `base` gives these."""
        return self._rows(f"SELECT {_RESTING} FROM remote r JOIN base b ON b.key = r.key WHERE {_AT_REST}")

    def remote(self) -> Iterator[RemoteRow]:
        """What is not a file at rest."""
        sql = f"SELECT r.* FROM remote r LEFT JOIN base b ON b.key = r.key WHERE {_AT_REST} IS NOT TRUE"
        for row in self._rows(sql):
            _, version, dead, placed, mine = row[:5]
            key = row[0].hex()
            entry = _entry(key, row[5:]) if row[7] is not None else None
            yield RemoteRow(key, version, bool(dead), placed, bool(mine), entry)

    def base(self, remote: Callable[[str], Entry | None]) -> Iterator[BaseRow]:
        """What is not a file at rest. `remote` gives the living remote entries; equal ones are shared, not made twice."""
        sql = f"SELECT b.* FROM base b LEFT JOIN remote r ON r.key = b.key WHERE {_AT_REST} IS NOT TRUE"
        for row in self._rows(sql):
            key, version, same = row[0].hex(), row[1], bool(row[2])
            entry = remote(key) if same else _entry(key, row[3:12])
            if entry is None:
                raise StateCorruptError(f"{self.path}: base entry {key} has no remote entry to be equal to")
            stat = Stat(row[12], row[13], row[14], row[15], row[16], bool(row[17])) if row[12] is not None else None
            yield BaseRow(entry, stat, version, same)

    def agreed(self) -> int:
        """How many entries the base tree has."""
        return int(next(iter(self._rows("SELECT count(*) FROM base")))[0])

    def sent(self) -> Iterator[SentRow]:
        for ccid, key, source in self._rows("SELECT * FROM sent"):
            yield SentRow(ccid, key.hex(), source)

    def overtaken(self) -> Iterator[OvertakenRow]:
        for row in self._rows("SELECT * FROM overtaken"):
            kind = Kind.FILE if row[4] is not None else Kind.LINK
            yield OvertakenRow(row[1], _entry(row[0].hex(), (row[2], row[3], kind, *row[4:])))

    def chunks(self, hash: str) -> bytes | None:
        found = list(self._rows("SELECT rows FROM chunks WHERE hash=?", (bytes.fromhex(hash),)))
        return found[0][0] if found else None

    def past(self, key: str, version: int) -> str | None:
        """The hash of what a file held in an earlier version."""
        found = list(self._rows("SELECT hash FROM past WHERE key=? AND version=?", (bytes.fromhex(key), version)))
        return found[0][0].hex() if found else None

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        with _mapped(self.path):
            yield from self._db.execute(sql, values)


def _raw_keys(rows: dict[str, Any]) -> Iterator[tuple[bytes, Any]]:
    return ((bytes.fromhex(key), row) for key, row in rows.items())


def _marks(columns: tuple[Any, ...]) -> str:
    return ",".join("?" * len(columns))


def _place(entry: Entry) -> tuple[bytes, str]:
    return bytes.fromhex(entry.parent), entry.name


def _facets(entry: Entry) -> tuple[Any, ...]:
    content = entry.content
    known = (bytes.fromhex(content.hash), content.size, content.mtime, content.by) if content else (None,) * 4
    return (*known, entry.exec, entry.target)


def _columns(entry: Entry | None) -> tuple[Any, ...]:
    return (None,) * 9 if entry is None else (*_place(entry), entry.kind, *_facets(entry))


def _remote_columns(row: RemoteRow) -> tuple[Any, ...]:
    return (row.version, row.dead, row.placed, row.mine, *_columns(row.entry))


def _base_columns(row: BaseRow) -> tuple[Any, ...]:
    stat = row.stat or (None,) * 6
    return (row.version, row.same, *_columns(None if row.same else row.entry), *stat)


def _entry(key: str, columns: tuple[Any, ...]) -> Entry:
    parent, name, kind, hash, size, mtime, by, exec, target = columns
    # What many rows have in common is one object.
    content = Content(hash.hex(), size, mtime, _shared(by)) if hash is not None else None
    return Entry(key, _shared(parent.hex()), name, _KINDS.get(kind) or Kind(kind), content, bool(exec), target)


def _shared(text: str) -> str:
    return sys.intern(text) if type(text) is str else text  # a damaged file may hold anything
