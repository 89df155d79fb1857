"""ssyncd: a server and two machines, isolated by XDG variables."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ssyncd.control import ask, daemons
from ssyncd.errors import Exit, SsyncdError
from tests.benchmarks.link import Link
from tests.benchmarks.processes import PATIENCE, end

SSYNCD = [sys.executable, "-m", "ssyncd"]
PASSWORD = "a long password\n"
# Seconds that a daemon is given to get in sync before it is asked again.
WAIT = 5.0


class _Machine:
    """One user's home; `ssyncd` runs in it with its own configuration, state and runtime directories."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "Sync"
        self.state = home / "state" / "ssyncd" / "folders"
        self._home = home
        self._runtime = home / "run"
        self.folder.mkdir(parents=True)
        self._runtime.mkdir(mode=0o700)
        self.daemon: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        kinds = {"CONFIG_HOME": "config", "DATA_HOME": "data", "STATE_HOME": "state", "CACHE_HOME": "cache"}
        variables = {f"XDG_{kind}": str(self._home / name) for kind, name in kinds.items()}
        # Installed, it is compiled: this would have it compile itself anew at each start.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**inherited, **variables, "XDG_RUNTIME_DIR": str(self._runtime)}

    def run(self, *arguments: str) -> None:
        done = subprocess.run(
            [*SSYNCD, *arguments],
            env=self.environment,
            input=PASSWORD,
            text=True,
            capture_output=True,
            timeout=PATIENCE,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.returncode}: {done.stderr}")

    def login(self, url: str) -> None:
        self.run("login", url, "--user", "somebody", "--password-stdin")

    def start(self) -> None:
        with (self._home / "log").open("ab") as log:
            command = [*SSYNCD, "start", str(self.folder)]
            self.daemon = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def stop(self) -> None:
        if self.daemon is not None:
            end(self.daemon)
            self.daemon = None

    def in_sync(self) -> bool:
        """Asks the daemon over its own socket to tell when it is, as `ssyncd wait` does: asking again and again would take from
        the CPU that is measured."""
        with contextlib.suppress(SsyncdError):
            for socket in daemons(self._runtime / "ssyncd"):
                return ask(socket, {"command": "wait", "timeout": WAIT})["exit"] == Exit.OK
        return False


class Ssyncd:
    name = "ssyncd"

    def __init__(self, home: Path, *, linked: bool) -> None:
        """`linked`: each machine reaches the server over a long line of its own."""
        self._home = home
        self._undo = contextlib.ExitStack()
        self._machines = {name: _Machine(home / name) for name in "ab"}
        self.a, self.b = (machine.folder for machine in self._machines.values())
        self._owner = _Machine(home / "owner")
        self._linked = linked
        self._server = self._serve()
        self._undo.callback(end, self._server)
        try:
            self._sign_in()
        except BaseException:
            self._undo.close()
            raise

    def _serve(self) -> "subprocess.Popen[str]":
        command = [*SSYNCD, "serve", "--listen", "127.0.0.1:0", "--data", str(self._home / "server")]
        with (self._home / "server.log").open("wb") as log:
            environment = self._owner.environment
            return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)

    def _sign_in(self) -> None:
        assert self._server.stdout is not None
        self._url = next(word for word in self._server.stdout.readline().split() if word.startswith("http"))
        self._owner.run("user", "add", "somebody", "--password-stdin", "--data", str(self._home / "server"))
        for machine in self._machines.values():
            url = self._url
            if self._linked:
                link = self._undo.enter_context(Link(int(url.rpartition(":")[2])))
                url = f"http://127.0.0.1:{link.port}"
            machine.login(url)

    def start(self) -> None:
        for name in "ab":
            self._machines[name].start()

    def stop(self) -> None:
        for machine in self._machines.values():
            machine.stop()

    def stop_a(self) -> None:
        self._machines["a"].stop()

    def start_a(self) -> None:
        self._machines["a"].start()

    def in_sync(self) -> bool:
        return all(machine.in_sync() for machine in self._machines.values() if machine.daemon is not None)

    def forget(self) -> None:
        for machine in self._machines.values():
            shutil.rmtree(machine.state)
            shutil.rmtree(machine.folder / ".ssyncd")

    def pids(self) -> dict[str, int]:
        running = {name: machine.daemon.pid for name, machine in self._machines.items() if machine.daemon is not None}
        return {**running, "server": self._server.pid}

    def database(self) -> int:
        return sum(path.stat().st_size for path in self._machines["a"].state.rglob("*") if path.is_file())

    def join(self) -> Path | None:
        machine = self._machines["c"] = _Machine(self._home / "c")
        machine.login(self._url)
        machine.start()
        return machine.folder

    def close(self) -> None:
        self.stop()
        self._undo.close()
