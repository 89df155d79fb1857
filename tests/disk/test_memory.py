"""MemoryDisk keeps the contract in all its kinds, and crashes as a disk does."""

import errno
from random import Random
from typing import Any

import pytest

from ssyncd.disk.base import Hint, Rescan, Touched
from ssyncd.disk.memory import MemoryDisk, MemoryWatcher, User
from ssyncd.errors import ChangedError, NoSpaceError, RootError
from tests.disk.contract_disk import TAG, DiskContract, put, there


class TestMemoryDisk(DiskContract):
    @pytest.fixture(params=["plain", "folding", "without exchange"])
    def disk(self, request: Any) -> MemoryDisk:
        return MemoryDisk(folds=request.param == "folding", exchanges=request.param != "without exchange")

    @pytest.fixture
    def user(self, disk: MemoryDisk) -> User:
        return disk.user


def test_what_was_not_flushed_is_gone_after_a_crash() -> None:
    disk = MemoryDisk()
    put(disk, "kept", b"1")
    disk.flush()
    put(disk, "lost", b"2")
    disk.crash()
    assert disk.user.tree() == {"kept": b"1"}


def test_names_survive_a_crash_in_their_order_and_bytes_that_were_not_flushed_do_not() -> None:
    outcomes = set()
    for keep in range(20):
        disk = MemoryDisk()
        put(disk, "one", b"1")
        put(disk, "two", b"2")
        disk.crash(keep)
        outcomes.add(tuple(sorted(disk.user.tree().items())))
    assert outcomes == {(), (("one", b""),), (("one", b""), ("two", b""))}


def test_a_crash_undoes_exactly_what_was_done() -> None:
    disk = MemoryDisk()
    disk.user.make_dir("dir")
    disk.user.write("dir/file", b"old")
    disk.user.link("link", "x")
    disk.flush()
    before = disk.user.tree()
    disk.user.rename("dir", "moved")
    disk.user.write("moved/file", b"new")
    disk.user.delete("link")
    disk.move("moved", "again", there(disk, "moved"))
    disk.crash()
    assert disk.user.tree() == before
    assert disk.list("dir")["file"].size == 3


def test_a_freed_inode_number_is_used_again() -> None:
    disk = MemoryDisk()
    first = disk.user.write("one", b"1")
    disk.user.delete("one")
    assert disk.user.write("two", b"2").inode == first.inode


def test_a_full_disk_says_so_and_keeps_what_is_there() -> None:
    disk = MemoryDisk(capacity=10)
    staged = disk.stage(TAG)
    with pytest.raises(NoSpaceError):
        staged.write(b"x" * 11)
    staged.discard()
    assert disk.user.tree() == {}


def test_what_cannot_be_discarded_now_is_a_leftover() -> None:
    disk = MemoryDisk()
    staged = disk.stage(TAG)

    def fail(call: str, _: str) -> None:
        if call == "unlink":
            raise OSError(errno.EIO, "input/output error")

    disk.on_step = fail
    staged.discard()
    disk.on_step = None
    [left] = disk.leftovers()
    assert (left.tag, left.origin) == (TAG, "staged")
    disk.drop(left)
    assert not disk.leftovers()


def test_a_lost_root_is_not_an_empty_folder() -> None:
    disk = MemoryDisk()
    disk.user.write("file", b"x")
    disk.lose_root()
    for look in (disk.check_root, lambda: disk.list("")):
        with pytest.raises(RootError):
            look()
    disk.lose_root("")
    disk.user.delete(".ssyncd/folder")
    with pytest.raises(RootError):
        disk.list("")


def test_on_a_folding_disk_another_spelling_is_the_same_place() -> None:
    disk = MemoryDisk(folds=True)
    disk.user.write("Read.me", b"mine")
    with pytest.raises(ChangedError):
        put(disk, "READ.ME", b"theirs")
    with pytest.raises(ChangedError):
        disk.make_dir("read.ME")
    disk.move("Read.me", "README", there(disk, "Read.me"))
    assert disk.user.tree() == {"README": b"mine"}


class Heard:
    def __init__(self, disk: MemoryDisk, auto: bool = True) -> None:
        self.calls: list[list[Hint]] = []
        self.watcher = MemoryWatcher(disk, auto)
        self.watcher.start(lambda hints: self.calls.append(list(hints)))


def test_the_user_and_our_own_echoes_are_heard_but_nothing_of_ours() -> None:
    disk = MemoryDisk()
    heard = Heard(disk)
    disk.user.write("file", b"x")
    disk.user.make_dir("dir")
    disk.user.rename("file", "dir/file")
    put(disk, "new", b"y")
    disk.park("new", TAG, there(disk, "new"))
    assert heard.calls == [
        [Touched("file", writing=True)],
        [Touched("file", writing=True)],
        [Touched("file")],
        [Rescan("dir", "a new directory")],
        [Touched("file"), Touched("dir/file")],
        [Touched("new")],
        [Touched("new")],
    ]


def test_hints_can_be_held_back_lost_shuffled_and_overflow() -> None:
    disk = MemoryDisk()
    heard = Heard(disk, auto=False)
    for name in "abcdef":
        disk.user.link(name, "x")
    assert heard.calls == []
    heard.watcher.drop(2)
    heard.watcher.shuffle(Random(1))
    assert heard.watcher.deliver(3) == 3
    assert len(heard.calls) == 3
    heard.watcher.overflow()
    assert heard.calls[3:] == [[Rescan("", "the kernel's queue overflowed")]]
    heard.watcher.stop()
    disk.user.link("late", "x")
    assert heard.watcher.deliver() == 0


def test_an_unwatched_directory_is_silent_until_retried() -> None:
    disk = MemoryDisk()
    disk.user.make_dir("dir")
    heard = Heard(disk)
    heard.watcher.unwatch("dir")
    disk.user.write("dir/file", b"x")
    assert heard.calls == []
    assert heard.watcher.unwatched() == {"dir": "permission denied"}
    heard.watcher.retry()
    assert heard.calls == [[Rescan("dir", "it can be watched again")]]
    assert heard.watcher.unwatched() == {}
