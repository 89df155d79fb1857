"""The engine on whole machines of a simulated world."""

import pytest

from ssyncd.disk import look
from ssyncd.folder import engine, local
from tests.databases import MemoryDatabase
from tests.simulation.world import World


def test_what_a_power_cut_takes_from_the_disk_is_not_taken_for_deleted(world: World) -> None:
    """A program writes without fsync, the server has it, and the power fails before the kernel has written it."""
    one, two = world.machines
    one.user.write("f", b"never made durable by who wrote it")
    world.settle()
    one.lose_power(0, False)
    one.start()
    world.settle()
    assert one.user.tree() == two.user.tree() == {"f": b"never made durable by who wrote it"}


def test_a_deletion_that_a_power_cut_undoes_is_not_taken_for_a_new_file(world: World) -> None:
    one, two = world.machines
    one.user.write("f", b"bytes")
    world.settle()
    one.user.delete("f")
    world.settle()
    one.lose_power(0, False)
    one.start()
    world.settle()
    assert one.user.tree() == two.user.tree() == {}


def test_an_exec_bit_that_was_seen_but_not_sent_when_the_process_was_killed_is_sent_after_it(world: World) -> None:
    one, two = world.machines
    one.user.write("f", b"bytes")
    world.settle()
    one.user.set_exec("f", True)
    one.watcher.deliver()
    one.engine.line.live = False
    one.work()
    one.kill()
    one.start()
    world.settle()
    assert one.tree() == two.tree() == {"f": (b"bytes", True)}


@pytest.mark.parametrize("restarts", [1, 2])
def test_what_a_power_cut_makes_of_a_file_that_was_sent_a_moment_ago_does_not_replace_it(
    world: World, restarts: int
) -> None:
    """The name has survived but not the bytes, and the acknowledgement comes after the machine is up again."""
    one, two = world.machines
    one.user.write("f", b"never made durable by who wrote it")
    one.watcher.deliver()
    one.work()
    one.serve()
    one.lose_power(9, False)
    assert one.user.tree() == {"f": b""}
    one.start()
    if restarts == 2:
        one.work()
        one.kill()
        one.start()
    world.settle()
    assert one.user.tree() == two.user.tree()
    assert b"never made durable by who wrote it" in one.user.tree().values()


def test_an_edit_without_a_trace_while_the_disk_is_slow_is_found_after_a_crash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state that is written at the end of a long round says nothing of what the watcher told meanwhile."""
    one, two = world.machines
    world.settle()
    flush = one.disk.flush
    left = [b"two"]

    def slow() -> None:
        flush()
        if left and one.user.tree() == {"f": b"one"} and one.record.remote.find("f"):
            one.user.write("f", left.pop())
            world.time.now += 5

    monkeypatch.setattr(one.disk, "flush", slow)
    one.user.write("f", b"one")
    while left:
        one.watcher.deliver(1)
        one.work()
        one.serve()
        world.server.commit()
        one.link.pump()
    one.kill()
    one.watcher.drop()
    one.start()
    world.settle()
    assert one.user.tree() == two.user.tree() == {"f": b"two"}


def test_the_first_look_does_not_run_far_ahead_of_sending(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found and not sent yet takes memory."""
    monkeypatch.setattr(look, "SLICE", 5)
    monkeypatch.setattr(local, "AHEAD", 5)
    monkeypatch.setattr(engine, "BATCH", 5)
    one, two = world.machines
    for number in range(40):
        one.user.make_dir(f"d{number}")
        for each in range(5):
            one.user.write(f"d{number}/f{each}", b"x")
    one.kill()
    one.database = MemoryDatabase()
    one.start()
    one.link.pump()
    monkeypatch.setattr(one.engine, "_throttled", lambda: len(one.engine.sender.pending) + len(one.engine.unheard) > 5)
    for _ in range(200):
        one.work()
    assert one.engine.local.scanner.first
    assert len(one.record.local) < 100
    world.settle()
    assert len(one.record.local) == 240
    assert one.user.tree() == two.user.tree()


def test_who_has_much_or_does_not_know_yet_wants_an_index_without_contents(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "SLICE", 1)
    monkeypatch.setattr(engine, "MUCH", 4)
    one, _ = world.machines
    for name in "abc":
        one.user.make_dir(name)
    world.settle()
    assert not engine.knows_much(one.engine.local)
    one.kill()
    one.database = MemoryDatabase()
    one.start()
    one.work()
    assert len(one.record.local) < 4
    assert engine.knows_much(one.engine.local)
    world.settle()
    assert not engine.knows_much(one.engine.local)
    one.user.make_dir("d")
    world.settle()
    assert engine.knows_much(one.engine.local)


def test_what_the_server_has_waits_for_the_first_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes in slices: what is not seen yet may be here all the same."""
    monkeypatch.setattr(look, "SLICE", 1)
    one, _ = world.machines
    for path in "abcdefghijklmnop":
        one.user.make_dir(path)
        one.user.write(f"{path}/f", path.encode())
    world.settle()
    three = world.add_machine()
    for path in "abcdefghijklmnop":
        three.user.make_dir(path)
        three.user.write(f"{path}/f", path.encode())
    three.watcher.drop()  # all of it was there before
    staged: list[str] = []
    monkeypatch.setattr(three.disk, "stage", lambda tag, resume=False: staged.append(tag))
    world.settle()
    assert three.user.tree() == one.user.tree()
    assert not staged
