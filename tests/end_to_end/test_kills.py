"""Power cuts: client and server are killed in the middle of their work, again and again; nothing gets lost, all become equal."""

import os
import random
import signal
import threading

import pytest

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import agree, start
from tests.end_to_end.pictures import Picture
from tests.end_to_end.users import User, hashes

PATIENCE = 60.0


def killed_rounds(site: Site, rounds: int, seed: str) -> None:
    """Each round: both users work, a process is killed at a random moment and started again, the users work on, all agree."""
    server = site.own_server()
    server.start()
    machines = site.pair("hold_least = 1000000\n")
    start(*machines)
    users = [User(machine, seed) for machine in machines]
    chance = random.Random(seed)
    for number in range(rounds):
        victim = chance.choice((*machines, server))
        for user in users:
            user.work(chance.randrange(3, 25))
        threading.Event().wait(chance.random() * 0.3)
        victim.stop(signal.SIGKILL)
        for user in users:
            user.work(chance.randrange(3))
        if victim is server:
            server.start()
            for machine in machines:
                machine.ask("rescan")  # whoever waits before it dials again dials now
        else:
            victim.start(wait=False)
        shown = agree(*machines, timeout=PATIENCE)
        check(site, users, shown, f"seed {seed}, round {number}")


def check(site: Site, users: list[User], shown: Picture, where: str) -> None:
    here = hashes(users[0].machine)
    kept = {version.hash for version in site.server.versions(users[0].machine.bucket)}
    for user in users:
        for hash in user.alive:
            assert hash in here or hash in kept, f"{where}: {user.told(hash)}"
    staged = [name for user in users for name in os.listdir(user.machine.folder / ".ssyncd" / "stage")]
    assert not [name for name in staged if ".staged" not in name], f"{where}: {staged}"
    assert "special" not in shown.values()
    # What both hold now is what both users know: from here on only this must not get lost.
    for user in users:
        user.alive = {hash: path for hash, path in user.alive.items() if hash in here}


@pytest.mark.slow
def test_five_kills_lose_nothing(site: Site) -> None:
    killed_rounds(site, 5, "five")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_kills_lose_nothing(site: Site) -> None:
    # A plain server differs in where the contents are.
    killed_rounds(site, 12 if site.plain else 30, os.environ.get("SSYNCD_SEED", "many"))
