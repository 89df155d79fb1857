"""DiskWatcher: what happens in a folder, as hints; Linux, on watchdog's inotify reader.

Every batch the kernel gives is turned into one call of `deliver`, at once. Paths are worked out after the whole batch, when the
table of watches is true again, so a hint never names a place a directory had before it was renamed in the same batch.
"""

import errno
import logging
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

from ssyncd.disk import inotify, system
from ssyncd.disk.base import Deliver, Hint, Rescan, Touched
from ssyncd.disk.faults import OWN
from ssyncd.disk.inotify import Event, Inotify
from ssyncd.disk.mounts import mounted_in
from ssyncd.disk.system import OPEN_FILES
from ssyncd.disk.watches import Directory, Place, Watches
from ssyncd.errors import RootError, ShortageError, UnusableError
from ssyncd.threads import begin

log = logging.getLogger(__name__)

NEW = "a new directory"
AGAIN = "it can be watched again"
OVERFLOWED = "the kernel's queue of events overflowed"

_STRUCTURE = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO
_LIMITS = {
    errno.EMFILE: "fs.inotify.max_user_instances (`sysctl`)",
    errno.ENFILE: "fs.file-max (`sysctl`)",
    errno.ENOSPC: "fs.inotify.max_user_watches (`sysctl`)",
    errno.ENOMEM: "the memory that it may use",
}
"""What there is too little of when the kernel says this."""
_ROOT_ENDS = {inotify.UNMOUNT: "the folder was unmounted", inotify.IGNORED: "the folder was deleted"}


class DiskWatcher:
    """See `base.Watcher`."""

    def __init__(self, root: str | Path) -> None:
        self._root = os.path.abspath(root)
        self._name = os.path.basename(os.path.realpath(root))
        # Guards everything below; the watcher's thread holds it while it works on a batch, never while it delivers.
        self._lock = threading.Lock()
        self._handle = -1
        self._inotify: Inotify | None = None
        self._watches: Watches | None = None
        self._lost = ""
        self._parent_wd = -1
        self._mounted = frozenset[str]()
        self._writing = set[Place]()
        self._deliver: Deliver | None = None
        # One asks at a time how far we are; `_passed` is set when the sign of the one who asks has come by.
        self._asking = threading.Lock()
        self._passed = threading.Event()

    def start(self, deliver: Deliver) -> None:
        self._deliver = deliver
        try:
            self._begin()
        except OSError as error:
            raise _unwatchable(self._root, error) from error

    def _begin(self) -> None:
        reader = self._inotify = Inotify(self._handle_batch, self._fail, self._note_mounts)
        try:
            self._watch_parent()
            self._watch_root()
            begin(reader)
        except (OSError, ShortageError):
            reader.abandon()
            self._inotify = None
            self._close_root()
            raise

    def stop(self) -> None:
        reader = self._inotify
        if reader is not None:
            reader.stop()
            if threading.current_thread() is not reader:
                reader.join()
        with self._lock:
            self._deliver = None
            self._close_root()

    def unwatched(self) -> dict[str, str]:
        with self._lock:
            if self._lost or self._watches is None:
                return {"": self._lost or "not started"}
            return self._watches.unwatched()

    def retry(self) -> None:
        with self._lock:
            hints = self._retry_root() if self._lost else self._retry_refused()
        self._send(hints)

    def catch_up(self, seconds: float) -> bool:
        """Returns when all that happened before has been delivered; False if that is not known after so many seconds. The sign is
        a new time on our own directory: its event comes behind all that the kernel has queued before."""
        with self._asking:
            self._passed.clear()
            try:
                os.utime(os.path.join(self._root, OWN))
            except OSError:
                return False
            return self._passed.wait(seconds)

    # Watching

    def _watch_root(self) -> None:
        """Afresh; watches that stand keep their number, so nothing that happens meanwhile is missed."""
        assert self._inotify is not None
        reader = self._inotify
        before = set(self._watches.by_wd) if self._watches is not None else set()
        self._close_root()
        self._handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)

        def watch(directory: int) -> int:
            # The root has more to tell: it has no watched parent that would tell that it is moved.
            return reader.watch(directory, inotify.BELOW | (inotify.MOVE_SELF if directory == self._handle else 0))

        self._watches = Watches(self._handle, watch, reader.unwatch, reader.should_keep_running)
        self._mounted = mounted_in(self._root)
        self._watches.cover(self._watches.root)
        self._lost = ""
        for wd in before.difference(self._watches.by_wd):
            reader.unwatch(wd)

    def _watch_parent(self) -> None:
        """To be told when the root's name goes, and when it comes back."""
        assert self._inotify is not None
        try:
            parent = os.open(os.path.dirname(os.path.realpath(self._root)), os.O_RDONLY | os.O_DIRECTORY)
            try:
                changes = inotify.CREATE | inotify.MOVED_TO | inotify.DELETE
                self._parent_wd = self._inotify.watch(parent, changes)
            finally:
                system.close(parent)
        except OSError as error:
            log.info("%s: its directory cannot be watched: %s", self._root, error.strerror)

    def _close_root(self) -> None:
        if self._handle >= 0:
            system.close(self._handle)
            self._handle = -1

    def _retry_root(self) -> list[Hint]:
        try:
            self._watch_root()
        except OSError as error:
            log.debug("%s: still cannot be watched: %s", self._root, error.strerror)
            return []
        return [Rescan("", AGAIN)]

    def _retry_refused(self) -> list[Hint]:
        assert self._watches is not None
        return self._rescans(self._watches.settle(self._watches.refused()), AGAIN)

    def _rescans(self, places: list[Place], reason: str) -> list[Hint]:
        assert self._watches is not None
        paths = (self._watches.path(place) for place in places)
        return [Rescan(path, reason) for path in paths if path is not None]

    # One batch

    def _handle_batch(self, events: Sequence[Event]) -> None:
        with self._lock:
            hints = self._hints(events)
            sign = self._watches is not None and any(self._is_sign(event) for event in events)
        self._send(hints)
        if sign:
            self._passed.set()

    def _is_sign(self, event: Event) -> bool:
        wd, mask, _, name = event
        assert self._watches is not None
        return bool(mask & inotify.ATTRIB) and wd == self._watches.root.wd and name == os.fsencode(OWN)

    def _send(self, hints: Sequence[Hint]) -> None:
        deliver = self._deliver
        if hints and deliver is not None:
            deliver(hints)

    def _hints(self, events: Sequence[Event]) -> list[Hint]:
        batch = _Batch()
        for wd, mask, _, name in events:
            if mask & inotify.OVERFLOW:
                batch = _Batch(self._rebuild())
            elif wd == self._parent_wd:
                if os.fsdecode(name) == self._name:
                    batch.rescans.extend(self._note_parent(mask))
            else:
                self._note(batch, wd, mask, os.fsdecode(name))
        return self._conclude(batch)

    def _note(self, batch: "_Batch", wd: int, mask: int, name: str) -> None:
        watches = self._watches
        assert watches is not None
        directory = watches.by_wd.get(wd)
        if directory is None:
            return  # a watch that was ended, with events still in the queue
        if directory is watches.root and (not name or name == OWN):
            batch.rescans.extend(self._note_root(mask, name))
        elif mask & inotify.IGNORED:
            watches.forget(wd)
        elif name:
            self._note_name(batch, directory, mask, name)

    def _note_name(self, batch: "_Batch", directory: Directory, mask: int, name: str) -> None:
        place = (directory, name)
        if mask & inotify.IS_DIR:
            assert self._watches is not None
            if mask & _STRUCTURE or self._watches.is_refused(place):
                batch.structure[place] = None
            batch.touched[place] = False
            return
        self._note_writing(batch, place, mask)
        batch.touched[place] = place in self._writing

    def _note_writing(self, batch: "_Batch", place: Place, mask: int) -> None:
        """Whether a program seems to have the file open for writing. Opening is not told (a reader's would be too), so it
        counts from the first bytes, or from the file's creation if it is still open after this batch."""
        if mask & inotify.MODIFY:
            self._writing.add(place)
        elif not mask & inotify.ATTRIB:
            self._writing.discard(place)
        if mask & inotify.CREATE:
            batch.created[place] = None
        elif not mask & inotify.ATTRIB:
            batch.created.pop(place, None)

    def _is_open(self, place: Place) -> bool:
        """Links, sockets and second names are made without opening, and no close will follow."""
        assert self._watches is not None
        path = self._watches.path(place)
        if path is None:
            return False
        try:
            found = os.lstat(path, dir_fd=self._handle)
            if not stat.S_ISREG(found.st_mode):
                return False
            handle = system.open_beneath(self._handle, path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            has_writer = system.has_writer(handle)
        finally:
            system.close(handle)
        return found.st_nlink == 1 if has_writer is None else has_writer

    def _note_root(self, mask: int, name: str) -> list[Hint]:
        """Of the root itself, or of our own directory in it."""
        if name:
            gone = mask & (inotify.DELETE | inotify.MOVED_FROM)
            return [Rescan("", f"{OWN} was removed")] if gone else []
        if mask & inotify.MOVE_SELF:
            return [Rescan("", "the folder was moved")]
        reason = next((text for bit, text in _ROOT_ENDS.items() if mask & bit), "")
        return self._lose(reason) if reason else []

    def _note_parent(self, mask: int) -> list[Hint]:
        """Of the root's name: as long as somebody has the root open, its own watch does not tell that it was deleted."""
        if mask & inotify.DELETE:
            return self._lose("the folder was deleted")
        return self._retry_root() if self._lost and mask & (inotify.CREATE | inotify.MOVED_TO) else []

    def _note_mounts(self) -> None:
        """Something was mounted or unmounted: is the folder still what its path leads to, and all that is in it?"""
        with self._lock:
            hints = (
                self._look_at_mounts()
                if self._handle < 0 or self._is_in_place()
                else self._lose("the folder was unmounted")
            )
        self._send(hints)

    def _look_at_mounts(self) -> list[Hint]:
        before, self._mounted = self._mounted, mounted_in(self._root)
        if self._watches is None:
            return []
        changed = sorted(before ^ self._mounted)
        self._watches.settle([place for path in changed if (place := self._watches.place(path)) is not None])
        return [Rescan(path, "a file system was mounted or unmounted") for path in changed]

    def _is_in_place(self) -> bool:
        try:
            there, here = os.stat(self._root), os.fstat(self._handle)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def _lose(self, reason: str) -> list[Hint]:
        if self._lost:
            return []
        log.warning("%s: %s", self._root, reason)
        self._lost = reason
        return [Rescan("", reason)]

    def _rebuild(self) -> list[Hint]:
        """Events were lost, and with them perhaps new or moved directories."""
        self._writing.clear()
        try:
            self._watch_root()
        except OSError as error:
            self._lose(f"it cannot be watched again after {OVERFLOWED}: {os.strerror(error.errno or 0).lower()}")
        return [Rescan("", OVERFLOWED)]

    def _fail(self, error: Exception) -> None:
        log.error("%s: the watcher has failed", self._root, exc_info=error)
        with self._lock:
            self._lost = "the watcher has failed"
        self._send([Rescan("", self._lost)])

    def _conclude(self, batch: "_Batch") -> list[Hint]:
        watches = self._watches
        assert watches is not None
        fresh: list[Place] = []
        if batch.structure:
            for place in watches.unsettled:  # told of before the rename of the directory they are in was
                batch.touched.setdefault(place, False)
            fresh = watches.settle(batch.structure)
            self._writing = {place for place in self._writing if place[0].path(watches.root) is not None}
        for place in filter(self._is_open, batch.created):
            self._writing.add(place)
            batch.touched[place] = True
        hints = batch.rescans
        new = set(fresh)
        for place, writing in batch.touched.items():
            path = watches.path(place)
            if path is not None and place not in new:
                hints.append(Touched(path, writing))
        return hints + self._rescans(fresh, NEW)


class _Batch:
    """What one read of the queue has told so far, by place: the last word on each counts."""

    __slots__ = ("created", "rescans", "structure", "touched")

    def __init__(self, rescans: list[Hint] | None = None) -> None:
        self.rescans = rescans or []
        self.structure: dict[Place, None] = {}
        self.created: dict[Place, None] = {}
        self.touched: dict[Place, bool] = {}


def _unwatchable(root: str, error: OSError) -> RootError:
    """One that is gone may come back; else the system has to give us more."""
    reason = f"{root}: cannot be watched: {os.strerror(error.errno or 0).lower()}"
    limit = _LIMITS.get(error.errno or 0)
    if not os.path.exists(OPEN_FILES):
        return UnusableError(f"{reason}: {OPEN_FILES} is needed for that: mount /proc")
    if limit is not None:
        return UnusableError(f"{reason}: end other programs that watch files, or raise {limit}")
    return RootError(reason)
