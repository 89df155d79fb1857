"""Every kind of change goes both ways, live and after any time offline, in either order of starting."""

import os
from collections.abc import Callable

import pytest

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import Machine, agree, start, stop, until

BEFORE = {
    "keep.txt": b"as it was\n",
    "edit.txt": b"old\n",
    "edit.bin": bytes(range(256)) * 1000,
    "gone.txt": b"to be deleted\n",
    "rename.txt": b"to be renamed\n",
    "tool": b"#!/bin/sh\n",
    "d/one": b"1",
    "d/e/two": b"2",
    "old/inside": b"goes with its directory",
    "from/here": b"moves to another directory",
    "to/there": b"",
}


def fill(machine: Machine) -> None:
    for path, data in BEFORE.items():
        machine.write(path, data)
    machine.path("link").symlink_to("keep.txt")
    machine.path("void").mkdir()


def change(machine: Machine) -> None:
    """One change of every kind."""
    machine.write("new.txt", "new\n")
    machine.write("empty")
    machine.write("big", os.urandom(3_000_000))
    machine.write("edit.txt", "new text\n")
    machine.write("edit.bin", bytes(range(256)) * 1000 + b"more")
    machine.path("gone.txt").unlink()
    machine.path("rename.txt").rename(machine.path("renamed.txt"))
    machine.path("tool").chmod(0o755)
    machine.path("d").rename(machine.path("moved d"))
    machine.write("moved d/e/two", b"edited after the move")
    machine.path("old/inside").unlink()
    machine.path("old").rmdir()
    machine.path("from/here").rename(machine.path("to/here"))
    machine.path("link").unlink()
    machine.path("link").symlink_to("new.txt")
    machine.path("dangling").symlink_to("/nowhere/at all")
    machine.path("void").rmdir()
    machine.path("other void/deeper").mkdir(parents=True)
    machine.write("keep.txt", b"replaced by an editor").rename(machine.path("keep.tmp"))
    machine.path("keep.tmp").replace(machine.path("keep.txt"))
    machine.write("naïve – 名前 \t'\"\\.txt", "a name")


@pytest.mark.parametrize("first", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_every_kind_of_change_arrives_while_both_run(site: Site, first: int) -> None:
    one, other = site.pair()[:: -1 if first else 1]
    fill(one)
    start(one, other)
    before = agree(one, other)
    assert {path for path in before if not path.endswith("/")} == {*BEFORE, "link"}
    change(one)
    here = one.picture()
    assert agree(one, other) == here
    assert here["tool*"] == b"#!/bin/sh\n"
    # And back: the one that only received undoes some of it.
    other.path("tool").chmod(0o644)
    other.path("moved d").rename(other.path("d"))
    other.write("edit.txt", "from the other\n")
    other.path("big").unlink()
    other.path("other void/deeper").rmdir()
    back = other.picture()
    assert agree(one, other) == back
    assert "big" not in back
    assert "tool" in back


def offline_here(one: Machine, other: Machine) -> None:
    """The machine of the user is off when the change is made, the other is on all the time."""
    one.stop()
    change(one)
    one.start()


def offline_there(one: Machine, other: Machine) -> None:
    other.stop()
    change(one)
    one.wait()
    until(lambda: one.status().pending == 0)
    other.start()


def offline_both(one: Machine, other: Machine) -> None:
    stop(one, other)
    change(one)
    start(other, one)


def offline_after(one: Machine, other: Machine) -> None:
    """Never both on at once."""
    stop(one, other)
    change(one)
    one.start()
    one.stop()
    other.start()
    one.start()


SLOW = [pytest.param(story, marks=pytest.mark.slow) for story in (offline_here, offline_there, offline_after)]


@pytest.mark.slow
@pytest.mark.parametrize("story", [offline_both, *SLOW])
def test_every_kind_of_change_arrives_after_time_offline(site: Site, story: Callable[[Machine, Machine], None]) -> None:
    one, other = site.pair()
    fill(one)
    start(one, other)
    agree(one, other)
    inode = other.path("d/one").stat().st_ino
    story(one, other)
    here = one.picture()
    assert agree(one, other) == here
    assert here["moved d/one"] == b"1"
    assert other.path("moved d/one").stat().st_ino == inode, "it was moved, not fetched again"


@pytest.mark.slow
def test_an_edit_takes_its_modification_time_along(site: Site) -> None:
    one, other = site.pair()
    one.write("old", b"x" * 10)
    os.utime(one.path("old"), ns=(0, 1_234_567_890_123_456_000))
    start(one, other)
    agree(one, other)
    assert other.path("old").stat().st_mtime_ns == 1_234_567_890_123_456_000


@pytest.mark.slow
def test_kinds_change_at_one_place(site: Site) -> None:
    one, other = site.pair()
    one.write("a", "file")
    one.write("b/inside", "directory")
    one.path("c").symlink_to("a")
    start(one, other)
    agree(one, other)
    one.path("a").unlink()
    one.write("a/now", "a directory")
    one.path("b/inside").unlink()
    one.path("b").rmdir()
    one.path("b").symlink_to("a")
    one.path("c").unlink()
    one.write("c", "a file")
    assert agree(one, other) == {
        "a/": "dir",
        "a/now": b"a directory",
        "b": "-> a",
        "c": b"a file",
    }


@pytest.mark.slow
def test_names_that_change_places_arrive(site: Site) -> None:
    one, other = site.pair()
    for name in "abc":
        one.write(name, f"was {name}")
    one.write("x/only x", "x")
    one.write("y/only y", "y")
    start(one, other)
    agree(one, other)
    one.stop()
    for old, new in ("a", "t"), ("b", "a"), ("c", "b"), ("t", "c"), ("x", "t"), ("y", "x"), ("t", "y"):
        one.path(old).rename(one.path(new))
    one.start()
    shown = agree(one, other)
    assert (shown["a"], shown["b"], shown["c"]) == (b"was b", b"was c", b"was a")
    assert "x/only y" in shown
    assert "y/only x" in shown


@pytest.mark.slow
def test_a_third_machine_and_all_three_edit(site: Site) -> None:
    machines = [site.machine(name) for name in ("alpha", "beta", "gamma")]
    for machine in machines:
        machine.write(f"from {machine.name}", machine.name)
        machine.start(wait=False)
    agree(*machines)
    for number in range(5):
        for machine in machines:
            machine.write(f"shared/{machine.name}-{number}", f"{machine.name} {number}")
    machines[1].path("from alpha").rename(machines[1].path("taken by beta"))
    machines[2].path("from beta").unlink()
    shown = agree(*machines)
    assert len([path for path in shown if path.startswith("shared/")]) == 16
    assert shown["taken by beta"] == b"alpha"
    assert "from beta" not in shown
    assert not any("conflict" in path for path in shown)
