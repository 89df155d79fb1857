"""One hardship at a time, on whole machines: the rest syncs, the status names it, and it heals by itself."""

import errno
import os
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import orjson
import pytest
from blake3 import blake3

from ssyncd.content.compression import seal
from ssyncd.errors import NetworkError, RefusedError
from ssyncd.folder.report import troubles
from tests.databases import MemoryDatabase
from tests.simulation.machine import Machine, Time
from tests.simulation.operations import LARGE
from tests.simulation.server import SECRET
from tests.simulation.world import World

DAY = 86_400.0


@pytest.fixture
def world() -> Iterator[World]:
    made = World(2)
    made.machines[0].user.make_dir("d")
    made.machines[0].user.write("d/old", b"old")
    made.machines[0].user.write("bad", b"first")
    made.settle()
    made.time.now += 60
    yield made
    made.close()


def go_on(world: World, seconds: float) -> int:
    """That much time, whatever is due in it; how many rounds there were in which a machine had something to do."""
    rounds, end = 0, world.time.now + seconds
    while world.time.now < end:
        if busy := sum(world.go_on(machine) for machine in world.machines):
            rounds += busy
            world.time.now += 0.001
        else:
            due = [machine.due for machine in world.machines if machine.due is not None]
            world.time.now = max(world.time.now + 0.001, min([*due, end]))
    return rounds


def fail(machine: Machine, number: int, calls: tuple[str, ...], at: Callable[[str], bool]) -> Callable[[], None]:
    """These calls fail at these paths, until the value is called."""
    before = machine.disk.on_step

    def step(call: str, path: str) -> None:
        if call in calls and at(path):
            raise OSError(number, os.strerror(number), path)
        if before is not None:
            before(call, path)

    def heal() -> None:
        machine.disk.on_step = before
        machine._on_step = on_commit  # type: ignore[method-assign]

    on_commit = machine._on_step
    machine.disk.on_step = step
    machine._on_step = step  # type: ignore[method-assign]
    return heal


def named(machine: Machine) -> dict[str, str]:
    return {trouble.path: trouble.reason for trouble in troubles(machine.engine)}


def trees(world: World) -> list[dict[str, Any]]:
    return [dict(machine.user.tree()) for machine in world.machines]


READS = ("open", "read", "read_at", "scan", "open_dir", "look")


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
@pytest.mark.parametrize("path", ["bad", "d"])
def test_what_cannot_be_read_for_a_while_is_named_and_heals(world: World, path: str, number: int) -> None:
    one, two = world.machines
    heal = fail(one, number, READS if path == "d" else READS[:3], lambda at: f"{at}/".startswith(f"{path}/"))
    if path == "bad":
        one.user.write("bad", b"second")
    else:
        one.user.write("d/new", b"new")
    one.user.write("good", b"good")
    rounds = go_on(world, 120)
    assert two.user.tree() == {"d": None, "d/old": b"old", "bad": b"first", "good": b"good"}
    assert any(at == path or at.startswith(f"{path}/") for at in named(one)), named(one)
    assert set(named(one).values()) == {os.strerror(number).lower()}
    assert rounds < 200, "a wheel that turns without end"
    heal()
    go_on(world, 120)
    assert not named(one)
    assert trees(world)[0] == trees(world)[1] == dict(one.user.tree())


def test_a_directory_that_cannot_be_read_at_the_start_is_not_deleted(world: World) -> None:
    one, two = world.machines
    one.stop()
    one.start()
    heal = fail(one, errno.EACCES, ("scan", "open_dir"), lambda at: f"{at}/".startswith("d/"))
    go_on(world, 120)
    assert two.user.tree()["d/old"] == b"old"
    assert one.record.local.find("d/old") is not None
    heal()
    go_on(world, 120)
    assert trees(world)[0] == trees(world)[1]


def test_a_large_file_that_cannot_be_put_in_its_place_is_fetched_less_and_less_often(world: World) -> None:
    one, two = world.machines
    heal = fail(two, errno.EACCES, ("rename",), lambda path: path.startswith("d/"))
    one.user.write("d/large", Random(1).randbytes(LARGE))
    go_on(world, 60)
    assert named(two) == {"d/large": "permission denied"}
    assert sum(name == "get" for name, _ in two.transfers.store.requests) < 15
    heal()
    go_on(world, 120)
    assert not named(two)
    assert one.user.tree() == two.user.tree()


WRITES = ("create", "write", "mkdir")


def send_and_die(machine: Machine, path: str) -> None:
    """The server has the file, and the machine is not told so before it dies."""
    machine.user.write(path, b"made")
    while not any(line.startswith("0:c:") for line in machine.sent):
        machine.watcher.deliver()
        machine.work()
        machine.serve()
    machine.server.commit()
    machine.kill()


def test_what_was_sent_just_before_a_crash_is_not_deleted_where_its_directory_cannot_be_listed_after_it(
    world: World,
) -> None:
    one, two = world.machines
    one.sent.clear()
    send_and_die(one, "d/new")
    one.start()
    heal = fail(one, errno.EIO, ("scan",), lambda path: path == "d")
    go_on(world, 20)
    assert two.user.tree()["d/new"] == b"made"
    heal()
    go_on(world, 60)
    assert one.user.tree() == two.user.tree()
    assert two.user.tree()["d/new"] == b"made"
    assert not named(one)


def test_what_was_sent_just_before_a_crash_is_not_deleted_where_it_seems_to_be_renamed_just_now(world: World) -> None:
    """What is new at the start may have been renamed by a user a moment ago: it is looked at a little later."""
    one, two = world.machines
    one.sent.clear()
    send_and_die(one, "new")
    world.time.now += 1
    for exec in (True, False):
        one.user.set_exec("new", exec)  # gives it another time of change
    one.start()
    world.settle()
    assert one.user.tree() == two.user.tree()
    assert two.user.tree()["new"] == b"made"
    assert not any('"o":"-"' in line for line in one.sent)


def test_a_directory_that_cannot_be_listed_for_a_while_is_named_until_it_can(world: World) -> None:
    """Looking at the directory itself works all the time."""
    one, two = world.machines
    heal = fail(one, errno.EIO, ("scan",), lambda path: path.startswith("new"))
    one.user.make_dir("new")
    one.user.write("new/a", b"a")
    one.user.make_dir("new/inner")
    one.user.write("new/inner/b", b"b")
    go_on(world, 10)
    assert "new/inner" in named(one)
    heal()
    go_on(world, 60)
    assert not named(one)
    assert one.user.tree() == two.user.tree()
    assert two.user.tree()["new/inner/b"] == b"b"


def test_a_full_disk_of_the_root_is_named_and_heals(world: World) -> None:
    one, two = world.machines
    heal = fail(two, errno.ENOSPC, WRITES, lambda _: True)
    one.user.write("new", b"new")
    one.user.write("bad", b"second")
    one.user.delete("d/old")
    two.user.write("from here", b"1")
    rounds = go_on(world, 60)
    assert one.user.tree()["from here"] == b"1"
    assert two.user.tree() == {"d": None, "bad": b"first", "from here": b"1"}, "what needs no room goes on"
    assert named(two) == {"new": "no space left on device", "bad": "no space left on device"}
    assert rounds < 200
    heal()
    go_on(world, 120)
    assert not named(two)
    assert trees(world)[0] == trees(world)[1]


def test_a_full_disk_of_the_state_stops_sending_and_heals(world: World) -> None:
    one, two = world.machines
    heal = fail(one, errno.ENOSPC, ("commit",), lambda _: True)
    one.user.write("new", b"new")
    rounds = go_on(world, 60)
    assert "No space left" in one.engine.line.trouble
    assert "new" not in two.user.tree(), "nothing may be sent that is not in the ledger"
    assert rounds < 400
    heal()
    go_on(world, 120)
    assert trees(world)[0] == trees(world)[1]
    assert not any("conflict" in path for path in trees(world)[0])


@pytest.mark.parametrize(
    "error",
    [
        RefusedError("the server's disk is full", 507),
        RefusedError("too many requests", 429),
        NetworkError("the server says: come back later", retry_after=20.0),
    ],
)
def test_a_server_that_takes_no_chunks_is_named_and_heals(world: World, error: Exception) -> None:
    one, two = world.machines

    def refuse(_: str) -> None:
        raise error

    store = one.transfers.store
    store.before = refuse
    one.user.write("large", b"l" * LARGE)
    one.user.write("small", b"s")
    rounds = go_on(world, 200)
    assert two.user.tree()["small"] == b"s"
    assert "large" not in two.user.tree()
    assert named(one) == {"large": str(error)}
    assert rounds < 200
    store.before = None
    go_on(world, 200)
    assert trees(world)[0] == trees(world)[1]
    assert not named(one)


def test_names_too_long_for_one_disk_are_named_there(world: World) -> None:
    one, two = world.machines
    heal = fail(two, errno.ENAMETOOLONG, ("mkdir",), lambda at: "long" in at)
    one.user.make_dir("long directory")
    one.user.write("long directory/x", b"x")
    one.user.write("short", b"2")
    go_on(world, 60)
    assert two.user.tree()["short"] == b"2"
    assert named(two)["long directory"] == "the name is too long for this disk"
    assert one.user.tree()["long directory/x"] == b"x"
    heal()
    go_on(world, 120)
    assert trees(world)[0] == trees(world)[1]


# Chunks


def harm(world: World, how: str) -> None:
    """Something happens to every chunk on the server."""
    for id, sealed in sorted(world.stored.items()):
        if how == "missing":
            del world.stored[id]
        elif how == "cut short":
            world.stored[id] = sealed[: len(sealed) // 2]
        elif how == "another's":
            world.stored[id] = seal(b"x" * LARGE)
        else:
            world.stored[id] = bytes([*sealed[:-1], sealed[-1] ^ 1])


HARMS = ["missing", "flipped", "another's", "cut short"]


@pytest.fixture
def harmed(world: World, request: pytest.FixtureRequest) -> World:
    """The first machine has two large files, whose chunks on the server are no good any more; the second comes back."""
    one, two = world.machines
    two.stop()
    world.machines = [one]
    one.user.write("large", b"".join(b"%07d\n" % number for number in range(LARGE)))
    one.user.write("other", b"o" * LARGE)
    world.settle()
    harm(world, getattr(request, "param", "flipped"))
    two.start()
    world.machines = [one, two]
    return world


def pleas(world: World) -> set[str]:
    """Those that stand, as any machine sees them."""
    (found,) = {frozenset(machine.record.pleas) for machine in world.machines}
    return set(found)


@pytest.mark.parametrize("harmed", HARMS, indirect=True)
def test_a_chunk_that_the_server_lost_or_spoiled_is_sent_again_by_a_machine_that_has_it(harmed: World) -> None:
    one, two = harmed.machines
    for _ in range(100):
        go_on(harmed, 0.1)
        for path in ("large", "other"):
            assert two.user.tree().get(path) in (None, one.user.tree()[path])
    assert trees(harmed)[0] == trees(harmed)[1]
    assert not named(one) | named(two)
    assert not pleas(harmed)
    sent = [len(machine.sent) for machine in harmed.machines]
    assert go_on(harmed, 3 * 3600) < 10
    assert sent == [len(machine.sent) for machine in harmed.machines]


@pytest.mark.parametrize("forgets", ["everything", "of which chunks they are", "nothing"])
def test_what_only_a_machine_has_that_is_away_is_named_and_sent_again_when_it_is_back(
    harmed: World, forgets: str
) -> None:
    one, two = harmed.machines
    one.user.write("small", b"s")
    harmed.machines = [one]
    two.stop()
    harmed.settle()
    one.stop()
    harmed.machines = [two]
    two.start()
    rounds = go_on(harmed, 3600)
    assert rounds < 400
    assert two.user.tree()["small"] == b"s"
    assert not {"large", "other"} & two.user.tree().keys()
    assert all("the machines that have it are asked" in named(two)[path] for path in ("large", "other"))
    two.stop()
    two.start()
    go_on(harmed, 60)
    assert len(pleas(harmed)) == 2
    if forgets == "everything":
        one.database = MemoryDatabase()
    elif forgets != "nothing":
        one.database._db.execute("DELETE FROM chunks")
    one.start()
    harmed.machines = [one, two]
    go_on(harmed, 20)
    assert trees(harmed)[0] == trees(harmed)[1]
    assert trees(harmed)[0].keys() >= {"large", "other", "small"}
    assert not named(two)
    assert not pleas(harmed)


@pytest.mark.parametrize("forgets", [True, False], ids=["what is old", "all but some versions"])
def test_who_was_away_for_longer_than_the_server_remembers_brings_nothing_back(world: World, forgets: bool) -> None:
    one, two = world.machines
    for path in ("bad", "d/old"):  # the first version is one of those that stay
        one.user.write(path, b"second")
    world.settle()
    world.time.now += 60
    world.machines = [one]
    two.stop()
    for number in range(1 if forgets else 100):
        one.user.write("bad", b"edit %d" % number)
        one.user.write("d/old", b"edit %d" % number)
        world.settle()
        world.time.now += 1
    one.user.delete("bad")
    world.settle()
    world.time.now += 400 * DAY
    storage, now = world.server.storage, int(world.time.wall() / 1e9)
    while (storage.forget if forgets else storage.prune)(now - 1, 1000):
        pass
    assert storage.floor(world.server.bucket)
    two.start()
    world.machines = [one, two]
    go_on(world, 60)
    assert trees(world)[0] == trees(world)[1] == {"d": None, "d/old": b"edit %d" % number}


def test_nobody_is_asked_for_what_is_not_wanted_any_more(harmed: World) -> None:
    one, two = harmed.machines
    harmed.machines = [two]
    go_on(harmed, 60)
    assert len(pleas(harmed)) == 2
    one.user.write("large", b"new" * LARGE)
    one.user.delete("other")
    one.stop()
    one.start()
    harmed.machines = [one, two]
    go_on(harmed, 60)
    assert trees(harmed)[0] == trees(harmed)[1]
    assert "other" not in two.user.tree()
    assert not pleas(harmed)


def test_a_machine_that_asks_for_everything_again_and_again_gets_little_work_done(world: World) -> None:
    one, _ = world.machines
    for number in range(5):
        one.user.write(f"large{number}", b"%d" % number * LARGE)
    world.settle()
    stored = dict(world.stored)
    hashes = [entry.content.hash for key in one.record.local if (entry := one.record.local.get(key)) and entry.content]
    checks: list[str] = []
    for machine in world.machines:
        machine.transfers.store.before = lambda name: checks.append(name)  # type: ignore[attr-defined]
    socket = world.server.connect(lambda _: None)
    init = {"clientid": "mallory", "api": "1.1", "token": SECRET, "app_id": "ssyncd", "name": "folder"}
    socket.incoming.put_nowait(f"0:init:{orjson.dumps(init).decode()}")
    for number in range(600):
        for hash in [*hashes, "f" * 64]:
            change = {"id": hash, "ccid": f"{number}-{hash[:8]}", "o": "M", "v": {"by": {"o": "+", "v": "mallory"}}}
            socket.incoming.put_nowait(f"0:c:{orjson.dumps(change).decode()}")
        go_on(world, 1)
    assert 5 <= len(checks) < 2 * 5 * 12, "twice as long until the next answer, each time"
    assert world.stored == stored
    assert trees(world)[0] == trees(world)[1]


# Clocks


class Skewed(Time):
    """A machine's own clock: `off` seconds from the world's; its monotonic one goes like everybody's."""

    def __init__(self, time: Time, off: float) -> None:
        self._time, self.off, self.tick = time, off, time.tick

    @property
    def now(self) -> float:  # type: ignore[override]
        return self._time.now

    def wall(self) -> int:
        return self._time.wall() + int(self.off * 1e9)


@pytest.mark.parametrize("off", [-400 * DAY, -3.0, 5.0, 400 * DAY])
def test_order_never_depends_on_a_machine_s_clock(off: float, world: World) -> None:
    world.machines[1].stop()
    del world.machines[1]
    time = Skewed(world.time, off)
    world.machines.append(Machine("skewed", world.server, world.stored, time, 0))
    one, two = world.machines
    one.user.write("f", b"one")
    world.settle()
    for number, machine in enumerate([two, one, two, two, one]):
        world.time.now += 1
        machine.user.write("f", b"edit %d" % number)
        world.settle()
        assert [tree["f"] for tree in trees(world)] == [b"edit %d" % number] * 2
        if number == 2:
            time.off = -off  # the clock jumps while it runs
        if number == 3:
            two.stop()
            time.off = off / 2
            two.start()
    # At the same time: the server's order counts, and both contents stay.
    one.user.write("f", b"left")
    two.user.write("f", b"right")
    world.settle()
    assert trees(world)[0] == trees(world)[1]
    assert set(one.user.tree().values()) >= {b"left", b"right"}
    one.user.delete("f")
    world.settle()
    assert "f" not in two.user.tree()


def test_a_machine_that_sleeps_for_days_goes_on_where_it_was(world: World) -> None:
    one, two = world.machines
    one.user.write("before", b"1")
    world.machines = [two]
    for day in range(3):
        two.user.write(f"day {day}", b"2")
        world.settle()
        world.time.now += DAY
    world.machines = [one, two]
    one.cut(half_open=True)
    world.settle()
    assert trees(world)[0] == trees(world)[1]
    assert one.user.tree().keys() >= {"before", "day 0", "day 2"}


# Lost state


def lose_state(world: World, machine: Machine, meanwhile: Callable[[], None]) -> None:
    """Others go on while this machine is away; when it is back it remembers nothing."""
    machine.stop()
    world.machines.remove(machine)
    meanwhile()
    world.settle()
    world.time.now += 60
    world.machines.append(machine)
    machine.forget()
    world.settle()


def test_what_another_machine_deleted_does_not_come_back_after_the_state_was_lost(world: World) -> None:
    one, two = world.machines
    for path in ("a", "d/b", "x/y/c"):
        for depth in range(1, path.count("/") + 1):
            above = "/".join(path.split("/")[:depth])
            if above not in one.user.tree():
                one.user.make_dir(above)
        one.user.write(path, path.encode())
    one.user.link("l", "target")
    one.user.write("large", b"l" * LARGE)
    world.settle()
    # Neither place is the one where it was born.
    one.user.rename("a", "d/a")
    one.user.rename("d", "moved")
    world.settle()
    before = two.tree()

    def meanwhile() -> None:
        for path in ("moved/a", "moved/b", "x", "l", "large"):
            one.user.delete(path)
        one.user.write("new", b"new")

    lose_state(world, two, meanwhile)
    assert one.tree() == two.tree()
    assert two.tree().keys() == (before.keys() | {"new"}) - {"moved/a", "moved/b", "x", "x/y", "x/y/c", "l", "large"}
    assert not two.record.meta.get("lost")
    # What comes from now on is new, even if it is as it was.
    two.user.write("moved/b", b"d/b")
    world.settle()
    assert one.user.tree()["moved/b"] == b"d/b"


def test_what_was_changed_here_is_kept_after_the_state_was_lost(world: World) -> None:
    one, two = world.machines
    one.user.make_dir("gone")
    one.user.write("gone/edited", b"1")
    one.user.write("gone/same", b"2")
    one.user.write("run", b"3")
    world.settle()
    world.time.now += 60

    def meanwhile() -> None:
        one.user.delete("gone")
        one.user.delete("run")
        two.user.write("gone/edited", b"here")
        two.user.write("gone/new", b"new")
        two.user.set_exec("run", True)

    lose_state(world, two, meanwhile)
    assert one.tree() == two.tree()
    assert {"gone/edited": b"here", "gone/new": b"new", "run": b"3"}.items() <= two.user.tree().items()
    assert "gone/same" not in two.user.tree()


def test_what_was_deleted_and_made_again_is_left_alone_after_the_state_was_lost(world: World) -> None:
    one, two = world.machines

    def meanwhile() -> None:
        one.user.delete("bad")
        world.settle()
        one.user.write("bad", b"first")
        one.user.delete("d")
        world.settle()
        one.user.write("d", b"a file now")

    lose_state(world, two, meanwhile)
    assert trees(world)[0] == trees(world)[1] == {"bad": b"first", "d": b"a file now"}


# Connections


def test_what_a_connection_that_was_given_up_still_carries_replaces_nothing_newer(world: World) -> None:
    one, _ = world.machines
    one.user.write("f", b"first")
    one.watcher.deliver()
    world.work(one)
    world.work(one)
    one.cut(half_open=True)
    [(_, late)] = one._late
    assert [message for message in late if message.startswith("0:c:")]
    one.user.write("f", b"second")
    world.settle()
    assert [tree["f"] for tree in trees(world)] == [b"second"] * 2
    one.deliver_late()
    world.settle()
    assert [tree["f"] for tree in trees(world)] == [b"second"] * 2
    assert not any("conflict" in path for path in one.user.tree())


# A hostile fellow machine


def content(**more: Any) -> dict[str, Any]:
    return {"hash": "0" * 64, "size": 1, "mtime": 0, "by": "mallory", "data": "AAAA", **more}


def file(name: Any, parent: Any = "", **more: Any) -> dict[str, Any]:
    return {"parent": parent, "name": name, "kind": "file", "content": content(**more), "exec": False}


KEYS = [f"{number:032x}" for number in range(1, 60)]
HOSTILE: list[tuple[str, Any]] = [
    *zip(
        KEYS,
        map(file, ["..", ".", "", "/etc/passwd", "a/../../b", "nul\0", "x" * 300, ".ssyncd", 7, None]),
        strict=False,
    ),
    (KEYS[10], file("no parent", parent="f" * 32)),
    (KEYS[11], {"parent": KEYS[12], "name": "ring", "kind": "dir"}),
    (KEYS[12], {"parent": KEYS[11], "name": "ring", "kind": "dir"}),
    (KEYS[13], {"parent": KEYS[13], "name": "itself", "kind": "dir"}),
    (KEYS[14], file("same")),
    (KEYS[15], file("same")),
    (KEYS[16], file("lying size", size=10**15)),
    (KEYS[17], file("negative size", size=-1)),
    (KEYS[18], file("lying hash", hash="ab" * 32)),
    (KEYS[19], file("a bomb", data=None, chunks=[["ab" * 32, 2**60]], size=2**60)),
    (KEYS[20], {"parent": "", "name": "out", "kind": "link", "target": "/etc"}),
    (KEYS[21], {"parent": KEYS[20], "name": "passwd", "kind": "file", "content": content()}),
    (KEYS[22], {"parent": "", "name": "odd", "kind": "device"}),
    (KEYS[23], file("no content") | {"content": "text"}),
    (KEYS[24], {"parent": "", "name": "empty link", "kind": "link", "target": ""}),
    ("../../etc", file("a key that is a path")),
    (KEYS[25], {"x": [[[[[[[]]]]]]]}),
    (KEYS[26], file("far future", hash=blake3(b"\0\0").hexdigest(), size=2, mtime=1 << 62)),
    (KEYS[27], file("deep past", hash=blake3(b"\0\0").hexdigest(), size=2, mtime=-1 << 62)),
]


def test_a_hostile_fellow_machine_reaches_nothing_outside_and_stops_nothing(world: World) -> None:
    one, _ = world.machines
    heard: list[str] = []
    socket = world.server.connect(heard.append)
    init = {"clientid": "mallory", "api": "1.1", "token": SECRET, "app_id": "ssyncd", "name": "folder"}
    socket.incoming.put_nowait(f"0:init:{orjson.dumps(init).decode()}")
    for number, (key, value) in enumerate(HOSTILE):
        members = {name: {"o": "+", "v": member} for name, member in value.items()}
        change = {"id": key, "ccid": f"{number:032x}", "o": "M", "v": members}
        socket.incoming.put_nowait(f"0:c:{orjson.dumps(change).decode()}")
    world.server.step()
    world.server.commit()
    assert any('"ccids"' in text for text in heard)
    rounds = go_on(world, 300)
    assert rounds < 1000
    one.user.write("good", b"good")
    go_on(world, 60)
    for machine in world.machines:
        tree = machine.user.tree()
        assert tree["good"] == b"good"
        assert tree["d/old"] == b"old"
        assert tree["far future"] == tree["deep past"] == b"\0\0"
        assert not {"..", ".", "", "passwd", "lying size", "lying hash", "a bomb"} & tree.keys()
        assert not any(".." in path.split("/") or path.startswith("/") for path in tree)
        assert machine.user.read(".ssyncd/folder").decode() == machine.disk.identity
        assert named(machine)
    # And nothing of it is in the way of a fresh machine, or of a restart.
    fresh = world.add_machine()
    go_on(world, 300)
    assert fresh.user.tree() == one.user.tree()
    one.stop()
    one.start()
    go_on(world, 300)
    assert fresh.user.tree() == one.user.tree()


@pytest.mark.parametrize(
    "text",
    [
        '0:c:[{"id":"a","v"',
        "0:i:<html><body>Sign in to the hotel's network</body></html>",
        "0:auth:<html>",
        "0:e:no.such\n{",
        "0:i:" + "[" * 2000,
        "h:x:y:z",
        "",
        "nonsense",
        "99999999999999999999:c:[]",
        '0:c:[{"id":"../x","cv":"1","ev":1,"o":"M","v":{"name":{"o":"+","v":".."}}}]',
        '0:i:{"current":"1","index":[{"id":"x","v":-5,"d":{}},{"id":7}]}',
    ],
)
def test_nonsense_from_the_server_is_a_clear_error_and_the_next_connection_is_fine(world: World, text: str) -> None:
    one, two = world.machines
    one.link.send([text])
    one.user.write("new", b"new")
    rounds = go_on(world, 60)
    assert rounds < 300
    assert trees(world)[0] == trees(world)[1]
    assert two.user.tree()["new"] == b"new"


# Text merge

BASE = [b"one", b"two", b"three", b"four", b"five", b"six", b"seven"]
BOM = b"\xef\xbb\xbf"


def text(end: bytes, *, bom: bool = False, last: bool = True, **edits: bytes) -> bytes:
    lines = [edits.get(line.decode(), line) for line in BASE]
    return BOM * bom + end.join(lines) + end * last


@pytest.mark.parametrize(("end", "bom", "last"), [(b"\n", False, True), (b"\r\n", True, True), (b"\r\n", False, False)])
def test_edits_apart_are_merged_and_line_ends_stay_as_they_were(
    world: World, end: bytes, bom: bool, last: bool
) -> None:
    one, two = world.machines
    one.user.write("text", text(end, bom=bom, last=last))
    world.settle()
    world.time.now += 5
    one.user.write("text", text(end, bom=bom, last=last, two=b"TWO"))
    two.user.write("text", text(end, bom=bom, last=last, six=b"SIX"))
    world.settle()
    both = text(end, bom=bom, last=last, two=b"TWO", six=b"SIX")
    assert one.user.tree() == two.user.tree()
    assert one.user.tree()["text"] == both
    assert not any("conflict" in path for path in one.user.tree())


def unanswered(world: World) -> None:
    """The first machine was killed before it was told that its edit was taken; both have edited the text again meanwhile."""
    one, two = world.machines
    one.user.write("text", text(b"\n"))
    world.settle()
    world.time.now += 5
    one.user.write("text", text(b"\n", two=b"TWO"))
    while not world.server.waiting:
        for step in (one.watcher.deliver, one.work, one.serve):
            step()
        world.time.now += 0.01
    one.kill()
    world.server.commit()
    alone(world, two)
    two.user.write("text", text(b"\n", two=b"TWO", six=b"SIX"))
    alone(world, two)
    one.user.write("text", text(b"\n", two=b"TWO", four=b"FOUR"))
    one.start()
    for _ in range(5):
        one.work()
        world.time.now += 0.1


def alone(world: World, machine: Machine) -> None:
    for _ in range(20):
        world.go_on(machine)
        world.time.now += 0.1


def test_an_edit_whose_answer_comes_with_another_s_edit_is_what_the_next_one_is_merged_on(world: World) -> None:
    unanswered(world)
    world.settle()
    one, two = world.machines
    assert one.user.tree() == two.user.tree()
    assert one.user.tree()["text"] == text(b"\n", two=b"TWO", four=b"FOUR", six=b"SIX")


def test_a_text_that_is_not_in_the_version_it_should_be_in_is_asked_for_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    unanswered(world)
    one, two = world.machines
    monkeypatch.setattr(one.record, "base_version", lambda _: 1)
    world.settle()
    assert one.user.tree() == two.user.tree()
    assert {text(b"\n", two=b"TWO", six=b"SIX"), text(b"\n", two=b"TWO", four=b"FOUR")} <= set(one.user.tree().values())
    assert sum(message.startswith("0:e:") and message.endswith(".1") for message in one.sent) == 1


def test_mixed_line_ends_stay_where_they_are(world: World) -> None:
    one, two = world.machines
    mixed = b"a\r\nb\nc\r\nd\ne\r\nf"
    one.user.write("text", mixed)
    world.settle()
    world.time.now += 5
    one.user.write("text", mixed.replace(b"a\r\n", b"A\r\n"))
    two.user.write("text", mixed.replace(b"e\r\n", b"E\n"))
    world.settle()
    assert one.user.tree()["text"] == two.user.tree()["text"] == b"A\r\nb\nc\r\nd\nE\nf"


@pytest.mark.parametrize(
    ("path", "odd"),
    [("text", b"two"), ("binary", b"\0"), (".git/config", b""), ("x/.git/config", b"")],
    ids=["overlapping", "binary", "git", "git below"],
)
def test_what_is_not_to_be_merged_leaves_both(world: World, path: str, odd: bytes) -> None:
    one, two = world.machines
    above = path.split("/")[:-1]
    for depth in range(len(above)):
        one.user.make_dir("/".join(above[: depth + 1]))
    old = text(b"\n") + (odd if odd == b"\0" else b"")
    ours, theirs = old.replace(b"two", b"TWO"), old.replace(b"two" if odd == b"two" else b"six", b"other")
    one.user.write(path, old)
    world.settle()
    world.time.now += 5
    one.user.write(path, ours)
    two.user.write(path, theirs)
    world.settle()
    assert one.user.tree() == two.user.tree()
    assert [at for at in one.user.tree() if "conflict" in at]
    assert {ours, theirs} <= set(one.user.tree().values())


# Names


NAMES = [
    ("case twins", "Name", "name"),
    ("NFC and NFD", "\u00e9", "e\u0301"),
    ("newline", "a\nb", "a b"),
    ("a leading dash", "-rf", "--"),
    ("like a conflict copy", "f (conflict 2026-11-22 14-03-05 m0)", "f"),
    ("like ours", ".SSYNCD", ".ssyncd.bak"),
    ("255 bytes", "x" * 255, "\U0001f600" * 63),
]


@pytest.mark.parametrize(("_", "here", "there"), NAMES, ids=[row[0] for row in NAMES])
def test_strange_names_from_both_sides_stay_byte_for_byte_and_come_to_rest(
    world: World, _: str, here: str, there: str
) -> None:
    one, two = world.machines
    one.user.write(here, b"1")
    two.user.write(there, b"2")
    world.settle()
    if here == ".SSYNCD":
        assert not named(one)
        assert here not in two.user.tree(), "on a disk that folds case it would be ours"
        assert there in one.user.tree()
    else:
        assert {here: b"1", there: b"2"}.items() <= one.user.tree().items()
        assert one.user.tree() == two.user.tree()
    writes = [machine.writes for machine in world.machines], [len(machine.sent) for machine in world.machines]
    assert go_on(world, 600) < 50
    assert writes[0] == [machine.writes for machine in world.machines], "a ping-pong"


def test_a_link_whose_text_is_not_utf_8_is_named_and_nothing_takes_its_place(world: World) -> None:
    one, two = world.machines
    one.user.link("link", "target")
    world.settle()
    world.time.now += 60
    one.user.delete("link")
    one.user.link("link", "\udcff")
    one.user.link("new", "\udcff")
    go_on(world, 5)
    assert named(one).keys() == {"link", "new"}
    two.user.delete("link")
    two.user.link("link", "elsewhere")
    two.user.write("good", b"good")
    go_on(world, 60)
    assert one.user.tree()["link"] == one.user.tree()["new"] == "\udcff"
    assert one.user.tree()["good"] == b"good"
    assert named(one).keys() == {"link", "new"}
    for path in ("link", "new"):
        one.user.delete(path)
        one.user.link(path, "mended")
    go_on(world, 120)
    assert not named(one)
    assert one.user.tree() == two.user.tree()
    assert one.user.tree()["new"] == "mended"


@pytest.fixture
def fat() -> Iterator[World]:
    made = World(2, fat=True)
    made.machines[0].user.write("tool", b"run")
    made.machines[0].user.set_exec("tool", True)
    made.machines[0].user.write("text", b"old")
    made.settle()
    made.time.now += 60
    yield made
    made.close()


def executable(machine: Machine) -> set[str]:
    return {path for path, value in machine.tree().items() if isinstance(value, tuple) and value[1]}


def test_a_disk_without_execute_bits_takes_none_away_and_gives_none(fat: World) -> None:
    one, two = fat.machines
    two.user.write("tool", b"run faster")
    two.user.write("text", b"new text")
    two.user.write("more", b"more")
    fat.settle()
    assert executable(one) == executable(two) == {"tool"}
    fat.time.now += 60
    two.user.rename("tool", "tool 2")
    fat.settle()
    assert one.user.tree() == two.user.tree()
    assert executable(one) == executable(two) == {"tool 2"}
    one.user.set_exec("more", True)
    one.user.set_exec("tool 2", False)
    fat.settle()
    assert executable(one) == executable(two) == {"more"}
    fat.time.now += 60
    lose_state(fat, two, lambda: None)
    assert executable(one) == executable(two) == {"more"}


def test_writes_within_one_step_of_a_disk_s_times_are_all_seen(fat: World) -> None:
    one, two = fat.machines
    fat.time.now = fat.time.now // 2 * 2
    for number in range(8):
        two.user.write("text", b"%d" % number)
        go_on(fat, 0.2)
        assert one.user.tree()["text"] == b"%d" % number


def test_what_was_written_while_the_daemon_was_off_is_seen_though_the_disk_s_times_step(fat: World) -> None:
    one, two = fat.machines
    fat.time.now = fat.time.now // 2 * 2
    two.user.write("text", b"one")
    go_on(fat, 1.5)
    two.kill()
    two.user.write("text", b"two")
    two.start()
    fat.settle()
    assert one.user.tree()["text"] == b"two"


@pytest.mark.parametrize(("written", "becomes"), [("text", "tool"), ("tool", "text")])
def test_who_swaps_names_with_what_was_just_written_is_not_moved_to_and_fro_meanwhile(
    fat: World, written: str, becomes: str
) -> None:
    one, two = fat.machines
    for old, new in (("tool", "aside"), ("text", "tool"), ("aside", "text")):
        one.user.rename(old, new)
        while fat.go_on(one):
            pass
    fat.time.now = fat.time.now // 2 * 2
    two.user.write(written, b"new")
    renames: list[str] = []
    fail(two, 0, ("rename",), lambda path: renames.append(path) is not None)
    fat.settle()
    assert one.user.tree() == two.user.tree() == {"tool": b"old", "text": b"run"} | {becomes: b"new"}
    assert len(renames) == 3


def test_a_name_that_a_folding_disk_cannot_hold_is_named_and_comes_when_it_can(world: World) -> None:
    one, two = world.machines
    two.disk.files.folds = two.disk.memory.folds = True
    one.user.write("BAD", b"another")
    one.user.write("fine", b"fine")
    go_on(world, 20)
    assert two.user.tree() == {"d": None, "d/old": b"old", "bad": b"first", "fine": b"fine"}
    assert "differs in case only" in named(two)["BAD"]
    two.user.write("bad", b"edited")
    go_on(world, 20)
    assert (one.user.tree()["bad"], one.user.tree()["BAD"]) == (b"edited", b"another")
    one.user.delete("bad")
    world.settle()
    assert one.user.tree() == two.user.tree()
    assert not named(two)
    one.user.rename("BAD", "Bad")
    world.settle()
    assert one.user.tree() == two.user.tree()


def test_who_sees_one_half_of_a_swap_with_a_new_directory_mends_nothing_for_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = world.machines
    monkeypatch.setattr(one.engine.channel, "_window", 1)
    one.user.make_dir("new")
    while world.go_on(one):
        pass
    for old, new in (("new", "aside"), ("d", "new"), ("aside", "d")):
        one.user.rename(old, new)
    world.go_on(one)
    while world.go_on(two):
        pass
    assert two.user.tree() == {"new": None, "new/old": b"old", "bad": b"first"}
    world.settle()
    assert one.user.tree() == two.user.tree() == {"d": None, "new": None, "new/old": b"old", "bad": b"first"}


def edit_at_once(world: World, data: bytes) -> Machine:
    """Both users write to one file before either machine has heard of the other; the one whose change came second."""
    one, two = world.machines
    one.user.write("bad", b"1" + data)
    two.user.write("bad", b"2" + data)
    for machine in (one, two):
        while machine.watcher.deliver() or not any('"sv":1' in line for line in machine.sent):
            machine.work()
            machine.pump()
            machine.serve()
            world.time.now += 0.01
    return two


def test_a_conflict_copy_that_cannot_be_written_is_named_and_tried_again_later_each_time(world: World) -> None:
    second = edit_at_once(world, b"")
    heal = fail(second, errno.ENOSPC, ("create",), lambda path: True)
    second.sent.clear()
    go_on(world, 20)
    assert named(second) == {"bad": "the conflict copy of it has to wait: no space left on device"}
    assert 3 <= sum(line.startswith("0:e:") for line in second.sent) <= 12
    heal()
    go_on(world, 60)
    assert not named(second)
    assert trees(world)[0] == trees(world)[1]
    assert sorted(data for path, data in second.user.tree().items() if path.startswith("bad")) == [b"1", b"2"]


def test_a_conflict_copy_whose_content_cannot_be_fetched_for_a_moment_is_made_on_the_same_connection(
    world: World,
) -> None:
    second = edit_at_once(world, Random(1).randbytes(LARGE))
    failures = [NetworkError("the server is busy")] * 3

    def refuse(request: str) -> None:
        if request == "get" and failures:
            raise failures.pop()

    second.transfers.store.before = refuse
    go_on(world, 30)
    assert not failures
    assert trees(world)[0] == trees(world)[1]
    assert sorted(data[:1] for path, data in second.user.tree().items() if path.startswith("bad")) == [b"1", b"2"]
