"""Inotify: watchdog's reader of the kernel's queue, below its emitter.

Why not the observer above it (watchdog 7.1.0, `watchdog/observers/`):
- `InotifyMoveEventGrouper` holds back all that comes behind a move out of the folder for 0.5 s (`DelayedQueue.get` sleeps);
- `InotifyWatchGroup.on_queue_overflow` rebuilds its watches and tells nobody that events were lost;
- `InotifyFD._raise_error` keeps quiet on EACCES, and `_add_callback` swallows every error below the root: directories that
  cannot be watched (no permission, no watches left) are not known;
- `generate_sub_moved_events` walks a renamed directory and queues an event for every file in it.
What is taken from it: the descriptor, the wait that `stop` can end, and the parser, which do pass on IN_Q_OVERFLOW (wd -1).
"""

import ctypes
import os
import select
import time
from collections.abc import Callable, Sequence

from watchdog.observers.inotify_c import (
    DEFAULT_EVENT_BUFFER_SIZE,
    InotifyConstants,
    InotifyFD,
    Mask,
    WatchDescriptor,
    inotify_add_watch,
    inotify_rm_watch,
)

from ssyncd.disk.mounts import MOUNTS
from ssyncd.disk.system import OPEN_FILES

Event = tuple[int, int, int, bytes]
"""wd, mask, cookie, name; as in inotify(7)."""

CREATE: int = InotifyConstants.IN_CREATE
DELETE: int = InotifyConstants.IN_DELETE
MODIFY: int = InotifyConstants.IN_MODIFY
ATTRIB: int = InotifyConstants.IN_ATTRIB
CLOSE_WRITE: int = InotifyConstants.IN_CLOSE_WRITE
MOVED_FROM: int = InotifyConstants.IN_MOVED_FROM
MOVED_TO: int = InotifyConstants.IN_MOVED_TO
MOVE_SELF: int = InotifyConstants.IN_MOVE_SELF
UNMOUNT: int = InotifyConstants.IN_UNMOUNT
OVERFLOW: int = InotifyConstants.IN_Q_OVERFLOW
IGNORED: int = InotifyConstants.IN_IGNORED
IS_DIR: int = InotifyConstants.IN_ISDIR

# Neither IN_OPEN nor IN_CLOSE_NOWRITE: what only reads is not even queued.
BELOW = CREATE | DELETE | MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO
_FLAGS = InotifyConstants.IN_ONLYDIR | InotifyConstants.IN_EXCL_UNLINK
_LAST_FEW = 8
_PAIR_WAIT_MS = 1
_BURST = 32.0
_PAUSE = 0.01


class Inotify(InotifyFD):
    """A thread that hands every batch of events to `deliver`, tells `mounted` that something was mounted or unmounted anywhere,
    and `failed` if it ends by anything but `stop`."""

    def __init__(
        self,
        deliver: Callable[[Sequence[Event]], None],
        failed: Callable[[Exception], None],
        mounted: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.name = "ssyncd-watcher"
        self._deliver = deliver
        self._failed = failed
        self._mounted = mounted
        self._mounts = self._watch_mounts()

    def _watch_mounts(self) -> int:
        """A lazy unmount tells inotify nothing as long as somebody has the file system open, which we have."""
        try:
            mounts = os.open(MOUNTS, os.O_RDONLY)
        except OSError:
            return -1
        if self._poller is not None:
            self._poller.register(mounts, select.POLLPRI)  # and POLLERR, which is always told
        return mounts

    def _check_inotify_fd(self) -> bool:
        return self._has_events() if self._poller is not None else bool(super()._check_inotify_fd())

    def _has_events(self, timeout: int | None = None) -> bool:
        """Waits for something, so many milliseconds at most. A mount is told of here, and only once by the kernel."""
        assert self._poller is not None
        ready = {fd for fd, _ in self._poller.poll(timeout)}
        if self._mounts in ready and not self._closed:
            self._mounted()
        return self._inotify_fd in ready

    def _close_resources(self) -> None:
        super()._close_resources()
        if self._mounts >= 0:
            os.close(self._mounts)

    def watch(self, directory: int, mask: int = BELOW) -> int:
        """By its open handle: the directory that was checked is the one that is watched, however long its path is."""
        with self._lock:
            if self._closed:
                raise OSError(9, "the watcher has stopped")
            path = f"{OPEN_FILES}/{directory}".encode()
            wd = inotify_add_watch(self._inotify_fd, path, Mask(mask | _FLAGS))
        if wd == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return wd

    def unwatch(self, wd: int) -> None:
        """Harmless if the kernel has ended this watch by itself."""
        with self._lock:
            if not self._closed:
                inotify_rm_watch(self._inotify_fd, WatchDescriptor(wd))

    def run(self) -> None:
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - the top of a thread
            self._failed(error)

    def _run(self) -> None:
        """A few events are handed on as they come. In a storm there is a pause before each read, in which the kernel gathers:
        woken for every single event we would spend more time on 10,000 new files than the program that writes them."""
        credit, before = _BURST, time.monotonic()
        while self.should_keep_running():
            events = self._read()
            if events:
                self._deliver(events)
            now = time.monotonic()
            credit = min(_BURST, credit + (now - before) / _PAUSE) - 1
            before = now
            if credit < 0:
                self.stopped_event.wait(_PAUSE)

    def _read(self) -> list[Event]:
        events: list[Event] = list(self._parse_event_buffer(self._read_event_buffer(DEFAULT_EVENT_BUFFER_SIZE)))
        # The kernel queues the two ends of a rename one right after the other, but a read can fall between them.
        if _has_lonely_source(events) and self._poller is not None and self._has_events(_PAIR_WAIT_MS):
            events.extend(self._parse_event_buffer(self._read_event_buffer(DEFAULT_EVENT_BUFFER_SIZE)))
        return events

    def abandon(self) -> None:
        """Close what was never started."""
        self._closed = True
        self._close_resources()


def _has_lonely_source(events: Sequence[Event]) -> bool:
    sources = set[int]()
    for _, mask, cookie, _ in events[-_LAST_FEW:]:
        if mask & MOVED_FROM:
            sources.add(cookie)
        elif mask & MOVED_TO:
            sources.discard(cookie)
    return bool(sources)
