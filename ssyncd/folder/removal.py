"""Carrying out the steps of a plan that remove something here."""

from collections.abc import Callable, Iterator

from ssyncd.disk.base import Disk, Doomed
from ssyncd.errors import ChangedError, DiskError
from ssyncd.folder.agenda import Agenda
from ssyncd.folder.around import touch_around
from ssyncd.folder.footing import Footing
from ssyncd.folder.local import Local
from ssyncd.planner.plan import Remove, Step
from ssyncd.planner.tree import Entry, Kind

TOGETHER = 1000
"""Files that are removed together: no more than these are out of their places, and not removed yet, for a moment."""


class Removal:
    """`failed` is told of each step that could not be done."""

    def __init__(
        self, disk: Disk, local: Local, agenda: Agenda, footing: Footing, failed: Callable[[Step, DiskError], None]
    ) -> None:
        self._record = footing.record
        self._disk = disk
        self._local = local
        self._agenda = agenda
        self._footing = footing
        self._failed = failed

    def one(self, step: Remove) -> None:
        """Whatever it is."""
        entry, path = self._record.local.get(step.key), self._footing.path(step.key)
        try:
            self._disk.remove(path, step.key, self._footing.expected(step.key, path))
        except ChangedError:
            if entry is None or entry.kind is not Kind.DIR or not self._local.exclusion.make_husk(path):
                raise
        # What the tree still has inside is gone too: the user was faster.
        for key in self._record.local.below(step.key):
            self._gone(key)
            self._agenda.touch(key)
        self._removed(step.key)

    def is_of_file(self, step: Step) -> bool:
        """Or of a link: of something that is in nobody's way, and has nothing inside."""
        entry = self._record.local.get(step.key) if isinstance(step, Remove) else None
        return entry is not None and entry.kind is not Kind.DIR

    def files(self, steps: list[Remove]) -> Iterator[Step]:
        """Those that were done."""
        for begin in range(0, len(steps), TOGETHER):
            yield from self._together(steps[begin : begin + TOGETHER])

    def _together(self, steps: list[Remove]) -> Iterator[Step]:
        doomed: dict[str, Doomed] = {}
        for step in steps:
            try:
                path = self._footing.path(step.key)
                doomed[path] = Doomed(path, step.key, self._footing.expected(step.key, path))
            except DiskError as error:
                self._failed(step, error)
        stayed = self._disk.remove_files(list(doomed.values()))
        for path, (_, key, _) in doomed.items():
            if path in stayed:
                self._failed(Remove(key), stayed[path])
                continue
            self._removed(key)
            self._agenda.succeeded(key)
            yield Remove(key)

    def _removed(self, key: str) -> None:
        entry = self._gone(key)
        if key in self._record.remote:
            self._agenda.touch(key)
        self._footing.based(key, entry)
        self._local.exclusion.leaves_out(key)  # then it is not here any more, but our user has not deleted it

    def _gone(self, key: str) -> Entry | None:
        """What it was."""
        before = self._record.local.get(key)
        self._local.scanner.gone(key)
        touch_around(self._agenda, self._record, key, before)
        return before
