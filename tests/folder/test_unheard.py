"""Nothing is planned before it is known whether the server has it."""

import pytest

from ssyncd.folder import engine
from ssyncd.planner.planner import plan
from tests.databases import MemoryDatabase
from tests.simulation.world import World


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of all plans that are made."""
    keys: list[str] = []

    def noted(trees, touched, busy, device):
        keys.extend(touched)
        return plan(trees, touched, busy, device)

    monkeypatch.setattr(engine, "plan", noted)
    return keys


def test_what_both_sides_hold_already_is_planned_once(world: World, planned: list[str]) -> None:
    one, two = world.machines
    one.user.make_dir("dir")
    for number in range(50):
        one.user.write(f"dir/{number}", b"%d" % number)
    world.settle()
    two.kill()
    two.database = MemoryDatabase()
    planned.clear()
    two.start()
    world.settle()
    assert one.user.tree() == two.user.tree()
    files = [key for key in set(planned) if two.record.local.get(key).content is not None]
    assert len(files) == 50
    assert all(planned.count(key) == 1 for key in files)


def test_what_waits_for_an_index_that_does_not_come_is_counted_while_offline(world: World) -> None:
    one, _ = world.machines
    three = world.add_machine()
    for number in range(20):
        three.user.write(f"new {number}", b"x")
    three.link.pump()
    for _ in range(5):
        three.work()
    assert len(three.engine.unheard) == 20
    assert not three.engine.sender.pending
    three.link.reachable = False
    three.link.cut()
    three.link.pump()
    for _ in range(5):
        three.work()
    assert len(three.engine.sender.pending) == 20
    three.link.reachable = True
    world.settle()
    assert one.user.tree() == three.user.tree()
    assert len(one.user.tree()) == 20
