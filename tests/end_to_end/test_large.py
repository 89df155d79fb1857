"""Much at once: a real tree, a git clone, thousands of files renamed, a large file. What this costs is counted, not timed."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import Machine, agree, start, until
from tests.end_to_end.pictures import inodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
PATIENCE = 120.0
MEGABYTE = 1 << 20
GIT = ("git", "-c", "user.name=Anna", "-c", "user.email=anna@example.org", "-c", "commit.gpgsign=false")


def git(directory: Path, *words: str) -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        [*GIT, *words], cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_directory_of_thousands_of_files_is_renamed_by_one_change(site: Site) -> None:
    one, other = site.pair()
    each = 200 if site.plain else 400  # the change is the same
    for directory in range(10):
        one.path(f"big/d{directory}").mkdir(parents=True)
        for name in range(each):
            one.path(f"big/d{directory}/f{name}").write_bytes(b"%d %d" % (directory, name))
    start(one, other)
    until(lambda: len(other.names()) == 1 and other.status().entries == 10 * each + 11, other.status, PATIENCE)
    agree(one, other, timeout=PATIENCE)
    before = site.server.count(one.bucket)
    before_inodes = inodes(other.path("big"))
    one.path("big").rename(one.path("renamed"))
    until(lambda: other.path("renamed").exists())
    agree(one, other, timeout=PATIENCE)
    assert site.server.count(one.bucket) == before + 1, "one change"
    assert inodes(other.path("renamed")) == before_inodes, "every inode is the old one"
    # And while the machine is off.
    one.stop()
    one.path("renamed").rename(one.path("again"))
    one.path("again/d3").rename(one.path("d3 on top"))
    one.start()
    until(lambda: other.path("d3 on top").exists())
    agree(one, other, timeout=PATIENCE)
    assert site.server.count(one.bucket) == before + 3


def test_what_is_moved_into_a_directory_that_was_just_made_is_moved_and_not_sent_again(site: Site) -> None:
    """The new directory is looked into before the watcher has told of the moves."""
    one, other = site.pair()
    for number in range(4):
        one.path(f"big{number}").mkdir()
        for name in range(100):
            one.path(f"big{number}/f{name}").write_bytes(b"%d %d" % (number, name))
        for name in range(10):
            one.path(f"single{number}-{name}").write_bytes(b"single %d %d" % (number, name))
    start(one, other)
    agree(one, other, timeout=PATIENCE)
    before, before_inodes = site.server.count(one.bucket), set(inodes(other.folder).values())
    for number in range(4):
        one.path(f"new{number}").mkdir()
        one.path(f"big{number}").rename(one.path(f"new{number}/big"))
        for name in range(10):
            one.path(f"single{number}-{name}").rename(one.path(f"new{number}/{name}"))
    agree(one, other, timeout=PATIENCE)
    assert site.server.count(one.bucket) == before + 4 * 12
    assert before_inodes <= set(inodes(other.folder).values())


def test_a_git_clone_works_on_the_other_machine(site: Site) -> None:
    one, other = site.pair()
    start(one, other)
    origin = one.home / "origin"
    origin.mkdir()
    git(origin, "init", "--quiet", "--initial-branch", "main")
    for number in range(30):
        (origin / f"dir{number % 5}").mkdir(exist_ok=True)
        (origin / f"dir{number % 5}" / f"file{number}.txt").write_text(f"{number}\n" * number * 50)
        git(origin, "add", ".")
        git(origin, "commit", "--quiet", "-m", f"commit {number}")
    git(one.folder, "clone", "--quiet", "--no-local", str(origin), "clone")
    agree(one, other, timeout=PATIENCE)
    sound(other, one)
    # Work in it on both machines, one after the other.
    git(one.path("clone"), "checkout", "--quiet", "-b", "topic")
    one.write("clone/new.txt", "new")
    git(one.path("clone"), "add", ".")
    git(one.path("clone"), "commit", "--quiet", "-m", "new")
    git(one.path("clone"), "gc", "--quiet")
    agree(one, other, timeout=PATIENCE)
    sound(other, one)
    git(other.path("clone"), "checkout", "--quiet", "main")
    git(other.path("clone"), "merge", "--quiet", "topic")
    agree(one, other, timeout=PATIENCE)
    sound(one, other)
    assert one.holds("clone/new.txt", "new")


def sound(machine: Machine, other: Machine) -> None:
    """The index has the stamps of the files where it was made, so git looks at the contents once, and writes it again."""
    clone = machine.path("clone")
    found = git(clone, "fsck", "--full", "--strict")
    assert "error" not in found
    assert "missing" not in found
    assert git(clone, "status", "--porcelain") == ""
    agree(machine, other, timeout=PATIENCE)


def test_the_standard_library_arrives_as_it_is(site: Site) -> None:
    one, other = site.pair()
    source = Path(sysconfig.get_paths()["stdlib"])
    # Of three quarters of it, its tests, nothing else can be learned.
    left_out = shutil.ignore_patterns("site-packages", "test", "tests", "__pycache__")
    start(one, other)
    shutil.copytree(source, one.path("lib"), symlinks=True, ignore=left_out)
    here = one.picture()
    assert len(here) > 500
    assert agree(one, other, timeout=PATIENCE) == here
    # Again from a machine that has it already: nothing is sent.
    before = site.server.count(one.bucket)
    third = site.machine("gamma")
    shutil.copytree(source, third.path("lib"), symlinks=True, ignore=left_out)
    third.start(wait=False)
    assert agree(one, third, timeout=PATIENCE) == here
    assert site.server.count(one.bucket) == before


@pytest.mark.parametrize("kind", ["random", "compressible"])
def test_a_large_file_arrives_with_bounded_memory(site: Site, kind: str) -> None:
    if site.plain and kind == "compressible":
        pytest.skip("what can be compressed takes less memory at a plain server than what cannot")
    size = 256 if site.plain else 512  # half as fast, the bounds are the same
    if shutil.disk_usage(site.directory).free < 6 << 30:
        pytest.skip("needs 6 GiB of disk")
    server = site.own_server()
    server.start()
    one, other = site.pair()
    start(one, other)
    write_large(one.path("large"), kind, size)
    until(lambda: other.path("large").exists(), lambda: f"{one.status()}\n{other.status()}", PATIENCE)
    agree(one, other, timeout=PATIENCE)
    assert other.path("large").stat().st_size == size * MEGABYTE
    for place in (one, other, server):
        assert place.running is not None
        peak = place.running.peak()
        assert peak < 300 * MEGABYTE, f"{place.name} had {peak // MEGABYTE} MiB"
    stored = sum(path.stat().st_size for path in server.data.rglob("*") if path.is_file())
    # Objects hold base64, a third longer.
    longer = 1.4 if site.plain else 1.0
    assert stored < (1.08 if kind == "random" else 0.2) * size * longer * MEGABYTE
    # One megabyte changed inside costs a few, and where chunks are objects the same again in the database's own log.
    with one.path("large").open("r+b") as file:
        file.seek(size // 2 * MEGABYTE)
        file.write(os.urandom(MEGABYTE))
    agree(one, other, timeout=PATIENCE)
    more = sum(path.stat().st_size for path in server.data.rglob("*") if path.is_file()) - stored
    assert more < (24 if site.plain else 12) * MEGABYTE


def write_large(path: Path, kind: str, size: int) -> None:
    with path.open("wb") as out:
        for number in range(size):
            line = b"line %d of a log that says the same again and again\n" % number
            out.write(os.urandom(MEGABYTE) if kind == "random" else (line * 30_000)[:MEGABYTE])
