"""A server that was restored from an old backup, or wiped: nothing newer is lost on any machine."""

from collections.abc import Iterator

import pytest

from tests.simulation.server import Storage
from tests.simulation.world import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World(2)
    made.machines[0].user.write("old", b"old")
    made.machines[0].user.write("edited", b"first")
    made.machines[0].user.make_dir("d")
    made.machines[0].user.write("d/deleted", b"bye")
    made.settle()
    yield made
    made.close()


def go_on_since_the_backup(world: World) -> Storage:
    """The backup, after which something is edited, made, and deleted."""
    backup = world.server.storage.copy()
    world.time.now += 1
    world.machines[0].user.write("edited", b"second")
    world.machines[1].user.write("new", b"new")
    world.settle()
    return backup


NOW = {"d": None, "d/deleted": b"bye", "edited": b"second", "new": b"new", "old": b"old"}


def trees(world: World) -> list[dict[str, object]]:
    return [dict(machine.user.tree()) for machine in world.machines]


def test_what_an_old_backup_lacks_is_offered_again(world: World) -> None:
    backup = go_on_since_the_backup(world)
    world.restart_server(backup)
    world.settle()
    world.add_machine()
    world.settle()
    assert trees(world) == [NOW] * 3


def test_a_wiped_server_gets_everything_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    go_on_since_the_backup(world)
    world.restart_server(Storage([1000]))
    world.settle()
    told = [record.getMessage() for record in caplog.records if "offered again" in record.getMessage()]
    assert told, "it is said"
    assert len(told) <= len(world.machines), "not for each file"
    world.add_machine()
    world.settle()
    assert trees(world) == [NOW] * 3


def test_a_crash_while_in_doubt_loses_nothing(world: World) -> None:
    backup = go_on_since_the_backup(world)
    world.restart_server(backup)
    one, two = world.machines
    for machine in (one, two):
        machine.cut()
        while not any(message.startswith("0:e:") for message in machine.sent):
            world.go_on(machine)
        machine.kill()
        machine.start()
    world.settle()
    assert trees(world) == [NOW] * 2


def test_what_was_deleted_stays_so_where_the_server_still_has_its_history(world: World) -> None:
    """The log does not reach back to where this machine left off, but what it knew is in the history."""
    one, two = world.machines
    two.stop()
    one.user.delete("d")
    one.user.write("edited", b"second")
    world.machines = [one]
    world.settle()
    two.start()
    two.record.cursor = "f" * 28
    world.machines = [one, two]
    world.settle()
    assert trees(world) == [{"edited": b"second", "old": b"old"}] * 2


def test_what_was_written_since_the_backup_was_put_back_is_kept_beside(world: World) -> None:
    """The restored server's next version has the number of one that it had before, but it is nobody's past."""
    one, two = world.machines
    backup = world.server.storage.copy()
    one.user.write("edited", b"second")
    world.settle()
    two.stop()
    one.user.write("edited", b"third")
    world.machines = [one]
    world.settle()
    one.stop()
    world.restart_server(backup)
    two.user.write("edited", b"another second")
    two.start()
    world.machines = [two]
    world.settle()
    one.start()
    world.machines = [one, two]
    world.settle()
    assert trees(world)[0] == trees(world)[1]
    assert {b"third", b"another second"} <= set(trees(world)[0].values())
