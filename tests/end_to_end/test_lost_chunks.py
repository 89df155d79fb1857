"""The server's disk loses or spoils chunks: a machine that has the content sends them again, without anybody's doing."""

import os
import sqlite3
import time

import orjson
import pybase64
import pytest

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import Machine, Server, agree, until

LARGE = os.urandom(3_000_000)
SOON = 10.0
"""Seconds that it may take when a machine that has the content is there."""


def harm(server: Server, bucket: str) -> None:
    """A byte of one chunk is flipped, another is gone; at a plain server they are in objects."""
    if server.count(f"{bucket}.chunks"):
        server.stop()
        _harm_objects(server, f"{bucket}.chunks")
        server.start()
        return
    first, second, *_ = sorted(path for path in server.data.glob("chunks/*/*/*/*") if path.is_file())
    first.unlink()
    data = bytearray(second.read_bytes())
    data[len(data) // 2] ^= 1
    second.write_bytes(data)


def _harm_objects(server: Server, bucket: str) -> None:
    connection = sqlite3.connect(server.data / "server.db")
    rows = connection.execute(
        "SELECT position, data FROM changes JOIN buckets ON buckets.id = bucket WHERE name = ? LIMIT 2", (bucket,)
    ).fetchall()
    for position, text in rows:
        data = bytearray(pybase64.b64decode(orjson.loads(text)["data"]))
        data[len(data) // 2] ^= 1
        spoiled = orjson.dumps({"data": pybase64.b64encode(data).decode()})
        connection.execute("UPDATE changes SET data = ? WHERE position = ?", (spoiled, position))
    connection.commit()
    connection.close()
    assert len(rows) == 2


@pytest.fixture
def machines(site: Site) -> tuple[Machine, Machine]:
    """The server has lost some of what the first machine, which does not run now, has sent."""
    server = site.own_server()
    server.start()
    one, other = site.pair()
    one.write("large", LARGE)
    one.start()
    one.stop()
    harm(server, one.bucket)
    return one, other


@pytest.mark.slow
def test_what_a_server_lost_or_spoiled_is_sent_again_in_seconds(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    one.start()
    begun = time.monotonic()
    other.start(wait=False)
    until(lambda: other.path("large").exists(), lambda: str(other.status()), SOON)
    assert other.holds("large", LARGE)
    assert time.monotonic() - begun < SOON
    agree(one, other)
    assert other.status().troubles == ()


@pytest.mark.slow
def test_what_nobody_has_at_the_moment_is_sent_again_when_somebody_is_back(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    other.start(wait=False)
    until(lambda: [trouble.path for trouble in other.status().troubles] == ["large"], lambda: str(other.status()))
    assert "the machines that have it are asked" in other.status().troubles[0].reason
    assert not other.path("large").exists()
    other.stop()
    one.start()
    one.wait()
    other.start(wait=False)
    until(lambda: other.path("large").exists(), lambda: str(other.status()), SOON)
    assert other.holds("large", LARGE)
    agree(one, other)
