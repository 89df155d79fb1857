"""Plans that would delete most of a folder, or follow from a folder that is not there, wait for the user's word."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ssyncd.errors import Exit
from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import Machine, Picture, agree, start, until

FILES = {f"d{number % 3}/f{number}": f"content {number}".encode() for number in range(30)}


def full_pair(site: Site) -> tuple[Machine, Machine]:
    return site.filled_pair(FILES)


def delete_most(machine: Machine) -> None:
    for path in list(FILES)[:25]:
        machine.path(path).unlink()


@pytest.mark.slow
def test_deleting_most_of_a_folder_is_held_until_approved(site: Site) -> None:
    one, other = full_pair(site)
    before = other.picture()
    delete_most(one)
    status = one.phase("held")
    [hold] = status.holds
    assert (hold.entries, hold.where) == (25, "everywhere")
    assert one.run("wait", "--timeout", "10").returncode == Exit.HELD
    shown = one.run("status")
    assert "ssyncd approve" in shown.stdout
    # What is not a deletion goes on.
    one.write("still works", "1")
    until(lambda: other.holds("still works", "1"))
    assert other.picture() == {**before, "still works": b"1"}
    # Across restarts, and in the other machine's view too.
    one.stop()
    one.start(wait=False)
    assert one.phase("held").holds == (hold,)
    assert other.picture() == {**before, "still works": b"1"}
    assert one.run("approve", str(one.folder)).returncode == 0
    # The other machine's user is asked too.
    other.phase("held")
    other.ask("approve")
    shown_now = agree(one, other)
    assert len([path for path in shown_now if path in FILES]) == 5


@pytest.mark.slow
def test_deletions_that_come_from_the_server_are_held_here_too(site: Site) -> None:
    one, other = full_pair(site)
    before = other.picture()
    other.stop()
    delete_most(one)
    one.phase("held")
    one.ask("approve")
    one.wait()
    other.start(wait=False)
    [hold] = other.phase("held").holds
    assert (hold.entries, hold.where) == (25, "here")
    assert other.picture() == before
    assert other.run("approve").returncode == 0
    agree(one, other)
    assert len(other.picture()) == 5 + 3


@pytest.mark.slow
def test_files_that_come_back_end_a_hold_by_themselves(site: Site) -> None:
    one, other = full_pair(site)
    before = one.picture()
    shutil.move(one.path("d0"), one.home / "away")
    shutil.move(one.path("d1"), one.home / "away 1")
    one.phase("held")
    assert other.picture() == before
    shutil.move(one.home / "away", one.path("d0"))
    shutil.move(one.home / "away 1", one.path("d1"))
    one.phase("in sync")
    assert agree(one, other) == before


def empty(folder: Path) -> None:
    """Everything goes, `.ssyncd` too."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def empty_of_the_user_s(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != ".ssyncd":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.any_server
@pytest.mark.slow
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize("how", [shutil.rmtree, empty, empty_of_the_user_s])
def test_however_a_folder_was_emptied_nothing_is_deleted_elsewhere_until_it_is_back(
    site: Site, how: Callable[[Path], None], running: bool
) -> None:
    one, other = full_pair(site)
    before = other.picture()
    if not running:
        one.stop()
    kept = one.home / "kept"
    shutil.copytree(one.folder, kept, symlinks=True)
    how(one.folder)
    for _ in range(2):
        if one.running is None:
            one.start(wait=False)
        one.phase("held")
        shown = one.run("status").stdout
        assert "held: " in shown
        assert f"ssyncd approve {one.folder}" in " ".join(shown.split())
        one.stop()
    one.start(wait=False)
    one.phase("held")
    other.write("meanwhile", "m")
    other.wait()
    assert other.picture() == {**before, "meanwhile": b"m"}
    marked = one.path(".ssyncd/folder").exists()
    skipped = shutil.ignore_patterns(".ssyncd") if marked else None
    shutil.copytree(kept, one.folder, symlinks=True, dirs_exist_ok=True, ignore=skipped)
    one.phase("in sync")
    assert agree(one, other) == {**before, "meanwhile": b"m"}


@pytest.mark.any_server
@pytest.mark.slow
@pytest.mark.parametrize("how", [empty, empty_of_the_user_s])
def test_an_emptied_folder_that_is_approved_is_empty_everywhere(site: Site, how: Callable[[Path], None]) -> None:
    one, other = full_pair(site)
    how(one.folder)
    one.phase("held")
    assert one.run("approve", one.folder).returncode == 0
    other.phase("held")
    assert set(FILES) <= set(other.picture())
    other.ask("approve")
    assert agree(one, other) == {}


def back_from_elsewhere(one: Machine, other: Machine) -> Picture:
    """What both have after the folder that was moved away is in its place again."""
    (one.home / "elsewhere").rename(one.folder)
    one.phase("in sync")
    return agree(one, other)


@pytest.mark.slow
def test_an_emptied_folder_deletes_nothing_elsewhere(site: Site) -> None:
    one, other = full_pair(site)
    before = other.picture()
    kept = one.home / "kept"
    shutil.copytree(one.folder, kept, symlinks=True)
    empty(one.folder)
    one.phase("held")
    assert other.picture() == before
    # Back as it was, marker and all: the hold ends.
    empty(one.folder)
    shutil.copytree(kept, one.folder, symlinks=True, dirs_exist_ok=True)
    one.phase("in sync")
    assert agree(one, other) == before


@pytest.mark.any_server
@pytest.mark.slow
def test_a_folder_that_is_moved_away_and_back_goes_on(site: Site) -> None:
    one, other = full_pair(site)
    before = other.picture()
    one.folder.rename(one.home / "elsewhere")
    one.phase("held")
    other.write("meanwhile", "m")
    other.wait()
    assert set(before) <= set(other.picture())
    assert back_from_elsewhere(one, other) == {**before, "meanwhile": b"m"}


@pytest.mark.any_server
@pytest.mark.slow
def test_another_folder_in_its_place_is_not_synced(site: Site) -> None:
    one, other = full_pair(site)
    before = other.picture()
    one.folder.rename(one.home / "elsewhere")
    one.folder.mkdir()
    one.write("not of this folder", "x")
    one.phase("held")
    other.wait()
    assert other.picture() == before
    assert one.picture() == {"not of this folder": b"x"}
    # The same after a restart.
    one.stop()
    one.start(wait=False)
    one.phase("held")
    assert other.picture() == before
    one.path("not of this folder").unlink()
    empty(one.folder)
    one.folder.rmdir()
    assert back_from_elsewhere(one, other) == before


@pytest.mark.any_server
@pytest.mark.slow
def test_a_folder_that_is_missing_at_the_start_is_held_until_it_is_back(site: Site) -> None:
    one, other = full_pair(site)
    before = other.picture()
    one.stop()
    one.folder.rename(one.home / "elsewhere")
    for _ in range(2):  # the hold survives restarts
        one.start(wait=False)
        [hold] = one.phase("held").holds
        assert "the folder is missing" in hold.reason
        assert hold.entries == len(before)
        shown = one.run("status")
        assert "the folder is missing: mount it or put it back" in shown.stdout
        assert not one.folder.exists()
        one.stop()
    assert one.run("sync", one.folder, "--name", one.bucket).returncode == Exit.HELD
    one.start(wait=False)
    one.phase("held")
    other.write("meanwhile", "m")
    other.wait()
    assert set(before) <= set(other.picture())
    assert back_from_elsewhere(one, other) == {**before, "meanwhile": b"m"}


@pytest.mark.any_server
@pytest.mark.slow
def test_approving_a_missing_folder_deletes_what_was_in_it(site: Site) -> None:
    """The user's word is the user's word: the other machine's user is asked in turn."""
    one, other = full_pair(site)
    before = other.picture()
    one.stop()
    one.folder.rename(one.home / "elsewhere")
    one.start(wait=False)
    one.phase("held")
    assert one.run("approve", one.folder).returncode == 0
    other.phase("held")
    assert other.picture() == before
    other.ask("approve")
    assert agree(one, other) == {}


@pytest.fixture
def mount(site: Site) -> Iterator[Callable[[Path], Callable[[], None]]]:
    """Mounts a small file system at a path; the value unmounts it."""
    mounted: list[Path] = []

    def unmount(path: Path) -> None:
        subprocess.run(["umount", "--lazy", path], check=True)
        mounted.remove(path)

    def make(path: Path) -> Callable[[], None]:
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", path], capture_output=True, check=False
        )
        if made.returncode:
            pytest.skip("file systems cannot be mounted here")
        mounted.append(path)
        return lambda: unmount(path)

    yield make
    for machine in site.places:
        if isinstance(machine, Machine) and machine.running is not None:
            machine.stop()
    for path in list(mounted):
        unmount(path)


@pytest.mark.any_server
@pytest.mark.slow
@pytest.mark.parametrize("running", [True, False])
def test_an_unmounted_folder_deletes_nothing_elsewhere(
    site: Site, mount: Callable[[Path], Callable[[], None]], running: bool
) -> None:
    one, other = site.pair()
    unmount = mount(one.folder)
    for path, data in FILES.items():
        one.write(path, data)
    start(one, other)
    before = agree(one, other)
    kept = one.home / "disk"
    kept.mkdir()
    if not running:
        one.stop()
    # The disk itself stays, out of reach of its folder; what is seen there now is the empty directory below.
    subprocess.run(["mount", "--bind", one.folder, kept], check=True)
    try:
        unmount()
        if not running:
            one.start(wait=False)
        one.phase("held", timeout=5.0)
        other.write("meanwhile", "m")
        other.wait()
        assert other.picture() == {**before, "meanwhile": b"m"}
        assert "meanwhile" not in one.names()
        subprocess.run(["mount", "--bind", kept, one.folder], check=True)
        try:
            one.phase("in sync")
            assert agree(one, other) == {**before, "meanwhile": b"m"}
            one.stop()
        finally:
            subprocess.run(["umount", "--lazy", one.folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", kept], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("running", [True, False])
def test_last_month_s_backup_deletes_and_replaces_nothing_elsewhere(site: Site, running: bool) -> None:
    """Less than half of the folder is missing in it, so its number alone would not hold it back."""
    one, other = full_pair(site)
    one.stop()
    backup = one.home / "backup"
    shutil.copytree(one.folder, backup, symlinks=True)
    one.start()
    one.write("d1/f1", "edited since")
    one.write("new", "made since")
    one.path("d2/f2").unlink()
    now = agree(one, other)
    if not running:
        one.stop()
    one.folder.rename(one.home / "elsewhere")
    backup.rename(one.folder)
    if not running:
        one.start(wait=False)
    until(lambda: one.holds("new", "made since"), lambda: str(one.status()))
    shown = agree(one, other)
    [copy] = [path for path in shown if "conflict" in path]
    assert shown == {**now, copy: FILES["d1/f1"]}, "what was edited since stands, and what was deleted since stays so"
    assert one.running is not None
    assert "put back from a backup" in one.running.text()


@pytest.mark.any_server
@pytest.mark.slow
def test_a_folder_that_was_copied_to_another_disk_just_goes_on(site: Site) -> None:
    one, other = full_pair(site)
    one.stop()
    shutil.copytree(one.folder, one.home / "copy", symlinks=True)
    shutil.rmtree(one.folder)
    (one.home / "copy").rename(one.folder)
    one.write("d0/f0", "edited before the start")
    one.path("d0/f3").unlink()
    one.start()
    shown = agree(one, other)
    assert shown["d0/f0"] == b"edited before the start"
    assert "d0/f3" not in shown
    assert not any("conflict" in path for path in shown)
