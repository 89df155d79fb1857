"""A folder that does what a test says, in place of the real one."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ssyncd.errors import SsyncdError
from ssyncd.status import FolderStatus, Phase


@dataclass(frozen=True)
class FakeSettings:
    path: Path
    name: str
    detail: str = ""


class FakeRunner:
    def __init__(self, settings: FakeSettings, refuses: SsyncdError | None = None) -> None:
        self.failure: SsyncdError | None = None
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.refuses_requests: SsyncdError | None = None
        self.started = threading.Event()
        self.stopped = threading.Event()
        self._refuses = refuses
        self._changed = threading.Condition()
        self._status = FolderStatus(settings.name, str(settings.path), Phase.STARTING)

    def start(self) -> None:
        if self._refuses:
            raise self._refuses
        self.started.set()

    def stop(self) -> None:
        with self._changed:
            self.stopped.set()
            self._changed.notify_all()

    def status(self) -> FolderStatus:
        return self._status

    def become(self, phase: Phase, **more: Any) -> None:
        with self._changed:
            self._status = replace(self._status, phase=phase, **more)
            self._changed.notify_all()

    def fail(self, error: SsyncdError) -> None:
        with self._changed:
            self.failure = error
            self._changed.notify_all()

    def wait(self, timeout: float | None, until: Callable[[FolderStatus], bool]) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not until(self._status):
                left = None if deadline is None else deadline - time.monotonic()
                if self.stopped.is_set() or self.failure or (left is not None and left <= 0):
                    return False
                self._changed.wait(left)
            return True

    def request(self, command: str, **arguments: str) -> dict[str, Any]:
        self.requests.append((command, arguments))
        if self.refuses_requests:
            raise self.refuses_requests
        if command == "verify":
            raise SsyncdError("the disk is on fire")
        return {"done": command}


class Shown:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, Phase]] = []

    def show(self, status: FolderStatus) -> None:
        self.phases.append((status.name, status.phase))
