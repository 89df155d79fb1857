"""What is found in `.ssyncd/` after a crash."""

from ssyncd.disk.memory import MemoryDisk
from ssyncd.folder.record import Record
from ssyncd.folder.recovery import recover
from ssyncd.planner.tree import Content, Entry, Kind
from tests.databases import MemoryDatabase

KEY, OTHER = "01" * 16, "02" * 16


def known(disk: MemoryDisk, record: Record, key: str, path: str) -> None:
    """The base and the local tree have this file at the top."""
    stat = disk.stat(path)
    assert stat is not None
    entry = Entry(key, "", path, Kind.FILE, Content("00" * 32, stat.size, 0, "pc"))
    record.base.put(entry)
    record.local.put(entry)
    record.stats[key] = stat


def make() -> tuple[MemoryDisk, Record]:
    return MemoryDisk(), Record(MemoryDatabase())


def test_what_was_moved_aside_comes_back_although_another_has_its_place() -> None:
    """Two files were changing places: one has arrived, the other is just what the base knows, but nowhere else."""
    disk, record = make()
    disk.user.write("a", b"one")
    known(disk, record, KEY, "a")
    disk.park("a", KEY, record.stats.get(KEY))
    disk.user.write("a", b"two")
    disk.restart()
    recover(disk, record)
    assert sorted(value for value in disk.user.tree().values() if value) == [b"one", b"two"]


def test_what_was_moved_aside_goes_back_to_its_place() -> None:
    disk, record = make()
    disk.user.write("a", b"one")
    known(disk, record, KEY, "a")
    disk.park("a", KEY, record.stats.get(KEY))
    disk.restart()
    recover(disk, record)
    assert disk.user.tree() == {"a": b"one"}
    assert not disk.leftovers()


def test_an_old_version_that_was_replaced_is_dropped_and_a_user_s_is_not() -> None:
    for data in (b"old", b"user's"):
        disk, record = make()
        disk.user.write("a", b"old")
        known(disk, record, KEY, "a")
        if data != b"old":
            disk.user.write("a", data)
        disk.user.rename("a", f".ssyncd/stage/{KEY}.aside.7")
        disk.user.write("a", b"new")
        disk.restart()
        recover(disk, record)
        kept = {b"new"} if data == b"old" else {b"new", data}
        assert set(disk.user.tree().values()) == kept
        assert not disk.leftovers()


def test_an_empty_directory_that_was_to_be_removed_goes_and_a_full_one_comes_back() -> None:
    disk, record = make()
    for number, names in enumerate(((), ("x",))):
        path = f".ssyncd/stage/{OTHER}.aside.{number}"
        disk.user.make_dir(path)
        for name in names:
            disk.user.write(f"{path}/{name}", b"kept")
    disk.restart()
    recover(disk, record)
    assert list(disk.user.tree().values()) == [None, b"kept"]
    assert not disk.leftovers()
