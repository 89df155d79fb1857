"""The power of the server's machine fails at any moment: what it has acknowledged is there, and all go on.

A real server is recorded while it takes changes and chunks; then its directory is made as a disk might have it after a power cut
at one moment or another (`powercut.py`), and a real server is started on that.
"""

import copy
import http.client
import itertools
import os
import random
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from blake3 import blake3

from ssyncd.content.compression import seal
from tests.end_to_end.children import RECORDING, ForkedMachine, ForkedServer, Nursery, nursery, reason_not_to
from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import agree
from tests.end_to_end.pictures import files
from tests.end_to_end.powercut import Disk, Kind, Rest, read_calls

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
SEED = os.environ.get("SSYNCD_SEED") or str(random.SystemRandom().randrange(1 << 30))
CUTS = int(os.environ.get("SSYNCD_POWER_CUTS", "8"))
ROUNDS = 50
"""Of changes and chunks; one change of them all is large, so that the log is moved into the database once or twice."""


@dataclass
class Acknowledged:
    """What a client was told is kept, each with how long the record was then."""

    versions: dict[tuple[str, int], tuple[bytes, int]] = field(default_factory=dict)
    chunks: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)


class Client:
    """Somebody who sends over HTTP and notes the answers."""

    def __init__(self, server: ForkedServer) -> None:
        account = server.account()
        self._headers = {"X-Simperium-Token": account.token}
        self._address = urlsplit(server.url).netloc

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes, str]:
        """Status, body and version."""
        connection = http.client.HTTPConnection(self._address, timeout=20)
        try:
            connection.request(method, f"/1/ssyncd/notes/{path}", body, self._headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("X-Simperium-Version", "")
        finally:
            connection.close()

    def put(self, key: str, data: dict[str, Any]) -> int:
        """The version it has now."""
        status, said, version = self.ask("POST", f"i/{key}?replace=1", orjson.dumps(data))
        assert status == 200, said
        return int(version)

    def put_chunk(self, plain: bytes) -> bytes:
        chunk = blake3(plain).digest()
        status, said, _ = self.ask("PUT", f"chunks/{chunk.hex()}", seal(plain))
        assert status == 200, said
        return chunk


@dataclass
class Story:
    """A recorded server: what it was at first, what it did, and what was acknowledged. `machine` was its client all the time."""

    server: ForkedServer
    machine: ForkedMachine
    record: Path
    before: Disk
    acknowledged: Acknowledged

    def disk_at(self, moment: int) -> Disk:
        """As it is when the record has this length."""
        disk = copy.deepcopy(self.before)
        for call in itertools.takewhile(lambda call: call.end <= moment, read_calls(self.record)):
            disk.take(call)
        return disk

    def was_tidied(self) -> bool:
        """Whether something was written into the database itself."""
        database = os.stat(self.server.data / "server.db").st_ino
        return any(call.kind is Kind.WRITE and call.inode == database for call in read_calls(self.record))

    def start_after(self, moment: int, rest: Rest, chance: random.Random) -> None:
        """The server, on what the disk has after a power cut at this moment."""
        shutil.rmtree(self.server.data)
        self.disk_at(moment).after_cut(self.server.data, rest, chance)
        self.server.start()

    def moments(self, chance: random.Random) -> list[int]:
        """Right after something was acknowledged, or in the midst of whatever the server does."""
        ends = [call.end for call in read_calls(self.record)]
        noted = self.acknowledged
        answers = [at for _, at in (*noted.versions.values(), *noted.chunks.values())]
        return [chance.choice(chance.choice((ends, answers))) for _ in range(CUTS)]


def recorded(site: Site, forks: Nursery, careless: str = "") -> Story:
    server = ForkedServer(site.directory / "server", forks)
    server.add_user()
    machine = ForkedMachine(site.directory / "alpha", forks, "power", "")
    site.places += [server, machine]
    server.start()
    machine.sign_in(server.account())
    server.stop()
    story = Story(server, machine, site.directory / "record", Disk(server.data), Acknowledged())
    server.recorded, server.record, server.careless = server.data, story.record, careless
    server.start()
    server.recorded, server.record, server.careless = None, None, ""
    machine.start(wait=False)
    send_all(story)
    machine.wait()
    server.stop(signal.SIGKILL)
    return story


def send_all(story: Story) -> None:
    client, chance, noted = Client(story.server), random.Random(SEED), story.acknowledged
    for number in range(ROUNDS):
        key = f"key{number % 4}"
        # Another name each time: two long texts of one name would be compared.
        data = {"number": number, f"text {number}": chance.randbytes(250_000 if number % 2 else 20).hex()}
        version = client.put(key, data)
        noted.versions[key, version] = orjson.dumps(data), story.record.stat().st_size
        plain = chance.randbytes(chance.choice((100, 5_000, 90_000)))
        chunk = client.put_chunk(plain)
        noted.chunks[chunk] = plain, story.record.stat().st_size
        story.machine.write(f"d{number % 3}/file {number}", chance.randbytes(chance.choice((50, 40_000))))


def missing(story: Story, moment: int) -> list[str]:
    """What was acknowledged before that moment, and is not to be had from the server now."""
    client, lost, newest = Client(story.server), [], dict[str, int]()
    for (key, version), (data, at) in story.acknowledged.versions.items():
        if at <= moment:
            newest[key] = version
            status, said, _ = client.ask("GET", f"i/{key}/v/{version}")
            if status != 200 or orjson.loads(said) != orjson.loads(data):
                lost.append(f"version {version} of {key}: {status}")
    for chunk, (plain, at) in story.acknowledged.chunks.items():
        if at <= moment:
            status, said, _ = client.ask("GET", f"chunks/{chunk.hex()}")
            if status != 200 or said != seal(plain):
                lost.append(f"chunk {chunk.hex()[:8]}: {status}")
    for key, version in newest.items():
        after = client.put(key, {"after": "the power cut"})
        if after <= version:
            lost.append(f"{key}: after version {version} comes {after}")
    return lost


def cut_again_and_again(story: Story) -> list[str]:
    """Everything that is missing after any of the cuts."""
    chance, wrong = random.Random(SEED), list[str]()
    for moment in story.moments(chance):
        rest = chance.choice(list(Rest))
        try:
            story.start_after(moment, rest, chance)
            lost = missing(story, moment)
        except AssertionError as error:
            lost = [str(error)]
        finally:
            if story.server.running is not None:
                story.server.stop(signal.SIGKILL)
        wrong += [f"seed {SEED}, cut at {moment}, {rest.value} of the rest: {one}" for one in lost]
    return wrong


@pytest.fixture(scope="module")
def forks() -> Iterator[Nursery]:
    if reason := reason_not_to():
        pytest.skip(reason)
    with nursery(RECORDING) as made:
        yield made


def test_what_the_server_has_acknowledged_survives_a_power_cut(site: Site, forks: Nursery) -> None:
    print(f"seed {SEED}")
    story = recorded(site, forks)
    assert story.was_tidied(), "the log was never moved into the database: this tests less than it should"
    moment = story.record.stat().st_size
    story.start_after(moment, Rest.NOTHING, random.Random(SEED))
    assert missing(story, moment) == []
    fresh = ForkedMachine(site.directory / "beta", forks, "power", "")
    fresh.sign_in(story.server.account())
    site.places.append(fresh)
    fresh.start(wait=False)
    story.machine.write("after", "the power cut")
    shown = agree(story.machine, fresh, timeout=60)
    assert shown["after"] == b"the power cut"
    assert len(files(shown)) == ROUNDS + 1
    story.machine.stop()
    fresh.stop()
    story.server.stop(signal.SIGKILL)
    assert cut_again_and_again(story) == []


@pytest.mark.parametrize("careless", ["commits", "checkpoints", "chunks", "names"])
def test_a_careless_server_is_found_out(site: Site, forks: Nursery, careless: str) -> None:
    story = recorded(site, forks, careless)
    story.machine.stop()
    story.start_after(story.record.stat().st_size, Rest.NOTHING, random.Random(SEED))
    assert missing(story, story.record.stat().st_size)
    story.server.stop(signal.SIGKILL)
