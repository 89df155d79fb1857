"""Plans that wait for the user's word: on whole machines, and the counting alone."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from msgspec.structs import replace

from ssyncd.disk.memory import User
from ssyncd.folder import engine
from ssyncd.folder.exclusion import IGNORE_FILE
from ssyncd.folder.holds import CALM, EVERYWHERE, GATHER, HERE, LONGEST, Holds
from ssyncd.folder.record import Record
from ssyncd.folder.report import phase, waiting_for
from ssyncd.folder.settings import Direction, FolderSettings
from ssyncd.planner.plan import Plan, Remove, SendDelete
from ssyncd.planner.tree import Content, Entry, Kind
from ssyncd.status import Phase
from tests.databases import MemoryDatabase
from tests.simulation.machine import Machine
from tests.simulation.world import World

FILES = {f"f{number}": b"%d" % number for number in range(12)}


@pytest.fixture
def world() -> Iterator[World]:
    """Two machines that hold the same twelve files; ten deletions are many."""
    made = World(2)
    made.hold(least=5)
    for name, data in FILES.items():
        made.machines[0].user.write(name, data)
    made.settle()
    made.time.now += 60
    yield made
    made.close()


def restart(machine: Machine) -> None:
    machine.stop()
    machine.start()


def delete_most(machine: Machine) -> None:
    for name in list(FILES)[:10]:
        machine.user.delete(name)


def phase_of(machine: Machine) -> Phase:
    return phase(machine.engine, waiting_for(machine.engine))


def test_most_of_a_folder_is_not_deleted_before_the_user_says_so(world: World) -> None:
    one, two = world.machines
    delete_most(one)
    world.settle()
    assert two.user.tree() == FILES
    assert phase_of(one) is Phase.HELD
    restart(one)
    world.settle()
    assert two.user.tree() == FILES
    assert [(hold.entries, hold.where) for hold in one.engine.holds.tell()] == [(10, EVERYWHERE)]
    one.approve()
    world.settle()
    assert phase_of(one) is Phase.IN_SYNC
    # The other machine's user is asked too.
    assert two.user.tree() == FILES
    assert [(hold.entries, hold.where) for hold in two.engine.holds.tell()] == [(10, HERE)]
    two.approve()
    world.settle()
    assert two.user.tree() == one.user.tree()
    assert len(two.user.tree()) == 2


def test_what_is_put_back_ends_the_hold(world: World) -> None:
    one, two = world.machines
    delete_most(one)
    world.settle()
    for name, data in FILES.items():
        one.user.write(name, data)
    world.settle()
    assert phase_of(one) is Phase.IN_SYNC
    assert one.user.tree() == two.user.tree() == FILES
    assert "held_everywhere" not in one.record.meta
    # And what is deleted later counts by itself.
    world.time.now += 60
    one.user.delete("f1")
    world.settle()
    assert "f1" not in two.user.tree()


def test_a_few_deletions_more_while_a_hold_lasts_are_held_too(world: World) -> None:
    one, two = world.machines
    delete_most(one)
    world.settle()
    world.time.now += 60
    one.user.delete("f11")
    world.settle()
    assert two.user.tree() == FILES
    assert one.engine.holds.tell()[0].entries == 11


def test_what_takes_the_place_of_something_held_waits_with_all_that_is_in_it(world: World) -> None:
    """And the folder says that it is held, not that it is busy."""
    one, two = world.machines
    delete_most(one)
    one.user.make_dir("f1")
    one.user.write("f1/a", b"a")
    one.user.make_dir("f1/b")
    one.user.write("f1/b/c", b"c")
    world.settle()
    assert two.user.tree() == FILES
    assert phase_of(one) is Phase.HELD
    one.user.write("f1/late", b"late")
    world.settle()
    assert phase_of(one) is Phase.HELD
    restart(one)
    world.settle()
    assert phase_of(one) is Phase.HELD
    # What has nothing to do with it goes on.
    one.user.write("beside", b"1")
    world.settle()
    assert two.user.tree() == {**FILES, "beside": b"1"}
    one.approve()
    world.settle()
    two.approve()
    world.settle()
    assert one.user.tree() == two.user.tree()
    assert two.user.tree()["f1/b/c"] == b"c"
    assert two.user.tree()["f1/late"] == b"late"


def test_what_comes_from_the_server_in_the_place_of_something_held_waits_with_all_that_is_in_it(world: World) -> None:
    one, two = world.machines
    delete_most(one)
    one.user.make_dir("f1")
    one.user.write("f1/a", b"a")
    world.settle()
    one.approve()
    world.settle()
    assert phase_of(one) is Phase.IN_SYNC
    assert two.user.tree() == FILES
    assert phase_of(two) is Phase.HELD
    assert not two.engine.agenda.troubles()
    two.approve()
    world.settle()
    assert two.user.tree() == one.user.tree()


def make_directory(user: User, path: str) -> None:
    user.make_dir(path)
    user.write(f"{path}/a", b"a")


def make_link(user: User, path: str) -> None:
    user.link(path, "target")


@pytest.mark.parametrize(("first", "second"), [(make_directory, make_link), (make_link, make_directory)])
def test_what_comes_to_the_place_of_who_waits_for_something_held_waits_too(
    world: World, first: Callable[[User, str], None], second: Callable[[User, str], None]
) -> None:
    """On the machine whose user does it, and on the other: nothing is tried again and again meanwhile. Directories are planned
    before links, whichever comes and whichever goes."""
    one, two = world.machines
    first(one.user, "d")
    world.settle()
    before = two.user.tree()
    delete_most(one)
    one.user.rename("d", "f1")
    second(one.user, "d")
    after = one.user.tree()
    world.settle()
    assert two.user.tree() == before
    assert phase_of(one) is Phase.HELD
    one.approve()
    world.settle()
    assert two.user.tree() == before
    assert phase_of(two) is Phase.HELD
    assert not two.engine.agenda.failing
    two.approve()
    world.settle()
    assert one.user.tree() == two.user.tree() == after


def test_where_most_of_a_folder_becomes_something_else_nothing_is_renamed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is new waits for the deletion of what was there: also where it is planned before that, or planned with only some."""
    monkeypatch.setattr(engine, "BATCH", 3)
    one, two = world.machines
    for name in list(FILES)[:10]:
        one.user.delete(name)
        one.user.make_dir(name)
    world.settle()
    assert two.user.tree() == FILES
    assert phase_of(one) is Phase.HELD
    one.approve()
    world.settle()
    assert phase_of(one) is Phase.IN_SYNC
    assert two.user.tree() == FILES
    two.approve()
    world.settle()
    assert two.user.tree() == one.user.tree()
    assert set(two.user.tree()) == set(FILES)


# The counting alone.


def holds(size: int, least: int = 20) -> Holds:
    record = Record(MemoryDatabase())
    for number in range(size):
        key = f"{number:032x}"
        record.base.put(Entry(key, "", key, Kind.FILE, Content("0" * 64, 1, 0, "pc")))
    return Holds(record, FolderSettings(Path(), "folder", Path(), "pc", hold_least=least))


def plan(numbers: range, step: type = SendDelete) -> Plan:
    keys = [f"{number:032x}" for number in numbers]
    return Plan(sends=[SendDelete(key) for key in keys]) if step is SendDelete else Plan([Remove(key) for key in keys])


def check(held: Holds, made: Plan, now: float) -> tuple[int, int]:
    """How many wait for more of them, and how many are left in the plan."""
    keys = {item.key for item in (*made.steps, *made.sends)}  # type: ignore[union-attr]
    held.replanned(keys)
    held.check(made, now)
    return held.gathered, len(made.steps) + len(made.sends)


def test_what_another_machine_has_counted_is_not_counted_again() -> None:
    held = holds(100)
    held.expect(30, 0.0)
    assert check(held, plan(range(10), Remove), 0.1) == (0, 10)
    assert check(held, plan(range(10, 30), Remove), CALM) == (0, 20), "they may take long"
    assert check(held, plan(range(30, 31), Remove), CALM) == (1, 0)


def test_what_another_machine_has_counted_is_held_from_the_first_one_on() -> None:
    held = holds(100)
    held.expect(51, 0.0)
    assert check(held, plan(range(10), Remove), 0.1) == (0, 0)
    assert check(held, plan(range(10, 51), Remove), 0.2) == (0, 0)
    assert len(held.keys) == 51


def test_who_counts_too_few_is_not_believed() -> None:
    held = holds(100)
    held.expect(40, 0.0)
    assert check(held, plan(range(51), Remove), 0.1) == (51, 0)
    assert check(held, plan(range(51), Remove), 0.1 + GATHER) == (0, 0)
    assert len(held.keys) == 51
    held = holds(100)
    for begin in range(0, 90, 10):
        held.expect(10, 0.0)
        check(held, plan(range(begin, begin + 10), Remove), 0.1)
    assert len(held.keys) == 40, "all that came were one burst"


def test_what_was_counted_and_does_not_come_is_forgotten() -> None:
    held = holds(100)
    held.expect(30, 0.0)
    assert check(held, plan(range(10), Remove), 2 * CALM) == (10, 0)


def test_only_what_will_be_sent_is_told() -> None:
    told: list[tuple[Direction, type, str, int]] = []
    for direction, step in product(Direction, (SendDelete, Remove)):
        held = holds(100)
        held._settings = replace(held._settings, direction=direction)
        held.judged = lambda key, number, d=direction, s=step: told.append((d, s, key, number))  # type: ignore[misc]
        check(held, plan(range(10), step), 0.0)
        assert check(held, plan(range(10), step), GATHER) == (0, 10)
    assert told == [(Direction.BOTH, SendDelete, f"{0:032x}", 10)]


@pytest.mark.parametrize("step", [SendDelete, Remove])
def test_deletions_are_gathered_until_there_is_a_pause(step: type) -> None:
    held = holds(100)
    assert check(held, plan(range(10), step), 0.0) == (10, 0)
    assert check(held, plan(range(20), step), 0.1) == (20, 0)
    assert check(held, plan(range(20), step), 0.1 + GATHER) == (0, 20)
    assert not held.keys


def test_more_than_half_is_held() -> None:
    held = holds(100)
    check(held, plan(range(51)), 0.0)
    assert check(held, plan(range(51)), GATHER) == (0, 0)
    assert len(held.keys) == 51


def test_deletions_that_never_pause_are_judged_all_the_same() -> None:
    held = holds(1000)
    now, number = 0.0, 0
    while now < LONGEST:
        number += 1
        assert check(held, plan(range(number)), now)[1] == 0
        now += GATHER / 2
    assert check(held, plan(range(number + 1)), now) == (0, number + 1)


def test_pieces_of_one_burst_count_together_and_later_ones_do_not() -> None:
    held = holds(100)
    check(held, plan(range(40)), 0.0)
    assert check(held, plan(range(40)), 1.0) == (0, 40)
    for number in range(40):
        held._record.base.remove(f"{number:032x}")
    check(held, plan(range(40, 60)), 2.0)
    assert check(held, plan(range(40, 60)), 3.0) == (0, 0), "60 of 100 in one burst"
    held = holds(100)
    check(held, plan(range(40)), 0.0)
    check(held, plan(range(40)), 1.0)
    check(held, plan(range(40, 60)), 2 * CALM)
    assert check(held, plan(range(40, 60)), 2 * CALM + 1) == (0, 20)


def test_a_small_folder_is_never_held() -> None:
    held = holds(19)
    assert check(held, plan(range(19)), 0.0) == (0, 19)


def test_a_repair_is_no_deletion_of_the_user_s() -> None:
    held = holds(100)
    made = Plan(sends=[SendDelete(f"{number:032x}", repair=True) for number in range(90)])
    held.check(made, 0.0)
    assert not held.gathered
    assert len(made.sends) == 90


def test_what_is_planned_again_until_it_is_carried_out_counts_once() -> None:
    """10,000 deletions take a while on their way to the server, and what is touched meanwhile is planned once more."""
    held = holds(100)
    check(held, plan(range(30)), 0.0)
    assert check(held, plan(range(30)), 1.0) == (0, 30)
    assert check(held, plan(range(30)), 2.0) == (0, 30)
    check(held, plan(range(30, 45)), 3.0)
    assert check(held, plan(range(30, 45)), 4.0) == (0, 15), "45 of 100"


def test_what_is_gathered_is_due_once_when_no_more_comes() -> None:
    held, one = holds(100), {f"{0:032x}"}
    assert (held.due, held.take_due(100.0)) == (math.inf, set())
    check(held, plan(range(1)), 0.0)
    assert held.due == GATHER
    check(held, plan(range(1, 2)), 0.1)
    assert held.due == 0.1 + GATHER
    assert held.take_due(0.1 + GATHER / 2) == set()
    assert held.take_due(0.1 + GATHER) > one
    assert held.take_due(0.1 + GATHER) == set(), "not again at once if they cannot be planned just now"
    assert check(held, plan(range(2)), 0.1 + GATHER) == (0, 2)
    assert held.due == math.inf


def test_where_something_held_is_to_make_way_for_what_was_in_it_nothing_moves(world: World) -> None:
    """It would be moved aside, and back, all the time."""
    one, two = world.machines
    one.user.make_dir("d")
    for name in "abcdef":
        one.user.write(f"d/{name}", name.encode())
    world.settle()
    world.time.now += 60
    one.user.rename("d/f", "aside")
    one.user.delete("d")
    for name in list(FILES)[:6]:
        one.user.delete(name)
    one.user.rename("aside", "d")
    world.settle()
    one.approve()
    two.writes = 0
    world.settle()
    assert phase_of(two) is Phase.HELD
    assert two.user.tree()["d/f"] == b"f"
    assert not two.writes
    two.approve()
    world.settle()
    assert two.user.tree() == one.user.tree()


def test_what_is_left_out_while_its_deletion_is_gathered_is_not_waited_for(world: World) -> None:
    one, two = world.machines
    one.user.delete("f1")
    world.go_on(one)
    assert one.engine.holds.gathered == 1
    one.user.write(IGNORE_FILE, b"f1\n")
    world.settle()
    assert phase_of(one) is Phase.IN_SYNC
    assert one.engine.holds.gathered == 0
    assert two.user.tree() == {**FILES, IGNORE_FILE: b"f1\n"}


def test_a_deletion_that_cannot_be_planned_without_others_stays_gathered() -> None:
    """Else it would be new each time it comes with them, and wait once more."""
    held, key = holds(100), f"{0:032x}"
    assert check(held, plan(range(1)), 0.0) == (1, 0)
    held.replanned({key})
    held.check(Plan(waiting={key: "its place is not free"}), GATHER)
    assert check(held, plan(range(1)), GATHER) == (0, 1)


def test_deletions_of_this_machine_are_gathered_without_a_plan(world: World) -> None:
    one = world.machines[0]
    one.user.delete("f1")
    one.user.write("new", b"1")
    taken = one.engine.record.local.find("f1")
    assert taken is not None
    world.go_on(one)
    assert one.engine.holds.gathered == 1
    assert taken not in one.engine.holds._planned
    world.settle()
    assert one.engine.holds.gathered == 0
    assert world.machines[1].user.tree() == one.user.tree()
