"""The local side, on whole machines."""

from collections.abc import Callable
from typing import Any

import pytest

from ssyncd.content.body import INLINE_LIMIT
from ssyncd.disk.base import Touched
from ssyncd.folder.local import STILL
from tests.simulation.machine import Machine
from tests.simulation.operations import LARGE
from tests.simulation.world import World


def test_a_large_file_whose_directory_we_move_before_it_is_read(world: World) -> None:
    """Its reading fails at the path it had; where it is now nobody else would look."""
    one, two = world.machines
    one.user.make_dir("d")
    world.settle()
    one.user.rename("d", "e")
    two.user.write("d/large", b"x" * LARGE)
    two.watcher.deliver()
    two.work()  # wants it to be read
    while "e" not in two.user.tree():
        for machine in world.machines:
            machine.watcher.deliver()
            machine.link.pump()
            world.work(machine)
            machine.serve()
            world.server.commit()
    world.settle()
    assert one.user.tree() == two.user.tree() == {"e": None, "e/large": b"x" * LARGE}


def test_news_of_a_file_that_names_the_directory_as_it_was_before_we_moved_it(world: World) -> None:
    one, two = world.machines
    one.user.make_dir("d")
    world.settle()
    one.user.rename("d", "e")
    world.go_on(one)
    two.user.write("d/late", b"news")
    late, two.watcher.pending[:] = list(two.watcher.pending), []
    while "e" not in two.user.tree():
        world.go_on(one)
        two.link.pump()
        world.work(two)
        two.serve()
    two.watcher.pending[:0] = late
    world.settle()
    assert one.user.tree() == two.user.tree() == {"e": None, "e/late": b"news"}


def test_a_file_written_in_the_last_tick_before_a_crash_is_read_again_after_it(world: World) -> None:
    one, two = world.machines
    one.user.write("a", b"one")
    while "a" not in two.user.tree():
        for machine in world.machines:
            world.go_on(machine)
    before = one.disk.stat("a")
    one.user.write("a", b"uno")
    assert before == one.disk.stat("a"), "the stamps must not tell, or this tests nothing"
    one.kill()
    world.time.now += 60
    one.start()
    world.settle()
    assert one.user.tree() == two.user.tree() == {"a": b"uno"}


def test_a_restart_reads_no_file_that_has_been_still(world: World) -> None:
    one, _ = world.machines
    one.user.write("a", b"one")
    world.settle()
    world.time.now += 5
    one.user.write("b", b"two")
    world.settle()
    one.stop()
    one.start()
    opened = []
    one.disk.on_step = lambda call, path: opened.append(path) if call == "open" else None
    world.settle()
    assert "a" not in opened


def test_a_large_file_that_is_written_again_within_a_tick_while_it_is_read_is_read_again(world: World) -> None:
    """Neither its size nor its times tell; that it was told of again does."""
    one, two = world.machines
    world.settle()
    one.user.write("f", b"1" * LARGE)
    one.watcher.deliver()
    one.work()
    one.pump()
    done, one.inbox[:] = list(one.inbox), [[Touched("f")]]
    one.work()
    one.user.write("f", b"2" * LARGE)
    one.inbox.extend(done)
    world.settle()
    assert two.user.tree() == {"f": b"2" * LARGE}


def test_a_late_echo_does_not_let_us_read_what_a_program_has_just_emptied(world: World) -> None:
    """The hint comes from our own write; that a program has opened the file since is not told yet."""
    one, two = world.machines
    one.user.write("f", b"full")
    world.settle()
    world.time.now += 5
    writing = two.user.open("f")
    two.watcher.drop()
    two.inbox.append([Touched("f")])
    for _ in range(50):
        for machine in world.machines:
            world.go_on(machine)
        world.time.now += 0.001
    assert one.user.tree() == {"f": b"full"}, "an empty version went out"
    writing.write(b"new")
    writing.close()
    world.settle()
    assert one.user.tree() == two.user.tree() == {"f": b"new"}


def test_what_a_program_keeps_open_is_sent_when_it_has_been_still(world: World) -> None:
    one, two = world.machines
    writing = two.user.open("log")
    writing.write(b"line")
    world.settle()
    assert world.time.now < 10
    assert one.user.tree() == {"log": b"line"}
    rounds = 0
    for _ in range(20):
        rounds += two.due is not None and two.due <= world.time.now
        world.go_on(two)
        world.time.now += 0.01
    assert rounds < 3, "it turns without end while the file is open"
    writing.close()


def close_with_an_event(machine: Machine, writing: Any) -> None:
    writing.close()


def close_in_an_overflow(machine: Machine, writing: Any) -> None:
    writing.close()
    machine.watcher.overflow()


def close_while_it_is_down(machine: Machine, writing: Any) -> None:
    machine.stop()
    writing.close()
    machine.start()


@pytest.mark.parametrize("size", [3, INLINE_LIMIT + 1])
@pytest.mark.parametrize("close", [close_with_an_event, close_in_an_overflow, close_while_it_is_down])
def test_what_is_written_through_a_memory_map_is_sent_when_it_is_closed(
    world: World, close: Callable[[Machine, Any], None], size: int
) -> None:
    """It was read meanwhile, and has the same time after as before."""
    one, two = world.machines
    writing = two.user.open("f")
    writing.write(b"1" * size)
    world.settle()
    assert one.user.tree() == {"f": b"1" * size}
    writing.store(b"222")
    world.time.now += 10
    close(two, writing)
    world.settle()
    assert one.user.tree() == {"f": b"222" + b"1" * (size - 3)}
    assert not two.record.open


def test_a_file_that_seems_open_when_it_was_closed_just_now_is_read_in_a_moment(world: World, monkeypatch: Any) -> None:
    """The kernel queues the event of the close before the file counts as closed; no other event follows."""
    one, two = world.machines
    one.user.write("a", b"one")
    world.settle()
    world.time.now += 10
    answers, asked = [True, True], one.disk.being_written
    monkeypatch.setattr(one.disk, "being_written", lambda path: answers.pop() if answers else asked(path))
    one.user.write("a", b"two")
    before = world.time.now
    while two.user.tree() != {"a": b"two"}:
        assert world.time.now < before + STILL / 2
        for machine in world.machines:
            world.go_on(machine)
        world.time.now += 0.01
    assert not answers


def test_a_file_that_is_being_written_when_we_move_its_directory_is_waited_for_at_its_new_place_only(
    world: World,
) -> None:
    one, two = world.machines
    one.user.make_dir("d")
    world.settle()
    writing = two.user.open("d/f")
    writing.write(b"half")
    two.watcher.deliver()
    world.work(two)
    assert list(two.engine.local.writing) == ["d/f"]
    two.engine.local.moved("d", "e")
    assert list(two.engine.local.writing) == ["e/f"]
    writing.close()


def test_a_file_that_is_written_by_one_of_its_names_is_read_by_all_of_them(world: World) -> None:
    one, two = world.machines
    one.user.make_dir("d")
    one.user.write("d/a", b"one")
    one.user.name_too("d/a", "b")
    one.user.write("c", b"not this")
    world.settle()
    assert two.user.tree() == {"d": None, "d/a": b"one", "b": b"one", "c": b"not this"}
    for name, data in (("d/a", b"more"), ("b", b"and more")):
        one.user.write(name, data)
        world.settle()
        assert two.user.tree() == {"d": None, "d/a": data, "b": data, "c": b"not this"}


def test_a_file_that_is_written_elsewhere_is_one_by_itself(world: World) -> None:
    """There it has two files where here it has two names: each is replaced, and the names part."""
    one, two = world.machines
    one.user.write("a", b"one")
    one.user.name_too("a", "b")
    world.settle()
    two.user.write("a", b"changed")
    world.settle()
    assert one.user.tree() == two.user.tree() == {"a": b"changed", "b": b"one"}
    one.user.write("b", b"and this")
    world.settle()
    assert one.user.tree() == two.user.tree() == {"a": b"changed", "b": b"and this"}
