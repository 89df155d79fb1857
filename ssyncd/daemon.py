"""All folders of one process: start, wait, stop; signals, systemd, the answers of the control socket.

The main thread sleeps on one mailbox. Signal handlers, the threads that follow a folder's status, and the control socket only
put events there, or ask a folder directly.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from ssyncd import __version__
from ssyncd.errors import Exit, NetworkError, ShortageError, SsyncdError, UsageError
from ssyncd.mailbox import Mailbox
from ssyncd.notify import Notifier
from ssyncd.status import FolderStatus, Phase, Status
from ssyncd.threads import begin

ONE_SHOT = frozenset({"wait", "pull", "sync"})
FOLDER_COMMANDS = frozenset(
    {"approve", "pause", "resume", "rescan", "conflicts", "history", "deleted", "restore", "forget", "verify"}
)

RELOADED = 10.0
"""Seconds that a question waits for the end of a reload."""

_log = logging.getLogger(__name__)


class Settings(Protocol):
    """What the daemon needs to know of a `folder.FolderSettings`; equal settings are the same folder run the same way."""

    @property
    def path(self) -> Path: ...
    @property
    def name(self) -> str: ...


class Runner(Protocol):
    """What the daemon needs of a `folder.Folder`. `wait` calls `until` now and on every change of the status, and returns
    when it gives True, in time or not, or when the folder has ended; a folder that ended by itself has a `failure`."""

    failure: SsyncdError | None

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def status(self) -> FolderStatus: ...
    def wait(self, timeout: float | None, until: Callable[[FolderStatus], bool]) -> bool: ...
    def request(self, command: str, **arguments: str) -> dict[str, Any]: ...


class Watcher(Protocol):
    """Is told how folders are; runs on the threads that follow them."""

    def show(self, status: FolderStatus, /) -> None: ...


class _Stop(Struct, frozen=True):
    reason: str


class _Reload(Struct, frozen=True):
    pass


class _Told(Struct, frozen=True):
    """A folder came into another phase."""


class _Ended(Struct, frozen=True):
    member: "Member"


_Event = _Stop | _Reload | _Told | _Ended


class Member:
    """One folder of the daemon, running or failed. `follow` runs on its own thread until the folder ends."""

    def __init__(self, settings: Settings, runner: Runner) -> None:
        self.settings = settings
        self.runner = runner
        self.error: SsyncdError | None = None
        self._leaving = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, told: Callable[[FolderStatus], None], ended: Callable[["Member"], None]) -> None:
        """SsyncdError if the folder cannot be used; then it shows as failed."""
        try:
            self.runner.start()
        except SsyncdError as error:
            self.error = error
            raise
        self._thread = threading.Thread(target=self._follow, args=(told, ended), name=f"follow {self.settings.name}")
        try:
            begin(self._thread)
        except ShortageError as error:
            self._thread, self.error = None, error
            self.runner.stop()
            raise

    def stop(self) -> None:
        self._leaving.set()
        if self._thread is not None:
            self.runner.stop()
            self._thread.join()
            self._thread = None

    @property
    def running(self) -> bool:
        return self._thread is not None and self.failure is None

    @property
    def failure(self) -> SsyncdError | None:
        return self.error or self.runner.failure

    def status(self) -> FolderStatus:
        if self.error is not None:
            return FolderStatus(
                self.settings.name, str(self.settings.path), Phase.FAILED, last_error=str(self.error) or "cannot start"
            )
        status = self.runner.status()
        if self.runner.failure is not None and status.phase is not Phase.FAILED:
            status = replace(status, phase=Phase.FAILED, last_error=str(self.runner.failure))
        return status

    def is_called(self, folder: str) -> bool:
        """A path is absolute; anything else is a name."""
        return folder in (self.settings.name, str(self.settings.path))

    def _follow(self, told: Callable[[FolderStatus], None], ended: Callable[["Member"], None]) -> None:
        def on_change(status: FolderStatus) -> bool:
            told(status)
            return self._leaving.is_set()

        self.runner.wait(None, on_change)
        if not self._leaving.is_set():
            ended(self)


class _Refused:
    """In place of a folder that could not even be made."""

    def __init__(self, settings: Settings, failure: SsyncdError) -> None:
        self.failure: SsyncdError | None = failure
        self._error = failure
        self._status = FolderStatus(settings.name, str(settings.path), Phase.FAILED, last_error=str(failure))

    def start(self) -> None:
        raise self._error

    def stop(self) -> None:
        pass

    def status(self) -> FolderStatus:
        return self._status

    def wait(self, timeout: float | None, until: Callable[[FolderStatus], bool]) -> bool:  # noqa: ARG002 - it has ended
        return until(self._status)

    def request(self, command: str, **arguments: str) -> dict[str, Any]:  # noqa: ARG002 - it answers nothing
        raise self._error


class Plan(Struct, frozen=True):
    """What a daemon runs: `wanted` gives the settings (again at a reload), `make` a folder for each; `on_offline` is called
    when a folder lost its server."""

    wanted: Callable[[], Sequence[Settings]]
    make: Callable[[Any], Runner]
    on_offline: Callable[[], None] = lambda: None


class Daemon:
    """`run` returns the exit code. `watcher` is told every status; `moved` and `stop` may be called from any thread."""

    def __init__(self, plan: Plan, notifier: Notifier, watcher: Watcher) -> None:
        self._plan = plan
        self._notifier = notifier
        self._watcher = watcher
        self._events: Mailbox[_Event] = Mailbox()
        # Guards _members, which the main thread changes and the control socket's threads read; owned by this object.
        self._lock = threading.Lock()
        self._members: list[Member] = []
        self._phases: dict[str, Phase] = {}
        self._settled = threading.Event()
        self._settled.set()

    # life

    def run(self, control: AbstractContextManager[object] | None = None) -> Exit:
        """`control` is entered once the folders are there, so that whoever reaches us finds them, and left after they stopped."""
        with self._events.opened(), self._signals(), ExitStack() as opened:
            try:
                self._start()
                if control is not None:
                    opened.enter_context(control)
                self._notifier.ready(self.summary())
                return self._main_loop()
            finally:
                self._notifier.stopping()
                self._stop_all()

    def stop(self, reason: str = "asked to stop") -> None:
        self._events.put(_Stop(reason))

    def restart_folders(self) -> None:
        """Read the settings again, as at SIGHUP; a folder whose settings changed starts anew."""
        self._settled.clear()
        self._events.put(_Reload())

    def _start(self) -> None:
        wanted = self._plan.wanted()
        refused = [(settings, error) for settings in wanted if (error := self._add(settings))]
        if refused and len(refused) == len(wanted):
            raise refused[0][1]
        for settings, error in refused:
            _log.error("%s: cannot start: %s", settings.path, error)

    def _main_loop(self) -> Exit:
        while True:
            event = self._next()
            match event:
                case _Stop(reason):
                    _log.info("stopping: %s", reason)
                    return Exit.OK
                case _Reload():
                    self._reload()
                case _Ended(member):
                    _log.error("%s: ended: %s", member.settings.path, member.failure)
                    if not any(one.running for one in self._now()):
                        raise member.failure or SsyncdError(f"{member.settings.path}: ended by itself")
                case _Told():
                    self._notifier.status(self.summary())

    def _next(self) -> _Event:
        """The watchdog hears from us as long as this thread gets here, also when events never pause."""
        while True:
            event = self._events.get(self._notifier.alive())
            if event is not None:
                return event

    def _stop_all(self) -> None:
        members = self._now()
        # All at once: each may have to finish a step on disk.
        stoppers = []
        for member in members:
            try:
                stoppers.append(begin(threading.Thread(target=member.stop, name=f"stop {member.settings.name}")))
            except ShortageError:
                member.stop()
        for stopper in stoppers:
            stopper.join()

    # folders

    def _add(self, settings: Settings) -> SsyncdError | None:
        member = Member(settings, self._made(settings))
        with self._lock:
            self._members.append(member)
        try:
            member.start(self._told, lambda ended: self._events.put(_Ended(ended)))
        except SsyncdError as error:
            return error
        return None

    def _made(self, settings: Settings) -> Runner:
        try:
            return self._plan.make(settings)
        except SsyncdError as error:
            return _Refused(settings, error)

    def _remove(self, member: Member) -> None:
        with self._lock:
            self._members.remove(member)
        member.stop()

    def _reload(self) -> None:
        """What runs with unchanged settings is left alone; what failed is tried again."""
        self._settled.clear()
        self._notifier.reloading()
        try:
            wanted = list(self._plan.wanted())
        except SsyncdError as error:
            _log.error("settings not read again: %s", error)
        else:
            for member in self._now():
                if member.settings not in wanted or not member.running:
                    self._remove(member)
            running = [member.settings for member in self._now()]
            for settings in wanted:
                if settings not in running and (refused := self._add(settings)):
                    _log.error("%s: cannot start: %s", settings.path, refused)
        self._settled.set()
        self._notifier.ready(self.summary())

    def _told(self, status: FolderStatus) -> None:
        """On the thread that follows the folder, at every change: only a new phase is worth waking the main thread."""
        self._watcher.show(status)
        if self._phases.get(status.path) is status.phase:
            return
        self._phases[status.path] = status.phase
        self._events.put(_Told())
        if status.phase is Phase.OFFLINE and status.last_error:
            self._plan.on_offline()

    # status and requests

    def status(self) -> Status:
        return Status(os.getpid(), __version__, tuple(member.status() for member in self._now()))

    def summary(self) -> str:
        """One line for `systemctl status`."""
        parts = [f"{folder.name}: {folder.phase}" for folder in self.status().folders]
        return ", ".join(parts) or "no folder"

    def answer(self, request: dict[str, Any], gone: Callable[[], bool]) -> dict[str, Any]:
        """One request of the control socket, on its connection's thread. UsageError for what is not a command."""
        command, folder = request.get("command"), request.get("folder") or ""
        arguments = request.get("arguments") or {}
        if not isinstance(command, str) or not isinstance(folder, str) or not isinstance(arguments, dict):
            raise UsageError("command and folder must be texts, arguments an object")
        if command == "stop":
            self.stop("asked on the control socket")
            return {}
        if command == "reload":
            self.restart_folders()
            return {}
        # Between its two lives a folder is in no list.
        self._settled.wait(RELOADED)
        if command == "status":
            return self.status().to_json()
        members = self._called(folder)
        if command in ONE_SHOT:
            timeout = _seconds(request.get("timeout"))
            _ask_first(members, "catch_up" if command == "wait" else "rescan")
            # Offline ends a one-shot, unless it was given time; `wait` is for waiting.
            done = _settled if command == "wait" or timeout is not None else _settled_or_offline
            return _wait_all(members, timeout, lambda status: done(status) or gone())
        if command in FOLDER_COMMANDS:
            return {"folders": _ask_all(members, command, {str(key): str(value) for key, value in arguments.items()})}
        raise UsageError(f"unknown command {command!r}")

    def _called(self, folder: str) -> list[Member]:
        members = [member for member in self._now() if not folder or member.is_called(folder)]
        if not members:
            raise UsageError(f"no folder {folder!r} here")
        return members

    def _now(self) -> list[Member]:
        with self._lock:
            return list(self._members)

    # signals

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end gracefully, a second one at once; SIGHUP reloads."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {signal.SIGTERM: self._on_stop, signal.SIGINT: self._on_stop, signal.SIGHUP: self._on_reload}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        for again in (signal.SIGTERM, signal.SIGINT):
            signal.signal(again, signal.SIG_DFL)
        self._events.put(_Stop(signal.Signals(number).name))

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._events.put(_Reload())


def _ask_all(members: Sequence[Member], command: str, arguments: dict[str, str]) -> list[dict[str, Any]]:
    answers = []
    for member in members:
        if not member.running:
            raise member.failure or SsyncdError(f"{member.settings.path}: is not running")
        answer = member.runner.request(command, **arguments)
        answers.append({"name": member.settings.name, "path": str(member.settings.path), **answer})
    return answers


def _ask_first(members: Sequence[Member], command: str) -> None:
    """So that what was done on the disk just now counts."""
    for member in members:
        # Not connected yet: it will look at everything when it is. Not running: its status says so.
        with suppress(NetworkError):
            if member.running or command != "catch_up":
                _ask_all([member], command, {})


def _wait_all(members: Sequence[Member], timeout: float | None, done: Callable[[FolderStatus], bool]) -> dict[str, Any]:
    """Until all are done in one look: {"exit": code, "status": Status}."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while waiting := [member for member in members if not done(member.status())]:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            break
        waiting[0].runner.wait(left, done)
        if not waiting[0].running:
            break
    seen = Status(os.getpid(), __version__, tuple(member.status() for member in members))
    return {"exit": int(_outcome(members, seen)), "status": seen.to_json()}


def _settled(status: FolderStatus) -> bool:
    """In sync, or never going to be without somebody's help."""
    return status.in_sync or status.phase in (Phase.HELD, Phase.FAILED)


def _settled_or_offline(status: FolderStatus) -> bool:
    return _settled(status) or (status.phase is Phase.OFFLINE and bool(status.last_error))


def _outcome(members: Sequence[Member], seen: Status) -> Exit:
    for member in members:
        if member.failure is not None:
            return member.failure.exit_code
    phases = {folder.phase for folder in seen.folders}
    if phases <= {Phase.IN_SYNC}:
        return Exit.OK
    if phases <= {Phase.IN_SYNC, Phase.HELD}:
        return Exit.HELD
    return Exit.UNREACHABLE if Phase.OFFLINE in phases else Exit.NOT_IN_SYNC


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**9:
        raise UsageError("timeout must be seconds")
    return float(value)
