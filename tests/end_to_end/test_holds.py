"""Plans that would delete most of a folder, or follow from a folder that is not there, wait for the user's word."""

import shutil
from pathlib import Path

import pytest

from ssyncd.errors import Exit
from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import Machine, agree, start, until

FILES = {f"d{number % 3}/f{number}": f"content {number}".encode() for number in range(30)}


def full_pair(site: Site) -> tuple[Machine, Machine]:
    one, other = site.pair()
    for path, data in FILES.items():
        one.write(path, data)
    start(one, other)
    agree(one, other)
    return one, other


def delete_most(machine: Machine) -> None:
    for path in list(FILES)[:25]:
        machine.path(path).unlink()


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


@pytest.mark.slow
def test_a_folder_that_is_moved_away_and_back_goes_on(site: Site) -> None:
    one, other = full_pair(site)
    before = other.picture()
    one.folder.rename(one.home / "elsewhere")
    one.phase("held")
    other.write("meanwhile", "m")
    other.wait()
    assert set(before) <= set(other.picture())
    (one.home / "elsewhere").rename(one.folder)
    one.phase("in sync")
    assert agree(one, other) == {**before, "meanwhile": b"m"}


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
    (one.home / "elsewhere").rename(one.folder)
    one.phase("in sync")
    assert agree(one, other) == before


def test_a_missing_folder_is_an_error_at_the_start_and_deletes_nothing(site: Site) -> None:
    one, other = full_pair(site)
    before = other.picture()
    one.stop()
    one.folder.rename(one.home / "elsewhere")
    refused = one.run("start", one.folder, "--name", one.bucket)
    assert refused.returncode == Exit.FAILED
    assert "is missing" in refused.stderr
    assert not one.folder.exists()
    other.wait()
    assert other.picture() == before
