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
        """It was read, perhaps while a program had it open for writing. That may have mapped it (mmap(2)): then only the first
        write to a page, until that is on the disk, leaves another time, and no event tells of any."""
        if being_written:
            self._record.open.add(key)
        else:
            self._record.open.discard(key)

    def told(self, path: str) -> None:
        """Something happened there, and nobody is writing: what was open may be closed, and is to be read again."""
        open = self._record.open
        key = self._record.local.find(path) if open else None
        if key in open:
            open.remove(key)
            self._record.young.add(key)

    def missed(self) -> None:
        """What happened is not known."""
        self._record.young |= self._record.open
        self._record.open.clear()

    def rekey(self, old: str, new: str) -> None:
        if old in self._record.open:
            self._record.open.remove(old)
            self._record.open.add(new)
