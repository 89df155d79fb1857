"""The local side of a folder: hints come in, the local tree and what its files hold come out."""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice

from ssyncd.content.body import INLINE_LIMIT, pack_rows
from ssyncd.disk.base import Disk, Hint, Rescan, Stat, Wanted
from ssyncd.disk.faults import is_own
from ssyncd.disk.scanner import LATER, Scanner
from ssyncd.errors import ChangedError, DiskError, GoneError
from ssyncd.folder.agenda import Agenda, delay_after
from ssyncd.folder.around import look_at_other_names, touch_around
from ssyncd.folder.bodies import Bodies
from ssyncd.folder.certainty import Certainty
from ssyncd.folder.exclusion import IGNORE_FILE, Exclusion
from ssyncd.folder.record import Record
from ssyncd.folder.settings import Clock, FolderSettings
from ssyncd.planner.names import moved_inside
from ssyncd.planner.tree import Entry, Kind, birth_key
from ssyncd.transfer import ReadDone, ReadJob, Transfers, read_small_files

log = logging.getLogger(__name__)

STILL = 1.0
"""Seconds without an event after which a file that a program keeps open for writing is read all the same."""
SOON = 0.02
"""Seconds after which a file is looked at again that somebody seems to write, though the watcher does not say so."""
SLICE, SHORT = 256, 32
"""Files of one round, so that sending starts before the last one is read; fewer while each round is one answer to the server."""
AHEAD = 10_000
"""Files that were found and not read yet, from which on the first look waits: each takes memory."""


class Local:
    """Keeps `record.local` equal to the disk; `random_key` makes 32 random hex digits."""

    def __init__(
        self,
        record: Record,
        disk: Disk,
        transfers: Transfers,
        bodies: Bodies,
        agenda: Agenda,
        settings: FolderSettings,
    ) -> None:
        self.record = record
        self.settings = settings
        self.clock = Clock()
        self.random_key: Callable[[], str] = lambda: ""
        self.exclusion = Exclusion(record, disk, agenda, settings.ignore)
        self.scanner = Scanner(disk, record.local, self.exclusion.excludes, self.new_key, record.base.__contains__)
        self.scanner.stats, self.scanner.young = record.stats, record.young
        self.scanner.known_exec = partial(_known_exec, record)
        self.found: Callable[[str], None] = lambda _: None
        """Told the hash of each content that is read."""
        self.is_live: Callable[[], bool] = lambda: True
        self._disk = disk
        self._transfers = transfers
        self._bodies = bodies
        self._agenda = agenda
        self.writing: dict[str, float] = {}
        self.certainty = Certainty(record, self.scanner, agenda, self.writing)
        self.unwatched: dict[str, str] = {}
        """Directories that the watcher cannot watch, and why."""
        self.reading: dict[str, Stat] = {}
        """Large files that are read in the background."""
        self._told_again = set[str]()
        self._any_read = False
        # Paths that could not be looked at, or read, and how often in a row.
        self._failures: dict[str, int] = {}
        # Keys of files that could not be read, and how often in a row.
        self._unreadable: dict[str, int] = {}
        # What the server has and the first look has not found.
        self._unseen: set[str] = set()
        # Directories that we renamed, new path to old, until the watcher has told us so.
        self._moved: dict[str, str] = {}

    @property
    def unread(self) -> int:
        """How many files have to be read before their entries can be planned."""
        return len(self.scanner.unread) + len(self.reading)

    @property
    def looks_on(self) -> bool:
        """Whether the first look is not over, and need not wait."""
        return self.scanner.first and len(self.scanner.unread) < AHEAD

    def leaves_out(self, key: str) -> bool:
        """Whether this is not to be planned: it is excluded, is to be read first, or may be here already, which the first look
        will tell; then it is touched."""
        if self.is_new(key) or self.exclusion.leaves_out(key):
            return True
        unseen = self.scanner.first and key in self.record.remote and key not in self.record.local
        if unseen:
            self._unseen.add(key)
        return unseen

    # Hints.

    def hint(self, hints: Iterable[Hint]) -> None:
        for hint in hints:
            if isinstance(hint, Rescan):
                level = logging.DEBUG if hint.path else logging.INFO
                log.log(level, "looking at everything below %s: %s", hint.path or "the folder", hint.reason)
                if not hint.path:
                    self.certainty.missed()
            if is_own(hint.path.casefold()):
                continue  # on a disk that folds case that would be ours: no entry in any spelling
            for path in self._places(hint.path):
                if isinstance(hint, Rescan):
                    self._agenda.look_below(path, hint.reason)
                else:
                    self._note(path, hint.writing)
        for hint in hints:
            # The echo of our own rename: what is told from now on names the new place.
            self._moved.pop(hint.path, None)

    def _note(self, path: str, writing: bool) -> None:
        if writing:
            self.writing[path] = until = self.clock.monotonic() + STILL
            self._agenda.at(until, path, is_path=True)
        else:
            self.writing.pop(path, None)
            self.certainty.told(path)
            self._agenda.look(path)

    def moved(self, old: str, new: str) -> None:
        """We renamed a directory: hints already on their way still name its old place, and so does what is to be looked at."""
        self._moved[new] = old
        self._agenda.moved(old, new)
        self.exclusion.moved(old, new)
        self.scanner.moved(old, new)
        for before, path in moved_inside(self.scanner.troubles, old, new):
            del self.scanner.troubles[before]
            self._agenda.look(path)
        for before, path in moved_inside(self.writing, old, new):
            del self.writing[before]
            self._note(path, writing=True)

    def _places(self, path: str) -> list[str]:
        """The path, and where it has got to if we have moved it since."""
        found = [path]
        for new, old in self._moved.items():
            found += [at for _, at in moved_inside(found, old, new)]
        return found

    def look(self) -> bool:
        """Look wherever the agenda says, and put what changed on the agenda; whether there was anything."""
        if not (self._agenda.paths or self._agenda.below or self.looks_on):
            return False
        paths = [path for path in self._agenda.paths if self._is_settled(path)]
        paths += self.exclusion.leave_husks([*paths, *self._agenda.below])
        below = [path for path in self._agenda.below if not path or not self.exclusion.excludes(path, True)]
        below += [path for path in paths if path in self._failures]
        self._agenda.paths, self._agenda.below = {}, {}
        ignored = self.exclusion.judge(paths, below, self.clock.monotonic(), IGNORE_FILE in self.writing)
        seen = self.scanner.look([path for path in paths if path not in self._failures], below, self.looks_on, ignored)
        if not self.scanner.first:
            self._agenda.touch_all(self.record.unsettled(self._unseen))
            self._unseen = set()
        self.record.looked(seen.touched)
        self._agenda.touch_all(key for key in seen.touched if not self.is_new(key))
        for key, before, after in seen.placed:
            touch_around(self._agenda, self.record, key, before, after)
            self.exclusion.moved_inside(before, after)
        for path in seen.later:
            self._agenda.at(self.clock.monotonic() + LATER, path, is_path=True)
        look_at_other_names(self._agenda, self.record, self._disk, seen.written)
        self._look_again(seen.failed)
        for key in seen.ignored:
            self.record.drop_base(key)
            self._agenda.touch(key)
        return bool(seen.touched)

    def done(self, entry: Entry, stat: Stat) -> Entry | None:
        """We changed the disk ourselves: this is what is there now. What it was."""
        before = self.record.local.get(entry.key)
        self.scanner.done(entry, stat)
        self.record.looked([entry.key])
        if before is not None and before.place != entry.place:
            self.exclusion.moved_inside(before, entry)
        return before

    def is_new(self, key: str) -> bool:
        """What was not read yet cannot be planned if the server does not have it, or has it at the same place and nobody has
        agreed on it; reading touches it."""
        record = self.record
        if key not in self.scanner.unread or record.ghosts.get(key) is None:
            return key in self.scanner.unread
        local, remote = record.local.get(key), record.remote.get(key)
        return key not in record.base and local is not None and remote is not None and local.place == remote.place

    def _look_again(self, failed: set[str]) -> None:
        """What could not be looked at is looked at once more, later each time, until it is well or not there any more: a look at
        what has come in place of its directory leaves that open."""
        troubled = failed | self.scanner.troubles.keys() & self._failures.keys()
        self._failures = {path: self._failures.get(path, 0) + (path in failed) for path in troubled}
        for path, count in self._failures.items():
            self._agenda.at(self.clock.monotonic() + delay_after(count), path, is_path=True)

    def _is_settled(self, path: str) -> bool:
        """Whether no program is writing there right now; if one is, the path comes up again."""
        until = self.writing.get(path)
        if until is None:
            return True
        if until <= self.clock.monotonic():
            del self.writing[path]
            return True
        self._agenda.at(until, path, is_path=True)
        return False

    def look_at(self, key: str) -> None:
        """Something was wrong with this entry: look at it, wherever it has got to."""
        if (path := self.record.local.path(key)) is not None:
            self._agenda.look(path)

    def doubt(self, key: str) -> None:
        """What we think is in this file may not be: it is to be read again."""
        self.record.young.add(key)
        self.look_at(key)

    # Reading.

    def read(self) -> bool:
        """Read some of the files whose content is not known: small ones here and now, large ones in the background. Whether
        any was read since the last time."""
        if not self.scanner.unread:
            self.scanner.unread = {}  # a dict out of which much was taken keeps the room for it
        small: dict[str, Wanted] = {}
        for key in list(islice(self.scanner.unread, SLICE if self.is_live() else SHORT)):
            entry, stat = self.record.local.get(key), self.record.stats.get(key)
            path = self.record.local.path(key) if entry is not None else None
            if entry is None or stat is None or path is None or entry.kind is not Kind.FILE:
                self.scanner.unread.pop(key, None)
            elif path in self.writing or self._is_being_written(key, path, stat):
                self._put_off(key, path)
            else:
                self.scanner.unread.pop(key)
                if stat.size <= INLINE_LIMIT:
                    self.scanner.looked_into(key, stat)
                    small[key] = Wanted(path, stat)
                elif self.reading.get(key) != stat:
                    self.reading[key] = stat
                    self.scanner.looked_into(key, stat)
                    self._transfers.submit([ReadJob(key, path, stat, early=key not in self.record.remote)])
                else:
                    # It was written since that reading began, perhaps, and has the same stamp.
                    self._told_again.add(key)
        self._read_here(small)
        any_read, self._any_read = self._any_read, False
        return any_read

    def _is_being_written(self, key: str, path: str, stat: Stat) -> bool:
        """Of what was changed just now, the watcher may not have told yet that it is not done: a program that has emptied a file
        writes into it next. What is older is read all the same, whoever has it open. Of what is new the hint that led here is
        the program's own (only our own writes echo), and tells; asking for each of 10,000 new files would take a while."""
        if key not in self.record.base or not 0 <= self.clock.wall() - stat.mtime < STILL * 1e9:
            return False
        try:
            return self._disk.being_written(path)
        except DiskError:
            return False  # reading it will tell

    def _put_off(self, key: str, path: str) -> None:
        """Until it is closed, or has been still for a while. If the watcher told that it was closed, it may be about to be:
        the kernel tells so a moment before nobody is writing any more."""
        self.scanner.unread.pop(key)
        self.record.young.add(key)
        if path not in self.writing:
            self._agenda.at(self.clock.monotonic() + SOON, path, is_path=True)

    def _read_here(self, small: dict[str, Wanted]) -> None:
        for key, found in zip(small, read_small_files(self._disk, small, self.settings.device), strict=True):
            if isinstance(found, DiskError):
                self.read_failed(key, small[key].path, found)
            else:
                self._take(found)

    def read_done(self, done: ReadDone) -> None:
        again = done.key in self._told_again
        self._told_again.discard(done.key)
        if self.reading.pop(done.key, None) == done.stat == self.record.stats.get(done.key) and not again:
            self._take(done)
        elif done.key in self.record.local:
            self.scanner.unread[done.key] = None

    def read_failed(self, key: str, path: str, error: Exception) -> None:
        self.reading.pop(key, None)
        if isinstance(error, ChangedError | GoneError):
            self._unreadable.pop(key, None)
            self.doubt(key)
        else:
            self.scanner.troubles[path] = error.reason if isinstance(error, DiskError) else str(error)
            self.scanner.unread.pop(key, None)
            self.record.young.add(key)
            count = self._failures[path] = self._unreadable[key] = self._unreadable.get(key, 0) + 1
            self._agenda.at(self.clock.monotonic() + delay_after(count), path, is_path=True)

    def _take(self, done: ReadDone) -> None:
        key, content, body, self._any_read = done.key, done.content, done.body, True
        self._unreadable.pop(key, None)
        entry = self.record.local.get(key)
        if entry is None or self.record.stats.get(key) != done.stat:
            return
        self.certainty.read(key, done.being_written)
        base = self.record.base.get(key)
        if base is not None and base.content is not None and base.content.hash == content.hash:
            content = base.content
        # Also of what the base holds: the server may have lost the entry, and gets it again.
        self._bodies.add(content.hash, body)
        if body.chunks:
            self.record.set_chunks(content.hash, pack_rows(body.chunks))
        self.record.local.put(Entry(key, entry.parent, entry.name, entry.kind, content, entry.exec))
        self.record.looked([key])
        self._agenda.touch(key)
        self.found(content.hash)

    def read_again(self, key: str) -> None:
        """A file whose chunks nobody knows any more, or that holds something else than we thought."""
        if (path := self.record.local.path(key)) is not None:
            self.record.stats.pop(key, None)
            self._agenda.look(path)

    # Names for what is new.

    def new_key(self, parent: str, name: str, kind: Kind) -> str:
        """What the server, or the base, has at this place is what is here; else its birth key, unless that one lives."""
        return _key_there(self.record, parent, name, kind) or self.random_key()


def _key_there(record: Record, parent: str, name: str, kind: Kind) -> str | None:
    for tree in (record.remote, record.base):
        for key in tree.at(parent, name):
            entry = tree.get(key)
            if entry is not None and entry.kind is kind and key not in record.local:
                return key
    key = birth_key(parent, name, kind)
    return None if key in record.local or key in record.remote or key in record.base else key


def _known_exec(record: Record, key: str) -> bool:
    known = record.base.get(key) or record.remote.get(key)
    return known is not None and known.exec
