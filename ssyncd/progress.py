"""Showing how folders are while they run: log lines, and bars on a terminal for work that takes long.

Both are told every change of a status, on the threads that follow the folders; neither has a thread or a timer.
"""

import logging
import math
import threading
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from ssyncd.status import FolderStatus, Phase
from ssyncd.wording import duration, many, shown, size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

LINE_SECONDS = 10.0  # between progress lines in a log
SHORT_SECONDS = 2.0  # work shorter than this leaves no line
BAR_SECONDS = 0.5  # work shorter than this shows no bar
REFRESH_SECONDS = 0.1
BAR_WIDTH = 16
ENTRY_WEIGHT = 32 * 1024  # bytes that an entry counts as in a bar, beside a large content

_log = logging.getLogger(__name__)
_BUSY = frozenset({Phase.STARTING, Phase.SCANNING, Phase.SYNCING})
_WORSE = frozenset({Phase.OFFLINE, Phase.HELD, Phase.FAILED})


def pending(status: FolderStatus) -> str:
    """What is left to do, with the speed and the time that takes."""
    reading = f"{size(status.bytes_to_read)} to read" if status.bytes_to_read else ""
    parts = (
        _way(f"{status.to_send:,} to send", status.to_send, status.bytes_to_send, status.up, reading),
        _way(f"{status.to_apply:,} to receive", status.to_apply, status.bytes_to_apply, status.down),
    )
    return ", ".join(part for part in parts if part)


def _way(text: str, count: int, left: int, speed: float, more: str = "") -> str:
    if not count:
        return ""
    moving = [size(left)] if left else []
    moving += [f"{size(speed)}/s"] if speed >= 1 else []
    told = " at ".join(moving) + (f", {duration(left / speed)} left" if len(moving) > 1 else "")
    told = "; ".join(part for part in (told, more) if part)
    return f"{text} ({told})" if told else text


def _so_far(status: FolderStatus) -> str:
    """How far a look at the folder has come, and what is left to do."""
    found = f"{many(status.entries, 'entry', 'entries')} so far" if status.phase is Phase.SCANNING else ""
    return ", ".join(part for part in (found, pending(status)) if part)


def sentence(status: FolderStatus) -> str:
    """A folder in one line."""
    match status.phase:
        case Phase.IN_SYNC:
            rest = f"{many(status.entries, 'entry', 'entries')}, {size(status.size)}"
            if status.troubles:
                rest += f"; {many(len(status.troubles), 'path')} left out, see `ssyncd status`"
        case Phase.HELD:
            rest = "; ".join(hold.reason for hold in status.holds) + "; see `ssyncd status`"
        case _:
            rest = _so_far(status) or (status.last_error if status.phase in _WORSE else "")
    return f"{status.name}: {status.phase}" + (f", {rest}" if rest else "")


class _Told(Struct):
    """What the log has of a folder: the news and when; and since when it is busy, None if it is not."""

    news: tuple[Phase, str] | None = None
    when: float = 0.0
    busy: float | None = None


class LogLines:
    """A line for each new phase, and one now and then (`every` seconds) while work goes on. Short work, as after one edit,
    is not told."""

    def __init__(self, every: float | None = None) -> None:
        self._every = LINE_SECONDS if every is None else every
        # Guards _told, by path; owned by this object.
        self._lock = threading.Lock()
        self._told: dict[str, _Told] = {}

    def show(self, status: FolderStatus) -> None:
        with self._lock:
            told = self._told.setdefault(status.path, _Told())
            worth = self._is_worth(told, status, time.monotonic())
        if worth:
            _log.log(logging.WARNING if status.phase in _WORSE else logging.INFO, "%s", shown(sentence(status)))

    def _is_worth(self, told: _Told, status: FolderStatus, now: float) -> bool:
        news = (status.phase, status.last_error if status.phase in _WORSE else "")
        if status.phase is Phase.OFFLINE and not status.last_error:
            return False  # connecting for the first time
        if status.phase in _BUSY:
            told.busy = told.busy or now
            if now - max(told.busy, told.when) < self._every:
                return False
        else:
            long, told.busy = told.busy is not None and now - told.busy >= SHORT_SECONDS, None
            if news == told.news and not long:
                return False
        told.news, told.when = news, now
        return True


def _weight(status: FolderStatus) -> int:
    """What is pending, in bytes."""
    return status.pending * ENTRY_WEIGHT + status.bytes_to_send + status.bytes_to_apply + status.bytes_to_read


class _Work(Struct):
    """One stretch of work of a folder: from when, the most that was pending, its bar once it is long."""

    since: float
    total: int = 0
    task: "TaskID | None" = None


class Bars:
    """Log lines, and a bar per folder as long as its work lasts."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._lines = LogLines(math.inf)
        # Guards everything below; owned by this object.
        self._lock = threading.Lock()
        self._work: dict[str, _Work] = {}
        self._drawn = 0.0
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(BAR_WIDTH), TextColumn("{task.fields[text]}"),
            console=console, auto_refresh=False, transient=True,
        )  # fmt: skip

    def show(self, status: FolderStatus) -> None:
        with self._lock:
            if status.phase in _BUSY and status.pending:
                self._advance(status)
            else:
                self._finish(status.path)
        self._lines.show(status)

    def close(self) -> None:
        with self._lock:
            for path in list(self._work):
                self._finish(path)

    def _advance(self, status: FolderStatus) -> None:
        now = time.monotonic()
        work = self._work.setdefault(status.path, _Work(now))
        weight = _weight(status)
        work.total = max(work.total, weight)
        if now - work.since < BAR_SECONDS:
            return
        if work.task is None:
            self._progress.start()
            work.task = self._progress.add_task(shown(status.name), total=None, text="")
        if now - self._drawn >= REFRESH_SECONDS:
            self._drawn = now
            # How much it is, nobody knows before all has been looked at.
            total = None if status.phase is Phase.SCANNING else work.total
            done = work.total - weight
            self._progress.update(work.task, total=total, completed=done, text=_so_far(status), refresh=True)

    def _finish(self, path: str) -> None:
        work = self._work.pop(path, None)
        if work is not None and work.task is not None:
            self._progress.remove_task(work.task)
            if not self._progress.task_ids:
                self._progress.stop()


class ConsoleHandler(logging.Handler):
    """Log lines above the bars."""

    def __init__(self, console: "Console") -> None:
        super().__init__()
        self._console = console
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(self.format(record), markup=False, highlight=False, soft_wrap=True)
