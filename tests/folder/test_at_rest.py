"""Whether files rest or not makes no difference to anybody: one record lets them, another never does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.disk.base import Stat
from ssyncd.errors import StateCorruptError
from ssyncd.folder.entries import to_data
from ssyncd.folder.record import Record
from ssyncd.planner.tree import Content, Entry, Kind
from ssyncd.protocol.ghosts import Ghost
from ssyncd.state.database import Database
from ssyncd.state.rows import BASE, REMOTE
from tests.databases import MemoryDatabase

KEYS = [f"{number:032x}" for number in range(1, 7)]
PARENTS = ["", KEYS[0], KEYS[1], "f" * 32]
NAMES = ["a", "b", "ä (conflict 2026-01-02 03.04.05 pc)", "ä (conflict 2026-01-02 03.04.05 pc).txt"]


class Awake(Record):
    """Holds everything by itself."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        for key in list(self._at_rest.rows):
            self._at_rest.release(key)

    def _let_rest(self, key: str) -> None:
        pass


class Pair:
    def __init__(self) -> None:
        self.records: list[Record] = [Record(MemoryDatabase()), Awake(MemoryDatabase())]
        self.version = 0

    def agree(self, entry: Entry, stat: Stat) -> None:
        self.remote(entry.key, entry)
        for record in self.records:
            record.local.put(entry)
            record.stats[entry.key] = stat
            record.agree(entry.key)

    def remote(self, key: str, entry: Entry | None) -> None:
        self.version += 1
        for record in self.records:
            record.put(key, Ghost(self.version, to_data(entry) if entry is not None else None))

    def mine(self, key: str) -> None:
        for record in self.records:
            record.place_is_mine(key)

    def local(self, entry: Entry, stat: Stat) -> None:
        for record in self.records:
            record.stats[entry.key] = stat
            record.local.put(entry._replace(content=None))
            record.looked([entry.key])

    def gone(self, key: str) -> None:
        for record in self.records:
            record.local.remove(key)
            record.stats.pop(key)

    def looked(self, key: str) -> None:
        for record in self.records:
            record.looked([key])

    def drop(self, key: str) -> None:
        for record in self.records:
            record.drop_base(key)

    def commit(self) -> None:
        for record in self.records:
            record.commit()
            record.let_rest(1)

    def rest(self) -> None:
        self.commit()
        for record in self.records:
            while record.let_rest(1):
                pass
            record.shrink()

    def reopen(self) -> None:
        self.commit()
        self.records = [type(record)(record.database) for record in self.records]

    def compare(self) -> None:
        one, two = map(seen, self.records)
        assert one == two


def seen(record: Record) -> dict[str, Any]:
    """All that anybody can ask of it."""
    trees = {"base": record.base, "local": record.local, "remote": record.remote}
    found: dict[str, Any] = {"unsettled": set(record.unsettled(KEYS)), "keys": set(record.keys())}
    for name, tree in trees.items():
        found[name] = {key: tree.get(key) for key in tree}
        found[name, "facts"] = len(tree), tree.size, tree.conflicts, [key in tree for key in KEYS]
        found[name, "paths"] = [tree.path(key) for key in KEYS]
        found[name, "misplaced"] = {entry.key for entry in tree.misplaced()}
        for parent in PARENTS:
            found[name, "in", parent] = sorted(tree.children(parent)), sorted(tree.names(parent))
            found[name, "at", parent] = [sorted(tree.at(parent, place)) for place in NAMES]
    for key in KEYS:
        facts = record.stats.get(key), record.ghosts.get(key), record.ghosts.version(key), record.base_version(key)
        found["of", key] = *facts, record.get(key), record.ghosts.placed(key), record.ghosts.tomb(key)
    return found


contents = st.builds(Content, st.sampled_from(["ab" * 32, "cd" * 32]), st.just(3), st.integers(0, 9), st.just("pc"))
files = st.builds(
    Entry,
    st.sampled_from(KEYS[2:]),
    st.sampled_from(PARENTS),
    st.sampled_from(NAMES),
    st.just(Kind.FILE),
    contents,
    st.booleans(),
    st.just(""),
)
directories = st.builds(
    lambda key, parent, name: Entry(key, parent, name, Kind.DIR),
    st.sampled_from(KEYS[:2]),
    st.sampled_from(PARENTS),
    st.sampled_from(NAMES),
)
entries = files | directories


def stat_of(entry: Entry, number: int) -> Stat:
    return Stat(entry.kind.value, 3, number, number + 1, number % 3, entry.exec)


STEPS = st.one_of(
    st.tuples(st.just("agree"), entries, st.integers(0, 9)),
    st.tuples(st.just("local"), files, st.integers(0, 9)),
    st.tuples(st.just("remote"), entries),
    st.tuples(st.sampled_from(["dead", "mine", "gone", "looked", "drop"]), st.sampled_from(KEYS)),
    st.tuples(st.sampled_from(["commit", "rest", "reopen"])),
)


@given(st.lists(STEPS, max_size=25))
def test_whether_files_rest_makes_no_difference(steps: list[tuple[Any, ...]]) -> None:
    pair = Pair()
    for what, *arguments in steps:
        if what in ("agree", "local"):
            entry, number = arguments
            getattr(pair, what)(entry, stat_of(entry, number))
        elif what == "remote":
            pair.remote(arguments[0].key, arguments[0])
        elif what == "dead":
            pair.remote(arguments[0], None)
        else:
            getattr(pair, what)(*arguments)
        pair.compare()
    pair.reopen()
    pair.compare()


def test_an_agreed_file_rests_when_that_is_written_and_there_is_time_and_stirs_when_it_changes() -> None:
    pair, entry = Pair(), Entry(KEYS[2], "", "a", Kind.FILE, Content("ab" * 32, 3, 4, "pc"))
    pair.agree(entry, stat_of(entry, 1))
    record = pair.records[0]
    assert not record.let_rest(1)
    assert entry.key in record.local.held
    pair.commit()
    assert entry.key not in record.local.held
    assert list(record.local) == [entry.key]
    pair.remote(entry.key, entry._replace(name="b"))
    assert entry.key in record.local.held


def test_what_rests_keeps_its_row() -> None:
    pair, entry = Pair(), Entry(KEYS[2], "", "a", Kind.FILE, Content("ab" * 32, 3, 4, "pc"))
    pair.agree(entry, stat_of(entry, 1))
    pair.rest()
    database = pair.records[0].database
    assert entry.key not in database.ids
    for change in (lambda: pair.looked(entry.key), lambda: pair.remote(entry.key, entry._replace(name="b")), pair.rest):
        change()
        pair.commit()
        assert len(list(database._db.execute("SELECT id FROM entries"))) == 1


@pytest.mark.parametrize("value", [None, 7, -1, 1 << 62, 0.5, "text", b"bytes"])
@pytest.mark.parametrize("column", ["key", *REMOTE, *BASE])
def test_whatever_a_damaged_state_holds_it_is_read_or_told_as_damage(column: str, value: object) -> None:
    pair = Pair()
    for number, kind in enumerate((Kind.FILE, Kind.FILE, Kind.DIR)):
        content = Content("ab" * 32, 3, 4, "pc") if kind is Kind.FILE else None
        entry = Entry(KEYS[number], "", NAMES[number], kind, content)
        pair.agree(entry, stat_of(entry, number)) if number != 1 else pair.remote(entry.key, entry)
    pair.commit()
    database = pair.records[0].database
    database._db.execute(f"UPDATE OR IGNORE entries SET {column} = ?", (value,))
    try:
        record = Record(database)
    except StateCorruptError:
        return
    seen(record)
