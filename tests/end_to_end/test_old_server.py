"""The server comes back as it was some time ago, or as nothing; machines were on and off meanwhile."""

import shutil
import sqlite3

import pytest

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import Machine, Server, agree, start, stop

FILES = {f"d{number % 3}/f{number}": f"content {number}".encode() for number in range(12)}
LARGE = b"l" * 100_000


@pytest.fixture
def server(site: Site) -> Server:
    server = site.own_server()
    server.start()
    return server


@pytest.fixture
def machines(site: Site, server: Server) -> tuple[Machine, Machine]:
    return site.filled_pair(FILES)


def go_on(one: Machine, other: Machine) -> dict[str, bytes]:
    """What happens after the backup was made; what both hold then."""
    one.write("d0/f0", "edited since")
    other.write("new", "made since")
    other.write("large", LARGE)
    one.path("d1/f1").unlink()
    one.path("d2").rename(one.path("moved"))
    return {path: value for path, value in agree(one, other).items() if isinstance(value, bytes)}


@pytest.mark.slow
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_server_that_was_put_back_gets_what_is_newer_again(
    server: Server, machines: tuple[Machine, Machine], running: bool
) -> None:
    one, other = machines
    server.stop()
    backup = server.home / "backup"
    shutil.copytree(server.data, backup)
    server.start()
    now = go_on(one, other)
    if not running:
        stop(one, other)
    server.stop()
    shutil.rmtree(server.data)
    shutil.copytree(backup, server.data)
    server.start()
    if not running:
        start(one, other)
    found = {path: value for path, value in agree(one, other, timeout=60.0).items() if isinstance(value, bytes)}
    # What is newer is there, under its name; what the backup still has may be there too, never instead.
    assert {path: found.get(path) for path in now} == now
    assert set(found) - set(now) <= {"d1/f1"}


@pytest.mark.slow
def test_a_server_that_was_wiped_gets_everything_again(
    site: Site, server: Server, machines: tuple[Machine, Machine]
) -> None:
    one, other = machines
    now = go_on(one, other)
    server.stop()
    for path in (server.data / "chunks").iterdir():
        shutil.rmtree(path)
    _forget_everything(server)
    server.start()
    found = {path: value for path, value in agree(one, other, timeout=60.0).items() if isinstance(value, bytes)}
    assert found == now
    third = site.machine("third")
    third.start()
    assert {path: value for path, value in agree(one, other, third).items() if isinstance(value, bytes)} == now


def _forget_everything(server: Server) -> None:
    """But the account and the tokens."""
    connection = sqlite3.connect(server.data / "server.db")
    for table in ("changes", "buckets", "settled", "runs"):
        connection.execute(f"DELETE FROM {table}")
    connection.execute("UPDATE log_end SET position = 0")
    connection.commit()
    connection.close()
