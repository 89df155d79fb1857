"""How sure is it that a file still holds what was read? Equal stats are no proof for some."""

from ssyncd.content.body import INLINE_LIMIT
from ssyncd.disk.scanner import Scanner
from ssyncd.folder.agenda import Agenda
from ssyncd.folder.record import SURE, Record
from ssyncd.folder.settings import Clock


class Certainty:
    """`writing`: paths that a program is writing to, and until when that is waited for."""

    def __init__(self, record: Record, scanner: Scanner, agenda: Agenda, writing: dict[str, float]) -> None:
        self.clock = Clock()
        self._record = record
        self._scanner = scanner
        self._agenda = agenda
        self._writing = writing
        # What was read while a program had it open for writing. It may have mapped it (mmap(2)): then only its first write to a
        # page, until that is on the disk, leaves another time, and no event tells of any.
        self._open: set[str] = set()

    def is_young(self, key: str) -> bool:
        """Whether what it holds may have changed without a trace so far."""
        stat = self._record.stats.get(key)
        if key not in self._record.young or stat is None or stat.kind == "dir":
            return False
        recent = abs(self.clock.wall() - stat.mtime) < SURE + self._scanner.disk.grain
        return recent or self._record.local.path(key) in self._writing

    def is_unsure(self, key: str) -> bool:
        """Whether nothing but the watcher's silence says that it still holds what was read: it is read again before it goes. Not
        if it is large: writing that takes longer than a stamp."""
        stat = self._record.stats.get(key)
        return key in self._record.young and stat is not None and stat.kind == "file" and stat.size <= INLINE_LIMIT

    def let_age(self, key: str) -> None:
        """Look into it, and plan it, when another write would leave another stamp."""
        path, when = self._record.local.path(key), self.clock.monotonic() + self._scanner.ages_in(key)
        if path is not None:
            when = max(when, self._writing.get(path, 0.0))
            self._agenda.at(when, path, is_path=True)
        self._agenda.at(when, key)

    def read(self, key: str, being_written: bool) -> None:
        if being_written:
            self._open.add(key)
        else:
            self._open.discard(key)

    def told(self, path: str) -> None:
        """Something happened there, and nobody is writing: what was open is closed, and to be read again."""
        key = self._record.local.find(path) if self._open else None
        if key in self._open:
            self._open.remove(key)
            self._record.young.add(key)
