"""The root, its marker and its lock."""

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ssyncd.disk.real import RealDisk
from ssyncd.disk.root import is_missing
from ssyncd.errors import BusyError, RootError, UnreadableError, UnusableError


def test_a_new_folder_gets_an_identity_and_keeps_it(tmp_path: Path) -> None:
    disk = RealDisk(tmp_path)
    assert disk.fresh
    identity = disk.identity
    disk.close()
    again = RealDisk(str(tmp_path))
    assert (again.identity, again.fresh) == (identity, False)
    again.close()
    assert json.loads((tmp_path / ".ssyncd/folder").read_text()) == {"folder": identity}
    assert stat.S_IMODE((tmp_path / ".ssyncd").stat().st_mode) == 0o700


def test_an_identity_can_be_given_to_a_new_folder_only(tmp_path: Path) -> None:
    for wanted in ("first", "second"):
        disk = RealDisk(tmp_path, wanted)
        assert disk.identity == "first"
        disk.close()


def test_open_permissions_on_our_directory_are_closed(tmp_path: Path) -> None:
    (tmp_path / ".ssyncd").mkdir()
    (tmp_path / ".ssyncd").chmod(0o777)
    RealDisk(tmp_path).close()
    assert stat.S_IMODE((tmp_path / ".ssyncd").stat().st_mode) == 0o700


def test_a_folder_is_had_by_one_at_a_time_and_the_other_is_named(tmp_path: Path) -> None:
    disk = RealDisk(tmp_path)
    with pytest.raises(BusyError, match=str(os.getpid())):
        RealDisk(tmp_path)
    disk.close()
    RealDisk(tmp_path).close()


def test_the_lock_of_a_killed_process_does_not_hold(tmp_path: Path) -> None:
    code = "import sys, time; from ssyncd.disk.real import RealDisk; d = RealDisk(sys.argv[1]); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        with pytest.raises(BusyError, match=str(holder.pid)):
            RealDisk(tmp_path)
        holder.kill()
        holder.wait()
    RealDisk(tmp_path).close()


def test_a_missing_root_or_a_file_is_no_root(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in ("no", "file"):
        with pytest.raises(RootError):
            RealDisk(tmp_path / path)


def test_a_folder_inside_a_folder_is_refused(tmp_path: Path) -> None:
    outer = RealDisk(tmp_path)
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a/b")
    for inner in ("a", "a/b", "link"):
        with pytest.raises(RootError, match="inside"):
            RealDisk(tmp_path / inner)
    outer.close()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"folder": 3}', b'{"folder": ""}', b"\xff", b"[" * 5000])
def test_a_damaged_marker_is_told_and_not_overwritten(tmp_path: Path, text: bytes) -> None:
    (tmp_path / ".ssyncd").mkdir()
    (tmp_path / ".ssyncd/folder").write_bytes(text)
    with pytest.raises(RootError, match="damaged"):
        RealDisk(tmp_path)
    assert (tmp_path / ".ssyncd/folder").read_bytes() == text


@pytest.mark.parametrize("path", [".ssyncd", ".ssyncd/stage", ".ssyncd/folder", ".ssyncd/lock"])
def test_a_link_in_place_of_ours_is_not_followed(tmp_path: Path, path: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for directory in (root, outside):
        directory.mkdir()
    if "/" in path:
        (root / ".ssyncd").mkdir()
    (root / path).symlink_to(outside if path in (".ssyncd", ".ssyncd/stage") else outside / "file")
    with pytest.raises(RootError):
        RealDisk(root)
    assert list(outside.iterdir()) == []


def test_a_root_reached_by_a_link_works_until_the_link_leads_elsewhere(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to("one")
    disk = RealDisk(link)
    disk.check_root()
    link.unlink()
    link.symlink_to("two")
    with pytest.raises(RootError, match="replaced"):
        disk.check_root()
    disk.close()


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced", "emptied", "marker gone", "another marker"])
def test_a_root_that_is_no_longer_ours_is_never_listed(tmp_path: Path, how: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    disk = RealDisk(root)
    (root / "file").write_bytes(b"x")
    assert disk.list("").keys() == {"file"}
    if how == "deleted":
        shutil.rmtree(root)
    elif how in ("moved", "replaced"):
        root.rename(tmp_path / "elsewhere")
        if how == "replaced":
            root.mkdir()
    elif how == "emptied":
        shutil.rmtree(root / ".ssyncd")
        (root / "file").unlink()
    elif how == "marker gone":
        (root / ".ssyncd/folder").unlink()
    else:
        (root / ".ssyncd/folder").write_text('{"folder": "another"}')
    for look in (disk.check_root, lambda: disk.list("")):
        with pytest.raises(RootError):
            look()
    disk.close()


def test_a_marker_copied_back_is_the_same_folder(tmp_path: Path) -> None:
    disk = RealDisk(tmp_path)
    marker = tmp_path / ".ssyncd/folder"
    text = marker.read_bytes()
    marker.unlink()
    marker.write_bytes(text)
    disk.check_root()
    disk.close()


def test_our_directory_copied_back_as_a_whole_is_another_one(tmp_path: Path) -> None:
    """What we have open in the old one leads nowhere."""
    disk = RealDisk(tmp_path)
    shutil.copytree(tmp_path / ".ssyncd", tmp_path / "copy")
    shutil.rmtree(tmp_path / ".ssyncd")
    (tmp_path / "copy").rename(tmp_path / ".ssyncd")
    with pytest.raises(RootError, match="was replaced"):
        disk.check_root()
    disk.close()
    again = RealDisk(tmp_path)
    assert again.identity == disk.identity
    again.close()


def test_a_mark_is_kept_and_goes_along_with_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    disk = RealDisk(tmp_path / "a")
    assert disk.mark() == ""
    disk.set_mark("one")
    disk.set_mark("two")
    disk.close()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    copied = RealDisk(tmp_path / "b")
    assert copied.mark() == "two"
    copied.close()


def test_a_mark_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = RealDisk(tmp_path)
    disk.set_mark("one")

    def unreadable(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", unreadable)
        with pytest.raises(UnreadableError, match="too many open files"):
            disk.mark()
    assert disk.mark() == "one"
    disk.close()


def test_closing_leaves_no_handle(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    disk = RealDisk(tmp_path)
    with pytest.raises(BusyError):
        RealDisk(tmp_path)
    disk.close()
    disk.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_known_folder_without_its_marker_gets_nothing_of_ours(tmp_path: Path) -> None:
    """The old one may be on its way back, with all the rest of a backup; or a disk is not mounted there just now."""
    with pytest.raises(RootError, match="its marker is missing"):
        RealDisk(tmp_path, known=True)
    assert not list(tmp_path.iterdir())
    (tmp_path / ".ssyncd").touch()
    with pytest.raises(RootError, match="its marker is missing"):
        RealDisk(tmp_path, known=True)
    (tmp_path / ".ssyncd").unlink()
    RealDisk(tmp_path).close()
    RealDisk(tmp_path, known=True).close()


def test_a_disk_that_has_died_can_be_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a FUSE file system whose program has ended even closing is refused, and done."""
    before, close = len(os.listdir("/proc/self/fd")), os.close

    def refused(handle: int) -> None:
        close(handle)
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    disk = RealDisk(tmp_path)
    monkeypatch.setattr(os, "close", refused)
    disk.close()
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_cannot_be_looked_at_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert [is_missing(tmp_path / name) for name in ("", "no", "file", "file/below")] == [False, True, True, True]

    def dead(*_: object) -> None:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", dead)
        assert not is_missing(tmp_path)
        patch.setattr(os, "open", dead)
        with pytest.raises(UnusableError, match="mount it again"):
            RealDisk(tmp_path)
