"""What a machine remembers of its folder is lost while it is off, and others go on without it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import Machine, agree, start

FILES = {f"d{number % 3}/f{number}": f"content {number}".encode() for number in range(20)}
LARGE = os.urandom(100_000)


def remove(path: Path) -> None:
    path.unlink()


def damage(path: Path) -> None:
    """As a disk does it: one page is noise."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 4096 // 2 * 4096)
        file.write(os.urandom(4096))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def lose(machine: Machine, how: Callable[[Path], None]) -> None:
    [path] = (machine.home / "state").rglob("state.db")
    how(path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def pair(site: Site) -> tuple[Machine, Machine]:
    one, other = site.pair()
    for path, data in FILES.items():
        one.write(path, data)
    one.write("large", LARGE)
    one.write("old/name/kept", "kept")
    start(one, other)
    agree(one, other)
    one.path("old").rename(one.path("new"))
    one.path("large").rename(one.path("new/large"))
    agree(one, other)
    other.stop()
    return one, other


@pytest.mark.slow
@pytest.mark.parametrize("how", [remove, damage, truncate])
def test_what_was_deleted_meanwhile_does_not_come_back(site: Site, how: Callable[[Path], None]) -> None:
    one, other = pair(site)
    for path in ("d0/f0", "d1/f1", "d2/f2", "new/large"):
        one.path(path).unlink()
    one.write("d0/f3", "edited there")
    one.wait()
    other.write("d1/f1", "edited here")
    other.write("d1/new", "new here")
    lose(other, how)
    other.start()
    found = agree(one, other)
    expected = {path: data for path, data in FILES.items() if path not in ("d0/f0", "d2/f2")}
    expected |= {"d1/f1": b"edited here", "d1/new": b"new here", "d0/f3": b"edited there", "new/name/kept": b"kept"}
    copies = {path for path in found if "conflict" in path}
    assert {path: value for path, value in found.items() if isinstance(value, bytes) and path not in copies} == expected
    # Nobody can tell whether the old content of the file that was edited there was an edit of here.
    assert {found[path] for path in copies} <= {FILES["d0/f3"]}
    # A second restart is like any other.
    other.stop()
    other.start()
    assert agree(one, other) == found
    assert other.running is not None
    assert "nothing is remembered of it" not in other.running.text()


@pytest.mark.slow
def test_when_most_was_deleted_meanwhile_the_user_is_asked(site: Site) -> None:
    one, other = site.pair()
    files = {f"f{number}": f"content {number}".encode() for number in range(40)}
    for path, data in files.items():
        one.write(path, data)
    start(one, other)
    agree(one, other)
    other.stop()
    for number in range(30):
        one.path(f"f{number}").unlink()
    one.phase("held")
    one.ask("approve")
    one.wait()
    lose(other, remove)
    other.start(wait=False)
    assert other.phase("held").holds[0].entries == 30
    assert len(other.names()) == 40
    other.ask("approve")
    assert len(agree(one, other)) == 10
