"""What the README promises first: one command on a machine where nothing is set up, and a second folder."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = "60"


class Machine:
    """One user's ssyncd: its own settings, state and daemons."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        (home / "config" / "ssyncd").mkdir(parents=True)
        (home / "config" / "ssyncd" / "config.toml").write_text(f'[embedded]\nlisten = "127.0.0.1:{port}"\n')
        (home / "run").mkdir(mode=0o700)
        self.home = home
        self.daemons: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("XDG_")},
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_RUNTIME_DIR": str(home / "run"),
        }

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "ssyncd", *words]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=120, check=False, cwd=self.home
        )

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Returns once its control socket is there."""
        known = set((self.home / "run" / "ssyncd").glob("*.sock"))
        with open(self.home / f"daemon{len(self.daemons)}.log", "wb") as log:
            command = [sys.executable, "-m", "ssyncd", "start", *words]
            daemon = subprocess.Popen(command, env=self._environment, stderr=log, stdout=log, cwd=self.home)
        self.daemons.append(daemon)
        for _ in range(300):
            if set((self.home / "run" / "ssyncd").glob("*.sock")) - known or daemon.poll() is not None:
                return daemon
            try:
                daemon.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        raise AssertionError("the daemon does not start")

    def in_sync(self) -> None:
        done = self.run("wait", "--timeout", SECONDS)
        assert done.returncode == 0, done.stderr + self.logs()

    def logs(self) -> str:
        return "".join(log.read_text() for log in sorted(self.home.glob("daemon*.log")))

    def end(self) -> None:
        for daemon in self.daemons:
            daemon.terminate()
        for daemon in self.daemons:
            daemon.wait(30)


@pytest.fixture
def machine(tmp_path):
    one = Machine(tmp_path)
    yield one
    one.end()


@pytest.mark.slow
def test_one_command_then_a_second_folder_and_both_are_the_same(machine):
    first, second = machine.home / "Sync", machine.home / "Other"
    (first / "deep" / "er").mkdir(parents=True)
    (first / "deep" / "er" / "file.txt").write_text("hello")
    machine.start("Sync")
    machine.start("Other", "--name", "Sync")
    machine.in_sync()
    assert (second / "deep" / "er" / "file.txt").read_text() == "hello"
    (second / "new.txt").write_text("from the other side")
    machine.in_sync()
    # The watcher may not have seen it yet when the first daemon was asked: one-shots look for themselves.
    for folder in ("Other", "Sync"):
        assert machine.run("sync", folder, "--timeout", SECONDS).returncode == 0
    assert (first / "new.txt").read_text() == "from the other side"
    log = machine.logs()
    assert "To bring in another machine" in log
    assert "ssyncd login http://THIS-MACHINE" in log
    assert "Traceback" not in log


@pytest.mark.slow
def test_the_server_of_a_killed_daemon_is_taken_over_by_the_other(machine):
    owner = machine.start("Sync")
    machine.start("Other", "--name", "Sync")
    machine.in_sync()
    owner.send_signal(signal.SIGKILL)
    owner.wait(10)
    (machine.home / "Other" / "after.txt").write_text("x")
    assert machine.run("sync", "Other", "--timeout", SECONDS).returncode == 0
    # The folder of the killed one is free at once, and nothing is in its way.
    assert machine.run("pull", "Sync", "--timeout", SECONDS).returncode == 0
    assert (machine.home / "Sync" / "after.txt").read_text() == "x"


@pytest.mark.slow
def test_one_shots_work_without_a_daemon_and_leave_nothing_running(machine):
    (machine.home / "Sync").mkdir()
    (machine.home / "Sync" / "a.txt").write_text("a")
    assert machine.run("sync", "Sync").returncode == 0
    done = machine.run("pull", "Other", "--name", "Sync")
    assert done.returncode == 0, done.stderr
    assert (machine.home / "Other" / "a.txt").read_text() == "a"
    assert machine.run("status").returncode == 8
    assert list((machine.home / "run").rglob("*.sock")) == []
    # Nobody holds the server's data any more.
    assert machine.run("serve", "--listen", "127.0.0.1:x").returncode == 2


@pytest.mark.slow
def test_a_second_daemon_on_one_folder_is_told_and_the_first_goes_on(machine):
    machine.start("Sync")
    machine.in_sync()
    done = machine.run("start", "Sync")
    assert done.returncode == 7
    assert "Sync" in done.stderr.splitlines()[-1]
    machine.in_sync()


@pytest.mark.slow
def test_a_signal_ends_it_in_order(machine):
    daemon = machine.start("Sync")
    machine.in_sync()
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(30) == 0
    assert list((machine.home / "run").rglob("*.sock")) == []
    assert "Traceback" not in machine.logs()


@pytest.mark.slow
def test_another_machine_signs_in_and_has_everything(machine, tmp_path_factory):
    (machine.home / "Sync").mkdir()
    (machine.home / "Sync" / "a.txt").write_text("a")
    machine.start("Sync")
    machine.in_sync()
    account = machine.run("user", "list").stdout.strip()
    url = json.loads(machine.run("status", "--json").stdout)["daemons"][0]["folders"][0]["server"]
    token = machine.run("user", "token", account).stdout.strip()
    assert len(token) >= 32
    other = Machine(tmp_path_factory.mktemp("other"))
    try:
        command = f"echo 'correct horse' | {sys.executable} -m ssyncd"
        for instance, words in ((machine, f"user passwd {account}"), (other, f"login {url} --user {account}")):
            done = subprocess.run(
                ["bash", "-c", f"{command} {words} --password-stdin"],
                env=instance._environment, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        assert other.run("sync", "Sync").returncode == 0
        assert (other.home / "Sync" / "a.txt").read_text() == "a"
        assert "yes" in other.run("devices").stdout
        assert other.run("logout").returncode == 0
        assert other.run("devices").returncode == 4
    finally:
        other.end()
