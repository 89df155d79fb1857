"""Sending, on whole machines."""

from tests.simulation.world import World


def test_what_was_touched_since_it_was_planned_is_not_sent() -> None:
    """A deletion must not take with it what has just come into the directory."""
    world = World(1)
    [machine] = world.machines
    world.settle()
    machine.user.write("a", b"one")
    machine.engine.line.live = False
    machine.watcher.deliver()
    machine.work()
    sender, agenda = machine.engine.sender, machine.engine.agenda
    machine.engine.line.live = True
    [key] = sender.pending
    agenda.touch(key)
    sender.send()
    assert list(sender.pending) == [key]
    agenda.take(9)
    sender.send()
    assert not sender.pending
    world.close()


def test_a_change_that_the_server_finds_without_effect_is_not_sent_again_and_again() -> None:
    """Another program keeps an object under our key that is no entry: what we send never gets us any further."""
    world = World(2)
    one, two = world.machines
    world.settle()
    one.user.write("a", b"one")
    world.settle()
    two.record.remote.remove(two.record.remote.find("a"))
    two.user.write("a", b"one")
    two.sent.clear()
    for _ in range(500):
        for machine in world.machines:
            world.go_on(machine)
        world.time.now += 0.001
    assert len([message for message in two.sent if message.startswith("0:c:")]) < 10
    world.close()


def test_a_directory_is_not_deleted_while_something_is_on_its_way_into_it() -> None:
    """Another machine would take the deleted directory back for the sake of what comes into it."""
    world = World(2)
    one, two = world.machines
    one.user.make_dir("a")
    world.settle()
    one.user.write("a/b", b"one")
    one.watcher.deliver()
    one.work()
    one.serve()
    one.user.delete("a")
    one.user.write("a", b"two")
    one.watcher.deliver(9)
    for _ in range(3):
        one.work()
        one.serve()
    world.settle()
    assert one.user.tree() == two.user.tree() == {"a": b"two"}
    world.close()
