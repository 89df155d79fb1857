"""Opening the embedded SQLite database, for serving and for keeping accounts."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path

from ssyncd.errors import StateError, StateFullError

VERSION = 3
# Another process may hold the write lock while it keeps accounts; that takes milliseconds.
BUSY_SECONDS = 30.0


class Database:
    """One database file and the connections to it. StateError if it cannot be used or `work` fails.

    Each caller borrows a connection for as long as its statement runs, so that any thread may read while one writes (WAL).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()  # guards the two lists
        self._idle: list[sqlite3.Connection] = []
        self._all: list[sqlite3.Connection] = []
        _make_private(path)
        try:
            with self.work() as connection:
                _prepare(connection)
        except StateError:
            self.close()
            raise

    @contextmanager
    def work(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own; in autocommit mode."""
        connection = self._borrow()
        try:
            yield connection
        except sqlite3.Error as error:
            self._drop(connection)
            raise self._failure(error) from error
        finally:
            self._return(connection)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """As `work`, inside one write transaction that is undone when the block raises."""
        with self.work() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                # Some failures (a full disk) have ended it already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        with self._lock:
            connections, self._all, self._idle = self._all, [], []
        for connection in connections:
            connection.close()

    def _borrow(self) -> sqlite3.Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            connection = sqlite3.connect(
                self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
            )
        except sqlite3.Error as error:
            raise self._failure(error) from error
        with self._lock:
            self._all.append(connection)
        try:
            _configure(connection)
        except sqlite3.Error as error:
            self._drop(connection)
            raise self._failure(error) from error
        return connection

    def _drop(self, connection: sqlite3.Connection) -> None:
        """One that failed is not used again: opened read-only for the moment, say, it would stay so for ever."""
        with self._lock:
            if connection in self._all:
                self._all.remove(connection)
        with suppress(sqlite3.Error):
            connection.close()

    def _return(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if connection in self._all:
                self._idle.append(connection)

    def _failure(self, error: sqlite3.Error) -> StateError:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        return (StateFullError if full else StateError)(f"{self.path}: {error}")


def _make_private(path: Path) -> None:
    """The file holds hashes of passwords and everybody's objects; SQLite gives its logs the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    # FULL: a commit that has returned survives a power cut; in WAL mode that is one flush of the log.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 2000")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    connection.execute("PRAGMA cache_size = -16000")


def _prepare(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > VERSION:
        raise StateError(f"the database is from a newer ssyncd (version {found}, this one knows {VERSION})")
    if found == VERSION:
        return
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have done it while this one waited.
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    # Version 3 only has a table more.
    for step in ["migration_2.sql", "schema.sql"] if found == 1 else ["schema.sql"]:
        for statement in _statements(resources.files(__package__).joinpath(step).read_text("utf-8")):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
    connection.execute("PRAGMA foreign_keys = ON")


def _statements(script: str) -> Iterator[str]:
    """One by one: `executescript` commits first, and so would let go of the lock."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
