import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ssyncd.disk.base import Stat
from ssyncd.errors import StateCorruptError, StateError
from ssyncd.planner.tree import Content, Entry, Kind
from ssyncd.state.database import LOG_LIMIT, VERSION, Database, sensible
from ssyncd.state.rows import BaseRow, OvertakenRow, RemoteRow, SentRow, Writes

DIRECTORY, FILE, LINK = "01" * 16, "02" * 16, "03" * 16
MUCH = {f"name {number}": "x" * 1000 for number in range(LOG_LIMIT // 500)}
CONTENT = Content("ab" * 32, 5, 1_700_000_000_000_001, "laptop")
ENTRIES = {
    DIRECTORY: Entry(DIRECTORY, "", "Grüße 🎉", Kind.DIR),
    FILE: Entry(FILE, DIRECTORY, "line\nbreak", Kind.FILE, CONTENT, True),
    LINK: Entry(LINK, DIRECTORY, "-l", Kind.LINK, target="../x"),
}
STAT = Stat("file", 5, 1_700_000_000_000_001_234, 1_700_000_000_000_009_999, 42, True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def remote_rows() -> dict[str, RemoteRow]:
    return {key: RemoteRow(key, 3, False, number, True, entry) for number, (key, entry) in enumerate(ENTRIES.items())}


def test_what_was_written_is_there_after_opening_again(path: Path) -> None:
    base = {key: BaseRow(entry, STAT if key == FILE else None, 3) for key, entry in ENTRIES.items()}
    overtaken = OvertakenRow(2, ENTRIES[FILE])
    database = Database(path)
    database.write(
        Writes(
            meta={"cursor": "abc"},
            remote=remote_rows(),
            base=base,
            sent={"ccid": SentRow("ccid", FILE, None)},
            overtaken={(FILE, 2): overtaken},
            chunks={CONTENT.hash: b"rows"},
        )
    )
    database.close()
    database = Database(path)
    assert database.meta() == {"cursor": "abc"}
    assert {ghost.key: (ghost, agreed) for ghost, agreed in database.entries()} == {
        key: (ghost, base[key]) for key, ghost in remote_rows().items()
    }
    assert list(database.sent()) == [SentRow("ccid", FILE, None)]
    assert list(database.overtaken()) == [overtaken]
    assert database.chunks(CONTENT.hash) == b"rows"
    assert database.chunks("cd" * 32) is None
    database.close()


def test_an_overtaken_link_keeps_its_target(path: Path) -> None:
    database = Database(path)
    database.write(Writes(overtaken={(LINK, 7): OvertakenRow(7, ENTRIES[LINK])}))
    assert list(database.overtaken()) == [OvertakenRow(7, ENTRIES[LINK])]
    database.close()


def test_a_base_row_that_is_the_remote_one_shares_its_entry(path: Path) -> None:
    database = Database(path)
    link = {LINK: remote_rows()[LINK]}
    database.write(Writes(remote=link, base={LINK: BaseRow(ENTRIES[LINK], None, 3, same=True)}))
    ((ghost, base),) = database.entries()
    assert base.entry is ghost.entry
    database.close()


@pytest.mark.parametrize("again", [False, True])
def test_either_row_of_a_key_is_written_by_itself(path: Path, again: bool) -> None:
    """Whether the database was opened anew between, and its rows not read yet, or not."""
    database = Database(path)

    def write(**what: Any) -> list[Any]:
        nonlocal database
        database.write(Writes(**what))
        if again:
            database.close()
            database = Database(path)
        fresh = Database(path)
        found = list(fresh.entries())
        fresh.close()
        return found

    ghost, base = remote_rows()[LINK], BaseRow(ENTRIES[LINK], None, 2)
    assert write(base={LINK: base}) == [(None, base)]
    assert write(remote={LINK: ghost}) == [(ghost, base)]
    assert write(remote={LINK: ghost._replace(version=4)}) == [(ghost._replace(version=4), base)]
    assert write(base={LINK: None}) == [(ghost._replace(version=4), None)]
    assert write(remote={LINK: ghost}, base={LINK: base}) == [(ghost, base)]
    assert database.agreed() == 1
    database.close()


@pytest.mark.parametrize(
    ("base", "at_rest"),
    [
        (BaseRow(ENTRIES[FILE], STAT, 3, same=True), True),
        (BaseRow(ENTRIES[FILE], STAT, 3), False),
        (BaseRow(ENTRIES[FILE], STAT, 2, same=True), False),
        (BaseRow(ENTRIES[FILE], None, 3, same=True), False),
        (BaseRow(ENTRIES[FILE], STAT._replace(size=6), 3, same=True), False),
        (BaseRow(ENTRIES[FILE], STAT._replace(exec=False), 3, same=True), False),
        (BaseRow(ENTRIES[FILE], STAT._replace(kind="link"), 3, same=True), False),
        (BaseRow(ENTRIES[DIRECTORY], STAT._replace(kind="dir"), 3, same=True), False),
    ],
)
def test_a_file_that_is_everywhere_as_agreed_is_at_rest_and_nothing_else(
    path: Path, base: BaseRow, at_rest: bool
) -> None:
    key, database = base.entry.key, Database(path)
    database.write(Writes(remote=remote_rows(), base={key: base}))
    resting = (FILE, 3, 1, 1, bytes.fromhex(DIRECTORY), "line\nbreak", bytes.fromhex(CONTENT.hash))
    resting += (CONTENT.size, CONTENT.mtime, CONTENT.by, 1, STAT.mtime, STAT.ctime, STAT.inode)
    others = {key: (row, base if key == base.entry.key else None) for key, row in remote_rows().items()}
    if at_rest:
        del others[FILE]
    assert list(database.files_at_rest()) == [resting] * at_rest
    assert {ghost.key: (ghost, base) for ghost, base in database.entries()} == others
    database.close()


def test_the_dead_do_not_rest(path: Path) -> None:
    database = Database(path)
    dead = remote_rows()[FILE]._replace(dead=True)
    database.write(Writes(remote={FILE: dead}, base={FILE: BaseRow(ENTRIES[FILE], STAT, 3, same=True)}))
    assert list(database.files_at_rest()) == []
    with pytest.raises(StateCorruptError, match="no remote entry"), sensible(path):
        list(database.entries())
    database.close()


def test_two_rows_of_one_key_are_damage(path: Path) -> None:
    database = Database(path)
    database.write(Writes(remote=remote_rows()))
    database._db.execute(
        "INSERT INTO entries (key, version, dead, placed, mine) VALUES (?, 1, 1, 1, 1)", (bytes.fromhex(FILE),)
    )
    with pytest.raises(StateCorruptError, match=FILE):
        list(database.entries())
    database.close()


VERSION_2 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE remote (key BLOB PRIMARY KEY, version INTEGER NOT NULL, dead INTEGER NOT NULL, placed INTEGER NOT NULL,
    mine INTEGER NOT NULL, parent BLOB, name TEXT, kind TEXT, hash BLOB, size INTEGER, mtime INTEGER, by TEXT, exec INTEGER,
    target TEXT) WITHOUT ROWID;
CREATE TABLE base (key BLOB PRIMARY KEY, version INTEGER NOT NULL, same INTEGER NOT NULL, parent BLOB, name TEXT, kind TEXT,
    hash BLOB, size INTEGER, mtime INTEGER, by TEXT, exec INTEGER, target TEXT, stat_kind TEXT, stat_size INTEGER,
    stat_mtime INTEGER, stat_ctime INTEGER, stat_inode INTEGER, stat_exec INTEGER) WITHOUT ROWID;
INSERT INTO meta VALUES ('cursor', 'abc');
INSERT INTO remote VALUES (x'01', 3, 0, 7, 1, x'', 'a', 'dir', NULL, NULL, NULL, NULL, 0, '');
INSERT INTO remote VALUES (x'02', 4, 1, 8, 0, x'01', 'b', 'link', NULL, NULL, NULL, NULL, 0, 'x');
INSERT INTO base VALUES (x'01', 2, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'dir', 5, 6, 7, 8, 0);
INSERT INTO base VALUES (x'03', 1, 0, x'01', 'c', 'file', x'ab', 5, 6, 'pc', 1, '', NULL, NULL, NULL, NULL, NULL, NULL);
PRAGMA user_version=2;
"""


def test_a_database_of_version_2_is_taken_over(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_2)
    connection.close()
    for _ in range(2):
        database = Database(path)
        one, two = Entry("01", "", "a", Kind.DIR), Entry("02", "01", "b", Kind.LINK, target="x")
        three = Entry("03", "01", "c", Kind.FILE, Content("ab", 5, 6, "pc"), True)
        assert database.meta() == {"cursor": "abc"}
        assert list(database.entries()) == [
            (RemoteRow("01", 3, False, 7, True, one), BaseRow(one, Stat("dir", 5, 6, 7, 8, False), 2, True)),
            (RemoteRow("02", 4, True, 8, False, two), None),
            (None, BaseRow(three, None, 1)),
        ]
        database.close()


def test_none_removes(path: Path) -> None:
    database = Database(path)
    database.write(Writes(meta={"a": "1"}, chunks={CONTENT.hash: b"x"}))
    database.write(Writes(meta={"a": None}, chunks={CONTENT.hash: None}))
    assert database.meta() == {}
    assert database.chunks(CONTENT.hash) is None
    database.close()


def test_a_write_that_fails_leaves_nothing_behind(path: Path) -> None:
    database = Database(path)
    unwritable = RemoteRow(FILE, 1, False, 0, False, Entry(FILE, "", "lone \ud800", Kind.DIR))
    with pytest.raises(StateError):
        database.write(Writes(meta={"a": "1"}, remote={FILE: unwritable}))
    assert database.meta() == {}
    database.write(Writes(meta={"a": "2"}))
    assert database.meta() == {"a": "2"}
    database.close()


def test_a_write_that_failed_and_could_not_be_taken_back_does_not_stand_in_the_way_of_the_next(path: Path) -> None:
    database = Database(path)
    database._db.execute("BEGIN IMMEDIATE")
    database._db.execute("INSERT INTO meta VALUES ('half', 'done')")
    database.write(Writes(meta={"next": "whole"}))
    assert database.meta() == {"next": "whole"}
    database.close()


def test_the_log_of_a_big_write_is_emptied_in_a_quiet_moment(path: Path) -> None:
    log, database = path.with_name(path.name + "-wal"), Database(path)
    database.write(Writes(meta={**MUCH}))
    assert log.stat().st_size > LOG_LIMIT
    database.settle()
    assert log.stat().st_size == 0
    database.write(Writes(meta={"one": "more"}))
    little = log.stat().st_size
    database.settle()
    assert 0 < little == log.stat().st_size
    assert database.meta() == {**MUCH, "one": "more"}
    database.close()


def test_a_log_that_cannot_be_emptied_stays_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __init__(self, error: sqlite3.Error) -> None:
            self.error = error

        def execute(self, sql: str) -> None:
            assert "checkpoint" in sql
            raise self.error

    database = Database(path)
    database.write(Writes(meta={**MUCH}))
    with monkeypatch.context() as patch:
        patch.setattr(database, "_db", Failing(sqlite3.OperationalError("database or disk is full")))
        database.settle()
    database.write(Writes(meta={"one": "more"}))
    with monkeypatch.context() as patch:
        patch.setattr(database, "_db", Failing(sqlite3.DatabaseError("database disk image is malformed")))
        with pytest.raises(StateCorruptError):
            database.settle()
    assert database.meta() == {**MUCH, "one": "more"}
    database.close()


def test_a_base_without_its_remote_row_is_damage(path: Path) -> None:
    database = Database(path)
    database.write(Writes(base={FILE: BaseRow(ENTRIES[FILE], None, 1, same=True)}))
    with pytest.raises(StateCorruptError, match=FILE), sensible(path):
        list(database.entries())
    database.close()


def test_a_file_that_is_no_database_is_told_as_damage(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StateCorruptError, match=r"state\.db"):
        Database(path)


def test_a_damaged_page_is_told_as_damage(path: Path) -> None:
    database = Database(path)
    rows = {f"{n:032x}": RemoteRow(f"{n:032x}", 1, False, n, False, ENTRIES[DIRECTORY]) for n in range(2000)}
    database.write(Writes(remote=rows))
    database.close()
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    with pytest.raises(StateCorruptError):
        Database(path)


def test_a_database_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={VERSION + 1}")
    connection.close()
    with pytest.raises(StateError, match="newer") as error:
        Database(path)
    assert not isinstance(error.value, StateCorruptError)


def read_only(path: Path) -> sqlite3.Connection:
    """What SQLite falls back to when it may not open for writing just then."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)


def test_a_connection_that_failed_is_replaced(path: Path) -> None:
    database = Database(path)
    database._db.close()
    database._db = read_only(path)
    with pytest.raises(StateError, match="readonly"):
        database.write(Writes(meta={"cursor": "abc"}))
    database.write(Writes(meta={"cursor": "abc"}))
    assert database.meta() == {"cursor": "abc"}
    database.close()


def test_after_a_failure_another_file_in_its_place_is_not_written_to(path: Path) -> None:
    database, other = Database(path), Database(path.with_name("other"))
    other.close()
    database._db.close()
    database._db = read_only(path)
    with pytest.raises(StateError):
        database.write(Writes(meta={"cursor": "abc"}))
    path.with_name("other").rename(path)
    with pytest.raises(StateCorruptError, match="another file"):
        database.write(Writes(meta={"cursor": "abc"}))
    database.close()


def test_a_page_that_cannot_be_read_once_is_not_taken_for_damaged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Database(path).close()
    told = ["unable to get the page", ""]
    monkeypatch.setattr(Database, "_problem", lambda _: told.pop(0))
    Database(path).close()
    told[:] = ["unable to get the page"] * 2
    with pytest.raises(StateCorruptError, match="unable to get"):
        Database(path)
