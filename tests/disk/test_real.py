"""RealDisk keeps the contract on this machine, with and without the newer system calls."""

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from ssyncd.disk import real, system
from ssyncd.disk.base import Stat
from ssyncd.disk.files import DROP_STEP
from ssyncd.disk.real import RealDisk
from ssyncd.disk.scanner import Scanner
from ssyncd.errors import ChangedError, DiskError, GoneError, NoSpaceError, RootError, UnreadableError
from ssyncd.planner.tree import Tree
from tests.disk.contract_disk import MTIME, TAG, DiskContract, put, there
from tests.disk.users import RealUser, Stepped


class TestRealDisk(DiskContract):
    @pytest.fixture(params=["plain", "without renameat2", "without openat2"])
    def disk(self, request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealDisk]:
        if request.param == "without renameat2":
            monkeypatch.setattr(system, "has_rename2", False)
        if request.param == "without openat2":
            monkeypatch.setattr(system, "_has_openat2", False)
        disk = RealDisk(tmp_path)
        yield disk
        disk.close()

    @pytest.fixture
    def user(self, tmp_path: Path) -> RealUser:
        return RealUser(tmp_path)


def test_special_files_are_shown_and_never_opened(disk: RealDisk, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert {stat.kind for stat in disk.list("").values()} == {"other"}
        for path in ("pipe", "socket"):
            with pytest.raises(UnreadableError):
                disk.open(path)


def test_names_that_are_not_utf8_come_and_go(disk: RealDisk, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")).write_bytes(b"x")
    (name,) = disk.list("")
    assert name == "\udcff\udcfe"
    disk.move(name, "plain", there(disk, name))
    assert disk.list("").keys() == {"plain"}


def test_a_name_that_cannot_be_written_is_an_error_of_that_path(disk: RealDisk) -> None:
    for path in ("\ud800", "\ud800/below"):
        with pytest.raises(DiskError):
            put(disk, path, b"")
        with pytest.raises(DiskError):
            disk.stat(path)
    with pytest.raises(DiskError):
        disk.list("\ud800")
    with pytest.raises(DiskError):
        disk.make_link("link", "\ud800", None)


def test_a_replaced_file_keeps_its_permissions_but_never_setuid(disk: RealDisk, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    file.chmod(0o4640)
    put(disk, "file", b"new", there(disk, "file"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    put(disk, "file", b"newer", there(disk, "file"), exec=True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o750


def test_a_new_file_has_the_permissions_of_the_umask(disk: RealDisk, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    put(disk, "file", b"")
    put(disk, "tool", b"", exec=True)
    plain = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == plain
    assert stat.S_IMODE((tmp_path / "tool").stat().st_mode) == plain | (plain & 0o444) >> 2


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, NoSpaceError),
        (errno.EDQUOT, NoSpaceError),
        (errno.EIO, UnreadableError),
        (errno.EACCES, UnreadableError),
        (errno.EMFILE, UnreadableError),
        (errno.EROFS, UnreadableError),
    ],
)
def test_whatever_call_fails_the_error_names_the_path_and_nothing_is_lost(
    disk: RealDisk, tmp_path: Path, number: int, error: type[DiskError]
) -> None:
    """Every elementary call of a replacing put fails once."""
    (tmp_path / "dir").mkdir()
    failed = 0
    for at in range(100):
        (tmp_path / "dir/file").write_bytes(b"old")
        expected = there(disk, "dir/file")
        staged = disk.stage(TAG)
        staged.write(b"new")
        staged.close()
        with _failing(disk, at, number) as happened:
            caught: DiskError | None = None
            try:
                disk.put(staged, "dir/file", expected, MTIME, False)
            except DiskError as mapped:
                caught = mapped
        if caught is not None:
            assert isinstance(caught, error | ChangedError)
            assert caught.path == "dir/file"
            failed += 1
        staged.discard()
        assert (tmp_path / "dir/file").read_bytes() in (b"old", b"new")
        for leftover in disk.leftovers():
            disk.drop(leftover)
        if not happened:
            break
    assert failed > 8


class _failing:
    def __init__(self, disk: RealDisk, at: int, number: int) -> None:
        self.disk, self.at, self.number = disk, at, number
        self.happened: list[str] = []

    def __enter__(self) -> list[str]:
        count = iter(range(1000))

        def hook(name: str) -> None:
            if next(count) == self.at:
                self.happened.append(name)
                raise OSError(self.number, os.strerror(self.number))

        self.before = self.disk._calls
        self._set(Stepped(self.before, hook))
        return self.happened

    def __exit__(self, *_: object) -> None:
        self._set(self.before)

    def _set(self, calls: Any) -> None:
        self.disk._calls = self.disk._mover._calls = calls


def test_an_unreadable_directory_is_not_gone(disk: RealDisk, tmp_path: Path, as_nobody: Callable[[], None]) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_bytes(b"x")
    (tmp_path / "dir").chmod(0)
    as_nobody()
    for look in (lambda: disk.list("dir"), lambda: disk.stat("dir/file"), lambda: disk.open("dir/file")):
        with pytest.raises(UnreadableError):
            look()


def test_a_read_only_directory_is_named(disk: RealDisk, tmp_path: Path, as_nobody: Callable[[], None]) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_bytes(b"x")
    (tmp_path / "dir").chmod(0o555)
    as_nobody()
    with pytest.raises(UnreadableError, match="dir/file"):
        disk.remove("dir/file", TAG, there(disk, "dir/file"))
    with pytest.raises(UnreadableError, match="dir/new"):
        put(disk, "dir/new", b"x")
    assert disk.list("dir").keys() == {"file"}


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Give up root's way around permissions, for the rest of the test."""
    here = os.geteuid()

    def drop() -> None:
        if here == 0:
            for path in [tmp_path, *tmp_path.rglob("*")]:
                os.chown(path, 65534, 65534, follow_symlinks=False)
            os.seteuid(65534)

    yield drop
    if here == 0:
        os.seteuid(0)
    for path in tmp_path.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def test_very_deep_paths_work(disk: RealDisk) -> None:
    path = ""
    for _ in range(30):
        path = f"{path}/{'d' * 100}" if path else "d" * 100
        disk.make_dir(path)
    put(disk, f"{path}/file", b"deep")
    reader = disk.open(f"{path}/file")
    assert reader.read(10) == b"deep"
    reader.close()


def test_handles_do_not_leak(disk: RealDisk, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        seen = put(disk, "dir/file", b"x")
        with pytest.raises(ChangedError):
            put(disk, "dir/file", b"z")
        put(disk, "dir/file", b"y", seen, keep="dir/kept")
        disk.remove("dir/kept", TAG, seen)
        disk.remove("dir/file", TAG, there(disk, "dir/file"))
        with pytest.raises(GoneError):
            disk.open("dir/file")
        disk.list("dir")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_could_not_be_opened_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of the try that failed is not in the way."""
    with monkeypatch.context() as patch:
        patch.setattr(real, "_probe", failing)
        with pytest.raises(RootError, match="cannot be written"):
            RealDisk(tmp_path)
    RealDisk(tmp_path).close()


def failing(_: int) -> NoReturn:
    raise RootError("the folder cannot be written: input/output error")


@pytest.mark.parametrize("refusal", [None, OSError(errno.EINVAL, "no")])
def test_a_long_file_is_dropped_behind_while_it_is_written_and_while_it_is_read_once(
    disk: RealDisk, monkeypatch: pytest.MonkeyPatch, refusal: OSError | None
) -> None:
    dropped: list[tuple[int, int]] = []

    def note(handle: int, offset: int, size: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_DONTNEED
        dropped.append((offset, size))
        if refusal is not None:
            raise refusal
        os.posix_fadvise(handle, offset, size, advice)

    monkeypatch.setattr(system, "_fadvise", note)
    piece = bytes(range(256)) * (20 * 1024)
    ends = [(0, 2 * len(piece)), (0, 4 * len(piece))]
    with disk.stage(TAG) as staged:
        for _ in range(4):
            staged.write(piece)
        assert staged.read_at(len(piece), 3 * len(piece)) == piece
        assert staged.size() == 4 * len(piece)
    assert dropped == ends
    disk.put(staged, "long", None, 0, False)
    dropped.clear()
    with disk.open("long") as reader:
        assert [reader.read_once(len(piece), n * len(piece)) for n in range(4)] == [piece] * 4
        assert reader.read_at(4 * len(piece), 0) == 4 * piece
    assert dropped == ends


def test_where_the_system_cannot_drop_nothing_happens(disk: RealDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_fadvise", None)
    with disk.stage(TAG) as staged:
        staged.write(bytes(DROP_STEP))
        assert staged.size() == DROP_STEP


@pytest.mark.parametrize("lots", [[["a", "none", "b"]], [["a", "none"], ["b"]], [["a"], [], ["none", "b"]]])
def test_names_are_unlinked_beside_what_is_done_meanwhile(
    disk: RealDisk, tmp_path: Path, lots: list[list[str]]
) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"")
    failed = disk._calls.unlink_all(disk._calls.root, iter(lots))
    assert {name: type(error) for name, error in failed.items()} == {"none": FileNotFoundError}
    assert disk.list("") == {}
    assert disk._calls.unlink_all(disk._calls.root, iter([])) == {}


def test_this_disk_keeps_modes_and_times(disk: RealDisk, tmp_path: Path) -> None:
    assert there_is(disk, tmp_path).exec is False
    assert disk.grain < 1_000_000


def test_what_is_written_is_stamped_by_the_clock_that_is_asked(disk: RealDisk, tmp_path: Path) -> None:
    """Not by the time of day, which is ahead of it by a part of a tick, or by more."""
    for _ in range(200):
        before = system.stamp()
        (tmp_path / "file").write_bytes(b"x")
        assert before <= there(disk, "file").mtime <= time.time_ns()


@pytest.mark.parametrize(("kind", "written"), [("ext4", True), ("fuse", True), ("nfs", False), ("smb", False)])
def test_a_lease_that_a_network_s_disk_refuses_says_nothing(
    kind: str, written: bool, disk: RealDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS 4 and SMB have none without the server's word for it; nothing would ever be replaced there."""

    def refuse(_handle: int, call: int, _value: int) -> int:
        if call == fcntl.F_SETLEASE:
            raise BlockingIOError(errno.EAGAIN, "no delegation")
        return 0

    magic = {"ext4": 0xEF53, "fuse": 0x65735546, "nfs": 0x6969, "smb": 0xFE534D42}
    monkeypatch.setattr(system, "_kind", lambda _: magic[kind])
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    (tmp_path / "file").write_bytes(b"old")
    assert disk.being_written("file") is written
    if written:
        with pytest.raises(ChangedError, match="writing"):
            put(disk, "file", b"new", there(disk, "file"))
    else:
        put(disk, "file", b"new", there(disk, "file"))


@pytest.mark.parametrize("shared", [False, True])
def test_the_clock_of_a_shared_disk_may_be_another_one(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written half a second ago by one clock is just now by another."""
    monkeypatch.setattr(system, "is_shared", lambda _: shared)
    with closing(RealDisk(tmp_path)) as disk:
        scanner = Scanner(disk, Tree(), lambda *_: False, lambda *_: "key")
        scanner.stamp = system.stamp
        stat = there_is(disk, tmp_path)
        scanner.looked_into("key", stat._replace(mtime=stat.mtime - real.SKEW // 2))
        assert ("key" in scanner.young) is shared


def there_is(disk: RealDisk, root: Path) -> Stat:
    (root / "file").write_bytes(b"x")
    return there(disk, "file")


@pytest.mark.parametrize("error", [None, errno.EPERM, errno.EINVAL])
def test_a_disk_that_sets_no_modes_is_not_believed_about_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int | None
) -> None:
    """FAT, and NTFS in a common way to mount it: every file is executable, or none."""

    def chmod(*_: Any, **__: Any) -> None:
        if error is not None:
            raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "chmod", chmod)
    disk = RealDisk(tmp_path)
    assert there_is(disk, tmp_path).exec is None
    assert put(disk, "tool", b"1", exec=True).exec is None
    disk.close()


def test_a_disk_that_cannot_be_asked_about_modes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chmod(*_: Any, **__: Any) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "chmod", chmod)
    with pytest.raises(RootError, match="input/output error"):
        RealDisk(tmp_path)


@pytest.mark.parametrize(("step", "grain"), [(1, 0), (100, 100), (10**9, 10**9), (2 * 10**9, 2 * 10**9)])
def test_how_times_step_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, grain: int) -> None:
    utime = os.utime

    def coarse(path: Any, ns: tuple[int, int], **options: Any) -> None:
        utime(path, ns=(ns[0] // step * step, ns[1] // step * step), **options)

    monkeypatch.setattr(os, "utime", coarse)
    disk = RealDisk(tmp_path)
    assert disk.grain == grain
    disk.close()


def test_only_the_spelling_that_is_there_is_found_where_names_fold(
    disk: RealDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/Name").touch()
    look = disk._calls.look
    monkeypatch.setattr(disk._calls, "folds", True)
    monkeypatch.setattr(disk._calls, "look", lambda directory, name: look(directory, name.replace("NAME", "Name")))
    assert disk.stat("dir/Name") is not None
    assert disk.stat("dir/NAME") is None


def test_what_lstat_says_fits_into_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inode numbers of some network's disks are hashes of 64 bits, and times go further than nanoseconds in so many."""
    disk = RealDisk(tmp_path)
    (tmp_path / "file").touch()
    seen = os.lstat(tmp_path / "file")
    for inode, when in ((2**64 - 2, 2**70), (2**63 + 5, -(2**70)), (7, 5)):
        facts = {name: getattr(seen, name) for name in ("st_mode", "st_size", "st_dev")}
        odd = SimpleNamespace(**facts, st_ino=inode, st_mtime_ns=when, st_ctime_ns=when)
        with monkeypatch.context() as patch:
            patch.setattr(os, "lstat", lambda *_, odd=odd, **__: odd)
            found = disk.stat("file")
        assert found is not None
        assert 0 <= found.inode < 2**63
        assert found.inode % 2**63 == inode % 2**63
        assert abs(found.mtime) == abs(found.ctime) == min(abs(when), 2**63 - 1)
    disk.close()
