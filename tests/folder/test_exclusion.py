"""What of a folder does not exist for us, on whole machines."""

from collections.abc import Iterator

import pytest

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
