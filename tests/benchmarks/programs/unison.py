"""Unison: a server on a socket and a client that looks for changes again and again. Debian's has no watcher, so it polls."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.benchmarks.link import Link
from tests.benchmarks.processes import end, until
from tests.programs import free_port

_DONE = ("Nothing to do:", "Synchronization complete")


class Unison:
    name = "unison"

    def __init__(self, home: Path, *, linked: bool) -> None:
        self._home = home
        self.a, self.b = home / "a" / "Sync", home / "b" / "Sync"
        for folder in (self.a, self.b):
            folder.mkdir(parents=True)
        self._linked = linked
        self._link: Link | None = None
        self._port = free_port()
        self._log = home / "client.log"
        self._read = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._client: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._server = self._run("b", "server.log", "-socket", str(self._port), "-listen", "127.0.0.1")
        until(self._listening, "unison listens")
        if self._linked:
            self._link = Link(self._port)
            self._link.__enter__()
        self.start_a()

    def _listening(self) -> bool:
        # Looked for in the kernel's table: a connection made only to see would be taken for a client.
        wanted = f":{self._port:04X} 00000000:0000 0A"
        return any(wanted in line for line in Path("/proc/self/net/tcp").read_text().splitlines())

    def _run(self, side: str, log: str, *arguments: str) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "UNISON": str(self._home / side / "state"), "HOME": str(self._home / side)}
        with (self._home / log).open("wb") as out:
            return subprocess.Popen(["unison", *arguments], env=environment, stdout=out, stderr=out)

    def stop(self) -> None:
        self.stop_a()
        if self._link is not None:
            self._link.__exit__()
            self._link = None
        if self._server is not None:
            end(self._server)
            self._server = None

    def stop_a(self) -> None:
        if self._client is not None:
            end(self._client)
            self._client = None

    def start_a(self) -> None:
        port = self._port if self._link is None else self._link.port
        roots = (str(self.a), f"socket://127.0.0.1:{port}/{self.b}")
        options = ("-repeat", "1", "-batch", "-times", "-dumbtty", "-confirmbigdel=false")
        self._client = self._run("a", self._log.name, *roots, *options)
        self._read = 0

    def in_sync(self) -> bool:
        """Whether it came to the end of a round since it was last asked: then it saw all that was there when it was asked."""
        text = self._log.read_text(errors="replace")
        ended = any(line.startswith(_DONE) for line in text[self._read :].splitlines())
        self._read = text.rfind("\n") + 1
        return ended

    def forget(self) -> None:
        for side in "ab":
            shutil.rmtree(self._home / side / "state")

    def pids(self) -> dict[str, int]:
        running = {"a": self._client, "b": self._server}
        return {name: process.pid for name, process in running.items() if process is not None}

    def database(self) -> int:
        return sum(path.stat().st_size for path in (self._home / "a" / "state").iterdir())

    def join(self) -> Path | None:
        return None

    def close(self) -> None:
        self.stop()
