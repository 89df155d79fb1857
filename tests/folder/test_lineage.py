"""Whether a folder is as we left it."""

import itertools

import pytest

from ssyncd.errors import NoSpaceError, RootError, UnreadableError
from ssyncd.folder.entries import to_data
from ssyncd.folder.lineage import PERIOD, Lineage
from ssyncd.folder.record import Record
from ssyncd.folder.settings import Clock
from ssyncd.planner.tree import Content, Entry, Kind
from ssyncd.protocol.ghosts import Ghost
from ssyncd.state.rows import RemoteRow
from tests.databases import MemoryDatabase

FILE = Entry("a" * 32, "", "a", Kind.FILE, Content("1" * 64, 1, 0, "pc"))
GONE = Entry("b" * 32, "", "b", Kind.FILE, Content("2" * 64, 1, 0, "pc"))


class Folder:
    """A folder's word, and how often it was written."""

    def __init__(self) -> None:
        self.word, self.written, self.full, self.unreadable = "", 0, False, False

    def mark(self) -> str:
        if self.unreadable:
            raise UnreadableError(".ssyncd/mark", "input/output error")
        return self.word

    def set_mark(self, word: str) -> None:
        if self.full:
            raise NoSpaceError(".ssyncd/mark", "no space left on device")
        self.word, self.written = word, self.written + 1


class Machine:
    def __init__(self) -> None:
        self.folder, self.now = Folder(), 100.0
        self._words = itertools.count()
        self._database = MemoryDatabase()
        self.start()
        self.record.put(FILE.key, Ghost(1, to_data(FILE)))
        self.record.set_base(FILE)
        self.record._set_ghost(RemoteRow(GONE.key, 2, True, 1, False, GONE))
        self.record.heard = 1
        self.record.commit()

    def start(self, approved: bool = False) -> set[str]:
        """As after a crash: what was not committed is forgotten."""
        self.record = Record(self._database)
        clock = Clock(lambda: self.now)
        self.lineage = Lineage(self.folder, self.record, lambda: f"word-{next(self._words)}", clock)
        return self.lineage.begin(approved)

    def work(self) -> None:
        """A round in which something was done."""
        self.now += 1
        self.record.set_meta("seen", str(int(self.now)))
        self.record.commit()
        self.lineage.go_on()


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_a_word_that_cannot_be_read_is_not_taken_for_none(machine: Machine) -> None:
    machine.work()
    machine.folder.unreadable = True
    with pytest.raises(RootError, match="input/output error"):
        machine.start()
    machine.folder.unreadable = False
    assert machine.start() == set()


def test_a_word_that_cannot_be_read_meanwhile_stays(machine: Machine) -> None:
    machine.folder.unreadable = True
    machine.now += PERIOD
    machine.work()
    machine.folder.unreadable = False
    assert machine.start() == set()


def bases(machine: Machine) -> set[str]:
    return set(machine.record.base)


def test_a_folder_as_we_left_it_keeps_its_base(machine: Machine) -> None:
    for _ in range(3):
        assert machine.start() == set()
        machine.work()
    assert bases(machine) == {FILE.key}


def test_one_from_before_the_last_start_has_no_base_but_what_was_deleted(machine: Machine) -> None:
    old = machine.folder.word
    machine.start()
    machine.work()
    machine.folder.word = old
    assert machine.start() == {GONE.key}
    assert bases(machine) == {GONE.key}
    # And only once.
    machine.record.commit()
    assert machine.start() == set()


def test_one_without_a_word_is_old_too(machine: Machine) -> None:
    machine.start()
    machine.work()
    machine.folder.word = ""
    assert machine.start() == {GONE.key}


def test_the_user_s_word_is_enough(machine: Machine) -> None:
    machine.start()
    machine.work()
    machine.folder.word = "other"
    assert machine.start(approved=True) == set()
    assert bases(machine) == {FILE.key}


def test_a_crash_before_the_new_word_is_in_the_folder_leaves_it_known(machine: Machine) -> None:
    machine.work()
    machine.folder.full = True
    machine.start()
    machine.folder.full = False
    assert machine.start() == set()
    assert machine.start() == set(), "one before the new word was in the record as the only one"


def test_a_long_run_changes_the_word_now_and_then_but_not_when_nothing_happens(machine: Machine) -> None:
    machine.start()
    machine.work()
    before, written = machine.folder.word, machine.folder.written
    machine.now += PERIOD * 3
    for _ in range(10):
        machine.lineage.go_on()
    assert machine.folder.written == written + 1, "what was done since the last word is marked, once"
    machine.now += PERIOD * 3
    machine.lineage.go_on()
    assert machine.folder.written == written + 1, "a disk write, though nothing has happened"
    machine.work()
    assert machine.folder.written == written + 2
    machine.work()
    machine.folder.word = before
    assert machine.start() == {GONE.key}
