"""What a folder tells of itself."""

import random
from collections.abc import Iterator
from typing import Any

from ssyncd.content.chunks import MIB
from ssyncd.folder.report import Report
from ssyncd.status import Phase
from tests.databases import MemoryDatabase
from tests.simulation.world import World


def test_the_first_look_at_a_large_folder_tells_how_far_it_is(world: World) -> None:
    one, _ = world.machines
    for number in range(40):
        one.user.make_dir(f"d{number}")
        for each in range(200):
            one.user.write(f"d{number}/f{each}", b"x")
    one.kill()
    one.database = MemoryDatabase()
    one.start()
    one.link.pump()
    report = Report(one.engine, "server")
    seen = []
    while not seen or seen[-1].phase is Phase.SCANNING:
        one.work()
        seen.append(report.make())
    counts = [status.entries for status in seen]
    assert len(counts) > 2
    assert counts == sorted(counts)
    assert 0 < counts[0] < counts[-1] == 40 * 201


def test_a_large_content_gets_less_while_it_goes(world: World) -> None:
    one, two = world.machines
    data = random.Random(1).randbytes(3 * MIB)
    seen = dict[str, list[int]]()

    def watch(machine: Any, name: str, attribute: str) -> None:
        report, store = Report(machine.engine, "server"), machine.transfers.store
        inner = getattr(store, name)

        def watched(*asked: Any) -> Iterator[Any]:
            for each in inner(*asked):
                world.time.now += 1.0
                status = report.make()
                assert report.wait(None) == report.wait(100.0) == 1.0
                seen.setdefault(attribute, []).append(getattr(status, attribute))
                yield each

        setattr(store, name, watched)

    watch(one, "put", "bytes_to_send")
    watch(two, "get", "bytes_to_apply")
    one.user.write("a", data)
    world.settle()
    for attribute in ("bytes_to_send", "bytes_to_apply"):
        assert seen[attribute] == sorted(seen[attribute], reverse=True)
        assert seen[attribute][0] - seen[attribute][-1] > MIB
    report = Report(one.engine, "server")
    assert (report.make().bytes_to_send, report.wait(None), report.wait(5.0)) == (0, None, 5.0)
    assert not report.stalls


def test_what_stands_still_is_noticed(world: World) -> None:
    one, _ = world.machines
    report, store = Report(one.engine, "server"), one.transfers.store
    stalls = list[bool]()

    def stuck(ids: Any) -> set[bytes]:
        for _ in range(3):
            report.make()
            stalls.append(report.stalls)
            report.make()
            stalls.append(report.stalls)  # no more than once for each count
            world.time.now += 1.0
        return set(ids)

    store.missing = stuck
    one.user.write("a", random.Random(1).randbytes(MIB))
    world.settle()
    assert stalls == [True, False] * 3
