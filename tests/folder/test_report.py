"""What a folder tells of itself."""

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
