"""Storms: everybody works on the same few files at once, or everybody changes everything while nobody hears of it."""

import os
import random
import threading
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import Machine, agree, start, stop
from tests.end_to_end.pictures import inodes
from tests.end_to_end.test_stops import Author
from tests.end_to_end.users import User, hashes

pytestmark = [pytest.mark.slow]
ROUNDS = int(os.environ.get("SSYNCD_STORMS", "2"))
SEED = os.environ.get("SSYNCD_SEED") or str(random.SystemRandom().randrange(1 << 30))
PATIENCE = 60.0
NAMES = ("a", "b")
PAUSES = (0.0, 0.0, 0.001, 0.01, 0.03, 0.2)
SETTINGS = "hold_least = 1000000\n"


class Stormy(Author):
    """Works on the same few names all the time, and renames them into each other."""

    def storm(self, times: int) -> None:
        for _ in range(times):
            self.work(self.chance.choice(NAMES))
            threading.Event().wait(self.chance.choice(PAUSES))

    def rename(self, path: os.PathLike[str]) -> None:
        target = self.machine.path(self.chance.choice(NAMES))
        if target != path:
            with self._dooming(target):
                os.replace(path, target)


def rounds(site: Site) -> int:
    return (ROUNDS + 1) // 2 if site.plain else ROUNDS


def check(site: Site, machines: list[Machine], alive: list[dict[str, object]], where: str, unseen: int = 0) -> None:
    """All are equal and stay so, and nothing is lost but what a user may have replaced without having seen it."""
    before = agree(*machines, timeout=PATIENCE)
    here = hashes(machines[0])
    kept = {version.hash for version in site.server.versions(machines[0].bucket)}
    lost = [what for known in alive for hash, what in known.items() if hash not in here and hash not in kept]
    assert len(lost) <= unseen, f"{where}: lost: {lost}"
    count = site.server.count(machines[0].bucket)
    for machine in machines:
        machine.ask("rescan")
    assert agree(*machines, timeout=PATIENCE) == before, where
    assert site.server.count(machines[0].bucket) == count, f"{where}: a change was sent that nobody made"


@pytest.mark.timeout(120 + 60 * ROUNDS)
def test_a_storm_over_a_few_files_ends_equal_and_loses_nothing(site: Site) -> None:
    print(f"seed {SEED}")
    machines = [site.machine(name, settings=SETTINGS) for name in ("alpha", "beta", "gamma")]
    start(*machines)
    authors = [Stormy(machine, random.Random(f"{SEED} {machine.name}")) for machine in machines]
    for number in range(rounds(site)):
        threads = [threading.Thread(target=author.storm, args=(40,)) for author in authors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        unseen = sum(author.unseen for author in authors)
        check(site, machines, [dict(author.alive) for author in authors], f"seed {SEED}, round {number}", unseen)
        for author in authors:
            author.alive.clear()
            author.unseen = 0


@pytest.mark.timeout(120 + 60 * ROUNDS)
def test_whole_trees_changed_on_every_machine_while_all_are_off_end_equal_and_lose_nothing(site: Site) -> None:
    print(f"seed {SEED}")
    machines = [site.machine(name, settings=SETTINGS) for name in ("alpha", "beta", "gamma")]
    users = [User(machine, SEED) for machine in machines]
    for number in range(rounds(site)):
        for user in users:
            user.work(80)
        start(*machines)
        check(site, machines, [dict(user.alive) for user in users], f"seed {SEED}, round {number}")
        stop(*machines)
        here = hashes(machines[0])
        for user in users:
            user.alive = {hash: path for hash, path in user.alive.items() if hash in here}


def test_what_is_moved_about_in_a_storm_is_moved_elsewhere_and_not_sent_again(site: Site) -> None:
    """Also where the new place is looked into before the watcher tells of the old one: of directories made just before."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    one, other = site.pair()
    for number in range(400):
        one.write(f"d{number % 4}/f{number}", f"content {number}")
    start(one, other)
    agree(one, other, timeout=PATIENCE)
    before = set(inodes(other.folder).values())
    for number in range(rounds(site)):
        for step in range(40):
            move_about(one.folder, f"{number}-{step}", chance)
            threading.Event().wait(chance.choice((0.0, 0.0, 0.0005, 0.002, 0.01, 0.06)))
        agree(one, other, timeout=PATIENCE)
        others = before.difference(inodes(other.folder).values())
        # None, but where a busy machine does not let the watcher tell for more than a moment.
        assert len(others) < 20, f"{len(others)} of {len(before)} are others, seed {SEED}"


def move_about(folder: Path, name: str, chance: random.Random) -> None:
    """A directory gets another name or another parent, or some files of it do; that may be a directory made for it."""
    directories = [path for path in folder.rglob("*") if path.is_dir() and ".ssyncd" not in path.parts]
    source, target = chance.choice(directories), chance.choice(directories)
    if chance.random() < 0.5:
        target = folder / f"new {name}"
        target.mkdir()
    if chance.random() < 0.5:
        if source != target and source not in target.parents:
            source.rename(target / f"in {name}")
    else:
        files = [path for path in source.iterdir() if path.is_file()]
        for path in chance.sample(files, min(len(files), 20)):
            path.rename(target / path.name)
