"""MemoryDisk keeps the contract in all its kinds, and crashes as a disk does."""

import errno
from random import Random
from typing import Any

import pytest

from ssyncd.disk.base import Arrival, Hint, Rescan, Touched
from ssyncd.disk.memory import MemoryDisk, MemoryWatcher, User
from ssyncd.errors import ChangedError, DiskError, NoSpaceError, RootError
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


def test_on_a_folding_disk_another_spelling_is_the_same_place_and_not_what_is_there() -> None:
    disk = MemoryDisk(folds=True)
    disk.user.write("Read.me", b"mine")
    disk.user.write("other", b"other")
    for change in (
        lambda: put(disk, "READ.ME", b"theirs"),
        lambda: disk.make_dir("read.ME"),
        lambda: disk.move("other", "read.me", there(disk, "other")),
    ):
        with pytest.raises(DiskError, match="differs in case only") as error:
            change()
        assert not isinstance(error.value, ChangedError)
    staged = disk.stage(TAG)
    staged.write(b"theirs")
    staged.close()
    [refused] = disk.put_new([Arrival(staged, "read.me", 1, False)]).values()
    assert isinstance(refused, DiskError)
    staged.discard()
    disk.user.delete("other")
    assert disk.stat("READ.ME") is None
    assert there(disk, "Read.me").size == 4
    disk.move("Read.me", "README", there(disk, "Read.me"))
    assert disk.user.tree() == {"README": b"mine"}


def test_on_a_disk_like_fat_nothing_is_said_of_executing_and_no_mode_is_set() -> None:
    disk = MemoryDisk().like_fat()
    with pytest.raises(PermissionError):
        disk.memory.chmod(disk.memory.root, ".ssyncd", 0o755)
    first = put(disk, "tool", b"1", exec=True)
    second = put(disk, "tool", b"22", there(disk, "tool"), exec=False)
    assert (first.exec, second.exec, disk.set_exec("tool", True, second).exec) == (None, None, None)
    assert [first.exec_or(known) for known in (True, False)] == [True, False]


def test_on_a_disk_like_fat_times_step_by_two_seconds() -> None:
    now = 1_700_000_000_000_000_000
    disk = MemoryDisk(clock=lambda: now).like_fat()
    disk.user.write("file", b"1")
    now += 1_999_999_999
    disk.user.write("file", b"2")
    assert there(disk, "file").mtime == now - 1_999_999_999
    now += 1
    disk.user.write("file", b"3")
    assert there(disk, "file").mtime == now


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
