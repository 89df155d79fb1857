"""Syncthing: two instances that know each other, with nothing that reaches out of the machine."""

import http.client
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.benchmarks.link import Link
from tests.benchmarks.processes import end
from tests.programs import free_port

_KEY = "benchmark"
_CONFIG = """<configuration version="36">
  <folder id="sync" path="{folder}" type="sendreceive" rescanIntervalS="3600" fsWatcherEnabled="true"
    fsWatcherDelayS="{delay}"><device id="{a}"/><device id="{b}"/></folder>
  <device id="{a}" name="a"><address>{address_a}</address></device>
  <device id="{b}" name="b"><address>{address_b}</address></device>
  <gui enabled="true" tls="false"><address>{gui}</address><apikey>{key}</apikey></gui>
  <options>
    <listenAddress>tcp://127.0.0.1:{port}</listenAddress>
    <globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>
    <relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><startBrowser>false</startBrowser>
    <reconnectionIntervalS>1</reconnectionIntervalS><urAccepted>-1</urAccepted>
    <crashReportingEnabled>false</crashReportingEnabled><autoUpgradeIntervalH>0</autoUpgradeIntervalH>
    <setLowPriority>false</setLowPriority>
  </options>
</configuration>
"""


class _Unix(http.client.HTTPConnection):
    """HTTP over a socket in the file system, so that asking is not counted as traffic."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


class _Instance:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "Sync"
        (self.folder / ".stfolder").mkdir(parents=True)
        self.gui = home / "gui"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        command = ["syncthing", "generate", "--home", str(home), "--no-default-folder", "--skip-port-probing"]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=True)
        self.id = next(line for line in (done.stdout + done.stderr).splitlines() if "Device ID" in line).rpartition(
            " "
        )[2]

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.home), "STNOUPGRADE": "1", "STNORESTART": "1"}

    def start(self) -> None:
        self.gui.unlink(missing_ok=True)
        command = ["syncthing", "serve", "--home", str(self.home), "--no-browser", "--no-restart"]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def stop(self) -> None:
        if self.process is not None:
            end(self.process)
            self.process = None

    def ask(self, path: str) -> dict[str, Any]:
        """What its REST API answers; {} while it does not."""
        connection = _Unix(self.gui)
        try:
            connection.request("GET", path, headers={"X-API-Key": _KEY})
            response = connection.getresponse()
            found: dict[str, Any] = json.loads(response.read()) if response.status == 200 else {}
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        finally:
            connection.close()
        return found

    def in_sync_with(self, other: str) -> bool:
        status = self.ask("/rest/db/status?folder=sync")
        there = self.ask(f"/rest/db/completion?folder=sync&device={quote(other)}")
        idle = status.get("state") == "idle" and status.get("needTotalItems") == 0
        connected = self.ask("/rest/system/connections").get("connections", {}).get(other, {}).get("connected")
        return bool(idle and connected and there.get("needItems") == 0 and there.get("needDeletes") == 0)


class Syncthing:
    """`delay`: for how many seconds its watcher gathers changes; 10 is its default."""

    def __init__(self, home: Path, *, linked: bool, delay: int = 1) -> None:
        self.name = "syncthing" if delay == 1 else f"syncthing, {delay} s"
        self._delay = delay
        self._sides = {name: _Instance(home / name) for name in "ab"}
        self.a, self.b = (side.folder for side in self._sides.values())
        self._linked = linked
        self._link: Link | None = None

    def start(self) -> None:
        port = self._sides["b"].port
        if self._linked:
            self._link = Link(port)
            port = self._link.__enter__().port
        for side in self._sides.values():
            self._configure(side, port)
            side.start()

    def _configure(self, side: _Instance, port: int) -> None:
        # Only a calls b: two calls that cross would be two connections, of which one is dropped.
        text = _CONFIG.format(
            folder=side.folder,
            delay=self._delay,
            a=self._sides["a"].id,
            b=self._sides["b"].id,
            address_a="dynamic",
            address_b=f"tcp://127.0.0.1:{port}",
            gui=side.gui,
            key=_KEY,
            port=side.port,
        )
        (side.home / "config.xml").write_text(text)

    def stop(self) -> None:
        for side in self._sides.values():
            side.stop()
        if self._link is not None:
            self._link.__exit__()
            self._link = None

    def stop_a(self) -> None:
        self._sides["a"].stop()

    def start_a(self) -> None:
        self._sides["a"].start()

    def in_sync(self) -> bool:
        a, b = self._sides["a"], self._sides["b"]
        return a.in_sync_with(b.id) and b.in_sync_with(a.id)

    def forget(self) -> None:
        for side in self._sides.values():
            shutil.rmtree(side.home / "index-v0.14.0.db")

    def pids(self) -> dict[str, int]:
        return {name: side.process.pid for name, side in self._sides.items() if side.process is not None}

    def database(self) -> int:
        return sum(path.stat().st_size for path in (self._sides["a"].home / "index-v0.14.0.db").iterdir())

    def join(self) -> Path | None:
        return None

    def close(self) -> None:
        self.stop()
