"""A server in a process of its own, and example programs that run against it."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import asdict

from ssyncd.bucket import Secrets
from ssyncd.credentials import Credentials
from ssyncd.network.login import Account
from ssyncd.server.accounts import open_accounts

PASSWORD = "correct horse battery"
DEADLINE = 20.0


def free_port() -> int:
    """One of this machine's that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@dataclass
class ServerProcess:
    """`hold` stops it in the middle of whatever it does, `release` lets it go on."""

    process: subprocess.Popen
    account: Account

    @property
    def secrets(self) -> Secrets:
        return Secrets(self.account.url, self.account.user, self.account.token)

    @contextmanager
    def held(self) -> Iterator[None]:
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def server_process(data: Path, listen: str = "127.0.0.1:0") -> Iterator[ServerProcess]:
    """A server with the user `anna`; its data stay in `data`."""
    with open_accounts(data) as accounts:
        if not accounts.names():
            accounts.add("anna", PASSWORD)
        token = accounts.token("anna", "laptop")
    command = [sys.executable, "-m", "ssyncd.server", "--data", str(data), "--listen", listen]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), "the server did not start"
        yield ServerProcess(process, Account(url, "ssyncd", "anna", "", token))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def signed_in(home: Path, account: Account) -> dict[str, str]:
    """The environment of a user who has used `ssyncd login`."""
    Credentials(home / "ssyncd" / "credentials.json").put(account.url, asdict(account))
    return {**os.environ, "XDG_STATE_HOME": str(home), "PYTHONUNBUFFERED": "1"}


class Terminal:
    """A program with somebody at its keyboard."""

    # Guards what all screens show; notified whenever one of them changes.
    told = threading.Condition()

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self.screen = ""
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="terminal")
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.told:
                self.screen += line
                self.told.notify_all()
        with self.told:
            self._ended = True
            self.told.notify_all()

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def shows(self, text: str) -> None:
        """Wait until this is to be seen, then forget what came up to it."""
        with self.told:
            self.told.wait_for(lambda: text in self.screen or self._ended, DEADLINE)
            assert text in self.screen, f"{text!r} is not to be seen, but:\n{self.screen}"
            self.screen = self.screen.partition(text)[2]

    def rest(self) -> str:
        """No more is typed: all it shows until it ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(DEADLINE) == 0
        self._reader.join()
        return self.screen

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


def first_to_show(text: str, *running: Terminal) -> Terminal:
    """Wait until one of them shows this."""
    with Terminal.told:
        assert Terminal.told.wait_for(lambda: any(text in one.screen for one in running), DEADLINE), text
        return next(one for one in running if text in one.screen)


@contextmanager
def terminals(*commands: list[str], environment: dict[str, str]) -> Iterator[list[Terminal]]:
    running: list[Terminal] = []
    try:
        for command in commands:
            running.append(Terminal(command, environment))
        yield running
    finally:
        for terminal in running:
            terminal.end()
