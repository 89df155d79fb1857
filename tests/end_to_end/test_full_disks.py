"""A disk that is full: of a folder, of what ssyncd remembers, of the server. On small file systems of their own."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import agree, start, until

MIB = 1024 * 1024
SMALL, ROOMY = "4m", "64m"

Mount = Callable[[Path], Callable[[], None]]


@pytest.fixture
def mount(site: Site) -> Iterator[Mount]:
    """Puts a small file system at a path; the value makes it larger."""
    assert site
    mounted: list[Path] = []

    def tmpfs(options: str, path: Path) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def make(path: Path) -> Callable[[], None]:
        path.mkdir(parents=True, exist_ok=True)
        if not tmpfs(f"size={SMALL}", path):
            pytest.skip("file systems cannot be mounted here")
        mounted.append(path)
        return lambda: enlarge(path)

    def enlarge(path: Path) -> None:
        assert tmpfs(f"remount,size={ROOMY}", path)

    yield make
    for path in mounted:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.slow
def test_a_full_disk_of_the_folder_is_named_and_heals_without_a_restart(site: Site, mount: Mount) -> None:
    one, other = site.pair()
    enlarge = mount(other.folder)
    start(one, other)
    one.write("large", os.urandom(8 * MIB))
    one.write("small", "s")
    until(lambda: other.holds("small", "s"))
    until(lambda: [trouble.path for trouble in other.status().troubles] == ["large"])
    assert "bytes are wanted" in other.status().troubles[0].reason
    other.path("small").unlink()
    until(lambda: not one.path("small").exists())
    assert not other.path("large").exists(), "no part of it was ever to be seen"
    enlarge()
    agree(one, other, timeout=90)
    assert not other.status().troubles


@pytest.mark.slow
def test_a_full_disk_of_the_state_is_told_and_heals_without_a_restart(site: Site, mount: Mount) -> None:
    one, other = site.pair()
    (one.home / "state" / "ssyncd" / "folders").mkdir(parents=True, mode=0o700)
    enlarge = mount(one.home / "state" / "ssyncd" / "folders")
    start(one, other)
    filler = one.home / "state" / "ssyncd" / "folders" / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    for number in range(300):
        one.write(f"f{number}", f"{number}")
    until(lambda: "full" in one.status().last_error, lambda: str(one.status()))
    assert one.running is not None
    assert one.running.alive
    enlarge()
    agree(one, other, timeout=90)


@pytest.mark.slow
def test_a_full_disk_of_the_server_is_named_and_heals_without_a_restart(site: Site, mount: Mount) -> None:
    server = site.own_server()
    # A plain server has nothing but its database, which small entries need too.
    enlarge = mount(server.data if site.plain else server.data / "chunks")
    if site.plain:
        server.add_user()
    server.start()
    one, other = site.pair()
    start(one, other)
    one.write("large", os.urandom(8 * MIB))
    if not site.plain:
        one.write("small", "s")
        until(lambda: other.holds("small", "s"))
    until(lambda: [trouble.path for trouble in one.status().troubles] == ["large"], lambda: str(one.status()))
    assert "full" in one.status().troubles[0].reason
    enlarge()
    agree(one, other, timeout=90)
    assert not one.status().troubles
