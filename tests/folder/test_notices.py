"""What is fetched before its entry has come, what is not, and what becomes of it. That nothing is lost by it, the simulation
shows."""

from collections.abc import Callable, Iterator
from random import Random

import pytest
from msgspec.structs import replace

from ssyncd.content.body import inline
from ssyncd.content.chunks import MIB
from ssyncd.folder.notices import KEPT, LONG, MOST
from ssyncd.protocol.messages import Notice
from tests.simulation.machine import Machine
from tests.simulation.operations import LARGE
from tests.simulation.world import World

BYTES = b"l" * LARGE


@pytest.fixture
def world() -> Iterator[World]:
    """Two machines that say and hear notices, with nothing in their folders."""
    made = World(2, seed=_seed())
    made.settle()
    yield made
    made.close()


def _seed() -> int:
    for seed in range(100):
        world = World(2, seed)
        world.close()
        if all(machine.hears_notices for machine in world.machines):
            return seed
    raise AssertionError("no two machines ever hear notices")


def until(world: World, true: Callable[[], bool], *machines: Machine) -> None:
    for _ in range(200):
        if true():
            return
        for machine in machines or world.machines:
            world.go_on(machine)
        world.time.now += 0.001
    raise AssertionError("it never came to pass")


def staged(machine: Machine) -> list[str]:
    return list(machine.disk._scan_stage())


def begun(world: World) -> None:
    """The first machine has begun to send a large file, the second has fetched it, and the entry has not come."""
    one, two = world.machines
    one.user.write("large", BYTES)
    until(world, lambda: bool(one.engine.sender.uploading), one)
    until(world, lambda: bool(world.stored), one)
    two.link.pump(), two.work(), two.pump(), two.work()
    assert "large" not in two.user.tree()


def held_back(world: World) -> Callable[[], bool]:
    """The entry of a large file has come to the second machine, whose transfers have yet to begin: with this they do."""
    one, two = world.machines
    one.user.write("large", BYTES)
    pump, two.transfers.pump = two.transfers.pump, lambda: False  # type: ignore[method-assign]
    until(world, lambda: len(two.record.remote) == 1)
    return pump


def gets(machine: Machine) -> int:
    store = machine.transfers.store
    return sum(name == "get" for name, _ in store.requests)  # type: ignore[attr-defined]


def test_what_was_fetched_ahead_is_put_in_place_when_its_entry_comes(world: World) -> None:
    two = world.machines[1]
    begun(world)
    assert len(staged(two)) == 1
    assert two.engine.supply.pending == 0
    before = gets(two)
    world.settle()
    assert two.user.tree() == {"large": BYTES}
    assert gets(two) == before, "it was fetched once"
    (large,) = map(two.record.local.get, two.record.local)
    assert large is not None
    assert large.content is not None
    assert two.record.chunks(large.content.hash), "they are known, should its next version be fetched"
    assert staged(two) == []


def test_the_chunks_of_a_list_are_known_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the old version would be cut anew whenever the next one is fetched."""
    one, two = world.machines
    monkeypatch.setattr(one.transfers.store, "max_chunk", 4096)
    one.user.write("large", Random(1).randbytes(5 * MIB))
    until(world, lambda: "large" in two.user.tree())
    (large,) = map(two.record.local.get, two.record.local)
    assert large is not None
    assert large.content is not None
    rows = one.record.chunks(large.content.hash)
    assert rows is not None
    assert two.record.chunks(large.content.hash) == rows


def test_the_entry_may_come_while_it_is_fetched(world: World) -> None:
    two = world.machines[1]
    pump = held_back(world)
    assert two.engine.supply.pending == 1, "the one that was under way"
    two.transfers.pump = pump  # type: ignore[method-assign]
    world.settle()
    assert two.user.tree() == {"large": BYTES}
    assert gets(two) == 1


def test_what_nobody_comes_for_is_dropped(world: World) -> None:
    one, two = world.machines
    begun(world)
    one.stop()
    world.machines = [two]
    assert len(staged(two)) == 1
    world.time.now += KEPT - 1
    world.go_on(two)
    assert len(staged(two)) == 1
    world.settle()
    assert staged(two) == []
    assert two.user.tree() == {}


def test_what_was_fetched_in_part_is_dropped_too_or_goes_on(world: World) -> None:
    one, two = world.machines
    one.user.write("large", Random(1).randbytes(300_000))
    until(world, lambda: len(world.stored) > 1, one)
    lost = world.stored.popitem()
    two.link.pump(), two.work(), two.pump(), two.work()
    assert len(staged(two)) == 1
    world.stored.update([lost])
    one.stop()
    world.machines = [two]
    world.settle()
    assert staged(two) == []
    one.start()
    world.machines = [one, two]
    world.settle()
    assert two.user.tree() == one.user.tree()


def test_what_an_earlier_run_left_of_a_fetch_is_dropped_when_nothing_is_wanted_any_more(world: World) -> None:
    one, two = world.machines
    begun(world)
    one.kill()
    staging = two.disk.stage("f" * 32)
    staging.write(b"part of something")
    staging.close()
    two.kill()
    two.start()
    assert len(staged(two)) == 2
    world.machines = [two]
    world.settle()
    assert staged(two) == []


def test_nothing_is_swept_away_while_something_is_to_come(world: World) -> None:
    two = world.machines[1]
    supply, bodies = two.engine.supply, two.engine.bodies
    here, body = inline(b"x", 1, "m")
    bodies.add(here.hash, body)
    assert supply.want("1" * 32, here, 1)
    assert not supply.want("2" * 32, here._replace(hash="a" * 64), 1)
    assert not supply.untidy
    supply.answered("2" * 32)
    assert supply.untidy
    supply.sweep()
    assert staged(two) == []


def test_what_cannot_be_had_ahead_is_fetched_like_any_other(world: World) -> None:
    two = world.machines[1]
    pump = held_back(world)
    stored = dict(world.stored)
    world.stored.clear()
    pump()
    world.stored.update(stored)
    two.transfers.pump = pump  # type: ignore[method-assign]
    world.settle()
    assert two.user.tree() == {"large": BYTES}
    assert not two.record.pleas


def heard(machine: Machine, data: dict[str, object], key: str = "1" * 32) -> int:
    """How many files are fetched ahead after this notice."""
    machine.engine.handle(Notice(key, data))
    machine.engine.notices.go_on()
    return len(machine.engine.supply._ahead)


CHUNKS = {"hash": "a" * 64, "size": 2 * LARGE, "mtime": 1, "by": "m", "chunks": [["b" * 64, 2 * LARGE]]}
FILE = {"parent": "", "name": "new", "kind": "file", "exec": False, "content": CHUNKS}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"parent": "", "name": "new", "kind": "dir"},
        FILE | {"name": "../new"},
        FILE | {"parent": "nowhere"},
        FILE | {"content": None},
        FILE | {"content": CHUNKS | {"chunks": [["b" * 64, 1]]}},
        FILE | {"content": {**CHUNKS, "size": 1, "data": "AHg="}},
        FILE | {"content": CHUNKS | {"size": 1 << 50, "chunks": [["b" * 64, 8 * MIB]] * (1 << 5)}},
        FILE | {"name": "ignored.log"},
        FILE | {"name": "here"},
    ],
)
def test_what_is_of_no_use_is_not_fetched(world: World, data: dict[str, object]) -> None:
    two = world.machines[1]
    two.user.write(".ssyncdignore", b"*.log")
    two.user.write("here", b"x")
    world.settle()
    assert heard(two, data) == 0
    assert heard(two, FILE) == 1


def test_what_does_not_fit_the_disk_twice_is_not_fetched_ahead(world: World) -> None:
    two = world.machines[1]
    two.disk.memory.capacity = 3 * LARGE
    assert heard(two, FILE) == 0
    two.disk.memory.capacity = 6 * LARGE
    assert heard(two, FILE) == 1
    assert heard(two, FILE | {"name": "another"}, "2" * 32) == 1


def test_what_is_here_already_is_not_fetched(world: World) -> None:
    one, two = world.machines
    one.user.write("large", BYTES)
    world.settle()
    (key,) = two.record.local
    entry = two.record.local.get(key)
    assert entry is not None
    assert entry.content is not None
    same = CHUNKS | {"hash": entry.content.hash}
    assert heard(two, FILE | {"name": "large", "content": same}, key) == 0
    assert heard(two, FILE | {"name": "large"}, key) == 1


def test_a_notice_waits_for_the_directory_that_its_entry_is_in(world: World) -> None:
    one, two = world.machines
    one.user.make_dir("d")
    one.user.write("d/large", BYTES)
    begin = gets(two)
    until(world, lambda: bool(two.user.tree()), one, two)
    world.settle()
    assert two.user.tree()["d/large"] == BYTES
    assert gets(two) == begin + 1
    for number in range(MOST + 10):
        assert heard(two, FILE | {"parent": "f" * 32}, f"{number:032x}") == 0
    assert len(two.engine.notices._waiting) == MOST


def test_a_later_notice_takes_the_place_of_an_earlier_one(world: World) -> None:
    two = world.machines[1]
    assert heard(two, FILE) == 1
    other = CHUNKS | {"hash": "c" * 64}
    assert heard(two, FILE | {"content": other}) == 1
    (content,) = two.engine.supply._ahead.values()
    assert content.hash == "c" * 64


def test_deletions_are_told_of_so_that_nobody_counts_them_again(world: World) -> None:
    one, two = world.machines
    for machine in world.machines:
        machine.engine.holds._settings = replace(machine.engine.settings, hold_least=2)
    for number in range(10):
        one.user.write(f"f{number}", b"1")
    world.settle()
    for number in range(4):
        one.user.delete(f"f{number}")
    for _ in range(200):
        for machine in world.machines:
            world.go_on(machine)
        assert not two.engine.holds.gathered
        world.time.now += 0.01
    assert len(two.user.tree()) == 6


@pytest.mark.parametrize("number", [0, -1, True, 1.5, "3", None, [], 10**400])
def test_a_number_of_deletions_that_makes_no_sense_does_no_harm(world: World, number: object) -> None:
    one, two = world.machines
    one.user.write("f", b"1")
    world.settle()
    two.engine.handle(Notice("1" * 32, {"deletions": number}))
    one.user.delete("f")
    world.settle()
    assert two.user.tree() == {}


def test_small_files_are_not_told_of(world: World) -> None:
    one, _ = world.machines
    one.engine.notices.least = LONG
    one.user.write("large", BYTES)
    world.settle()
    assert not [message for message in one.sent if ":notice:" in message]
