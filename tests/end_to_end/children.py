"""`ssyncd` processes forked from one that has imported it all: they start at once, and one call of a kind can fail in them."""

import errno
import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.machine import Machine, Place, Running, Server

PRELOAD = Path(__file__).parent / "preload"
FAILING, RECORDING = "failing.c", "recording.c"
COMPILER = shutil.which("gcc") or shutil.which("cc")


@dataclass(frozen=True)
class Fault:
    """The number-th call of this kind fails with this error, on files below the process's home or on its internet sockets."""

    kind: str
    number: int
    error: str = "EIO"

    def __str__(self) -> str:
        return f"{self.kind} number {self.number}: {self.error}"


class Child:
    """What `Running` needs of a `subprocess.Popen`."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._handle], [], [], 0)[0]:
            self._reap()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._handle], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("ssyncd", timeout or 0.0)
            self._reap()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _reap(self) -> None:
        self.returncode = self._nursery.order({"wait": self.pid})
        os.close(self._handle)


class Nursery:
    """The process that forks. `library`: loaded into it before all others."""

    def __init__(self, library: Path | None = None) -> None:
        command = [sys.executable, "-P", "-m", "tests.end_to_end.forking"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        if library is not None:
            environment["LD_PRELOAD"] = str(library)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._lock = threading.Lock()  # an order and its answer belong together

    def order(self, what: dict[str, object]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def launch(self, place: "Forked", *arguments: str) -> tuple[Running, Path]:
        """As `Place.launch`; what fails is told in the file."""
        fault = place.fault
        log = place.home / f"log-{len(place.logs)}"
        report = log.with_suffix(".failed")
        place.logs.append(log)
        log.touch()
        order: dict[str, object] = {
            "arguments": arguments,
            "environment": place.environment,
            "directory": str(place.home),
            "log": str(log),
            "root": f"{place.recorded or place.home}/",
            "record": str(place.record or ""),
            "careless": place.careless,
            "report": str(report),
            "kind": fault.kind if fault else "",
            "number": fault.number if fault else 0,
            "error": getattr(errno, fault.error) if fault else 0,
        }
        child = Child(self, self.order(order))
        return Running(child, log), report  # type: ignore[arg-type]

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


class Forked(Place):
    """A mix-in: a place whose processes are forked, if there is a nursery. The next one has `fault` in it, those after it none.
    What happens in the directory `recorded` is written to the file `record`; `careless`: a function of that module, called
    first."""

    nursery: Nursery | None
    fault: Fault | None = None
    recorded: Path | None = None
    record: Path | None = None
    careless: str = ""
    reports: tuple[Path, ...] = ()

    def launch(self, *arguments: str) -> Running:
        if self.nursery is None:
            return super().launch(*arguments)
        running, report = self.nursery.launch(self, *arguments)
        if self.fault is not None:
            self.reports = (*self.reports, report)
        self.fault = None
        return running

    def struck(self) -> str:
        """What has failed by our doing since this was asked for."""
        told = " ".join(report.read_text() for report in self.reports if report.exists())
        self.reports = ()
        return told.strip()


class ForkedMachine(Forked, Machine):
    def __init__(self, home: Path, nursery: Nursery | None, bucket: str, settings: str) -> None:
        self.nursery = nursery
        super().__init__(home, home.name, bucket, settings)


class ForkedServer(Forked, Server):
    def __init__(
        self, home: Path, nursery: Nursery | None, plain: bool = False, app: str = "ssyncd", settings: str = ""
    ) -> None:
        self.nursery = nursery
        super().__init__(home, plain, app, settings)


@contextmanager
def nursery(source: str = FAILING) -> Iterator[Nursery]:
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory) / "preloaded.so"
        build(PRELOAD / source, library)
        made = Nursery(library)
        try:
            yield made
        finally:
            made.end()


def build(source: Path, library: Path) -> None:
    command = [
        str(COMPILER),
        "-shared",
        "-fPIC",
        "-O2",
        "-U_FORTIFY_SOURCE",
        "-fno-builtin",
        "-o",
        library,
        source,
        "-ldl",
    ]
    subprocess.run(command, check=True, capture_output=True)


@functools.cache
def reason_not_to() -> str:
    """Why there can be no faults here; "" if there can."""
    if COMPILER is None or not sys.platform.startswith("linux"):
        return "faults need Linux and a C compiler"
    with tempfile.TemporaryDirectory() as directory:
        try:
            for source in (FAILING, RECORDING):
                build(PRELOAD / source, Path(directory) / "preloaded.so")
        except subprocess.CalledProcessError as error:
            return f"the library for faults cannot be built here: {error.stderr.decode(errors='replace')[-300:]}"
    return ""
