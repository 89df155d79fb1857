"""Carrying out the steps of a plan on this disk. After each one the base says what was really done (design section 2)."""

import logging
from collections.abc import Callable, Iterator
from itertools import groupby

from ssyncd.disk.base import Arrival, Disk, Stat
from ssyncd.errors import ChangedError, ContentError, DiskError, GoneError
from ssyncd.folder.agenda import Agenda
from ssyncd.folder.around import touch_around
from ssyncd.folder.footing import Footing
from ssyncd.folder.local import Local
from ssyncd.folder.merging import Merging, tag
from ssyncd.folder.parking import Parking
from ssyncd.folder.record import Record
from ssyncd.folder.recovery import recover
from ssyncd.folder.removal import Removal
from ssyncd.folder.supply import Supply
from ssyncd.planner.plan import Conflict, Filling, Make, Move, Park, Rekey, Remove, Replace, SetExec, Step
from ssyncd.planner.tree import Entry, Kind

log = logging.getLogger(__name__)


class Applier:
    """Does steps one by one; what fails is put off and looked at again, the rest goes on."""

    def __init__(self, record: Record, disk: Disk, local: Local, supply: Supply, agenda: Agenda) -> None:
        self.record = record
        self.local = local
        self.supply = supply
        self.agenda = agenda
        self.merging = Merging(record, disk, supply, local.settings.text_merge)
        self._disk = disk
        self._parking = Parking(record, disk)
        self._footing = Footing(record)
        self._removal = Removal(disk, local, agenda, self._footing, self._failed)
        self._doers: dict[type, Callable[..., None]] = {
            Rekey: self.rekey,
            Make: self._make,
            Replace: self._replace,
            Conflict: self._conflict,
            Move: self._move,
            Park: self._park,
            SetExec: self._set_exec,
            Remove: self._removal.one,
        }

    def apply(self, steps: list[Step]) -> list[Step]:
        """Those that were done. New contents are all staged and made durable with one flush before the first is put in place."""
        ready = self._unhindered(steps, [step for step in steps if self._has_aged(step) and self._supplied(step)])
        files = [step for step in ready if isinstance(step, Filling) and step.entry.kind is Kind.FILE]
        try:
            if files:
                self._disk.flush()
        except DiskError as error:
            for step in files:
                self._failed(step, error)
            ready = [step for step in ready if step not in files]
        done = self._do_all(ready)
        self._unpark_all()
        if len(done) < len(ready):
            recover(self._disk, self.record)
        return done

    def _has_aged(self, step: Step) -> bool:
        """Whether what is to be changed is known for certain."""
        key = step.key
        if isinstance(step, Make | Rekey):
            return True
        if self.local.certainty.is_young(key):
            self.local.certainty.let_age(key)
            return False
        if self.local.certainty.is_unsure(key):
            self.local.doubt(key)
            return False
        return True

    def _unhindered(self, steps: list[Step], ready: list[Step]) -> list[Step]:
        """Whoever wants the place of what has to wait waits with it: in a ring it would be moved aside, and back, each time."""
        if len(ready) == len(steps):
            return ready
        able = {step.key for step in ready}
        wanting = {(step.parent, step.name): step.key for step in ready if isinstance(step, Move)}
        late = [step.key for step in steps if isinstance(step, Move | Remove) and step.key not in able]
        for key in late:  # grows
            entry = self.record.local.get(key)
            if entry is not None and (mover := wanting.pop(entry.place, None)) is not None:
                late.append(mover)
                self.agenda.at(self.local.clock.monotonic() + self.local.scanner.coarse / 1e9, mover)
        waiting = set(late)
        return [step for step in ready if not (isinstance(step, Move | Park) and step.key in waiting)]

    def _supplied(self, step: Step) -> bool:
        """Whether nothing but the disk is needed for this step."""
        if not isinstance(step, Filling) or step.entry.content is None:
            return True
        key, content = step.entry.key, step.entry.content
        try:
            here = self.supply.want(key, content, self.record.ghosts.version(key))
            return (not isinstance(step, Conflict) or self.merging.ready(step)) and here
        except (ContentError, DiskError) as error:
            self._failed(step, error)
            return False

    def _do_all(self, steps: list[Step]) -> list[Step]:
        """Those that were done."""
        done: list[Step] = []
        for kind, run in groupby(steps, self._together):
            if kind is Remove:
                done.extend(self._removal.files([step for step in run if isinstance(step, Remove)]))
            elif kind is Make:
                done.extend(self._make_files([step for step in run if isinstance(step, Make)]))
            else:
                done.extend(step for step in run if self._do(step))
        return done

    def _together(self, step: Step) -> type[Step] | None:
        """Which steps are done together with others of their kind: those of files."""
        if isinstance(step, Make):
            return Make if step.entry.kind is Kind.FILE else None
        return Remove if self._removal.is_of_file(step) else None

    def _do(self, step: Step) -> bool:
        try:
            self._doers[type(step)](step)
        except (ContentError, DiskError) as error:
            self._failed(step, error)
            return False
        self.agenda.succeeded(step.key)
        return True

    def _failed(self, step: Step, error: ContentError | DiskError) -> None:
        """The user was faster, or the disk does not let us: look, then plan again, later each time it happens again."""
        key = step.key
        log.debug("%s: %s", step, error)
        if isinstance(error, ChangedError | GoneError):
            self.agenda.look(error.path)
            self.local.look_at(key)
            if isinstance(step, Remove):
                self.agenda.look_below(error.path, "it could not be removed")
        reason = error.reason if isinstance(error, DiskError) else str(error)
        if isinstance(error, ChangedError) and self.local.exclusion.blocks(error.path):
            reason = f"{error.path!r} is in its place, and is left out here: move that away"
        self.agenda.failed(key, reason, self.local.clock.monotonic())

    def forget_failures(self, keys: set[str]) -> None:
        """What did not work for those of these keys that are the same everywhere, or left out by now, is not wanted any more."""
        if self.agenda.failing:
            for key in keys:
                is_done = self._is_same_everywhere(key) or self.local.exclusion.leaves_out(key)
                other = tag(key)  # what it is a tag of, if it is one
                if is_done and other not in self.record.local and other not in self.record.remote:
                    self.agenda.succeeded(key)
                    self.agenda.succeeded(other)

    def _is_same_everywhere(self, key: str) -> bool:
        """Also if it is nowhere."""
        base, local, remote = self.record.base.get(key), self.record.local.get(key), self.record.remote.get(key)
        return base is remote is None if local is None else local.same(base) and local.same(remote)

    def make_extra(self, entry: Entry, tag: str = "") -> None:
        """Something new here that the server does not have yet: a file staged under `tag`, or a link."""
        path = self._footing.free_path(*entry.place)
        if entry.kind is Kind.FILE:
            self._disk.flush()
            self._put(entry, path, None, tag)
        else:
            self._done(entry, self._disk.make_link(path, entry.target, None))
        self.agenda.touch(entry.key)

    def _put(self, entry: Entry, path: str, expected: Stat | None, tag: str = "", keep: str | None = None) -> None:
        content = entry.content
        assert content is not None
        staged = self.supply.take(tag or entry.key, content.hash)
        try:
            stat = self._disk.put(staged, path, expected, content.mtime, entry.exec, keep)
        except BaseException:
            staged.discard()
            raise
        self._done(entry, stat)

    def _done(self, entry: Entry, stat: Stat) -> None:
        before = self.local.done(entry, stat)
        if before is None or before.place != entry.place:
            touch_around(self.agenda, self.record, entry.key, before, entry)

    # Steps.

    def rekey(self, step: Rekey) -> None:
        self.local.scanner.rekey(step.old, step.new)
        self.local.certainty.rekey(step.old, step.new)
        self.record.looked([step.old, step.new])
        self.agenda.touch_all((step.old, step.new))
        self.agenda.touch_all(self.record.local.children(step.new))

    def _make(self, step: Make) -> None:
        """A directory or a link."""
        entry = step.entry
        path = self._footing.free_path(*entry.place)
        made = self._disk.make_link(path, entry.target, None) if entry.kind is Kind.LINK else self._disk.make_dir(path)
        self._done(entry, made)
        self._footing.based(entry.key, None)

    def _make_files(self, steps: list[Make]) -> Iterator[Step]:
        """Those that were done."""
        ready: dict[str, tuple[Make, Arrival]] = {}
        for step in steps:
            try:
                arrival = self._arrival(step.entry)
                ready[arrival.path] = step, arrival
            except (ContentError, DiskError) as error:
                self._failed(step, error)
        found = self._disk.put_new([arrival for _, arrival in ready.values()])
        for path, (step, arrival) in ready.items():
            stat, key = found[path], step.entry.key
            if isinstance(stat, DiskError):
                arrival.staged.discard()
                self._failed(step, stat)
                continue
            self._done(step.entry, stat)
            self._footing.based(key, None)
            self.agenda.succeeded(key)
            yield step

    def _arrival(self, entry: Entry) -> Arrival:
        assert entry.content is not None
        path = self._footing.free_path(*entry.place)
        return Arrival(self.supply.take(entry.key, entry.content.hash), path, entry.content.mtime, entry.exec)

    def _replace(self, step: Replace) -> None:
        before = self._footing.here(step.entry.key)
        self._put_over(step.entry)
        self._footing.based(step.entry.key, before)

    def _put_over(self, entry: Entry, keep: str | None = None) -> None:
        path = self._footing.path(entry.key)
        expected = self._footing.expected(entry.key, path)
        if entry.kind is Kind.FILE:
            self._put(entry, path, expected, keep=keep)
        else:
            self._done(entry, self._disk.make_link(path, entry.target, expected, keep))

    def _conflict(self, step: Conflict) -> None:
        """The server's content takes the place of ours, which gets another name. A crash between leaves both (see `recovery`)."""
        ours = self._footing.here(step.entry.key)
        path = self._footing.path(ours.key)
        expected = self._footing.expected(ours.key, path)
        text = self.merging.merge(step, path, expected)
        if text is not None:
            self._put_merged(ours, step.entry, path, text)
            return
        copy_path = self._footing.free_path(ours.parent, step.copy)
        # Whatever comes of it: the copy may be there, and changed already.
        self.agenda.look(copy_path)
        self._put_over(step.entry, copy_path)
        log.info("both sides changed %r: ours is kept as %r", path, step.copy)
        self._footing.based(step.entry.key, ours)
        kept = self._disk.stat(copy_path)
        if kept is not None and kept.same(expected):
            copy = ours._replace(key=self.local.new_key(ours.parent, step.copy, ours.kind), name=step.copy)
            self._done(copy, kept)
            self.agenda.touch(copy.key)

    def _put_merged(self, ours: Entry, theirs: Entry, path: str, text: bytes) -> None:
        """The file gets both edits; what it is now is read, and sent, like any edit of the user's."""
        now = self.local.clock.wall() // 1000
        stat = self.merging.put(ours, path, self._footing.expected(ours.key, path), text, now)
        self._done(ours._replace(content=None), stat)
        self.local.scanner.unread[ours.key] = None
        base = self.record.base.get(ours.key)
        assert base is not None
        self.record.set_base(base._replace(content=theirs.content))
        log.info("both sides changed %r: it has both edits now", path)

    def _move(self, step: Move) -> None:
        target = self._footing.free_path(step.parent, step.name)
        if step.key in self._parking:
            self._unpark(step.key, step.parent, step.name)
            return
        entry, path = self._footing.here(step.key), self._footing.path(step.key)
        stat = self._disk.move(path, target, self._footing.expected(step.key, path))
        self._came(entry, path, entry._replace(parent=step.parent, name=step.name), stat)

    def _came(self, before: Entry, path: str, entry: Entry, stat: Stat) -> None:
        """An entry that was at this path has another place."""
        if entry.kind is Kind.DIR:
            self.local.moved(path, self._footing.path_at(*entry.place))
        self._done(entry, stat)
        self._footing.based(entry.key, before)

    def _park(self, step: Park) -> None:
        path = self._footing.path(step.key)
        self._parking.park(self._footing.here(step.key), path, self._footing.expected(step.key, path))

    def _unpark(self, key: str, parent: str, name: str) -> None:
        entry, path, stat = self._parking.unpark(key, self._footing.free_path(parent, name))
        self._came(entry, path, entry._replace(parent=parent, name=name), stat)

    def _set_exec(self, step: SetExec) -> None:
        entry = self._footing.here(step.key)
        path = self._footing.path(step.key)
        self._done(
            entry._replace(exec=step.exec), self._disk.set_exec(path, step.exec, self._footing.expected(step.key, path))
        )
        self._footing.based(step.key, entry)

    def _unpark_all(self) -> None:
        """Steps that were to free a place failed: what was moved aside goes back, or beside what has come there since."""
        for key in self._parking.keys:
            try:
                self._put_back(key)
            except DiskError as error:
                try:
                    self._unpark(key, *self._parking.beside(key))
                except DiskError:
                    self._parking.give_up(key, error)
            self.agenda.failed(key, "its new place is not free", self.local.clock.monotonic())

    def _put_back(self, key: str) -> None:
        """As if nothing had been: who is entangled with it is not to be planned again at once."""
        entry, _, stat = self._parking.unpark(key, self._footing.free_path(*self._parking.former(key).place))
        self.local.scanner.done(entry, stat)
