"""Carrying out steps, on whole machines."""

import errno
from collections.abc import Callable

from ssyncd.disk.memory import User
from tests.simulation.world import World


def start(world: World, build: Callable[[User], object]) -> tuple[User, User]:
    """Both machines hold what the first one's user made a while ago."""
    build(world.machines[0].user)
    world.settle()
    world.time.now += 5
    return world.machines[0].user, world.machines[1].user


def test_what_is_moved_aside_outlives_the_directory_it_was_in(world: World) -> None:
    """`d/f` takes the place of `d`: it leaves a directory that is removed before it arrives."""

    def build(user: User) -> None:
        user.make_dir("d")
        user.write("d/f", b"kept")

    one, two = start(world, build)
    inode = two._files.walk("d/f").inode
    one.rename("d/f", "f")
    one.delete("d")
    one.rename("f", "d")
    world.settle()
    assert two.tree() == {"d": b"kept"}
    assert two._files.walk("d").inode == inode


def test_names_that_change_places_while_one_of_them_is_being_written(world: World) -> None:
    def build(user: User) -> None:
        user.write("a", b"one")
        user.write("b", b"two")

    one, two = start(world, build)
    for source, target in (("a", "c"), ("b", "a"), ("c", "b")):
        one.rename(source, target)
    writing = two.open("a", keep=True)
    writes = world.machines[1].writes
    for _ in range(200):
        for machine in world.machines:
            world.go_on(machine)
        world.time.now += 0.001
    assert world.machines[1].writes - writes < 30, "moved aside and back, again and again"
    writing.close()
    world.settle()
    assert one.tree() == two.tree() == {"a": b"two", "b": b"one"}


def test_a_place_that_its_owner_could_not_leave_is_not_given_to_another(world: World) -> None:
    def build(user: User) -> None:
        user.write("a", b"one")
        user.write("b", b"two")

    one, two = start(world, build)
    one.rename("a", "c")
    one.rename("b", "a")

    def fail(call: str, path: str) -> None:
        if call == "rename" and path == "a":
            raise OSError(errno.EIO, "input/output error")

    world.machines[1].disk.on_step = fail
    for _ in range(20):
        for machine in world.machines:
            world.go_on(machine)
    assert set(two.tree().values()) == {b"one", b"two"}
    world.machines[1].disk.on_step = None
    world.settle()
    assert two.tree() == {"a": b"two", "c": b"one"}


def test_what_could_not_be_made_durable_is_not_recorded(world: World) -> None:
    one, _ = start(world, lambda user: user.write("a", b"one"))
    machine = world.machines[1]
    syncs = []

    def fail(call: str, path: str) -> None:
        if call == "sync":
            syncs.append(path)
            raise OSError(errno.EIO, "input/output error")

    machine.disk.on_step = fail
    one.write("b", b"two")
    one.rename("a", "c")
    for _ in range(50):
        for each in world.machines:
            world.go_on(each)
        world.time.now += 0.1
    assert syncs
    machine.lose_power(0, keep_data=False)
    machine.start()
    world.settle()
    assert machine.user.tree() == {"b": b"two", "c": b"one"}


def test_a_file_written_in_the_tick_in_which_we_put_it_is_not_replaced_unseen(world: World) -> None:
    """Equal size and stamp: only its bytes tell that the user was there."""
    one, two = start(world, lambda user: user.write("x", b""))
    one.write("a", b"one")
    while "a" not in two.tree():
        for machine in world.machines:
            world.go_on(machine)
    before = world.machines[1].disk.stat("a")
    two.write("a", b"TWO", mtime=before.mtime)
    assert before.same(world.machines[1].disk.stat("a")), "the stamps must not tell, or this tests nothing"
    world.time.now += 0.001
    one.write("a", b"three")
    world.settle()
    assert b"TWO" in two.tree().values()
    assert one.tree() == two.tree()
