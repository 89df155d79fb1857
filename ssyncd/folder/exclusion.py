"""What of a folder does not exist for us: what `.ssyncdignore` names, and directories that are here for its sake only."""

import logging
import math
from collections.abc import Iterable, Iterator

from ssyncd.disk.base import Disk
from ssyncd.errors import ChangedError, DiskError, GoneError
from ssyncd.folder.agenda import Agenda
from ssyncd.folder.record import Record
from ssyncd.planner.ignore import Ignore, lines_of
from ssyncd.planner.names import moved_inside
from ssyncd.planner.tree import Entry, Kind

log = logging.getLogger(__name__)

IGNORE_FILE = ".ssyncdignore"
IGNORE_FILE_LIMIT = 1024 * 1024
LINGER = 1.0
"""Seconds for which what the file said counts when it is gone: editors take it away for a moment when they save, and what was
left out must not be sent then."""


class Exclusion:
    """`lines` are the settings', in front of the file's."""

    def __init__(self, record: Record, disk: Disk, agenda: Agenda, lines: tuple[str, ...]) -> None:
        self._record = record
        self._disk = disk
        self._agenda = agenda
        self._lines = lines
        self._ignore = Ignore(lines)
        # Since when there is no such file; None while there is one. Where there was none at the start, nobody is saving it.
        self._gone_at: float | None = -math.inf
        # What is in moved directories and left out where it is now.
        self._outside: set[str] = set()
        # Directories deleted elsewhere that stay here for what is ignored in them, and their inodes.
        self._husks = dict(_husks(record.meta.get("husks", "")))

    def leaves_out(self, key: str) -> bool:
        """Whether this is an entry of the server only, and these rules leave it out. Then nobody has deleted it here: no base
        tells so."""
        if key in self._record.local:
            return False
        if not self.is_outside(key):
            self._end_husk_of(key)
            return False
        if key in self._record.base:
            self._record.drop_base(key)
        return True

    def is_outside(self, key: str) -> bool:
        """Whether these rules leave out what is where the server has this entry."""
        entry = self._record.remote.get(key)
        path = self._record.remote.path(key) if entry is not None else None
        return entry is not None and path is not None and self.ignores(path, entry.kind is Kind.DIR)

    def _end_husk_of(self, key: str) -> None:
        """If somebody has made a directory there again, it is one like any other. What is in the base was there before."""
        if not self._husks or key in self._record.base:
            return
        entry, path = self._record.remote.get(key), self._record.remote.path(key)
        if entry is not None and entry.kind is Kind.DIR and path in self._husks:
            del self._husks[path]
            self._save_husks()

    def ignores(self, path: str, is_dir: bool) -> bool:
        """By the rules alone."""
        return self._ignore.ignored(path, is_dir)

    def blocks(self, path: str) -> bool:
        """Whether something at this path is in the way that is no entry for us."""
        return self._record.local.find(path) is None and self.excludes(path, True)

    def excludes(self, path: str, is_dir: bool) -> bool:
        return self.ignores(path, is_dir) or (is_dir and path in self._husks)

    def judge(self, paths: list[str], below: list[str], now: float, saving: bool) -> set[str]:
        """What is in the local tree, and is left out since something was moved, or by other rules, if there are such where is to
        be looked now; then `below` becomes all. `saving`: a program is writing them."""
        outside, self._outside = self._outside, set()
        if IGNORE_FILE not in paths and ("" not in below or saving):
            return outside
        changed = self._load(now)
        if lingers := self._lingers_for(now):
            self._agenda.at(now + lingers, IGNORE_FILE, is_path=True)
        if not changed:
            return outside
        below.append("")
        self._agenda.touch_all(self._record.remote)
        return outside.union(self._inside(self._record.local))

    def moved_inside(self, before: Entry | None, after: Entry | None) -> None:
        """Of a directory that has another path: what is in it may be left out there."""
        if before is None or after is None or after.kind is not Kind.DIR or not self._record.meta.get("ignore"):
            return  # of the built-in rules all are about names
        if inside := self._inside(self._record.local.below(after.key)):
            self._outside.update(inside)
            self._agenda.look(self._record.local.path(after.key) or "")

    def _load(self, now: float) -> bool:
        """Read the file again. Whether it says something else than before; what cannot be read says what it said."""
        said, meta = self._read(now), self._record.meta
        if said is None:
            said = meta.get("rules", "").split("\n")
        lines = [*self._lines, *said]
        self._ignore = Ignore(lines)
        if "\n".join(said) != meta.get("rules", ""):
            self._record.set_meta("rules", "\n".join(said) or None)
        if "\n".join(lines) == meta.get("ignore", ""):
            return False
        for problem in self._ignore.problems:
            log.warning("%s: %s", IGNORE_FILE, problem)
        self._record.set_meta("ignore", "\n".join(lines))
        self._end_husks()
        return True

    def _read(self, now: float) -> list[str] | None:
        """What the file says; None if that is not known, or not for certain yet."""
        try:
            reader = self._disk.open(IGNORE_FILE)
        except (GoneError, ChangedError):  # or something else is in its place
            self._gone_at = now if self._gone_at is None else self._gone_at
            return None if self._lingers_for(now) else []
        except DiskError:
            return None
        self._gone_at = None
        try:
            return lines_of(reader.read(IGNORE_FILE_LIMIT))
        except DiskError:
            return None
        finally:
            reader.close()

    @property
    def lingers(self) -> bool:
        """Whether what the file said counts though it is gone."""
        return self._gone_at is not None and bool(self._record.meta.get("rules"))

    def _lingers_for(self, now: float) -> float:
        """Seconds for which that goes on."""
        return max(0.0, self._gone_at + LINGER - now) if self._gone_at is not None and self.lingers else 0.0

    def _inside(self, keys: Iterable[str]) -> list[str]:
        """Those of these keys of the local tree that are left out."""
        local, found = self._record.local, list[str]()
        for key in keys:
            entry, path = local.get(key), local.path(key)
            if entry is not None and path is not None and self.excludes(path, entry.kind is Kind.DIR):
                found.append(key)
        return found

    def make_husk(self, path: str) -> bool:
        """A directory that shall go but holds what is ignored: it stays, and is no entry any more. False if it holds more."""
        try:
            names, stat = self._disk.list(path), self._disk.stat(path)
        except DiskError:
            return False
        if not names or stat is None:
            return False  # emptied meanwhile: it can be removed after all
        for name, inner in names.items():
            if not self.excludes(f"{path}/{name}", inner.kind == "dir"):
                return False
        self._husks[path] = stat.inode
        self._save_husks()
        return True

    def leave_husks(self, paths: Iterable[str]) -> list[str]:
        """Of the husks in which something happened, or in whose place: those that are directories like any other again, because
        something that is not ignored appeared there, or the user took them away. They are to be looked at."""
        left = set[str]()
        for path in paths if self._husks else ():
            above = f"{path}/" if path else ""
            inside = [husk for husk in self._husks if path.startswith(f"{husk}/")]
            if inside and not self._ignore.ignored(path, False) and self._is_there(path):
                left.update(inside)
            left.update(husk for husk in self._husks if f"{husk}/".startswith(above) and not self._is_husk(husk))
        for husk in left:
            del self._husks[husk]
        if left:
            self._save_husks()
        return [husk for husk in left if not any(husk.startswith(f"{other}/") for other in left)]

    def _end_husks(self) -> None:
        """By other rules: those that hold something that is not ignored any more are directories like any other."""
        for husk in sorted(self._husks, reverse=True):  # the inner ones first
            del self._husks[husk]
            self.make_husk(husk)
        self._save_husks()

    def moved(self, old: str, new: str) -> None:
        """A directory has another path, and with it the husks inside."""
        inside = moved_inside(self._husks, old, new)
        for husk, path in inside:
            self._husks[path] = self._husks.pop(husk)
        if inside:
            self._save_husks()

    def _is_husk(self, path: str) -> bool:
        """Whether it is still that directory, and there is still something in it that it is here for."""
        try:
            stat = self._disk.stat(path)
            return stat is not None and stat.inode == self._husks[path] and bool(self._disk.list(path))
        except GoneError:
            return False
        except DiskError:
            return True  # unreadable is not gone

    def _is_there(self, path: str) -> bool:
        try:
            return self._disk.stat(path) is not None
        except DiskError:
            return True

    def _save_husks(self) -> None:
        self._record.set_meta(
            "husks", "\0".join(f"{inode}/{path}" for path, inode in sorted(self._husks.items())) or None
        )


def _husks(text: str) -> Iterator[tuple[str, int]]:
    for part in filter(None, text.split("\0")):
        inode, _, path = part.partition("/")
        if inode.isdecimal() and path:
            yield path, int(inode)
