"""Watches: which directory each inotify watch stands for.

The table is a tree of names, so that a renamed directory takes all below it along at the cost of one entry. It is never
concluded from events, which come late and can be lost: `settle` opens the directory a name leads to now and lets the kernel
say which watch it has (inotify_add_watch gives the same number for the same inode). Nor is anything concluded from a path that
leads elsewhere by now: what is in a directory is looked up in that very directory, or, if it cannot be found, once the event
of its own rename has come.
"""

import errno
import logging
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from msgspec import Struct, field

from ssyncd.disk import system
from ssyncd.disk.faults import OWN, reason_of

log = logging.getLogger(__name__)

Watch = Callable[[int], int]
"""Watch an open directory: the watch's number, or OSError."""

_PASSES = 8
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG)
_REASONS = {
    errno.ENOSPC: "the limit of watches is reached (see fs.inotify.max_user_watches)",
    errno.EACCES: "permission denied",
}


class Directory(Struct, eq=False):
    """A watched directory; `parent` is None for the root and for one that is no longer in the tree."""

    name: str
    wd: int
    inode: tuple[int, int]
    parent: "Directory | None" = None
    children: dict[str, "Directory"] = field(default_factory=dict)

    def path(self, root: "Directory") -> str | None:
        """Relative to the root; None if it is not below it any more."""
        if self is root:
            return ""
        names: list[str] = []
        here: Directory | None = self
        while here is not None and here is not root:
            names.append(here.name)
            here = here.parent
        return None if here is None else "/".join(reversed(names))


Place = tuple[Directory, str]


class _Elsewhere(Exception):
    """The directory is not where the table has it: the event of its rename, or of its end, is still to come."""


class Watches:
    """`root` is an open directory. Not thread-safe: DiskWatcher holds its lock around every use."""

    def __init__(self, root: int, watch: Watch, unwatch: Callable[[int], None], going_on: Callable[[], bool]) -> None:
        self._handle = root
        self._watch = watch
        self._unwatch = unwatch
        self._going_on = going_on
        self._refused: dict[Place, str] = {}
        self._displaced: list[Directory] = []
        # Watched, but not all that is in them, and why; "" where an event will tell where they have gone.
        self._unlisted: dict[Directory, str] = {}
        self._moves = 0
        self.unsettled: dict[Place, None] = {}
        self.by_wd: dict[int, Directory] = {}
        self.root = Directory("", watch(root), _inode(root))
        self.by_wd[self.root.wd] = self.root

    def unwatched(self) -> dict[str, str]:
        """Path to reason."""
        named = [(self.path(place), reason) for place, reason in self._refused.items()]
        named += [(one.path(self.root), reason) for one, reason in self._unlisted.items() if reason]
        return {path: reason for path, reason in named if path is not None}

    def refused(self) -> list[Place]:
        return list(self._refused)

    def is_refused(self, place: Place) -> bool:
        return place in self._refused

    def path(self, place: Place) -> str | None:
        head = place[0].path(self.root)
        return head if head is None else f"{head}/{place[1]}" if head else place[1]

    def place(self, path: str) -> Place | None:
        """Where a path leads to, if the directory it is in is watched."""
        here: Directory | None = self.root
        *heads, name = path.split("/")
        for head in heads:
            here = here.children.get(head) if here is not None else None
        return (here, name) if here is not None else None

    def cover(self, directory: Directory) -> None:
        """Watch everything below; each directory is watched before it is listed, so nothing made meanwhile is missed."""
        stack = [directory]
        while stack and self._going_on():
            here = stack.pop()
            try:
                with self._opened(here) as handle:
                    stack.extend(self._look_at_all(here, handle))
            except _Elsewhere:
                self._unlisted[here] = ""
            except OSError as error:
                self._unlisted[here] = _reason(error)
                log.info("%s: what is in it is not watched: %s", here.path(self.root) or "/", self._unlisted[here])

    def _look_at_all(self, parent: Directory, handle: int) -> Iterator[Directory]:
        with os.scandir(handle) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        for name in names:
            made = self._look(parent, handle, name)
            if made is not None and made[1]:
                yield made[0]

    def settle(self, places: Collection[Place]) -> list[Place]:
        """Make the table true at these places, and at those that could not be settled before. Those that are watched, or could be
        listed, only now, with all below them."""
        fresh: dict[Place, Directory] = {}
        gone: list[Place] = []
        places = list({**self.unsettled, **dict.fromkeys(places)})
        for _ in range(_PASSES):
            # A directory that was found at a new place changes the paths of others: ask again until nothing moves.
            moves = self._moves
            gone = self._settle_once(places, fresh)
            if moves == self._moves:
                break
        for parent, name in gone:
            child = parent.children.get(name)
            if child is not None:
                self._drop(child)
        for directory in self._displaced:
            if directory.parent is None:
                self._drop(directory)
        self._displaced.clear()
        return self._cover_late(fresh)

    def _cover_late(self, fresh: dict[Place, Directory]) -> list[Place]:
        unlisted, self._unlisted = self._unlisted, {}
        fresh |= {(one.parent or one, one.name): one for one in unlisted if one is self.root or one.parent is not None}
        for directory in fresh.values():
            self.cover(directory)
        return list(fresh)

    def _settle_once(self, places: Collection[Place], fresh: dict[Place, Directory]) -> list[Place]:
        gone: list[Place] = []
        self.unsettled.clear()
        for parent, name in places:
            try:
                made = self._look_up(parent, name)
            except _Elsewhere:
                self.unsettled[parent, name] = None
                continue
            if made is None:
                gone.append((parent, name))
            elif made[1]:
                fresh[parent, name] = made[0]
        return gone

    def _look_up(self, parent: Directory, name: str) -> tuple[Directory, bool] | None:
        if parent.path(self.root) is None:
            return None
        try:
            with self._opened(parent) as handle:
                return self._look(parent, handle, name)
        except OSError as error:
            self._note_refusal((parent, name), error)
            return None

    @contextmanager
    def _opened(self, directory: Directory) -> Iterator[int]:
        if directory is self.root:
            yield self._handle
            return
        path = directory.path(self.root)
        if path is None:
            raise _Elsewhere
        try:
            handle = system.open_beneath(self._handle, path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in _GONE:
                raise _Elsewhere from error
            raise
        try:
            if _inode(handle) != directory.inode:
                raise _Elsewhere
            yield handle
        finally:
            system.close(handle)

    def _look(self, parent: Directory, handle: int, name: str) -> tuple[Directory, bool] | None:
        """The directory of this name and whether its watch is new; None if there is none, or none that can be watched."""
        if parent is self.root and name == OWN:
            return None
        try:
            wd, inode = self._watch_in(handle, name)
        except OSError as error:
            self._note_refusal((parent, name), error)
            return None
        self._refused.pop((parent, name), None)
        known = self.by_wd.get(wd)
        if known is None:
            return self._place(Directory(name, wd, inode), parent, name), True
        if known.parent is parent and known.name == name:
            return known, False
        if _is_inside(parent, known):  # our picture is older than the disk
            raise _Elsewhere
        self._moves += 1
        return self._place(known, parent, name), False

    def _note_refusal(self, place: Place, error: OSError) -> None:
        if error.errno in _GONE:
            self._refused.pop(place, None)
            return
        reason = _reason(error)
        if self._refused.get(place) != reason:
            log.info("%s: not watched: %s", self.path(place), reason)
            self._refused[place] = reason

    def _watch_in(self, parent: int, name: str) -> tuple[int, tuple[int, int]]:
        handle = system.open_beneath(parent, name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return self._watch(handle), _inode(handle)
        finally:
            system.close(handle)

    def _place(self, directory: Directory, parent: Directory, name: str) -> Directory:
        self._detach(directory)
        other = parent.children.get(name)
        if other is not None:
            other.parent = None
            self._displaced.append(other)
        directory.parent, directory.name = parent, name
        parent.children[name] = directory
        self.by_wd[directory.wd] = directory
        return directory

    def _detach(self, directory: Directory) -> None:
        parent = directory.parent
        if parent is not None and parent.children.get(directory.name) is directory:
            del parent.children[directory.name]
        directory.parent = None

    def forget(self, wd: int) -> Directory | None:
        """The kernel has ended this watch."""
        directory = self.by_wd.pop(wd, None)
        if directory is not None and directory is not self.root:
            self._drop(directory)
        return directory

    def _drop(self, directory: Directory) -> None:
        self._detach(directory)
        dropped = set(_with_all_below(directory))
        for one in dropped:
            if self.by_wd.pop(one.wd, None) is not None:
                self._unwatch(one.wd)
        if self._refused:
            self._refused = {place: why for place, why in self._refused.items() if place[0] not in dropped}


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or reason_of(error)


def _inode(handle: int) -> tuple[int, int]:
    found = os.fstat(handle)
    return found.st_dev, found.st_ino


def _is_inside(directory: Directory, other: Directory) -> bool:
    here: Directory | None = directory
    while here is not None and here is not other:
        here = here.parent
    return here is not None


def _with_all_below(directory: Directory) -> Iterator[Directory]:
    stack = [directory]
    while stack:
        here = stack.pop()
        yield here
        stack.extend(here.children.values())
