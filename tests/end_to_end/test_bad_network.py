"""Real machines on a bad network: whatever the proxy does to their connections, nothing is lost and all become equal."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from msgspec.structs import replace

from ssyncd.status import Phase
from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import Machine, agree, start, until
from tests.end_to_end.proxy import CALM, Proxy, Weather
from tests.end_to_end.users import User, hashes

PATIENCE = 60.0
MORE = "SSYNCD_NETWORK_ROUNDS" in os.environ
ROUNDS = int(os.environ.get("SSYNCD_NETWORK_ROUNDS", "5"))
SEED = os.environ.get("SSYNCD_SEED", "network")


class Network:
    """A proxy for each machine that asks for one."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.proxies: dict[str, Proxy] = {}

    def machine(self, name: str, settings: str = "") -> Machine:
        """One that reaches the server through a proxy of its own."""
        proxy = self.proxies[name] = Proxy(self._site.server.url or self._site.server.account().url)
        proxy.start()
        machine = self._site.bare_machine(name, settings=settings)
        machine.sign_in(replace(self._site.server.account(), url=proxy.url))
        return machine

    def __getitem__(self, machine: Machine) -> Proxy:
        return self.proxies[machine.name]


@pytest.fixture
def network(site: Site) -> Iterator[Network]:
    made = Network(site)
    yield made
    for proxy in made.proxies.values():
        proxy.stop()


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def change_the_weather(proxy: Proxy, chance: random.Random) -> str:
    """Something happens to the network; what."""
    kinds: dict[str, Callable[[], object]] = {
        "calm": lambda: setattr(proxy, "weather", CALM),
        "cut": proxy.cut,
        "reset": lambda: proxy.cut(reset=True),
        "half open": proxy.half_open,
        "slow": lambda: setattr(
            proxy, "weather", Weather(chance.choice((0.0, 0.03)), chance.choice((60_000, 600_000)))
        ),
        "breaking": lambda: setattr(
            proxy, "weather", Weather(cut_after=int(10 ** chance.uniform(1, 6)), reset=chance.random() < 0.5)
        ),
        "closed": lambda: setattr(proxy, "weather", Weather(closed=True)),
    }
    kind = chance.choice(list(kinds))
    kinds[kind]()
    return kind


@pytest.mark.slow
@pytest.mark.timeout(600 + 30 * ROUNDS)
def test_whatever_the_network_does_nothing_is_lost_and_all_become_equal(site: Site, network: Network) -> None:
    machines = [network.machine(name, "hold_least = 1000000\n") for name in ("alpha", "beta")]
    start(*machines)
    users = [User(machine, SEED) for machine in machines]
    chance = random.Random(SEED)
    for number in range(min(ROUNDS, 2) if site.plain and not MORE else ROUNDS):
        log = [f"seed {SEED}, round {number}:"]
        for _ in range(chance.randrange(2, 8)):
            machine = chance.choice(machines)
            log.append(f"{machine.name} {change_the_weather(network[machine], chance)},")
            chance.choice(users).work(chance.randrange(10))
            pause(chance.random() * 0.3)
        for machine in machines:
            network[machine].weather = CALM
            network[machine].cut()  # those half open are known as dead only after a minute of silence
            machine.ask("rescan")
        agree(*machines, timeout=PATIENCE)
        check(site, users, " ".join(log))
    fresh = site.machine("gamma")
    fresh.start()
    agree(*machines, fresh, timeout=PATIENCE)


def check(site: Site, users: list[User], where: str) -> None:
    """Every content that was saved and not doomed is in the folder or in the server's history."""
    here = hashes(users[0].machine)
    kept = {version.hash for version in site.server.versions(users[0].machine.bucket)}
    for user in users:
        for hash in user.alive:
            assert hash in here or hash in kept, f"{where} {user.told(hash)}"
        user.alive = {hash: path for hash, path in user.alive.items() if hash in here}


@pytest.mark.slow
def test_one_that_is_cut_after_each_byte_in_turn_gets_through_in_the_end(site: Site, network: Network) -> None:
    """The connections of a start, each cut a little later than the one before: in the handshake, in the sign-in, in the index."""
    one, other = network.machine("alpha"), site.machine("beta")
    for number in range(20):
        other.write(f"d{number % 3}/f{number}", f"{number}")
    one.start()
    other.start()
    agree(one, other)
    proxy = network[one]
    for number, cut_after in enumerate((1, 400, 1600) if site.plain else (1, 150, 400, 900, 1600, 2200)):
        one.stop()
        proxy.weather = Weather(cut_after=cut_after, reset=number % 2 == 1)
        accepted = proxy.accepted
        one.write("mine", f"{cut_after} bytes\n")
        other.write("theirs", f"{cut_after} bytes\n")
        one.start(wait=False)
        until(lambda before=accepted: proxy.accepted > before, "the machine dials")
        pause(0.1)
        proxy.weather = CALM
        agree(one, other)
        assert one.holds("theirs", f"{cut_after} bytes\n")
        assert other.holds("mine", f"{cut_after} bytes\n")


@pytest.mark.slow
def test_a_machine_whose_connections_break_soon_again_and_again_is_back_in_a_moment(
    site: Site, network: Network
) -> None:
    """What it came for it got each time: that it comes back must not take longer and longer."""
    machine = network.machine("alpha")
    machine.start()
    for number in range(8):
        accepted = network[machine].accepted
        network[machine].cut(reset=number % 2 == 1)
        until(lambda before=accepted: network[machine].accepted > before, f"it dials after cut {number}", 2.0)
        until(lambda: machine.status().phase is Phase.IN_SYNC, "in sync")


@pytest.mark.slow
def test_a_large_file_gets_through_connections_that_break_all_the_time(site: Site, network: Network) -> None:
    """Each connection carries less than the file; what a broken one carried need not go again."""
    one, other = network.machine("alpha"), network.machine("beta")
    start(one, other)
    for proxy in network.proxies.values():
        proxy.weather = Weather(cut_after=600_000, reset=True)
    data = random.Random(SEED).randbytes(1_800_000)
    one.write("large", data)
    until(lambda: other.holds("large", data), "the file arrives", PATIENCE)
    for proxy in network.proxies.values():
        proxy.weather = CALM
    agree(one, other)


@pytest.mark.slow
def test_the_last_word_counts_when_answers_come_late(site: Site, network: Network) -> None:
    """A file written many times over on a slow line: what arrives is the last, and there is no conflict with ourselves."""
    one, other = network.machine("alpha"), network.machine("beta")
    start(one, other)
    for proxy in network.proxies.values():
        proxy.weather = Weather(latency=0.05, rate=500_000)
    for number in range(40):
        one.write("f", f"{number}\n")
        pause(0.03)
    shown = agree(one, other)
    assert shown == {"f": b"39\n"}


@pytest.mark.slow
@pytest.mark.parametrize("who", ["alpha", "beta"])
def test_a_connection_that_died_unnoticed_is_replaced_in_seconds(site: Site, network: Network, who: str) -> None:
    """Sooner for who has something to send; else the next heartbeat tells. Those for contents are replaced with it."""
    one, other = network.machine("alpha"), site.machine("beta")
    start(one, other)
    author, reader = (one, other) if who == "alpha" else (other, one)
    large = random.Random(SEED).randbytes(2 << 20)
    author.save("old", large)
    agree(one, other)
    network[one].half_open()
    author.write("word", "1")
    author.save("new", large[::-1])
    until(
        lambda: reader.holds("word", "1") and reader.path("new").exists(),
        "they arrive",
        22.0 if who == "alpha" else 40.0,
    )
    agree(one, other)


@pytest.mark.slow
def test_a_connection_that_dies_while_a_file_goes_is_replaced_in_seconds(site: Site, network: Network) -> None:
    one, other = network.machine("alpha"), site.machine("beta")
    start(one, other)
    large = random.Random(SEED).randbytes(6_000_000)
    network[one].weather = Weather(rate=1_000_000)
    one.save("large", large)
    until(lambda: 0 < one.status().bytes_to_send < len(large), "some of it has gone")
    network[one].weather = CALM
    network[one].half_open()
    until(lambda: other.path("large").exists(), "it arrives", 22.0)
    agree(one, other)


@pytest.mark.slow
@pytest.mark.any_server
def test_a_large_file_alone_finds_out_that_the_connection_has_died(site: Site, network: Network) -> None:
    one, other = network.machine("alpha"), site.machine("beta")
    start(one, other)
    large = random.Random(SEED).randbytes(1 << 20)
    one.save("before", large)
    agree(one, other)
    network[one].half_open()
    one.save("large", large[::-1])
    until(lambda: other.path("large").exists(), "it arrives", 22.0)
    agree(one, other)


def staged(machine: Machine) -> int:
    """Bytes that wait to be put in place."""
    sizes = []
    for file in machine.path(".ssyncd/stage").iterdir():
        with suppress(FileNotFoundError):
            sizes.append(file.stat().st_size)
    return sum(sizes)


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["", "alpha", "beta"])
def test_a_long_file_is_fetched_while_it_is_still_being_sent(site: Site, network: Network, killed: str) -> None:
    if site.plain:
        pytest.skip("a plain server hands on no notices, and waits for no chunks")
    one, other = network.machine("alpha"), network.machine("beta")
    start(one, other)
    before = site.server.count(one.bucket)
    network[one].weather = Weather(rate=10_000_000)
    data = random.Random(SEED).randbytes(32 << 20)
    one.save("long", data)
    until(lambda: staged(other) > 8 << 20, other.report, PATIENCE)
    assert site.server.count(one.bucket) == before, "the server does not know it yet"
    for machine in (one, other):
        if machine.name == killed:
            machine.kill()
            machine.start(wait=False)
    network[one].weather = CALM
    agree(one, other, timeout=PATIENCE)
    assert other.holds("long", data)
    until(lambda: not staged(other), other.report)
