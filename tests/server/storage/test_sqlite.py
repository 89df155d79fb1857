import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ssyncd.errors import StateError, StateFullError, UsageError
from ssyncd.server.storage import sqlite
from ssyncd.server.storage.base import Retention, Settled, Token, User
from ssyncd.server.storage.connections import Database
from ssyncd.server.storage.opening import open_database
from ssyncd.server.storage.sqlite import SqliteChanges
from ssyncd.server.storage.sqlite_accounts import SqliteAccounts
from tests.server.contract_storage import NOW, RETENTION, AccountsContract, ChangesContract, Writing


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path, None)
    yield database
    database.close()


class TestSqliteChanges(ChangesContract):
    @pytest.fixture
    def storage(self, database: Database) -> SqliteChanges:
        return SqliteChanges(database, RETENTION)

    def test_a_failed_append_adds_nothing(self, storage: SqliteChanges, writing: Writing) -> None:
        row = writing.put("a")
        with pytest.raises(StateError):
            storage.append([writing.row("b"), row], [Settled(writing.bucket, "x", NOW)])
        assert storage.heads({writing.bucket: ["b"]}) == {}
        assert storage.known_ccids({writing.bucket: ["x"]}) == set()

    def test_positions_never_go_back_when_an_account_goes(self, storage: SqliteChanges, database: Database) -> None:
        accounts = SqliteAccounts(database)
        writing = Writing(storage, storage.bucket("gone", "ssyncd", "notes"))
        for key in "abcde":
            writing.put(key)
        accounts.remove_user("gone")
        while storage.prune(0, 2):
            pass
        assert storage.head(writing.bucket) == 0
        assert storage.all_buckets() == []
        assert storage.start_run("11111111") == 5
        assert storage.bucket("gone", "ssyncd", "notes") != writing.bucket

    def test_a_reader_on_another_thread_is_not_held_up_by_the_writer(
        self, storage: SqliteChanges, writing: Writing, database: Database
    ) -> None:
        writing.put("a")
        found = []
        with database.transaction() as connection:
            connection.execute("DELETE FROM changes")
            reader = threading.Thread(target=lambda: found.append(storage.current(writing.bucket, "a")))
            reader.start()
            reader.join(10)
            connection.execute("ROLLBACK")
            connection.execute("BEGIN")
        assert found
        assert found[0] is not None


class TestSqliteAccounts(AccountsContract):
    @pytest.fixture
    def storage(self, database: Database) -> SqliteAccounts:
        return SqliteAccounts(database)


def test_everything_is_still_there_after_opening_again(tmp_path: Path) -> None:
    first = SqliteChanges(open_database(tmp_path, None))
    row = Writing(first, first.bucket("user", "ssyncd", "notes")).put("a")
    first.close()
    second = SqliteChanges(open_database(tmp_path, None))
    assert second.since(row.bucket, 0, 10, 1000) == [row]
    assert second.start_run("11111111") == 1
    assert second.runs() == [(0, "0badcafe"), (2, "11111111")]
    second.close()


VERSION_1 = """
    CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT NOT NULL COLLATE NOCASE UNIQUE, password_hash TEXT NOT NULL,
        created INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE tokens (digest BLOB PRIMARY KEY, user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        app TEXT NOT NULL, device TEXT NOT NULL, created INTEGER NOT NULL, used INTEGER NOT NULL,
        admin INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
    INSERT INTO users VALUES ('u1', 'bob', 'hash', 5);
    INSERT INTO tokens VALUES (x'01', 'u1', 'ssyncd', 'laptop', 5, 6, 0), (x'02', 'u1', 'other', 'laptop', 5, 6, 0);
    PRAGMA user_version = 1;
"""


def test_accounts_from_before_there_were_applications_stay_signed_in(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "server.db")) as connection:
        connection.executescript(VERSION_1)
    for _ in range(2):
        accounts = SqliteAccounts(open_database(tmp_path, None))
        assert accounts.users("ssyncd") == [User("u1", "ssyncd", "bob", "hash")]
        assert accounts.tokens("u1") == [Token(b"\1", "u1", "bob", "ssyncd", "laptop", 5, 6)]
        accounts.add_user(User("u2", "notes", "bob", "hash"), 7)
        accounts.close()
    accounts = SqliteAccounts(open_database(tmp_path, None))
    accounts.remove_user("u1")
    assert accounts.tokens("u1") == []
    accounts.close()


def test_a_database_from_before_buckets_could_be_removed_takes_it(tmp_path: Path) -> None:
    SqliteChanges(open_database(tmp_path, None)).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "server.db")) as connection:
        connection.executescript("DROP TABLE former; PRAGMA user_version = 2;")
    changes = SqliteChanges(open_database(tmp_path, None))
    changes.remove_bucket(changes.bucket("user", "ssyncd", "notes"))
    assert changes.floor(changes.bucket("user", "ssyncd", "notes")) == 1
    changes.close()


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (sqlite._HEADS, ('{"1":["a"]}',)),
        (sqlite._CCIDS, ('{"1":["a"]}',)),
        (sqlite._KEYS, {"bucket": 1, "after": "", "at": 9, "since": 0, "most": 9}),
        (sqlite._OBJECTS, {"bucket": 1, "after": "", "at": 9, "since": 0, "most": 9}),
        (sqlite._REMOVED, {"bucket": 1, "after": "", "most": 9}),
        (sqlite._SINCE, (1, 0, 9)),
        (sqlite._CURRENT, (1, "a")),
        (sqlite._OLDEST, (0, 9)),
        (sqlite._THICK, (1, "a", 9, 9)),
    ],
)
def test_no_query_walks_the_table_or_a_whole_bucket_by_the_wrong_index(
    database: Database, query: str, values: Any
) -> None:
    with database.work() as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    assert not [step for step in plan if step.startswith(("SCAN changes", "SCAN c", "SCAN settled", "USE TEMP"))]
    if query == sqlite._CCIDS:
        assert any("changes_by_ccid (ccid=? AND bucket=?)" in step for step in plan)


def test_a_page_of_an_index_costs_the_same_after_a_long_history(database: Database) -> None:
    storage = SqliteChanges(database)
    writing = Writing(storage, storage.bucket("user", "ssyncd", "notes"))

    def steps() -> int:
        """Of SQLite's machine, in tens."""
        taken: list[int] = []
        with database.work() as connection:
            connection.set_progress_handler(lambda: taken.append(1), 10)
        assert [one.key for one in storage.page(writing.bucket, "", writing.position, 10, 0)] == ["a", "b"]
        with database.work() as connection:
            connection.set_progress_handler(None, 0)
        return len(taken)

    storage.append([writing.row(key) for key in "ab"], [])
    short = steps()
    storage.append([writing.row(key) for key in "ab" * 500], [])
    assert 0 < steps() <= short + 5


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "server.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(StateError, match=r"server\.db: file is not a database"):
        open_database(tmp_path, None)


def test_a_database_from_the_future_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "server.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StateError, match="newer"):
        open_database(tmp_path, None)


def test_the_database_is_for_its_owner_only(tmp_path: Path, database: Database) -> None:
    SqliteChanges(database, Retention()).start_run("0badcafe")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize(("url", "text"), [("postgres://host/db", "not built yet"), ("what://ever", "neither")])
def test_a_database_that_is_not_built_is_refused(tmp_path: Path, url: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        open_database(tmp_path, url)


def test_another_file_can_be_named(tmp_path: Path) -> None:
    open_database(tmp_path, f"sqlite:{tmp_path}/elsewhere.db").close()
    assert (tmp_path / "elsewhere.db").exists()


def test_a_full_disk_is_told_apart_from_other_failures(database: Database) -> None:
    with database.work() as connection:
        connection.execute("PRAGMA max_page_count = 30")
    with pytest.raises(StateFullError, match="full"), database.transaction() as connection:
        connection.execute("CREATE TABLE large AS SELECT zeroblob(1000000)")
    with database.work() as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("SELECT * FROM large")


def test_a_connection_that_failed_is_not_used_again(database: Database) -> None:
    storage = SqliteChanges(database, RETENTION)
    with database.work() as connection:
        connection.execute("PRAGMA query_only = ON")  # as one that SQLite could only open for reading
    with pytest.raises(StateError, match="readonly"):
        storage.start_run("0badcafe")
    storage.start_run("0badcafe")
