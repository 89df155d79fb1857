"""What the server says of our own changes, on whole machines."""

from tests.simulation.world import World


def test_an_acknowledgement_that_comes_with_a_later_change_agrees_to_no_more_than_our_own(world: World) -> None:
    """Lost once, the acknowledgement comes with what the other machine made of our file since: one message, two versions."""
    one, two = world.machines
    one.user.write("f", b"one")
    for _ in range(2):
        one.watcher.deliver()
        one.work()
        one.serve()
    world.server.commit()
    one.cut()
    while two.user.tree() != {"f": b"one"}:
        world.go_on(two)
    world.time.now += 1
    two.user.write("f", b"one, and two")
    while two.engine.sender.pending or not two.sent[-1].startswith("0:c:") or world.server.waiting:
        world.go_on(two)
    world.settle()
    assert one.user.tree() == two.user.tree() == {"f": b"one, and two"}
    writes = [message for message in one.sent if message.startswith("0:c:")]
    assert len(writes) == 1, "what the other machine wrote was taken for agreed, and our own version sent over it"


def test_what_was_here_just_as_the_server_had_it_was_agreed_even_if_a_crash_kept_that_from_the_record(
    world: World,
) -> None:
    one, two = world.machines
    one.user.write("f", b"one")
    world.settle()
    key = one.record.local.find("f")
    assert key is not None
    one.record.drop_base(key)
    two.user.write("f", b"two")
    world.settle()
    assert one.user.tree() == two.user.tree() == {"f": b"two"}


def test_what_we_moved_on_the_server_before_it_was_here_is_not_taken_for_deleted(world: World) -> None:
    """A directory renamed here meets another of its name there, and both become one: with it goes a file not fetched yet."""
    one, two = world.machines
    one.user.make_dir("d")
    world.settle()
    two.user.rename("d", "c")
    one.user.make_dir("c")
    one.user.write("c/a", b"1")
    one.user.write("d/b", b"2")
    two.watcher.deliver()
    two.work()
    world.settle()
    assert one.user.tree() == two.user.tree() == {"c": None, "c/a": b"1", "c/b": b"2"}
