import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from ssyncd.daemon import Daemon, Plan
from ssyncd.errors import BusyError, ConfigError, Exit, NetworkError, RootError, SignInError, SsyncdError, UsageError
from ssyncd.notify import Notifier
from ssyncd.status import Hold, Phase, Status
from tests.runners import FakeRunner, FakeSettings, Shown

A, B = FakeSettings(Path("/data/a"), "A"), FakeSettings(Path("/data/b"), "B")


class World:
    """A daemon on a thread of its own, with folders that do what the test says."""

    def __init__(self, *wanted, refuses=None):
        self.wanted = list(wanted)
        self.refuses = refuses or {}
        self.runners: dict[str, FakeRunner] = {}
        self.made = threading.Condition()
        self.offline = threading.Event()
        self.shown = Shown()
        self.result = None
        plan = Plan(self._read, self._make, self.offline.set)
        self.daemon = Daemon(plan, Notifier({}), self.shown)
        self.thread = threading.Thread(target=self._run, name="daemon under test")

    def _read(self):
        if isinstance(self.wanted, SsyncdError):
            raise self.wanted
        return self.wanted

    def _make(self, settings):
        with self.made:
            runner = FakeRunner(settings, self.refuses.get(settings.name))
            self.runners[settings.name] = runner
            self.made.notify_all()
        return runner

    def _run(self):
        try:
            self.result = self.daemon.run()
        except SsyncdError as error:
            self.result = error

    def __enter__(self):
        self.thread.start()
        for settings in self.wanted:
            self.runner(settings.name)
        return self

    def __exit__(self, *_):
        self.daemon.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def runner(self, name, but=None):
        """The runner of a folder once it started; another one than `but`."""
        with self.made:
            assert self.made.wait_for(lambda: self.runners.get(name) not in (None, but), 10)
        assert name in self.refuses or self.runners[name].started.wait(10)
        return self.runners[name]

    def ask(self, command, **more):
        return self.daemon.answer({"command": command, **more}, lambda: False)


def test_folders_are_started_and_stopped_in_the_end():
    with World(A, B) as world:
        world.ask("stop")
        world.thread.join(10)
    assert world.result is Exit.OK
    assert all(runner.stopped.is_set() for runner in world.runners.values())


def test_the_status_tells_about_every_folder():
    with World(A, B) as world:
        world.runner("A").become(Phase.IN_SYNC, entries=5)
        status = Status.from_json(world.ask("status"))
    assert (status.pid, [folder.name for folder in status.folders]) == (os.getpid(), ["A", "B"])
    assert status.folders[0].entries == 5


def test_the_only_folder_that_cannot_start_ends_the_daemon_with_its_code():
    world = World(A, refuses={"A": BusyError("/data/a: taken")})
    world.thread.start()
    world.thread.join(10)
    assert isinstance(world.result, BusyError)


def test_one_folder_that_cannot_start_leaves_the_others_running():
    with World(A, B, refuses={"A": RootError("/data/a: gone")}) as world:
        world.runner("B").become(Phase.IN_SYNC)
        first, second = Status.from_json(world.ask("status")).folders
        assert (first.phase, first.last_error) == (Phase.FAILED, "/data/a: gone")
        assert second.phase is Phase.IN_SYNC
        assert world.ask("wait", timeout=10)["exit"] == RootError.exit_code
        with pytest.raises(RootError):
            world.ask("pause", folder="A")


def test_a_folder_that_cannot_even_be_made_shows_as_failed():
    runner = FakeRunner(B)

    def make(settings):
        if settings is A:
            raise RootError("/data/a: is missing")
        return runner

    daemon = Daemon(Plan(lambda: [A, B], make), Notifier({}), Shown())
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        assert runner.started.wait(10)
        assert daemon.status().folders[0].last_error == "/data/a: is missing"
        with pytest.raises(RootError):
            daemon.answer({"command": "resume", "folder": "A"}, lambda: False)
    finally:
        daemon.stop()
        thread.join(10)


def test_a_folder_that_ends_by_itself_is_shown_and_the_last_one_ends_the_daemon():
    with World(A, B) as world:
        world.runner("A").fail(RootError("unmounted"))
        assert world.ask("wait", folder="A", timeout=10)["exit"] == Exit.FAILED
        assert Status.from_json(world.ask("status")).folders[0].phase is Phase.FAILED
        world.runner("B").fail(SignInError("the token is not valid any more"))
        world.thread.join(10)
    # Whichever end the daemon heard of last.
    assert isinstance(world.result, SignInError | RootError)


def test_wait_returns_once_all_are_in_sync():
    with World(A, B) as world:
        answers = []
        asker = threading.Thread(target=lambda: answers.append(world.ask("wait")))
        asker.start()
        world.runner("B").become(Phase.IN_SYNC)
        world.runner("A").become(Phase.IN_SYNC)
        asker.join(10)
    assert answers[0]["exit"] == Exit.OK
    assert [folder.name for folder in Status.from_json(answers[0]["status"]).folders] == ["A", "B"]


def test_wait_gives_up_in_time_and_says_how_it_stands():
    with World(A) as world:
        world.runner("A").become(Phase.SYNCING, to_send=7)
        answer = world.ask("wait", timeout=0.05)
    assert answer["exit"] == Exit.NOT_IN_SYNC
    assert answer["status"]["folders"][0]["to_send"] == 7


def test_wait_asks_first_for_what_has_just_happened_on_the_disk():
    with World(A) as world:
        world.runner("A").become(Phase.IN_SYNC)
        assert world.ask("wait")["exit"] == Exit.OK
        assert world.runner("A").requests == [("catch_up", {})]


def test_wait_does_not_wait_for_a_held_folder():
    with World(A) as world:
        world.runner("A").become(Phase.HELD, holds=(Hold("most of it would go", 40, "here"),))
        assert world.ask("wait")["exit"] == Exit.HELD


def test_wait_ends_when_the_asker_hung_up():
    with World(A) as world:
        assert world.daemon.answer({"command": "wait"}, lambda: True)["exit"] == Exit.NOT_IN_SYNC


def test_wait_ends_when_the_daemon_ends():
    with World(A) as world:
        answers = []
        asker = threading.Thread(target=lambda: answers.append(world.ask("wait")))
        asker.start()
        world.daemon.stop()
        asker.join(10)
    assert answers[0]["exit"] == Exit.NOT_IN_SYNC


@pytest.mark.parametrize("command", ["pull", "sync"])
def test_a_one_shot_asks_for_a_look_and_waits(command):
    with World(A) as world:
        world.runner("A").become(Phase.IN_SYNC)
        assert world.ask(command, folder="/data/a", timeout=10)["exit"] == Exit.OK
        assert world.runner("A").requests == [("rescan", {})]


def test_a_one_shot_ends_when_the_server_is_not_there_unless_it_has_time():
    with World(A) as world:
        runner = world.runner("A")
        runner.become(Phase.OFFLINE, last_error="refused")
        assert world.ask("sync")["exit"] == Exit.UNREACHABLE
        assert world.ask("sync", timeout=0.05)["exit"] == Exit.UNREACHABLE
        answers = []
        asker = threading.Thread(target=lambda: answers.append(world.ask("sync", timeout=10)))
        asker.start()
        runner.become(Phase.IN_SYNC)
        asker.join(10)
    assert answers[0]["exit"] == Exit.OK


def test_a_one_shot_does_not_mind_a_folder_that_is_still_connecting():
    with World(A) as world:
        runner = world.runner("A")
        runner.refuses_requests = NetworkError("not reached yet")
        runner.become(Phase.IN_SYNC)
        assert world.ask("sync", timeout=10)["exit"] == Exit.OK


def test_the_control_socket_opens_once_the_folders_are_there_and_closes_after_them():
    runner, seen = FakeRunner(A), []

    class Control:
        def __enter__(self):
            seen.append(("open", runner.started.is_set()))
            daemon.stop()

        def __exit__(self, *_):
            seen.append(("close", runner.stopped.is_set()))

    daemon = Daemon(Plan(lambda: [A], lambda _: runner), Notifier({}), Shown())
    assert daemon.run(Control()) is Exit.OK
    assert seen == [("open", True), ("close", True)]


def test_a_folder_is_called_by_path_or_name_and_gets_the_arguments():
    with World(A, B) as world:
        for folder in ("/data/b", "B"):
            answer = world.ask("history", folder=folder, arguments={"path": "x/y", "n": 1})
            assert answer == {"folders": [{"name": "B", "path": "/data/b", "done": "history"}]}
        assert world.runner("B").requests == [("history", {"path": "x/y", "n": "1"})] * 2
        assert world.runner("A").requests == []


def test_without_a_folder_all_are_meant():
    with World(A, B) as world:
        assert [one["name"] for one in world.ask("pause")["folders"]] == ["A", "B"]


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"command": "explode"},
        {"command": 3},
        {"command": ["wait"]},
        {"command": "pause", "folder": "C"},
        {"command": "pause", "folder": 3},
        {"command": "pause", "arguments": [1]},
        {"command": "wait", "timeout": "soon"},
        {"command": "wait", "timeout": -1},
        {"command": "wait", "timeout": True},
        {"command": "wait", "timeout": float("nan")},
    ],
)
def test_nonsense_is_a_usage_error(request_):
    with World(A) as world, pytest.raises(UsageError):
        world.daemon.answer(request_, lambda: False)


def test_an_error_of_the_folder_comes_back():
    with World(A) as world, pytest.raises(SsyncdError, match="on fire"):
        world.ask("verify")


def test_a_reload_starts_new_folders_stops_removed_ones_and_leaves_the_rest_alone():
    with World(A, B) as world:
        first = world.runner("A")
        world.wanted = [A, FakeSettings(Path("/data/c"), "C")]
        gone = world.runner("B")
        world.daemon.restart_folders()
        world.runner("C")
        assert gone.stopped.wait(10)
        assert not first.stopped.is_set()
        assert [folder["name"] for folder in world.ask("status")["folders"]] == ["A", "C"]


def test_a_reload_starts_a_folder_anew_when_its_settings_changed():
    with World(A) as world:
        before = world.runner("A")
        world.wanted = [FakeSettings(A.path, A.name, "other")]
        assert world.ask("reload") == {}
        assert world.runner("A", but=before) is not before
        assert before.stopped.is_set()


def test_a_folder_is_in_the_list_though_it_is_being_started_anew():
    with World(A) as world:
        before, names = world.runner("A"), []
        world.wanted = [FakeSettings(A.path, A.name, "other")]
        with world.made:  # it cannot be made while this is held
            world.ask("reload")
            assert before.stopped.wait(10)
            asker = threading.Thread(target=lambda: names.extend(one["name"] for one in world.ask("status")["folders"]))
            asker.start()
        asker.join(10)
    assert names == ["A"]


def test_a_reload_tries_a_failed_folder_again():
    with World(A, B, refuses={"A": RootError("gone")}) as world:
        failed = world.runner("A")
        world.refuses = {}
        world.daemon.restart_folders()
        world.runner("A", but=failed).become(Phase.IN_SYNC)
        assert world.ask("wait", folder="A", timeout=10)["exit"] == Exit.OK


def test_wrong_settings_at_a_reload_change_nothing(caplog):
    with World(A, B) as world:
        world.wanted = ConfigError("config.toml: x: unknown")
        world.daemon.restart_folders()
        world.daemon.stop()
        world.thread.join(10)
    assert world.result is Exit.OK
    assert "config.toml: x: unknown" in caplog.text


def test_losing_the_server_is_told():
    with World(A) as world:
        world.runner("A").become(Phase.OFFLINE, last_error="refused")
        assert world.offline.wait(10)
    assert ("A", Phase.OFFLINE) in world.shown.phases


def test_signals_end_and_reload_it_and_systemd_hears_about_it(tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(10)
        environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"}
        notifier = Notifier(environment)
        assert environment == {}
        runner = FakeRunner(A)
        daemon = Daemon(Plan(lambda: [A], lambda _settings: runner), notifier, Shown())
        heard = []

        def until(word):
            while not any(word in one for one in heard[-1:]):
                heard.append(systemd.recv(4096).decode())

        def play():
            until("READY=1")
            runner.become(Phase.IN_SYNC)
            until("STATUS=A: in sync")
            until("WATCHDOG=1")
            os.kill(os.getpid(), signal.SIGHUP)
            until("RELOADING=1")
            until("READY=1")
            os.kill(os.getpid(), signal.SIGTERM)
            until("STOPPING=1")

        before = signal.getsignal(signal.SIGTERM)
        player = threading.Thread(target=play)
        player.start()
        try:
            assert daemon.run() is Exit.OK
        finally:
            player.join(10)
        assert signal.getsignal(signal.SIGTERM) is before
        assert any("MONOTONIC_USEC=" in one for one in heard)


def test_a_status_survives_json():
    with World(A) as world:
        world.runner("A").become(Phase.HELD, holds=(Hold("r", 1, "here"),))
        told = json.loads(json.dumps(world.ask("status")))
        assert Status.from_json(told) == world.daemon.status()
