"""DiskWatcher on a real folder: every test waits for what must come, and then looks at all that came."""

import errno
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ssyncd.disk import inotify
from ssyncd.disk.base import Hint, Rescan, Touched
from ssyncd.disk.watcher import AGAIN, DiskWatcher
from ssyncd.errors import RootError

DEADLINE = 10.0


class Heard:
    """Collects what is delivered."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[list[Hint]] = []
        self.changed = threading.Condition()
        self.watcher = DiskWatcher(root)
        self.ends = 0

    def __call__(self, hints: Sequence[Hint], /) -> None:
        with self.changed:
            self.calls.append(list(hints))
            self.changed.notify_all()

    def until(self, condition: Callable[[list[Hint]], bool]) -> list[Hint]:
        """All hints so far, once they satisfy the condition; they are forgotten then."""
        with self.changed:
            if not self.changed.wait_for(lambda: condition(self.hints), DEADLINE):
                pytest.fail(f"heard only {self.hints}")
            found, self.calls = self.hints, []
            return found

    @property
    def hints(self) -> list[Hint]:
        return [hint for call in self.calls for hint in call]

    def all_so_far(self) -> list[Hint]:
        """All that was caused before this call: a file made now is heard of after everything else."""
        self.ends += 1
        name = f"end-{self.ends}"
        os.mkfifo(self.root / name)
        found = self.until(lambda hints: Touched(name) in hints)
        return [hint for hint in found if not hint.path.startswith("end-")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / ".ssyncd/stage").mkdir(parents=True)
    return root


@pytest.fixture
def heard(root: Path) -> Iterator[Heard]:
    handles = len(os.listdir("/proc/self/fd"))
    heard = Heard(root)
    heard.watcher.start(heard)
    yield heard
    before = time.monotonic()
    heard.watcher.stop()
    assert time.monotonic() - before < 1
    assert len(os.listdir("/proc/self/fd")) == handles


def test_a_file_is_being_written_until_it_is_closed(heard: Heard, root: Path) -> None:
    with open(root / "file", "wb", buffering=0) as file:
        heard.until(lambda hints: hints == [Touched("file", writing=True)])
        file.write(b"x")
        heard.until(lambda hints: hints == [Touched("file", writing=True)])
        os.fchmod(file.fileno(), 0o600)
        heard.until(lambda hints: hints == [Touched("file", writing=True)])
    heard.until(lambda hints: hints == [Touched("file")])
    (root / "file").chmod(0o644)
    heard.until(lambda hints: hints == [Touched("file")])


def test_reading_says_nothing(heard: Heard, root: Path) -> None:
    (root / "file").write_bytes(b"x")
    heard.all_so_far()
    (root / "file").read_bytes()
    list(root.iterdir())
    assert heard.all_so_far() == []


def test_what_is_made_without_opening_is_not_being_written(heard: Heard, root: Path) -> None:
    (root / "file").write_bytes(b"x")
    heard.all_so_far()
    (root / "link").symlink_to("file")
    os.link(root / "file", root / "second")
    os.mkfifo(root / "pipe")
    (root / "file").unlink()
    assert set(heard.all_so_far()) == {Touched(name) for name in ("link", "second", "pipe", "file")}


def test_both_ends_of_a_rename_come_in_one_call(heard: Heard, root: Path) -> None:
    (root / "dir").mkdir()
    (root / "one").write_bytes(b"x")
    heard.all_so_far()
    for number in range(50):
        source, target = ("one", "dir/two") if number % 2 == 0 else ("dir/two", "one")
        (root / source).rename(root / target)
        heard.until(lambda hints: len(hints) > 0)
        assert heard.calls == []
    assert heard.all_so_far() == []


def test_ours_is_not_heard_but_what_leaves_it_is(heard: Heard, root: Path) -> None:
    (root / ".ssyncd/stage/staged").write_bytes(b"x")
    (root / ".ssyncd/lock").write_bytes(b"x")
    assert heard.all_so_far() == []
    (root / ".ssyncd/stage/staged").rename(root / "file")
    assert heard.all_so_far() == [Touched("file")]
    (root / "file").rename(root / ".ssyncd/stage/aside")
    assert heard.all_so_far() == [Touched("file")]


def test_a_new_tree_is_one_rescan_and_watched_all_the_way_down(heard: Heard, root: Path, tmp_path: Path) -> None:
    (tmp_path / "tree/a/b").mkdir(parents=True)
    (tmp_path / "tree/a/b/file").write_bytes(b"x")
    (tmp_path / "tree").rename(root / "tree")
    assert heard.all_so_far() == [Rescan("tree", "a new directory")]
    (root / "tree/a/b/file").write_bytes(b"y")
    assert {hint.path for hint in heard.all_so_far()} == {"tree/a/b/file"}


def test_files_made_right_after_their_directories_are_covered(heard: Heard, root: Path) -> None:
    """Each is below a rescan that was told after it was made, or told itself."""
    made = []
    for number in range(200):
        (root / f"d{number}/e").mkdir(parents=True)
        (root / f"d{number}/e/file").write_bytes(b"x")
        made.append(f"d{number}/e/file")
    told = heard.all_so_far()
    rescans = {hint.path for hint in told if isinstance(hint, Rescan)}
    touched = {hint.path for hint in told if isinstance(hint, Touched)}
    for path in made:
        top, _, _ = path.partition("/")
        assert path in touched or top in rescans or f"{top}/e" in rescans
    (root / "d199/e/file").write_bytes(b"y")
    assert Touched("d199/e/file") in heard.all_so_far()


def test_a_renamed_directory_is_two_hints_whatever_is_in_it(heard: Heard, root: Path) -> None:
    (root / "dir").mkdir()
    for number in range(50):
        (root / f"dir/sub{number}").mkdir()
        (root / f"dir/file{number}").write_bytes(b"")
    heard.all_so_far()
    (root / "dir").rename(root / "new")
    assert heard.all_so_far() == [Touched("dir"), Touched("new")]
    (root / "new/sub7/file").write_bytes(b"x")
    assert {hint.path for hint in heard.all_so_far()} == {"new/sub7/file"}


def test_directories_moved_into_each_other_keep_their_watches(heard: Heard, root: Path) -> None:
    (root / "a/in").mkdir(parents=True)
    (root / "b").mkdir()
    heard.all_so_far()
    (root / "a/in").rename(root / "a/deep")
    (root / "a").rename(root / "b/a")
    (root / "b/a/deep").rename(root / "deep")
    (root / "b").rename(root / "deep/b")
    heard.all_so_far()
    (root / "deep/b/a/file").write_bytes(b"x")
    (root / "deep/file").write_bytes(b"x")
    assert {hint.path for hint in heard.all_so_far()} == {"deep/b/a/file", "deep/file"}


def test_two_directories_that_change_places_are_not_mixed_up(heard: Heard, root: Path) -> None:
    from ssyncd.disk import system

    (root / "a/ina").mkdir(parents=True)
    (root / "b/inb").mkdir(parents=True)
    heard.all_so_far()
    handle = os.open(root, os.O_RDONLY)
    system.rename2(handle, "a", handle, "b", system.RENAME_EXCHANGE)
    os.close(handle)
    heard.all_so_far()
    (root / "b/ina/file").write_bytes(b"x")
    (root / "a/inb/file").write_bytes(b"x")
    assert {hint.path for hint in heard.all_so_far()} == {"b/ina/file", "a/inb/file"}


def test_a_directory_that_left_is_not_heard_any_more(heard: Heard, root: Path, tmp_path: Path) -> None:
    (root / "dir/sub").mkdir(parents=True)
    heard.all_so_far()
    (root / "dir").rename(tmp_path / "away")
    assert heard.all_so_far() == [Touched("dir")]
    (tmp_path / "away/sub/file").write_bytes(b"x")
    (tmp_path / "away/file").write_bytes(b"x")
    assert heard.all_so_far() == []


def test_a_deleted_directory_that_is_made_again_is_watched_again(heard: Heard, root: Path) -> None:
    for _ in range(20):
        (root / "dir/sub").mkdir(parents=True)
        shutil.rmtree(root / "dir")
    (root / "dir/sub").mkdir(parents=True)
    assert "dir" in {hint.path for hint in heard.all_so_far()}
    (root / "dir/sub/file").write_bytes(b"x")
    assert Touched("dir/sub/file") in heard.all_so_far()
    assert heard.watcher.unwatched() == {}


def test_a_link_to_a_directory_is_not_followed(heard: Heard, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    assert heard.all_so_far() == [Touched("link")]
    (tmp_path / "outside/file").write_bytes(b"x")
    assert heard.all_so_far() == []


def test_names_that_are_not_utf8_are_told_with_escapes(heard: Heard, root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/\xff")).mkdir()
    assert heard.all_so_far() == [Rescan("\udcff", "a new directory")]


def test_an_overflow_is_told_and_nothing_is_missed_after_it(heard: Heard, root: Path) -> None:
    """The thread is held in a call of `deliver` while more happens than the kernel's queue holds."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    (root / "flood").mkdir()
    (root / "dir").mkdir()
    (root / "other").write_bytes(b"")
    heard.all_so_far()
    heard.changed.acquire()
    (root / "other").write_bytes(b"x")
    for number in range(limit // 2 + 100):
        os.chmod(root / "flood", 0o700 + number % 2)
        os.chmod(root / "other", 0o600 + number % 2)
    (root / "dir").rename(root / "moved")
    (root / "new/deep").mkdir(parents=True)
    heard.changed.release()
    heard.until(lambda hints: Rescan("", "the kernel's queue of events overflowed") in hints)
    (root / "moved/file").write_bytes(b"x")
    (root / "new/deep/file").write_bytes(b"x")
    told = heard.all_so_far()
    assert Touched("moved/file") in told
    assert Touched("new/deep/file") in told


class NoMoreWatches:
    """As if fs.inotify.max_user_watches were reached, for some directories."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused: set[str] = set()
        self.number = 28
        real = inotify.Inotify.watch

        def watch(reader: Any, directory: int, *mask: int) -> int:
            name = os.path.basename(os.readlink(f"/proc/self/fd/{directory}"))
            if name in self.refused:
                raise OSError(self.number, os.strerror(self.number))
            return real(reader, directory, *mask)

        monkeypatch.setattr(inotify.Inotify, "watch", watch)


def test_directories_beyond_the_limit_are_known_and_watched_on_demand(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = NoMoreWatches(monkeypatch)
    limit.refused = {"one", "two"}
    (root / "dir/one/deep").mkdir(parents=True)
    heard = Heard(root)
    heard.watcher.start(heard)
    try:
        (root / "dir/two").mkdir()
        heard.all_so_far()
        assert heard.watcher.unwatched().keys() == {"dir/one", "dir/two"}
        assert "max_user_watches" in heard.watcher.unwatched()["dir/one"]
        (root / "dir").rename(root / "moved")
        heard.all_so_far()
        assert heard.watcher.unwatched().keys() == {"moved/one", "moved/two"}
        limit.refused = {"two"}
        heard.watcher.retry()
        assert heard.all_so_far() == [Rescan("moved/one", "it can be watched again")]
        assert heard.watcher.unwatched().keys() == {"moved/two"}
        (root / "moved/one/deep/file").write_bytes(b"x")
        assert Touched("moved/one/deep/file") in heard.all_so_far()
    finally:
        heard.watcher.stop()


@pytest.mark.parametrize("unlisted", ["", "d"])
def test_a_directory_that_cannot_be_listed_for_a_moment_is_named_and_watched_on_demand(
    root: Path, monkeypatch: pytest.MonkeyPatch, unlisted: str
) -> None:
    """It is watched itself, but what is in it is not."""
    (root / "d/e").mkdir(parents=True)
    inode, scandir = (root / unlisted).stat().st_ino, os.scandir

    def failing(handle: int) -> Any:
        if os.fstat(handle).st_ino == inode:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return scandir(handle)

    heard = Heard(root)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", failing)
        heard.watcher.start(heard)
        assert heard.watcher.unwatched() == {unlisted: "input/output error"}
        heard.watcher.retry()
        assert heard.watcher.unwatched() == {unlisted: "input/output error"}
    heard.watcher.retry()
    assert heard.watcher.unwatched() == {}
    heard.until(lambda hints: Rescan(unlisted, AGAIN) in hints)
    (root / "d/e/f").touch()
    heard.until(lambda hints: Touched("d/e/f") in hints)
    heard.watcher.stop()


def test_a_directory_made_readable_is_watched_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = NoMoreWatches(monkeypatch)
    refusal.number, refusal.refused = 13, {"dir"}
    (root / "dir").mkdir()
    heard = Heard(root)
    heard.watcher.start(heard)
    try:
        assert heard.watcher.unwatched() == {"dir": "permission denied"}
        refusal.refused = set()
        (root / "dir").chmod(0o700)
        assert Rescan("dir", "a new directory") in heard.all_so_far()
        assert heard.watcher.unwatched() == {}
    finally:
        heard.watcher.stop()


@pytest.mark.parametrize("how", ["deleted", "moved", "emptied"])
def test_a_root_that_goes_is_told(heard: Heard, root: Path, tmp_path: Path, how: str) -> None:
    handle = os.open(root, os.O_RDONLY)  # as the disk has it: it keeps the kernel from telling
    if how == "deleted":
        shutil.rmtree(root)
    elif how == "moved":
        root.rename(tmp_path / "elsewhere")
    else:
        shutil.rmtree(root / ".ssyncd")
    heard.until(lambda hints: any(isinstance(hint, Rescan) and hint.path == "" for hint in hints))
    if how == "deleted":
        with heard.changed:
            assert heard.changed.wait_for(lambda: heard.watcher.unwatched().keys() == {""}, DEADLINE)
        heard.watcher.retry()
        root.mkdir()
        heard.until(lambda hints: Rescan("", "it can be watched again") in hints)
        (root / "file").write_bytes(b"x")
        heard.until(lambda hints: Touched("file") in hints)
    os.close(handle)


def test_what_happened_before_one_asks_has_been_told_when_the_answer_comes(heard: Heard, root: Path) -> None:
    for number in range(50):
        (root / f"f{number}").write_bytes(b"x")
        assert heard.watcher.catch_up(DEADLINE)
        assert Touched(f"f{number}") in heard.hints
    assert not any(hint.path.startswith(".ssyncd") for hint in heard.hints)
    shutil.rmtree(root)
    assert not heard.watcher.catch_up(DEADLINE)


def test_a_root_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    handles = len(os.listdir("/proc/self/fd"))
    watcher = DiskWatcher(tmp_path / "no")
    with pytest.raises(RootError, match="no such"):
        watcher.start(lambda _: None)
    watcher.stop()
    assert len(os.listdir("/proc/self/fd")) == handles


def test_stopping_twice_or_before_starting_is_harmless(root: Path) -> None:
    watcher = DiskWatcher(root)
    watcher.stop()
    watcher = DiskWatcher(root)
    watcher.start(lambda _: None)
    watcher.stop()
    watcher.stop()


def test_a_watcher_that_fails_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(root)
    heard.watcher.start(heard)

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(heard.watcher, "_hints", broken)
    (root / "file").write_bytes(b"x")
    heard.until(lambda hints: hints == [Rescan("", "the watcher has failed")])
    assert heard.watcher.unwatched() == {"": "the watcher has failed"}
    heard.watcher.stop()


def mount(path: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")


def unmount(path: Path) -> None:
    subprocess.run(["umount", "--lazy", path], check=True)


def test_what_is_mounted_in_the_folder_is_told_and_what_was_there_is_watched_again(root: Path, tmp_path: Path) -> None:
    """Also where it was mounted before the watcher started. Inotify tells neither."""
    disks = [root / "a disk", root / "d/inside"]
    for disk in disks:
        (disk / "below").mkdir(parents=True)
    mount(disks[0])
    heard = Heard(root)
    try:
        heard.watcher.start(heard)
        mount(disks[1])
        assert heard.until(bool) == [Rescan("d/inside", "a file system was mounted or unmounted")]
        for path in ("a disk", "d/inside"):
            unmount(root / path)
            heard.until(lambda hints, path=path: [hint.path for hint in hints] == [path])
            (root / path / "below/file").touch()
            heard.until(lambda hints, path=path: Touched(f"{path}/below/file") in hints)
    finally:
        heard.watcher.stop()
        for disk in disks:
            subprocess.run(["umount", "--lazy", disk], check=False, capture_output=True)


def test_a_lazy_unmount_is_told_at_once_and_one_elsewhere_is_not(root: Path, tmp_path: Path) -> None:
    """Inotify tells neither."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mount(root)
    (root / ".ssyncd/stage").mkdir(parents=True)
    heard = Heard(root)
    heard.watcher.start(heard)
    try:
        mount(elsewhere)
        unmount(elsewhere)
        assert not [hint for hint in heard.all_so_far() if isinstance(hint, Rescan)]
        unmount(root)
        assert heard.until(bool) == [Rescan("", "the folder was unmounted")]
        assert heard.watcher.unwatched() == {"": "the folder was unmounted"}
    finally:
        heard.watcher.stop()
