"""A server and two machines as real processes on loopback, isolated by XDG variables."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SSYNCD = [sys.executable, "-m", "ssyncd"]
PATIENCE = 300.0


class Machine:
    """One user's home; `ssyncd` runs in it with its own configuration, state and runtime directories."""

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self.folder = home / name / "Sync"
        self.folder.mkdir(parents=True)
        self._home = home / name
        self.daemon: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        kinds = {"CONFIG_HOME": "config", "DATA_HOME": "data", "STATE_HOME": "state", "CACHE_HOME": "cache"}
        variables = {f"XDG_{kind}": str(self._home / name) for kind, name in kinds.items()}
        runtime = self._home / "run"
        runtime.mkdir(exist_ok=True, mode=0o700)
        return {**os.environ, **variables, "XDG_RUNTIME_DIR": str(runtime)}

    def run(self, *arguments: str, text: str = "") -> str:
        command = [*SSYNCD, *arguments]
        done = subprocess.run(
            command, env=self.environment, input=text, text=True, capture_output=True, timeout=PATIENCE
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(arguments)}: {done.returncode}: {done.stderr}")
        return done.stdout

    def start(self) -> None:
        log = (self._home / "log").open("ab")
        command = [*SSYNCD, "start", str(self.folder)]
        self.daemon = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def stop(self) -> None:
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait(30)
            self.daemon = None

    def wait(self) -> None:
        """Until the daemon says that it is in sync."""
        until(lambda: bool(self.status()), "the daemon answers")
        self.run("wait", "--timeout", str(PATIENCE))

    def status(self) -> dict[str, object]:
        try:
            found = json.loads(self.run("status", "--json"))
        except RuntimeError:
            return {}
        daemons = found["daemons"]
        return daemons[0]["folders"][0] if daemons and daemons[0]["folders"] else {}

    def cost(self) -> dict[str, float]:
        """CPU seconds so far and the largest resident set in bytes."""
        return process_cost(self.daemon.pid) if self.daemon is not None else {}


def process_cost(pid: int) -> dict[str, float]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    peak = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"cpu": (int(fields[11]) + int(fields[12])) / ticks, "peak": int(peak.split()[1]) * 1024}


def until(true: Callable[[], bool], what: str, pause: float = 0.002) -> None:
    """Wait on a condition."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE} s until {what}")
        time.sleep(pause)


@contextmanager
def world(home: Path, *names: str) -> Iterator[tuple[int, list[Machine]]]:
    """The server's process id and machines that are signed in to it, their daemons not started yet."""
    data = home / "server"
    owner = Machine(home, "owner")
    command = [*SSYNCD, "serve", "--listen", "127.0.0.1:0", "--data", str(data)]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=owner.environment, stdout=subprocess.PIPE, stderr=log, text=True)
    machines: list[Machine] = []
    try:
        assert server.stdout is not None
        url = next(word for word in server.stdout.readline().split() if word.startswith("http"))
        owner.run("user", "add", "somebody", "--password-stdin", "--data", str(data), text="a long password\n")
        for name in names:
            machines.append(Machine(home, name))
            machines[-1].run("login", url, "--user", "somebody", "--password-stdin", text="a long password\n")
        yield server.pid, machines
    finally:
        for machine in machines:
            machine.stop()
        server.terminate()
        server.wait(30)
