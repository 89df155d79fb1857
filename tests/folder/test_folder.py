"""One folder with its threads, on a real disk and against a real server."""

import errno
import os
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from ssyncd.disk import system
from ssyncd.disk.base import Stat
from ssyncd.disk.inotify import BELOW, Inotify
from ssyncd.disk.real import RealCalls
from ssyncd.disk.watcher import DiskWatcher
from ssyncd.errors import NetworkError, ShortageError, StateCorruptError, StateError, UnusableError
from ssyncd.folder import Folder, FolderSettings, board, lookout
from ssyncd.folder import folder as folder_module
from ssyncd.folder.engine import Engine
from ssyncd.folder.question import Question
from ssyncd.network.login import Account
from ssyncd.state.database import VERSION
from ssyncd.status import Phase
from tests.end_to_end.machine import until
from tests.network.proxies import proxy
from tests.network.servers import real_server
from tests.network.wires import RawServer, silence

DEADLINE = 20.0


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with real_server(tmp_path / "server") as account:
        yield account


class Machine:
    """Its folder is made and started by `start`, and stopped in the end."""

    def __init__(self, home: Path, account: Account) -> None:
        self.path, self.state = home / "Folder", home / "state"
        self.path.mkdir(parents=True)
        self._settings = FolderSettings(self.path, "shared", self.state, home.name)
        self._account = account
        self.folder: Folder | None = None

    def launch(self) -> Folder:
        self.folder = Folder(self._settings, self._account)
        self.folder.start()
        return self.folder

    def start(self) -> Folder:
        folder = self.launch()
        self.in_sync()
        return folder

    def in_sync(self) -> None:
        assert self.folder is not None
        assert self.folder.wait(DEADLINE, lambda status: status.in_sync), self.folder.status()

    def stop(self) -> None:
        if self.folder is not None:
            self.folder.stop()
            self.folder = None

    def names(self) -> set[str]:
        return {path.name for path in self.path.iterdir()} - {".ssyncd"}

    @property
    def aside(self) -> list[Path]:
        return list(self.state.glob("state.db.damaged-*"))


@pytest.fixture
def machines(tmp_path: Path, account: Account) -> Iterator[tuple[Machine, Machine]]:
    made = Machine(tmp_path / "one", account), Machine(tmp_path / "two", account)
    yield made
    for machine in made:
        machine.stop()


def test_what_is_asked_of_a_folder_that_has_ended_is_answered_at_once(machines: tuple[Machine, Machine]) -> None:
    one, _ = machines
    folder = one.start()
    one.stop()
    with pytest.raises(NetworkError):
        folder._on_control(lambda engine: engine)
    with pytest.raises(NetworkError):
        folder.request("conflicts")


def test_a_stop_that_comes_with_the_server_s_first_answer_is_heard(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, take = machines[0], Folder._take
    stoppers: list[threading.Thread] = []

    def take_both(folder: Folder, seconds: float | None) -> list[Any]:
        items = take(folder, seconds)
        if not stoppers and any(isinstance(item, Question) for item in items):
            stopper = threading.Thread(target=folder.stop, name="stopper")
            stopper.start()
            stoppers.append(stopper)
            items += take(folder, None)
        return items

    monkeypatch.setattr(Folder, "_take", take_both)
    one.launch()
    until(lambda: stoppers)
    stoppers[0].join(DEADLINE)
    assert not stoppers[0].is_alive()


def test_what_was_done_before_the_question_counts(machines: tuple[Machine, Machine]) -> None:
    """The kernel tells of it a moment later: until then the folder would say that it is in sync."""
    one, _ = machines
    folder = one.start()
    for number in range(30):
        (one.path / f"f{number}").write_text("x")
        assert folder.request("catch_up") == {"caught_up": True}
        assert folder.wait(DEADLINE, lambda status: status.in_sync)
        assert folder.status().entries == number + 1


def test_a_disk_that_does_not_answer_is_not_in_sync(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = machines
    folder, look, answers = one.start(), RealCalls.look, threading.Event()

    def wait(calls: RealCalls, directory: int, name: str) -> Stat:
        assert answers.wait(DEADLINE)
        return look(calls, directory, name)

    monkeypatch.setattr(board, "SLOW", 0.1)
    monkeypatch.setattr(RealCalls, "look", wait)
    (one.path / "new").write_text("new")
    until(lambda: any("may not answer" in trouble.reason for trouble in folder.status().troubles), folder.status)
    assert not folder.status().in_sync
    assert not folder.wait(0.0, lambda status: status.in_sync)
    answers.set()
    assert folder.wait(DEADLINE, lambda status: status.in_sync and not status.troubles)


def test_what_another_machine_does_in_a_shared_folder_is_found_though_nobody_tells(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machines
    start = DiskWatcher.start
    with monkeypatch.context() as patch:
        patch.setattr(DiskWatcher, "start", lambda watcher, _: start(watcher, lambda _: None))
        patch.setattr(system, "is_shared", lambda _: True)
        patch.setattr(lookout, "SHARED_PERIOD", 0.2)
        (one.path / "old").write_text("old")
        one.start()
        two.start()
        (one.path / "old").rename(one.path / "moved")
        (one.path / "new").write_text("new")
        until(lambda: two.names() == {"moved", "new"}, two.names)


def test_all_goes_through_the_proxy_that_the_environment_names(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy(urlsplit(account.url).port) as between:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{between.port}")
        one = Machine(tmp_path / "one", replace(account, url="http://server.example"))
        other = Machine(tmp_path / "other", account)
        try:
            (one.path / "large").write_bytes(os.urandom(1_000_000))
            one.start()
            other.start()
            assert other.names() == {"large"}
        finally:
            one.stop()
            other.stop()
    assert len(between.asked) > 1
    assert {question.split()[1] for question in between.asked} == {"server.example:80"}


def test_what_is_spoiled_again_and_again_is_not_made_anew_without_a_pause(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, begin = list[int](), Engine.begin

    def spoiled(engine: Engine) -> None:
        if len(waits) < 4:
            raise StateCorruptError("spoiled")
        begin(engine)

    def delay(failures: int) -> float:
        waits.append(failures)
        return 0.0

    monkeypatch.setattr(folder_module, "delay_after", delay)
    monkeypatch.setattr(Engine, "begin", spoiled)
    one, _ = machines
    (one.path / "file").write_text("x")
    assert one.start().status().entries == 1
    assert waits == [0, 1, 2, 3]


@pytest.mark.slow
def test_what_the_server_has_lost_or_spoiled_is_sent_again_by_verify(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    one, two = machines
    data = os.urandom(3_000_000)
    (one.path / "large").write_bytes(data)
    folder = one.start()
    lost, spoiled, *_ = files = {
        path: path.read_bytes() for path in (tmp_path / "server" / "chunks").glob("*/*/*/*") if path.is_file()
    }
    lost.unlink()
    spoiled.write_bytes(files[spoiled][:-1])
    assert folder.request("verify") == {"checked": 1, "bytes": len(data), "damaged": []}
    until(lambda: lost.exists() and spoiled.read_bytes() == files[spoiled])
    two.start()
    assert (two.path / "large").read_bytes() == data


class Limited:
    """A kernel that gives out so many watches to each watcher that comes from now on, and no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
        self.limit, self._given = limit, dict[int, set[int]]()
        watch, limited = Inotify.watch, self
        others = [thread for thread in threading.enumerate() if isinstance(thread, Inotify)]

        def ask(reader: Inotify, directory: int, mask: int = BELOW) -> int:
            inodes = limited._given.setdefault(id(reader), set())
            inode = os.fstat(directory).st_ino
            if reader not in others and len(inodes | {inode}) > limited.limit:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            inodes.add(inode)
            return watch(reader, directory, mask)

        monkeypatch.setattr(Inotify, "watch", ask)


@pytest.mark.slow
def test_what_happens_where_no_watches_are_left_is_found_and_named(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = machines
    for number in range(6):
        (one.path / f"d{number}").mkdir()
    two.start()
    kernel = Limited(monkeypatch, 4)
    monkeypatch.setattr("ssyncd.folder.lookout.PERIOD", 0.2)
    folder = one.start()
    assert folder.wait(DEADLINE, lambda status: len(status.troubles) >= 4)
    assert all("max_user_watches" in trouble.reason for trouble in folder.status().troubles)
    assert "4 directories are not watched, among them d" in caplog.text
    for number in range(6):
        (one.path / f"d{number}" / "new").write_text("1")
    (one.path / "made later").mkdir()
    (one.path / "made later" / "new").write_text("1")
    until(lambda: len(list(two.path.glob("*/new"))) == 7)
    kernel.limit = 100
    assert folder.wait(DEADLINE, lambda status: not status.troubles)
    assert folder.wait(DEADLINE, lambda status: status.in_sync)


@pytest.mark.slow
def test_a_folder_that_is_watched_everywhere_turns_no_wheel(machines: tuple[Machine, Machine]) -> None:
    one, _ = machines
    folder = one.start()
    engine = folder._on_control(lambda engine: engine)
    rounds, work = [], engine.work
    engine.work = lambda: rounds.append(1) or work()
    assert not folder.wait(8, lambda _: len(rounds) > 3)
    folder.request("pause")
    assert 0 < len(rounds) <= 3


def test_a_folder_for_which_the_kernel_has_no_more_watchers_says_so_and_heals(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = machines
    monkeypatch.setattr("ssyncd.folder.folder.ROOT_RETRY", 0.2)
    with monkeypatch.context() as patched:

        def refuse(*_: object) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        patched.setattr("ssyncd.disk.watcher.Inotify", refuse)
        folder = one.launch()
        assert folder.wait(DEADLINE, lambda status: status.phase is Phase.FAILED)
        status = folder.status()
        assert not status.holds
        assert [trouble.path for trouble in status.troubles] == ["."]
        assert "cannot be watched: too many open files: end other programs" in status.last_error
        with pytest.raises(UnusableError, match=r"max_user_instances.*there is nothing to approve"):
            folder.request("approve")
    one.in_sync()
    assert not folder.status().troubles
    assert not folder._approved


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)


def damage_a_page(path: Path) -> None:
    """The first one of the entries."""
    with sqlite3.connect(path) as database:
        [(page,)] = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries'")
        [(size,)] = database.execute("PRAGMA page_size")
    database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def make_newer(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version={VERSION + 1}")
    database.close()


def lose_a_row(path: Path) -> None:
    """Nothing that the database itself could notice."""
    with sqlite3.connect(path) as database:
        database.execute("UPDATE entries SET version = NULL WHERE key = (SELECT max(key) FROM entries)")
    database.close()


@pytest.mark.parametrize("harm", [Path.unlink, truncate, damage_a_page, empty, make_newer, lose_a_row])
def test_what_a_folder_remembers_is_repaired_by_itself(
    machines: tuple[Machine, Machine], harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = machines
    for number in range(300):
        (one.path / f"f{number}").write_text(f"content {number}")
    one.start()
    two.start()
    until(lambda: len(two.names()) == 300)
    one.stop()
    harm(one.state / "state.db")
    (one.path / "f1").write_text("edited while it was stopped")
    (two.path / "f2").write_text("edited there")
    one.start()
    until(lambda: any(path.read_text() == "edited while it was stopped" for path in two.path.glob("f1*")))
    until(lambda: (one.path / "f2").read_text() == "edited there")
    for machine in machines:
        machine.in_sync()
        assert {name for name in machine.names() if "conflict" not in name} == {f"f{n}" for n in range(300)}
        assert len(machine.names()) <= 302, "equal contents never conflict"
    if harm not in (Path.unlink, empty):
        assert len(one.aside) == 1
        assert "comparing everything with the server" in caplog.text


def test_what_it_remembers_is_repaired_while_it_runs(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    (one.path / "f").write_text("1")
    folder = one.start()
    two.start()
    # Another table than ours where ours was: what sqlite says of a damaged page, at the next write.
    damaged = sqlite3.connect(one.state / "state.db", timeout=DEADLINE)
    damaged.executescript("PRAGMA writable_schema=1; UPDATE sqlite_schema SET rootpage=1 WHERE name='entries';")
    damaged.execute("PRAGMA schema_version=99")
    damaged.close()
    (one.path / "g").write_text("2")
    assert folder.wait(DEADLINE, lambda _: bool(one.aside)), folder.status()
    assert folder.wait(DEADLINE, lambda status: status.phase is Phase.IN_SYNC and status.entries == 2)
    until(lambda: two.names() == {"f", "g"})
    assert {path.name: path.read_text() for path in one.path.glob("[!.]*")} == {"f": "1", "g": "2"}


def test_a_place_for_the_state_that_cannot_be_used_is_named(tmp_path: Path, account: Account) -> None:
    machine = Machine(tmp_path / "laptop", account)
    machine.state.touch()
    folder = Folder(FolderSettings(machine.path, "shared", machine.state, "laptop"), account)
    with pytest.raises(StateError, match="state: cannot be used"):
        folder.start()


@pytest.mark.parametrize("reached", [False, True])
def test_a_folder_stops_at_once_though_its_server_says_nothing(tmp_path: Path, reached: bool) -> None:
    asked = threading.Event()

    def hear(opened: socket.socket) -> None:
        while opened.recv(4096):
            asked.set()

    with ExitStack() as around:
        port = around.enter_context(RawServer(hear)).port if reached else around.enter_context(silence())[1]
        machine = Machine(tmp_path / "laptop", Account(f"http://127.0.0.1:{port}", "ssyncd", "anna", "", "t"))
        folder = machine.launch()
        until(lambda: asked.is_set() or not reached)
        stopping = threading.Thread(target=machine.stop)
        stopping.start()
        stopping.join(5.0)
        assert not stopping.is_alive()
        assert folder.failure is None


def test_where_proc_is_not_mounted_that_is_what_is_said(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = machines
    monkeypatch.setattr("ssyncd.disk.inotify.OPEN_FILES", "/nowhere/fd")
    monkeypatch.setattr("ssyncd.disk.watcher.OPEN_FILES", "/nowhere/fd")
    folder = one.launch()
    assert folder.wait(DEADLINE, lambda status: status.phase is Phase.FAILED)
    assert "mount /proc" in folder.status().last_error


@pytest.mark.parametrize("name", ["ssyncd-question", "ssyncd-ahead-1", "ssyncd-watcher", "ssyncd-connection"])
def test_a_folder_for_which_the_system_has_no_more_threads_says_so_and_heals(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch, refused_threads: dict[str, int], name: str
) -> None:
    one, _ = machines
    monkeypatch.setattr("ssyncd.folder.folder.ROOT_RETRY", 0.2)
    refused_threads[name] = 10**6
    folder = one.launch()
    assert folder.wait(DEADLINE, lambda status: status.phase is Phase.FAILED)
    assert f"no thread for {name}" in folder.status().last_error
    refused_threads.clear()
    one.in_sync()


def test_a_folder_that_cannot_have_its_first_thread_leaves_nothing_behind(
    machines: tuple[Machine, Machine], refused_threads: dict[str, int]
) -> None:
    one, _ = machines
    refused_threads["folder shared"] = 1
    with pytest.raises(ShortageError, match="no thread for folder shared"):
        one.launch()
    one.start()


def test_what_is_mounted_in_a_folder_is_named_and_what_it_hides_is_not_taken_for_deleted(
    machines: tuple[Machine, Machine],
) -> None:
    one, two = machines
    (one.path / "inside").mkdir()
    (one.path / "inside" / "file").write_text("1")
    one.start()
    folder = two.start()
    until(lambda: (two.path / "inside" / "file").exists())
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", two.path / "inside"]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        assert folder.wait(DEADLINE, lambda status: [trouble.path for trouble in status.troubles] == ["inside"])
        assert "another file system" in folder.status().troubles[0].reason
        (two.path / "inside" / "other").write_text("2")
        (two.path / "beside").write_text("3")
        until(lambda: (one.path / "beside").exists())
    finally:
        subprocess.run(["umount", "--lazy", two.path / "inside"], check=True)
    assert folder.wait(DEADLINE, lambda status: not status.troubles)
    (two.path / "inside" / "file").write_text("4")
    until(lambda: (one.path / "inside" / "file").read_text() == "4")
    assert not (one.path / "inside" / "other").exists()
