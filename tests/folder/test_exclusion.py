"""What of a folder does not exist for us, on whole machines."""

from collections.abc import Iterator

import pytest

from ssyncd.disk.base import Reader
from ssyncd.errors import UnreadableError
from ssyncd.folder.exclusion import IGNORE_FILE, LINGER
from ssyncd.folder.report import phase, troubles, waiting_for
from ssyncd.status import Phase
from tests.simulation.machine import Machine
from tests.simulation.world import World


@pytest.fixture
def world() -> Iterator[World]:
    """The second machine has a directory that the first has deleted, for what is ignored in it."""
    made = World(2)
    one, two = made.machines
    made.settle()
    one.user.write(".ssyncdignore", b"*.tmp\n")
    one.user.make_dir("p")
    one.user.make_dir("p/d")
    one.user.write("p/d/f", b"1")
    made.settle()
    two.user.write("p/d/mine.tmp", b"ignored")
    made.settle()
    one.user.delete("p/d")
    made.settle()
    assert two.user.tree()["p/d/mine.tmp"] == b"ignored"
    assert "p/d/f" not in two.user.tree()
    yield made
    made.close()


def test_a_directory_that_stays_for_what_is_ignored_in_it_is_not_synced(world: World) -> None:
    one, two = world.machines
    two.stop()
    two.start()
    world.settle()
    assert "p/d" not in one.user.tree()
    assert two.user.tree()["p/d/mine.tmp"] == b"ignored"


def test_something_that_is_not_ignored_makes_it_a_directory_like_any_other(world: World) -> None:
    one, two = world.machines
    two.user.write("p/d/new", b"2")
    world.settle()
    assert one.user.tree()["p/d/new"] == b"2"


def test_once_it_is_removed_a_new_directory_there_is_synced(world: World) -> None:
    one, two = world.machines
    two.user.delete("p/d")
    world.settle()
    two.user.make_dir("p/d")
    world.settle()
    assert "p/d" in one.user.tree()


def test_a_new_directory_that_took_its_place_at_once_is_synced(world: World) -> None:
    one, two = world.machines
    two.user.delete("p/d")
    two.user.make_dir("p/d")
    two.user.make_dir("p/d/inner")
    world.settle()
    assert "p/d/inner" in one.user.tree()


def test_a_new_directory_that_took_its_place_while_we_were_stopped_is_synced(world: World) -> None:
    one, two = world.machines
    two.stop()
    two.user.delete("p/d")
    two.user.make_dir("p/d")
    two.start()
    world.settle()
    assert "p/d" in one.user.tree()


def test_it_goes_along_with_the_directory_it_is_in(world: World) -> None:
    one, two = world.machines
    one.user.rename("p", "q")
    world.settle()
    assert one.user.tree() == {".ssyncdignore": b"*.tmp\n", "q": None}
    assert two.user.tree()["q/d/mine.tmp"] == b"ignored"
    two.user.delete("q/d")
    world.settle()
    two.user.make_dir("q/d")
    world.settle()
    assert "q/d" in one.user.tree()


def test_a_directory_made_there_elsewhere_is_the_same_one_again(world: World) -> None:
    one, two = world.machines
    one.user.make_dir("p/d")
    one.user.write("p/d/new", b"2")
    world.settle()
    assert two.user.tree()["p/d/new"] == b"2"
    assert two.user.tree()["p/d/mine.tmp"] == b"ignored"
    assert two.is_at_rest()


def test_by_other_rules_what_it_holds_is_synced(world: World) -> None:
    one = world.machines[0]
    one.user.write(IGNORE_FILE, b"*.o\n")
    world.settle()
    assert one.user.tree()["p/d/mine.tmp"] == b"ignored"


@pytest.fixture
def pair() -> Iterator[World]:
    """In sync for a while, with a file each rule below is about."""
    made = World(2)
    one = made.machines[0]
    for path in ("in", "out", "in/dir"):
        one.user.make_dir(path)
    for path in ("secret", "in/film", "in/dir/film"):
        one.user.write(path, b"1")
    made.settle()
    made.time.now += 60
    for do in (lambda path: one.user.write(path, b"1"), one.user.delete):
        do("later")
        made.settle()
    for machine in made.machines:
        machine.stop()
        machine.start()
        made.settle()
        assert not machine.record.young, "all of it is known for certain"
    yield made
    made.close()


def leave_out(machine: Machine, line: str) -> None:
    """By this machine's own settings."""
    machine.engine.local.exclusion._lines = (line,)
    machine.engine.agenda.look_below("", "other rules")
    machine.due = machine.time.now


def test_a_rule_counts_for_what_is_known_already(pair: World) -> None:
    one, two = pair.machines
    one.user.write(IGNORE_FILE, b"secret\n")
    pair.settle()
    two.user.delete("secret")
    two.user.delete("in/film")
    pair.settle()
    assert one.user.tree()["secret"] == b"1"
    assert "in/film" not in one.user.tree()
    one.user.delete(IGNORE_FILE)
    pair.settle()
    assert two.user.tree()["secret"] == b"1"


@pytest.fixture
def ruled(pair: World) -> World:
    """With a rule, for a file that is there only now."""
    one = pair.machines[0]
    one.user.write(IGNORE_FILE, b"late\n")
    pair.settle()
    one.user.write("late", b"left out")
    return pair


def test_rules_of_which_an_editor_has_just_moved_the_file_away_count(ruled: World) -> None:
    """Editors save so: for a moment there is none."""
    one, two = ruled.machines
    one.user.rename(IGNORE_FILE, "old rules")
    for _ in range(20):
        ruled.go_on(one)
        ruled.time.now += LINGER / 40
    assert phase(one.engine, waiting_for(one.engine)) is Phase.SYNCING
    one.user.write(IGNORE_FILE, b"late\nmore\n")
    one.user.delete("old rules")
    ruled.settle()
    assert two.record.remote.find("late") is None
    one.user.delete(IGNORE_FILE)
    ruled.settle()
    assert two.user.tree()["late"] == b"left out"


def test_rules_that_went_while_nobody_was_there_are_gone_at_once(ruled: World) -> None:
    one, two = ruled.machines
    ruled.settle()
    one.stop()
    one.user.delete(IGNORE_FILE)
    one.start()
    begin = ruled.time.now
    while one.record.remote.find("late") is None and ruled.time.now < begin + LINGER:
        ruled.go_on(one)
        ruled.time.now += 0.01
    assert ruled.time.now < begin + LINGER
    ruled.settle()
    assert two.user.tree() == one.user.tree()


def test_rules_that_cannot_be_read_count_as_before(pair: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = pair.machines
    one.user.write(IGNORE_FILE, b"late\n")
    pair.settle()
    open = one.disk.open

    def refuse(path: str) -> Reader:
        if path == IGNORE_FILE:
            raise UnreadableError(path, "permission denied")
        return open(path)

    monkeypatch.setattr(one.disk, "open", refuse)
    one.stop()
    one.start()
    one.user.write("late", b"left out")
    one.user.write("other", b"1")
    pair.settle()
    assert two.record.remote.find("late") is None
    assert two.user.tree()["other"] == b"1"


def test_what_is_moved_to_where_this_machine_leaves_things_out_goes_and_comes_back(pair: World) -> None:
    one, two = pair.machines
    leave_out(two, "/out/")
    pair.settle()
    one.user.rename("in/film", "out/film")
    one.user.rename("in/dir", "out/dir")
    pair.settle()
    assert set(two.user.tree()) == {"in", "out", "secret"}
    assert two.is_at_rest()
    assert set(one.user.tree()) == {"in", "out", "out/film", "out/dir", "out/dir/film", "secret"}
    one.user.rename("out/film", "in/film")
    one.user.rename("out/dir", "in/dir")
    pair.settle()
    assert two.user.tree() == one.user.tree()


def test_what_was_edited_here_meanwhile_is_sent_before_it_goes(pair: World) -> None:
    one, two = pair.machines
    leave_out(two, "/out/")
    pair.settle()
    two.cut()
    one.user.rename("in/dir", "out/dir")
    one.user.rename("in/film", "out/film")
    two.user.write("in/dir/film", b"edited here")
    two.user.write("in/dir/new", b"new here")
    two.user.write("in/film", b"edited, too")
    pair.settle()
    assert set(two.user.tree()) == {"in", "out", "secret"}
    there = one.user.tree()
    assert (there["out/dir/film"], there["out/dir/new"], there["out/film"]) == (
        b"edited here",
        b"new here",
        b"edited, too",
    )


def test_something_left_out_in_the_way_of_a_change_is_named(pair: World) -> None:
    one, two = pair.machines
    two.user.make_dir("mine")
    leave_out(two, "mine/")
    for _ in range(5):
        pair.go_on(two)
    one.user.write("mine", b"a file of that name")
    for _ in range(200):
        pair.go_on(one)
        pair.go_on(two)
        pair.time.now += 0.1
    assert [trouble.reason for trouble in troubles(two.engine)] == [
        "'mine' is in its place, and is left out here: move that away"
    ]
    two.user.rename("mine", "out/mine")
    pair.settle()
    assert two.user.tree()["mine"] == b"a file of that name"


@pytest.mark.parametrize("mover", [0, 1])
def test_what_is_in_a_directory_is_left_out_where_that_is_moved_to_a_place_of_such(pair: World, mover: int) -> None:
    one, two = pair.machines
    one.user.write(IGNORE_FILE, b"/old/film\n")
    pair.settle()
    pair.machines[mover].user.rename("in", "old")
    pair.settle()
    assert all(machine.record.local.find("old/film") is None for machine in pair.machines)
    two.user.delete("old/film")
    pair.settle()
    assert one.user.tree()["old/film"] == b"1"
    assert "old/film" not in two.user.tree()
    assert {"old/dir", "old/dir/film"} <= two.user.tree().keys() & one.user.tree().keys()
