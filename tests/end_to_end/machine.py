"""Real machines on loopback: each has its own XDG directories, its own folder, and real processes.

Commands are run as a user runs them; `children` forks what stays, where there is a nursery, and here it is started anew."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from msgspec.structs import asdict

from ssyncd import control
from ssyncd.credentials import Credentials
from ssyncd.errors import NetworkError
from ssyncd.network.login import Account
from ssyncd.status import FolderStatus, Status
from tests.end_to_end.pictures import Picture, difference, picture

DEADLINE = 20.0
"""Seconds until a condition that has not come true is a failure."""
LOOK = 0.02
"""Seconds between two looks at a condition that cannot wake us: the disk and processes of others."""
COMMAND = (sys.executable, "-P", "-m", "ssyncd")
_pause = threading.Event()


def until(condition: Callable[[], object], what: str | Callable[[], str] = "", timeout: float = DEADLINE) -> None:
    """Return once the condition holds; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what() if callable(what) else what}")
        _pause.wait(LOOK)


@dataclass
class Running:
    """A process that we started and end, by its id."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def end(self, number: int = signal.SIGTERM, timeout: float = 20.0) -> int:
        """Its exit code, negative if a signal ended it."""
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"process {self.pid} did not end\n{self.text()[-4000:]}") from None

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def peak(self) -> int:
        """The most memory it ever had, in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")


@dataclass(frozen=True)
class Version:
    """One accepted change, as the server keeps it."""

    key: str
    version: int
    live: bool
    data: dict[str, Any]

    @property
    def hash(self) -> str:
        return str(self.data.get("content", {}).get("hash", ""))


class Place:
    """A home directory of its own with everything that XDG moves, and the processes that run in it."""

    def __init__(self, home: Path, name: str) -> None:
        self.home, self.name = home, name
        home.mkdir(parents=True)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "NOTIFY_", "JOURNAL_"))},
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_RUNTIME_DIR": str(home / "run"),
        }
        self.logs: list[Path] = []
        self.config = home / "config" / "ssyncd" / "config.toml"
        self.config.parent.mkdir(parents=True)
        (home / "run").mkdir(mode=0o700)

    def launch(self, *arguments: str) -> Running:
        log = self.home / f"log-{len(self.logs)}"
        self.logs.append(log)
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*COMMAND, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.home,
            )
        return Running(process, log)

    def run(self, *arguments: str | Path, input: str = "", timeout: float = 60.0) -> "subprocess.CompletedProcess[str]":
        """A command to its end."""
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment,
            cwd=self.home,
            check=False,
        )

    def report(self) -> str:
        """The ends of all logs, for a failure."""
        return "\n".join(f"--- {self.name} {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in self.logs)


class Server(Place):
    """`ssyncd serve` with one account, `anna`, of one application; it keeps its port over restarts. `plain`: it offers no
    extension."""

    user, password = "anna", "correct horse"

    def __init__(self, home: Path, plain: bool = False, app: str = "ssyncd", settings: str = "") -> None:
        super().__init__(home, "server")
        self.app, self.api_key = app, "ssyncd"
        self.config.write_text(settings)
        self._options = ("--plain",) if plain else ()
        self.data = home / "server"
        self.url = ""
        self.running: Running | None = None
        self._account: Account | None = None

    def start(self) -> None:
        listen = self.url.removeprefix("http://") or "127.0.0.1:0"
        running = self.running = self.launch("serve", "--listen", listen, "--data", str(self.data), *self._options)
        until(lambda: "ssyncd serves " in running.text() or not running.alive, "the server listens")
        assert running.alive, running.text()
        self.url = running.text().partition("ssyncd serves ")[2].split()[0]

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.running is not None
        running, self.running = self.running, None
        return running.end(number)

    def add_user(self) -> None:
        if self.app != "ssyncd":
            self.api_key = self._keep("app", "add", self.app).strip()
        self._keep("user", "add", self.user, "--app", self.app, "--password-stdin", input=self.password + "\n")

    def _keep(self, *arguments: str, input: str = "") -> str:
        done = self.run(*arguments, "--data", self.data, input=input)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def account(self) -> Account:
        """With a token of `ssyncd user token`: signing in with the password costs a tenth of a second of one core."""
        if self._account is None:
            token = self._keep("user", "token", self.user, "--app", self.app).strip()
            [(user_id,)] = self._query("SELECT id FROM users")
            self._account = Account(self.url, self.app, self.user, user_id, token)
        return self._account

    def versions(self, bucket: str) -> list[Version]:
        """All changes of a bucket that the server has accepted and keeps, oldest first."""
        rows = self._query(
            "SELECT key, version, live, data FROM changes JOIN buckets ON buckets.id = bucket WHERE name = ?"
            " ORDER BY position",
            bucket,
        )
        return [Version(key, version, bool(live), orjson.loads(data or b"{}")) for key, version, live, data in rows]

    def count(self, bucket: str) -> int:
        return len(self.versions(bucket))

    def largest(self) -> int:
        """Bytes of the largest object."""
        [(size,)] = self._query("SELECT max(length(data)) FROM changes")
        return int(size)

    def _query(self, sql: str, *values: str) -> list[Any]:
        connection = sqlite3.connect(f"file:{self.data / 'server.db'}?mode=ro", uri=True)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()


class Machine(Place):
    """One machine of the user's, with one folder (others can be given). `name` is the device's name."""

    def __init__(self, home: Path, name: str, bucket: str, settings: str = "") -> None:
        super().__init__(home, name)
        self.bucket = bucket
        self.folder = home / "Folder"
        self.running: Running | None = None
        self.config.write_text(f'device = "{name}"\n{settings}')
        self.folder.mkdir()

    def sign_in(self, account: Account) -> None:
        Credentials(self.home / "state" / "ssyncd" / "credentials.json").put(account.url, asdict(account))

    # the daemon

    def start(self, wait: bool = True) -> None:
        self.running = self.launch("start", str(self.folder), "--name", self.bucket)
        if wait:
            self.wait()

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.running is not None
        running, self.running = self.running, None
        return running.end(number)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def ended(self) -> int:
        """Until the daemon has ended by itself; its exit code."""
        assert self.running is not None
        running, self.running = self.running, None
        until(lambda: not running.alive, f"{self.name} ends")
        return running.process.returncode

    def ask(self, command: str, patience: float = DEADLINE, **more: Any) -> dict[str, Any]:
        """One request to the running daemon, on its control socket."""
        running = self.running
        assert running is not None
        socket = self.home / "run" / "ssyncd" / f"{running.pid}.sock"
        until(lambda: socket.exists() or not running.alive, lambda: f"{self.name} answers\n{running.text()[-2000:]}")
        assert running.alive, f"{self.name} has ended\n{running.text()[-4000:]}"
        return control.ask(socket, {"command": command, **more}, patience)

    def status(self) -> FolderStatus:
        [folder] = Status.from_json(self.ask("status")).folders
        return folder

    def wait(self, timeout: float = DEADLINE) -> None:
        """Until the daemon says that the folder is in sync."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                answer = self.ask("wait", timeout + 10, timeout=max(0.0, deadline - time.monotonic()))
                break
            except NetworkError:
                # The socket exists a moment before it listens, and the folder a moment after.
                assert time.monotonic() < deadline, f"{self.name} does not answer"
        assert answer["exit"] == 0, f"{self.name} is not in sync: {answer}"

    def phase(self, *phases: str, timeout: float = DEADLINE) -> FolderStatus:
        """Until the folder is in one of these phases."""
        until(lambda: self.status().phase in phases, lambda: f"{self.name}: {phases}, is {self.status()}", timeout)
        return self.status()

    # the user

    def path(self, inside: str) -> Path:
        return self.folder / inside

    def write(self, inside: str, data: bytes | str = b"", exec: bool = False) -> Path:
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        if exec:
            path.chmod(0o755)
        return path

    def save(self, inside: str, data: bytes) -> None:
        """As editors do: a file of another name takes the place. What is written in place is sent in the midst of it when the
        writer is held up for more than a second, as a machine with too much to do does."""
        path = self.path(inside)
        fresh = path.with_name(f".{path.name}.swp")
        fresh.write_bytes(data)
        fresh.replace(path)

    def read(self, inside: str) -> bytes:
        return self.path(inside).read_bytes()

    def names(self, inside: str = "") -> list[str]:
        return sorted(name for name in os.listdir(self.path(inside)) if name != ".ssyncd")

    def picture(self, inside: str = "") -> Picture:
        return picture(self.path(inside))

    def holds(self, inside: str, data: bytes | str) -> bool:
        """Whether a file has just this content."""
        try:
            return self.read(inside) == (data.encode() if isinstance(data, str) else data)
        except OSError:
            return False


def start(*machines: Machine) -> None:
    """All at once; returns when each says that it is in sync."""
    for machine in machines:
        machine.start(wait=False)
    for machine in machines:
        machine.wait()


def stop(*machines: Machine) -> None:
    for machine in machines:
        machine.stop()


def agree(*machines: Machine, timeout: float = DEADLINE) -> Picture:
    """Until every daemon says that it is in sync and all folders are equal (also those where none runs); what they hold."""
    deadline = time.monotonic() + timeout
    running = [machine for machine in machines if machine.running is not None]
    while True:
        for machine in running:
            machine.wait(max(1.0, deadline - time.monotonic()))
        pictures = [machine.picture() for machine in machines]
        if all(one == pictures[0] for one in pictures) and all(machine.status().in_sync for machine in running):
            return pictures[0]
        if time.monotonic() > deadline:
            raise AssertionError(_disagreement(machines, pictures, timeout))
        _pause.wait(LOOK)


def _disagreement(machines: Sequence[Machine], pictures: Sequence[Picture], timeout: float) -> str:
    lines = [f"not equal within {timeout} s"]
    lines += [f"{machine.name}: {machine.status()}" for machine in machines if machine.running is not None]
    for machine, one in zip(machines[1:], pictures[1:], strict=True):
        lines.append(f"{machines[0].name} and {machine.name}: {difference(pictures[0], one)}")
    return "\n".join(lines)
