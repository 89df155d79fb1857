"""Somebody acts between any two elementary calls of ours: nothing they wrote is lost, nothing outside the folder changes."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ssyncd.disk import system
from ssyncd.disk.base import Arrival, Disk, Doomed, Wanted
from ssyncd.disk.memory import MemoryDisk
from ssyncd.disk.real import RealDisk
from ssyncd.errors import ChangedError, DiskError, NoSpaceError
from tests.disk.contract_disk import MTIME, OTHER, TAG, put, there
from tests.disk.users import RealUser, Stepped

KINDS = ["memory", "memory without exchange", "real", "real without renameat2", "real without openat2"]


class World:
    """A folder, somebody in it, and a place outside of it."""

    def __init__(self, disk: Disk, user: Any, outside: str) -> None:
        self.disk = disk
        self.user = user
        self.outside = outside

    def hook(self, act: Callable[[], None] | None) -> None:
        disk: Any = self.disk
        if isinstance(disk, MemoryDisk):
            disk.on_step = None if act is None else lambda *_: act()
            return
        while isinstance(disk._calls, Stepped):
            disk._calls = disk._calls._calls
        if act is not None:
            disk._calls = Stepped(disk._calls, lambda *_: act())
        disk._mover._calls = disk._together._calls = disk._calls

    def run(self, operation: Callable[[], object], act: Callable[[], None], at: int) -> tuple[bool, bool]:
        """Whether the act came, and whether the operation was refused."""
        count = iter(range(10_000))
        came = []

        def step() -> None:
            if next(count) == at:
                came.append(True)
                act()

        self.hook(step)
        try:
            operation()
        except DiskError:
            return bool(came), True
        finally:
            self.hook(None)
        return bool(came), False

    def contents(self) -> set[Any]:
        """All bytes and link targets there are, in the folder and among the leftovers."""
        found = set(self.user.tree().values())
        for leftover in self.disk.leftovers():
            if leftover.stat.kind == "file":
                reader = self.disk.open_leftover(leftover)
                found.add(reader.read(100))
                reader.close()
        return found

    def clear(self) -> None:
        for path in sorted(self.user.tree(), key=len):
            if "/" not in path:
                self.user.delete(path)
        for leftover in self.disk.leftovers():
            if leftover.stat.kind == "dir":
                self.disk.restore(leftover, "restored")
                self.user.delete("restored")
            else:
                self.disk.drop(leftover)


@pytest.fixture(params=KINDS)
def world(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    if request.param.startswith("memory"):
        disk = MemoryDisk(exchanges="without" not in request.param)
        disk.user.make_dir("outside")
        yield World(disk, disk.user, "outside")
        return
    if "renameat2" in request.param:
        monkeypatch.setattr(system, "has_rename2", False)
    if "openat2" in request.param:
        monkeypatch.setattr(system, "_has_openat2", False)
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    real = RealDisk(tmp_path / "root")
    yield World(real, RealUser(tmp_path / "root"), "../outside")
    real.close()


def _staged(disk: Disk, tag: str = TAG) -> Any:
    staged = disk.stage(tag)
    staged.write(b"theirs")
    staged.close()
    return staged


# Each gives the operation after it has set up the folder: dir/file holds "old", dir/empty is a directory.
def _put_new(disk: Disk) -> Callable[[], object]:
    staged = _staged(disk)
    return lambda: disk.put(staged, "dir/new", None, MTIME, True)


def _put_both(disk: Disk) -> Callable[[], object]:
    arrivals = [Arrival(_staged(disk, tag), f"dir/{name}", MTIME, True) for name, tag in (("new", TAG), ("too", OTHER))]

    def put() -> None:
        found = disk.put_new(arrivals)
        failed = [(arrival, one) for arrival in arrivals if isinstance(one := found[arrival.path], DiskError)]
        assert list(found) == ["dir/new", "dir/too"] or (failed and len(found) == 2)
        for arrival, _ in failed:
            arrival.staged.discard()
        for _, error in failed:
            raise error

    return put


def _put_over(disk: Disk) -> Callable[[], object]:
    staged, expected = _staged(disk), there(disk, "dir/file")
    return lambda: disk.put(staged, "dir/file", expected, MTIME, False)


def _move(disk: Disk) -> Callable[[], object]:
    expected = there(disk, "dir/file")
    return lambda: disk.move("dir/file", "dir/new", expected)


def _put_and_keep(disk: Disk) -> Callable[[], object]:
    staged, expected = _staged(disk), there(disk, "dir/file")
    return lambda: disk.put(staged, "dir/file", expected, MTIME, False, "dir/new")


def _park(disk: Disk) -> Callable[[], object]:
    expected = there(disk, "dir/file")
    return lambda: disk.park("dir/file", TAG, expected)


def _remove(disk: Disk) -> Callable[[], object]:
    expected = there(disk, "dir/file")
    return lambda: disk.remove("dir/file", TAG, expected)


def _remove_both(disk: Disk) -> Callable[[], object]:
    doomed = [Doomed(path, TAG, there(disk, path)) for path in ("dir/other", "dir/file")]

    def remove() -> None:
        for error in disk.remove_files(doomed).values():
            raise error

    return remove


def _remove_dir(disk: Disk) -> Callable[[], object]:
    expected = there(disk, "dir/empty")
    return lambda: disk.remove("dir/empty", TAG, expected)


def _make_dir(disk: Disk) -> Callable[[], object]:
    return lambda: disk.make_dir("dir/new")


def _make_link(disk: Disk) -> Callable[[], object]:
    return lambda: disk.make_link("dir/new", "theirs", None)


def _set_exec(disk: Disk) -> Callable[[], object]:
    expected = there(disk, "dir/file")
    return lambda: disk.set_exec("dir/file", True, expected)


OPERATIONS = [
    _put_new,
    _put_both,
    _put_over,
    _move,
    _put_and_keep,
    _park,
    _remove,
    _remove_both,
    _remove_dir,
    _make_dir,
    _make_link,
    _set_exec,
]


def _set_up(world: World, operation: Any = None) -> None:
    world.user.make_dir("dir")
    world.user.make_dir("dir/empty")
    world.user.write("dir/file", b"old")
    if operation is _remove_both:
        world.user.write("dir/other", b"other")


def _write_there(user: Any, path: str, data: bytes, how: str) -> None:
    """Somebody saves a file, whatever is there now."""
    found = user.tree().get(path, b"")
    if found is None:
        path = f"{path}/in"
    elif isinstance(found, str):
        how = "save"
    getattr(user, how)(path, data)


@pytest.mark.parametrize("how", ["write", "save"])
@pytest.mark.parametrize("path", ["dir/file", "dir/new", "dir/empty/in"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_written_between_any_two_calls_is_never_lost(world: World, operation: Any, path: str, how: str) -> None:
    came, at = True, 0
    while came:
        _set_up(world, operation)

        written: list[str] = []

        def act(written: list[str] = written) -> None:
            if path != "dir/empty/in" or "dir/empty" in world.user.tree():
                _write_there(world.user, path, b"mine!", how)
                written.append(path)

        came, _ = world.run(operation(world.disk), act, at)
        assert not written or b"mine!" in world.contents(), f"lost at call {at}"
        world.clear()
        at += 1
    assert at > 2


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_program_that_has_the_file_open_keeps_what_it_writes_later(world: World, operation: Any) -> None:
    came, at = True, 0
    while came:
        _set_up(world, operation)
        opened: list[Any] = []

        def act(opened: list[Any] = opened) -> None:
            if "dir/file" in world.user.tree():
                opened.append(world.user.open("dir/file", keep=True))

        came, _ = world.run(operation(world.disk), act, at)
        for writing in opened:
            writing.write(b"+late")
            writing.close()
        assert not opened or any(b"+late" in found for found in world.contents() if isinstance(found, bytes)), at
        world.clear()
        at += 1


@pytest.mark.parametrize("operation", [_put_over, _move, _put_and_keep, _park, _remove, _set_exec])
def test_a_file_deleted_between_any_two_calls_does_no_harm(world: World, operation: Any) -> None:
    came, at = True, 0
    while came:
        _set_up(world, operation)
        world.user.write("dir/beside", b"beside")

        def act() -> None:
            if "dir/file" in world.user.tree():
                world.user.delete("dir/file")

        came, _ = world.run(operation(world.disk), act, at)
        assert b"beside" in world.contents()
        world.clear()
        at += 1


def _failing(world: World, operation: Any) -> Iterator[tuple[int, bool]]:
    """The operation with its first call failing, then its second, and so on: which one it was, and whether it was refused."""
    came, at = True, 0

    def fail() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    while came:
        _set_up(world, operation)
        came, refused = world.run(operation(world.disk), fail, at)
        yield at, refused
        world.clear()
        at += 1
    assert at > 2


@pytest.mark.parametrize("operation", [_remove, _remove_dir])
def test_what_could_not_be_removed_is_where_it_was(world: World, operation: Any) -> None:
    """Not in the stage: its directory may be removed next, and then it has no place to go back to."""
    for at, refused in _failing(world, operation):
        gone = {"dir/file", "dir/empty"} - world.user.tree().keys()
        assert not [one.origin for one in world.disk.leftovers() if one.origin == "aside"], f"left aside at call {at}"
        assert len(gone) == 1 - refused, f"call {at}"


@pytest.mark.parametrize("operation", [_put_new, _put_both, _make_link])
def test_what_could_not_be_put_is_not_there(world: World, operation: Any) -> None:
    """Else it would be taken for the user's own, when what it is on the server has another place by then."""
    for at, refused in _failing(world, operation):
        missing = {"dir/new", "dir/too" if operation is _put_both else "dir/new"} - world.user.tree().keys()
        assert bool(missing) == refused, f"call {at}"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_directory_carried_out_of_the_folder_is_not_changed_there(world: World, operation: Any) -> None:
    """Its place is taken by a link to where it went: the link is not followed, and what was done too late is undone."""
    came, at = True, 0
    while came:
        _set_up(world, operation)
        if world.outside == "outside" and "outside" not in world.user.tree():
            world.user.make_dir("outside")
        before = {path for path in world.user.tree() if path.startswith("dir/")}
        carried: list[Any] = []

        def act(carried: list[Any] = carried) -> None:
            carried.append({path for path in world.user.tree() if path.startswith("dir/")})
            world.user.rename("dir", f"{world.outside}/dir")
            world.user.link("dir", f"{world.outside}/dir")

        came, refused = world.run(operation(world.disk), act, at)
        if carried:
            assert _outside(world) == (before if refused else carried[0]), f"changed at call {at}"
            _bring_back(world)
        world.clear()
        at += 1
    assert at > 2


def test_of_a_directory_carried_out_of_the_folder_nothing_is_read(world: World) -> None:
    """Whatever is at its place then, and whatever somebody writes into its files outside."""
    came, at = True, 0
    while came:
        _set_up(world)
        world.user.write("dir/other", b"too")
        wanted = [Wanted(path, there(world.disk, path)) for path in ("dir/other", "dir/file")]
        if world.outside == "outside" and "outside" not in world.user.tree():
            world.user.make_dir("outside")
        found: list[Any] = []

        def act() -> None:
            world.user.rename("dir", f"{world.outside}/dir")
            world.user.write(f"{world.outside}/dir/file", b"not")
            world.user.link("dir", f"{world.outside}/dir")

        came, _ = world.run(lambda wanted=wanted, found=found: found.extend(world.disk.read_files(wanted)), act, at)
        assert found == [(b"too", False), (b"old", False)] or (
            came and all(isinstance(one, DiskError) for one in found)
        ), at
        if came:
            _bring_back(world)
        world.clear()
        at += 1
    assert at > 2


def _outside(world: World) -> set[str]:
    if world.outside == "outside":
        return {path.removeprefix("outside/") for path in world.user.tree() if path.startswith("outside/dir/")}
    outside = world.user.root.parent / "outside"
    return {str(path.relative_to(outside)) for path in outside.rglob("*") if path != outside / "dir"}


def _bring_back(world: World) -> None:
    world.user.delete("dir")
    world.user.rename(f"{world.outside}/dir", "dir")


def test_three_versions_at_one_place_are_all_kept() -> None:
    """One write before the exchange, another after it: the second stays, the first is found among the leftovers or there."""
    disk = MemoryDisk()
    disk.user.write("file", b"old")
    staged, expected = _staged(disk), there(disk, "file")
    exchanges: list[str] = []

    def step(name: str, _: str) -> None:
        if name == "exchange":
            exchanges.append(name)
            disk.user.save("file", b"first" if len(exchanges) == 1 else b"second")

    disk.on_step = step
    with pytest.raises(DiskError):
        disk.put(staged, "file", expected, MTIME, False)
    disk.on_step = None
    assert World(disk, disk.user, "").contents() >= {b"first", b"second"}


def test_a_file_that_takes_the_place_of_a_directory_just_made_is_not_told_as_that() -> None:
    """The file's stat would be the directory's, and no look would ever find the file."""
    disk = MemoryDisk()
    disk.user.write("file", b"theirs")

    def step(name: str, path: str) -> None:
        if name == "look" and path == "new":
            disk.on_step = None
            disk.user.delete("new")
            disk.user.rename("file", "new")

    disk.on_step = step
    with pytest.raises(ChangedError):
        disk.make_dir("new")
    assert disk.user.tree() == {"new": b"theirs"}


def test_what_we_put_is_told_as_ours_even_if_somebody_writes_at_once() -> None:
    """The fingerprint that comes back is never that of the user's bytes: else their edit would pass for our echo."""
    at = 0
    while True:
        disk = MemoryDisk()
        world = World(disk, disk.user, "")
        staged = _staged(disk)
        seen: list[Any] = []

        def act(disk: MemoryDisk = disk) -> None:
            if "new" in disk.user.tree():
                disk.user.write("new", b"edited")  # as long as what we put

        operation = lambda: seen.append(disk.put(staged, "new", None, MTIME, False))  # noqa: B023, E731
        came, _ = world.run(operation, act, at)
        if not came:
            break
        if seen and disk.user.tree()["new"] == b"edited":
            assert not seen[0].same(there(disk, "new"))
        at += 1
    assert at > 3


def test_a_crash_at_any_call_leaves_every_content_to_be_found() -> None:
    """The old bytes were durable: they are in the folder or among the leftovers, or the new ones are in place."""

    class Crash(Exception):
        pass

    for operation in OPERATIONS:
        at, came = 0, True
        while came:
            came = False
            for keep in range(12):
                disk = MemoryDisk()
                world = World(disk, disk.user, "")
                _set_up(world, operation)
                run = operation(disk)
                disk.flush()
                count = iter(range(10_000))

                def step(*_: object, count: Any = count, at: int = at) -> None:
                    if next(count) == at:
                        raise Crash

                disk.on_step = step
                try:
                    run()
                except Crash:
                    came = True
                disk.crash(keep)
                kept = world.contents()
                assert (
                    b"old" in kept
                    or operation in (_remove, _remove_both)
                    or (operation is _put_over and b"theirs" in kept)
                )
                assert all(path.startswith("dir") for path in disk.user.tree())
            at += 1
        assert at > 3


def test_a_restart_finds_what_was_put_aside_by_its_origin() -> None:
    disk = MemoryDisk()
    disk.user.write("one", b"1")
    put(disk, "two", b"2")
    disk.park("one", TAG, there(disk, "one"))
    staged = disk.stage("half")
    staged.write(b"part")
    disk.restart()
    assert {(leftover.tag, leftover.origin) for leftover in disk.leftovers()} == {(TAG, "parked"), ("half", "staged")}
    assert disk.stage("half", resume=True).read_at(10, 0) == b"part"


@pytest.mark.parametrize(
    ("at", "keep", "origins", "content"),
    [
        ("exchange", None, [], b"old"),
        ("being_written", None, ["aside"], b"theirs"),
        ("unlink", None, ["aside"], b"theirs"),
        ("exchange", "kept", [], b"old"),
        ("being_written", "kept", ["parked"], b"theirs"),
    ],
)
def test_after_a_crash_in_an_exchange_ours_and_theirs_are_told_apart(
    at: str, keep: str | None, origins: list[str], content: bytes
) -> None:
    """What is ours is swept away; what was the user's waits to be looked at, and what was to be kept to be put back."""

    class Crash(Exception):
        pass

    disk = MemoryDisk()
    disk.user.write("file", b"old")
    staged, expected = _staged(disk), there(disk, "file")

    def step(name: str, path: str) -> None:
        if name == at and (at == "exchange" or path != "file"):
            raise Crash

    disk.on_step = step
    with pytest.raises(Crash):
        disk.put(staged, "file", expected, MTIME, False, keep)
    disk.restart()
    assert disk.user.tree() == {"file": content}
    assert [leftover.origin for leftover in disk.leftovers()] == origins


def test_staged_things_that_nobody_would_resume_are_swept_away_at_the_start() -> None:
    disk = MemoryDisk()
    for name in (
        "link.staged.7",
        f"{TAG}.staged.8",
        f"{TAG}.staged.9",
        "half.aside.1",
        "not ours",
        ".staged.",
        "x.parked.0",
    ):
        disk.user.write(f".ssyncd/stage/{name}", b"x")
    disk.restart()
    names = {leftover.name for leftover in disk.leftovers()}
    assert names == {f"{TAG}.staged.9", "half.aside.1", "x.parked.0"}
    assert disk.stage("new").size() == 0


def test_bytes_that_a_disk_cannot_keep_when_their_file_is_closed_are_forgotten(world: World) -> None:
    def full() -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    staged = world.disk.stage(TAG)
    staged.write(b"new")
    world.hook(full)
    staged._calls = world.disk._calls  # type: ignore[attr-defined]
    with pytest.raises(NoSpaceError):
        staged.close()
    world.hook(None)
    again = world.disk.stage(TAG, resume=True)
    assert again.size() == 0
    again.discard()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EXDEV])
def test_an_empty_directory_that_cannot_be_taken_aside_is_removed_where_it_is(number: int) -> None:
    disk = MemoryDisk()
    for path in ("empty", "full", "full/inside"):
        disk.make_dir(path)

    def refuse(call: str, _: str) -> None:
        if call == "rename":
            raise OSError(number, os.strerror(number))

    disk.on_step = refuse
    disk.remove("empty", TAG, there(disk, "empty"))
    with pytest.raises(DiskError):
        disk.remove("full", TAG, there(disk, "full"))
    assert set(disk.list("")) == {"full"}
