"""Who asks for a content, and who is asked; the rest of it is in tests/simulation/test_hardships.py."""

from msgspec.structs import replace

from ssyncd.folder.settings import Direction
from tests.simulation.operations import LARGE
from tests.simulation.world import World


def without_chunks(world: World) -> None:
    """The first machine has a large file, of which the server has lost everything; the second has yet to get it."""
    one, two = world.machines
    world.machines = [one]
    one.user.write("large", b"l" * LARGE)
    world.settle()
    world.stored.clear()
    world.machines = [one, two]


def test_who_only_pulls_asks_nobody(world: World) -> None:
    without_chunks(world)
    one, two = world.machines
    settings = replace(two.engine.settings, direction=Direction.PULL)
    two.engine.settings = two.engine.pleas._settings = settings
    for _ in range(300):
        world.go_on(one), world.go_on(two)
        world.time.now += 0.1
    assert not one.record.pleas
    assert not [message for message in two.sent if message.startswith("0:c:")]
    assert "large" not in two.user.tree()


def test_a_copy_of_it_on_the_same_machine_will_do(world: World) -> None:
    without_chunks(world)
    one, two = world.machines
    one.stop()
    world.machines = [two]
    two.user.write("copy", b"l" * LARGE)
    for _ in range(300):
        world.go_on(two)
        world.time.now += 0.1
    assert two.user.tree() == {"copy": b"l" * LARGE, "large": b"l" * LARGE}
    assert not two.record.pleas


def test_a_plea_survives_restarts_of_everybody(world: World) -> None:
    without_chunks(world)
    one, two = world.machines
    world.machines = [two]
    for _ in range(20):
        world.go_on(two)
        world.time.now += 0.1
    assert len(two.record.pleas) == 1
    two.stop()
    two.start()
    assert len(two.record.pleas) == 1
    world.machines = [one, two]
    one.stop()
    one.start()
    world.settle()
    assert one.user.tree() == two.user.tree()
    assert not one.record.pleas
    assert not two.record.pleas
    assert not [name for name in one.database.meta() if name.startswith("plea")]


def test_a_base_that_nobody_has_any_more_is_not_waited_for(world: World) -> None:
    """Both edit a file, and only from what it was before could the edits be merged: there is a conflict copy."""
    one, two = world.machines
    one.user.write("text", b"l" * LARGE)
    world.settle()
    one.user.write("text", b"one" + b"l" * LARGE)
    two.user.write("text", b"two" + b"l" * LARGE)
    world.stored.clear()
    world.settle()
    assert one.user.tree() == two.user.tree()
    assert sorted(content[:3] for content in one.user.tree().values()) == [b"one", b"two"]
    assert not one.record.pleas
    assert not two.record.pleas
