"""The state database of one folder: one class opens it, one transaction for each round of the control thread."""

import os
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from ssyncd.errors import StateCorruptError, StateError, StateNewerError
from ssyncd.planner.tree import Kind
from ssyncd.state import rows
from ssyncd.state.rows import (
    BASE,
    REMOTE,
    BaseRow,
    OvertakenRow,
    RemoteRow,
    RestingRow,
    SentRow,
    Writes,
    facets,
    of_base,
    of_remote,
    place,
)

VERSION = 3
"""PRAGMA user_version of the schema."""

KEPT_PAST = 100
"""Versions of an object whose content's hash is kept."""
LOG_LIMIT = 2 * 1024 * 1024
"""Bytes of SQLite's log above which a quiet moment is used to empty it."""
AT_REST = """(same AND base_version = version AND NOT dead AND kind = 'file' AND length(hash) = 32 AND by IS NOT NULL
    AND stat_kind = 'file' AND stat_size = size AND stat_exec = exec)"""
"""Of a file that is on both sides as agreed, and so on this disk."""
_RESTING = (
    "id, key, version, placed, mine, parent, name, hash, size, mtime, by, exec, stat_mtime, stat_ctime, stat_inode"
)


def _upsert(names: Sequence[str]) -> str:
    """An INSERT of rows that replaces just these columns of one that is there."""
    marks, now = ",".join("?" * (len(names) + 2)), ",".join(f"{name}=excluded.{name}" for name in names)
    return f"INSERT INTO entries (id,key,{','.join(names)}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {now}"


_WRITE_REMOTE, _WRITE_BASE = _upsert(REMOTE), _upsert(BASE)
_WRITE_BOTH = f"INSERT OR REPLACE INTO entries VALUES ({','.join('?' * (2 + len(REMOTE) + len(BASE)))})"


@contextmanager
def _mapped(path: Path | str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
        raise StateError(f"{path}: {error}") from error
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        raise StateCorruptError(f"{path}: {error}") from error


@contextmanager
def sensible(path: Path | str) -> Iterator[None]:
    """Around taking in what was read: a damaged file that SQLite takes for whole may hold anything."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        raise StateCorruptError(f"{path}: a row makes no sense: {error}") from error


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def peek(path: Path) -> dict[str, str] | None:
    """The meta table of a database that may be in use by others; empty if there is none, None if it cannot be read now."""
    with suppress(OSError, sqlite3.Error):
        if not path.exists():
            return {}
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            return dict(db.execute("SELECT name, value FROM meta"))
    return None


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
    """Used by one thread at a time. Every method raises StateError; what reads rows is to be called in `sensible`."""

    def __init__(self, path: Path | str) -> None:
        """`path`: a file, made with its directories where missing, or ":memory:"."""
        self.path = path
        self._failed = False
        self._grown = False
        # Of every row but those of files at rest, where somebody keeps them elsewhere (`resting`). Who writes before all rows
        # were read reads these first.
        self.ids: dict[str, int] = {}
        self.resting: Callable[[str], int | None] = lambda _: None
        self._unread = {"at rest", "the others"}
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
            scripts = ["schema.sql", *["from_2.sql"] * (version > 0)]
            self._db.executescript(
                "BEGIN;" + "".join(files("ssyncd.state").joinpath(name).read_text() for name in scripts)
            )
            self._db.execute(f"PRAGMA user_version={VERSION}")
            self._db.execute("COMMIT")
        # Asked twice, because a page that cannot be read for a moment is told as one that is damaged.
        if version and self._problem() and (problem := self._problem()):
            raise StateCorruptError(f"{self.path}: {problem}")
        self._last: int = self._db.execute("SELECT coalesce(max(id), 0) FROM entries").fetchone()[0]

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
        self._write_entries(writes.remote, writes.base)
        self._write("sent", "ccid", writes.sent.items(), lambda ccid, r: (ccid, bytes.fromhex(r.key), r.source))
        self._write("chunks", "hash", _raw_keys(writes.chunks), lambda key, rows: (key, rows))
        for (key, version), row in writes.overtaken.items():
            self._db.execute("DELETE FROM overtaken WHERE key=? AND version=?", (bytes.fromhex(key), version))
            if row is not None:
                columns = (bytes.fromhex(key), version, *place(row.entry), *facets(row.entry))
                self._db.execute(f"INSERT INTO overtaken VALUES ({_marks(columns)})", columns)
        self._write_past(writes.past)

    def _write_entries(self, remote: dict[str, RemoteRow], base: dict[str, BaseRow | None]) -> None:
        if (remote or base) and self._unread:
            self.ids.update({key.hex(): id for id, key in self._rows("SELECT id, key FROM entries")})
            self._unread.clear()
        both = [(*self._id(key), *of_remote(row), *of_base(base[key])) for key, row in remote.items() if key in base]
        ghosts = [(*self._id(key), *of_remote(row)) for key, row in remote.items() if key not in base]
        agreed = [(*self._id(key), *of_base(row)) for key, row in base.items() if key not in remote]
        for sql, columns in ((_WRITE_BOTH, both), (_WRITE_REMOTE, ghosts), (_WRITE_BASE, agreed)):
            if columns:
                self._db.executemany(sql, columns)

    def _id(self, key: str) -> tuple[int, bytes]:
        """The first two columns of the row of this key."""
        id = self.ids.get(key) or self.resting(key)
        if id is None:
            self._last += 1
            id = self.ids[key] = self._last
        return id, bytes.fromhex(key)

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

    def is_settled(self) -> bool:
        """Whether there was no write since `settle`."""
        return not self._grown

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
        for id, raw, *row in self._rows(f"SELECT {_RESTING} FROM entries WHERE {AT_REST}"):
            yield self._read(raw, id), *row
        self._unread.discard("at rest")

    def entries(self) -> Iterator[tuple[RemoteRow | None, BaseRow | None]]:
        """The rows of each key that is no file at rest. One entry serves both where they are the same."""
        for id, raw, *row in self._rows(f"SELECT * FROM entries WHERE {AT_REST} IS NOT TRUE"):
            key = self._read(raw, id)
            ghost = rows.remote(key, tuple(row[: len(REMOTE)]))
            yield ghost, rows.base(key, tuple(row[len(REMOTE) :]), ghost)
        self._unread.discard("the others")

    def _read(self, raw: bytes, id: int) -> str:
        key = raw.hex()
        if self.ids.setdefault(key, id) != id or self.resting(key) is not None:
            raise StateCorruptError(f"{self.path}: there are two rows of {key}")
        return key

    def agreed(self) -> int:
        """How many entries the base tree has."""
        return int(next(iter(self._rows("SELECT count(base_version) FROM entries")))[0])

    def sent(self) -> Iterator[SentRow]:
        for ccid, key, source in self._rows("SELECT * FROM sent"):
            yield SentRow(ccid, key.hex(), source)

    def overtaken(self) -> Iterator[OvertakenRow]:
        for row in self._rows("SELECT * FROM overtaken"):
            kind = Kind.FILE if row[4] is not None else Kind.LINK
            yield OvertakenRow(row[1], rows.entry(row[0].hex(), (row[2], row[3], kind, *row[4:])))

    def chunks(self, hash: str) -> bytes | None:
        found = list(self._rows("SELECT rows FROM chunks WHERE hash=?", (bytes.fromhex(hash),)))
        return found[0][0] if found else None

    def past(self, key: str, version: int) -> str | None:
        """The hash of what a file held in an earlier version."""
        found = list(self._rows("SELECT hash FROM past WHERE key=? AND version=?", (bytes.fromhex(key), version)))
        return found[0][0].hex() if found else None

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        with _mapped(self.path):
            # Not `yield from`: it closes the cursor of what is given up, maybe after the database.
            for row in self._db.execute(sql, values):  # noqa: UP028
                yield row


def _raw_keys(rows: dict[str, Any]) -> Iterator[tuple[bytes, Any]]:
    return ((bytes.fromhex(key), row) for key, row in rows.items())


def _marks(columns: tuple[Any, ...]) -> str:
    return ",".join("?" * len(columns))
