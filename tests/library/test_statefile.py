"""A memory that is closed and opened again, also where something is wrong with the file."""

import sqlite3

import pytest

from ssyncd.errors import BusyError, StateCorruptError, StateError
from ssyncd.library.memory import Edit, Memory
from ssyncd.library.statefile import StateFile
from ssyncd.protocol.ghosts import Ghost, Sent
from ssyncd.protocol.messages import ClientChange

OWNER = {"server": "http://here", "bucket": "b"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "state.db"


def written(path, fill):
    file = StateFile(path, OWNER)
    memory = Memory(file.load())
    fill(memory)
    file.write(memory.writes)
    file.close()


def loaded(path):
    file = StateFile(path, OWNER)
    try:
        return file.load()
    finally:
        file.close()


def test_everything_is_there_again(path):
    change = ClientChange("k", "M", "c1", 3, {"a": {"o": "+", "v": "\u2028😀"}})

    def fill(memory):
        memory.cursor = "cv"
        memory.put("k", Ghost(3, {"lone": "\ud83d"}))
        memory.put("gone", Ghost(4, None))
        memory.add_sent(Sent("c2", "z", None, None))
        memory.add_sent(Sent("c1", "k", 3, change))
        memory.put_edit("k", Edit({"a": 1}, None, "c1"))
        memory.put_edit("first", Edit({}, {"a": 2}, first={"a": 1}))
        memory.put_edit("big", Edit(None, {"a": 2**70}, "", 413))

    written(path, fill)
    found = loaded(path)
    assert found.meta["cursor"] == "cv"
    assert found.ghosts == {"k": Ghost(3, {"lone": "\ud83d"}), "gone": Ghost(4, None)}
    assert found.sent == [Sent("c2", "z", None, None), Sent("c1", "k", 3, change)]
    assert found.edits.pop("first") == Edit({}, {"a": 2}, first={"a": 1})
    assert found.edits == {"k": Edit({"a": 1}, None, "c1"), "big": Edit(None, {"a": 2**70}, "", 413)}


def test_what_is_removed_is_gone(path):
    def fill(memory):
        memory.add_sent(Sent("c1", "k", None, None))
        memory.put_edit("k", Edit(None, {}))

    def empty(memory):
        memory.remove_sent("c1")
        memory.put_edit("k", None)

    written(path, fill)
    written(path, empty)
    found = loaded(path)
    assert (found.sent, found.edits) == ([], {})


def test_an_edit_whose_change_is_not_known_any_more_starts_from_the_ghost(path):
    def fill(memory):
        memory.put("k", Ghost(1, {"a": 1}))
        memory.put_edit("k", Edit({"a": 2}, {"a": 3}, "c1"))

    written(path, fill)
    assert Memory(loaded(path)).edit("k") == Edit({"a": 1}, {"a": 3})


def test_two_programs_cannot_use_one_file(path):
    file = StateFile(path, OWNER)
    with pytest.raises(BusyError):
        StateFile(path, OWNER)
    file.close()
    loaded(path)


def test_a_file_of_another_bucket_is_refused(path):
    loaded(path)
    with pytest.raises(StateError, match="another bucket: b, not c"):
        StateFile(path, {**OWNER, "bucket": "c"})


def test_a_file_of_another_program_is_refused(path):
    path.parent.mkdir()
    path.write_bytes(b"this is not a database, but it is long enough" * 100)
    with pytest.raises(StateCorruptError):
        StateFile(path, OWNER)


def test_a_newer_file_is_refused(path):
    loaded(path)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StateError, match="99"):
        StateFile(path, OWNER)


@pytest.mark.parametrize("damage", ["UPDATE ghosts SET data='[1]'", "UPDATE sent SET change='{\"o\": 1}'"])
def test_nonsense_in_the_file_is_said(path, damage):
    def fill(memory):
        memory.put("k", Ghost(1, {}))
        memory.add_sent(Sent("c1", "k", None, None))

    written(path, fill)
    with sqlite3.connect(path) as db:
        db.execute(damage)
    db.close()
    with pytest.raises(StateCorruptError):
        loaded(path)


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(StateError):
        StateFile(tmp_path, OWNER)
