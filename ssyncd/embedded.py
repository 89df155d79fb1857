"""The built-in server: a child process on loopback, shared by all daemons of a user.

Whoever finds none running, under the election lock, starts one. It ends with its starter, whatever happens to that: its
standard input is a pipe from it. All daemons watch the process, and whichever first finds it gone starts it again.
"""

import contextlib
import json
import logging
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from ssyncd import places, serving
from ssyncd.errors import SsyncdError
from ssyncd.threads import begin

START_SECONDS = 30.0
STOP_SECONDS = 10.0
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

_log = logging.getLogger(__name__)


class Housing(Struct, frozen=True):
    """Where the server lives: its data and our state directory (for its logs and its port), `listen` as configured, and the
    settings file, which it reads again for itself."""

    data: Path
    state: Path
    listen: str = "127.0.0.1:8730"
    config: Path | None = None

    @property
    def log(self) -> Path:
        return self.state / "server.log"

    @property
    def stderr(self) -> Path:
        return self.state / "server.stderr"

    @property
    def port(self) -> Path:
        return self.state / "server.port.json"


class EmbeddedServer:
    """Keeps a server running from `start` to `stop`; `moved` is called, on the watching thread, with its new URL."""

    def __init__(self, housing: Housing, moved: Callable[[str], None] = lambda _url: None) -> None:
        self._housing = housing
        self._moved = moved
        self._child: subprocess.Popen[bytes] | None = None
        self._serving = serving.Serving("", 0)
        self._stopping = threading.Event()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._thread = threading.Thread(target=self._watch, name="embedded-watch")

    @property
    def url(self) -> str:
        return self._serving.url

    @property
    def owned(self) -> bool:
        """Whether the server is our child."""
        return self._child is not None

    def start(self) -> str:
        """Find the server or start it; its URL. SsyncdError with the server's own words."""
        self._ensure()
        begin(self._thread)
        return self.url

    def check(self) -> None:
        """A connection failed: look whether the server is still there. Returns at once; any thread."""
        # Full: it is awake already. Closed: we have stopped.
        with contextlib.suppress(OSError):
            self._wake.send(b".")

    def stop(self) -> None:
        """Ends the server if it is ours; another daemon that uses it starts it again. Again is harmless."""
        self._stopping.set()
        self.check()
        if self._thread.is_alive():
            self._thread.join()
        self._end_child()
        self._wake.close()
        self._woken.close()

    def _watch(self) -> None:
        while not self._stopping.is_set():
            self._wait_for_end()
            for delay in (0.0, *RETRY_SECONDS, *([RETRY_SECONDS[-1]] * 10**6)):
                if self._stopping.wait(delay) or self._again():
                    break

    def _wait_for_end(self) -> None:
        """Returns when the server process ended or somebody asked to look."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        watched = serving.end_of(self._serving.pid)
        if watched is not None:
            poll.register(watched, select.POLLIN)
        try:
            if any(ready == self._woken.fileno() for ready, _ in poll.poll()):
                self._woken.recv(4096)
        finally:
            if watched is not None:
                os.close(watched)

    def _again(self) -> bool:
        before = self.url
        try:
            self._ensure()
        except SsyncdError as error:
            _log.warning("the built-in server cannot be started: %s", error)
            return False
        if self.url != before:
            self._moved(self.url)
        return True

    def _ensure(self) -> None:
        with serving.election(self._housing.data):
            found = serving.find(self._housing.data)
            if found is not None and serving.healthy(found.url):
                self._serving = found
                return
            if found is not None and found.url.startswith("https:"):
                raise SsyncdError(f"a server with TLS has {self._housing.data}: ssyncd login {found.url} --user NAME")
            self._end_child()
            self._serving = self._spawn()
            _log.info("built-in server at %s (process %d)", self.url, self._serving.pid)

    def _spawn(self) -> serving.Serving:
        self._child = self._launch(self._free_address())
        url = self._first_line(self._child)
        if not url:
            self._end_child()
            raise SsyncdError(f"the built-in server did not start: {self._last_words()}")
        self._remember(url)
        return serving.Serving(serving.local(url), self._child.pid)

    def _launch(self, address: str) -> subprocess.Popen[bytes]:
        places.private(self._housing.state)
        # Not the user's directory, which is full of files that Python would import (-P, cwd); not the terminal's
        # process group, so that Ctrl-C ends the folders before their server.
        settings = [] if self._housing.config is None else ["--config", str(self._housing.config)]
        command = [sys.executable, "-P", "-m", "ssyncd", *settings, "serve", "--embedded", "--listen", address]
        command += ["--data", str(self._housing.data), "--log-file", str(self._housing.log)]
        with open(self._housing.stderr, "wb") as errors:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self._housing.data,
                start_new_session=True,
            )

    def _first_line(self, child: subprocess.Popen[bytes]) -> str:
        """What the server says once it listens: its URL; "" if it ended, or said nothing in time."""
        assert child.stdout is not None
        poll = select.poll()
        poll.register(child.stdout, select.POLLIN)
        if not poll.poll(START_SECONDS * 1000):
            return ""
        return child.stdout.readline(4096).decode("utf-8", "replace").strip()

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.close()
        child.stdout.close()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _log.warning("the built-in server does not end: killed")
            child.kill()
            child.wait()

    def _last_words(self) -> str:
        try:
            lines = self._housing.stderr.read_text("utf-8", "replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1].removeprefix("ssyncd: ") if lines else f"see {self._housing.log}"

    def _free_address(self) -> str:
        """The address it had last time, else the configured one, else any free port of that host."""
        configured = self._housing.listen
        host = configured.rpartition(":")[0]
        for address in (self._remembered(), configured):
            if address and _can_bind(address):
                return address
        _log.warning("%s is taken by another program: using another port", configured)
        return f"{host}:0"

    def _remembered(self) -> str:
        try:
            value = json.loads(self._housing.port.read_bytes())
            return str(value["address"]) if value["configured"] == self._housing.listen else ""
        except (OSError, ValueError, TypeError, KeyError):
            return ""

    def _remember(self, url: str) -> None:
        port = url.rstrip("/").rpartition(":")[2]
        address = f"{self._housing.listen.rpartition(':')[0]}:{port}"
        value = {"configured": self._housing.listen, "address": address}
        places.write_private(self._housing.port, json.dumps(value).encode())


def _can_bind(address: str) -> bool:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, int(port)))
    except (OSError, ValueError, OverflowError):
        return False
    return True
