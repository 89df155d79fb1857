"""Several users at once who do whatever comes to their minds, online and offline: nothing is lost, all become equal."""

import os
import random
import shutil
import threading

import pytest

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import Machine, agree, start
from tests.end_to_end.users import User, hashes

PATIENCE = 60.0


def random_rounds(site: Site, machines: list[Machine], rounds: int, seed: str) -> None:
    """In each round some machines are off while their users work, the others on; then all agree."""
    start(*machines)
    users = [User(machine, seed) for machine in machines]
    chance = random.Random(seed)
    for number in range(rounds):
        where = f"seed {seed}, round {number}"
        off = [machine for machine in machines if chance.random() < 0.4]
        for machine in off:
            machine.stop()
        at_once([(user, chance.randrange(1, 40)) for user in users])
        for machine in off:
            machine.start(wait=False)
        agree(*machines, timeout=PATIENCE)
        here = hashes(machines[0])
        kept = {version.hash for version in site.server.versions(machines[0].bucket)}
        for user in users:
            for hash in user.alive:
                assert hash in here or hash in kept, f"{where}: {user.told(hash)}"
            user.alive = {hash: path for hash, path in user.alive.items() if hash in here}
        stays_quiet(site, machines, where)


def at_once(work: list[tuple[User, int]]) -> None:
    threads = [threading.Thread(target=user.work, args=(times,)) for user, times in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def stays_quiet(site: Site, machines: list[Machine], where: str) -> None:
    """Nothing is left that any machine would still like to change: looking at everything again finds nothing."""
    before, count = machines[0].picture(), site.server.count(machines[0].bucket)
    for machine in machines:
        machine.ask("rescan")
    assert agree(*machines, timeout=PATIENCE) == before, where
    assert site.server.count(machines[0].bucket) == count, f"{where}: a change was sent that nobody made"


@pytest.mark.slow
def test_three_users_at_once(site: Site) -> None:
    machines = [site.machine(name, settings="hold_least = 1000000\n") for name in ("alpha", "beta", "gamma")]
    random_rounds(site, machines, 2, "three")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(2))
def test_many_rounds_of_three_users_and_a_fresh_machine(site: Site, seed: int) -> None:
    machines = [site.machine(name, settings="hold_least = 1000000\n") for name in ("alpha", "beta", "gamma")]
    random_rounds(site, machines, 4, os.environ.get("SSYNCD_SEED", str(seed)))
    fresh = site.machine("delta")
    fresh.start(wait=False)
    agree(*machines, fresh, timeout=PATIENCE)


@pytest.mark.slow
def test_a_copy_of_a_folder_with_its_marker_loses_nothing(site: Site) -> None:
    """A user who copies the whole folder by hand to the second machine, `.ssyncd` and all, before starting there."""
    one, other = site.pair()
    one.write("d/f", "1")
    one.write("g", "2")
    one.start()
    one.stop()
    other.folder.rmdir()
    shutil.copytree(one.folder, other.folder, symlinks=True)
    other.write("d/f", "changed in the copy")
    start(one, other)
    shown = agree(one, other)
    assert {b"1", b"2", b"changed in the copy"} <= set(shown.values())
