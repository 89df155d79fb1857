"""Putting steps into an order that works on a disk, and sends into one that works on a server."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ssyncd.planner.plan import Conflict, Make, Move, Park, Remove, Send, SendDelete, Step
from ssyncd.planner.tree import Kind, Place, Tree

Shift = Make | Move | Remove
"""A step that fills or frees a place."""

Obstacle = tuple[str, ...]
"""What a step waits for: a place ("free", parent, name), a directory to be there ("there", key) or to get empty ("empty", key),
or a directory to come out of where it is ("out", key)."""


def order_steps(steps: Sequence[Step], local: Tree) -> tuple[list[Step], list[str]]:
    """An order in which each step finds its directory there, its place free and, for a removal, the directory empty.

    Contents come first, at the places that are now. Returns the keys of steps that no order makes possible now, too (their
    place is held by something that is to stay, for one).
    """
    shifts, others = list[Shift](), list[Step]()
    line = _Line(local)
    for step in steps:
        if isinstance(step, Shift):
            shifts.append(step)
        else:
            others.append(step)
            if isinstance(step, Conflict):
                line.add_copy(step)
    line.take(shifts)
    if line.waiting:
        line.unlock()
    return [*others, *line.done], [step.key for step in line.left()]


def target_of(step: Shift) -> Place | None:
    if isinstance(step, Make):
        return step.entry.place
    return (step.parent, step.name) if isinstance(step, Move) else None


class _Disk:
    """The local tree as it will be after the steps done so far: only the differences are kept."""

    def __init__(self, local: Tree) -> None:
        self._local = local
        self._at: dict[Place, str | None] = {}
        self._places: dict[str, Place | None] = {}
        self._come: dict[str, dict[str, None]] = {}
        self._count: dict[str, int] = {}
        self.parked: dict[str, None] = {}

    def at(self, place: Place) -> str | None:
        if place in self._at:
            return self._at[place]
        found = self._local.at(*place)
        return found[0] if found else None

    def place(self, key: str) -> Place | None:
        """None: not here, or moved aside."""
        if key in self._places:
            return self._places[key]
        entry = self._local.get(key)
        return None if entry is None else entry.place

    def parent(self, key: str) -> str | None:
        place = self.place(key)
        return None if place is None else place[0]

    def inside(self, key: str) -> list[str]:
        stay = [child for child in self._local.children(key) if child not in self._places]
        return [*stay, *self._come.get(key, ())]

    def count(self, key: str) -> int:
        """How many entries are in a directory."""
        if key not in self._count:
            self._count[key] = len(self.inside(key))
        return self._count[key]

    def take(self, key: str) -> Place | None:
        """Take an entry from its place, if it has one."""
        place = self.place(key)
        self._places[key] = None
        if place is not None:
            self._at[place] = None
            self._come.get(place[0], {}).pop(key, None)
            if place[0] in self._count:
                self._count[place[0]] -= 1
        return place

    def put(self, key: str, place: Place) -> None:
        self._at[place] = key
        self._places[key] = place
        self._come.setdefault(place[0], {})[key] = None
        if place[0] in self._count:
            self._count[place[0]] += 1

    def ways_up(self, key: str) -> Iterator[str]:
        """A key and the directories it is in; the local tree has no rings."""
        at: str | None = key
        while at:
            yield at
            at = self.parent(at)


class _Line:
    """Steps waiting in line, each for one obstacle; whoever clears an obstacle calls up those that wait for it."""

    def __init__(self, local: Tree) -> None:
        self.done: list[Step] = []
        self.waiting: dict[Obstacle, list[Shift]] = {}
        self._disk = _Disk(local)
        self._moves: dict[str, Move] = {}

    def left(self) -> list[Shift]:
        return [step for steps in self.waiting.values() for step in steps]

    def add_copy(self, step: Conflict) -> None:
        """A conflict copy will be in this directory, under a key that is not known yet."""
        self._disk.put(f"copy of {step.entry.key}", (step.entry.parent, step.copy))

    def take(self, steps: Iterable[Shift]) -> None:
        line = list(steps)
        self._moves.update((step.key, step) for step in line if isinstance(step, Move))
        for step in line:  # grows
            obstacle = self._obstacle(step)
            if obstacle is None:
                line.extend(self._do(step))
            else:
                self.waiting.setdefault(obstacle, []).append(step)

    def _obstacle(self, step: Shift) -> Obstacle | None:
        disk = self._disk
        if isinstance(step, Remove):
            return None if disk.count(step.key) == 0 else ("empty", step.key)
        key, place = step.key, target_of(step)
        assert place is not None
        if place[0] and disk.place(place[0]) is None:
            return "there", place[0]
        if disk.parked:
            above = self._parked_above(place[0]) or (self._parked_above(key) if key not in disk.parked else None)
            if above is not None:
                return "there", above
        if disk.at(place) not in (None, key):
            return "free", *place
        return self._below_itself(step) if isinstance(step, Move) else None

    def _parked_above(self, key: str) -> str | None:
        """What has to come back before there is a path to this."""
        if not self._disk.parked:
            return None
        return next((at for at in self._disk.ways_up(key) if at in self._disk.parked), None)

    def _below_itself(self, step: Move) -> Obstacle | None:
        """A directory cannot go into itself: what it goes to has to come out of it first."""
        if step.parent == self._disk.parent(step.key) or not self._disk.count(step.key):
            return None
        way: list[str] = []
        for at in self._disk.ways_up(step.parent):
            if at == step.key:
                return "out", next((key for key in way if key in self._moves), "")
            way.append(at)
        return None

    def _do(self, step: Shift) -> list[Shift]:
        key, place = step.key, target_of(step)
        self.done.append(step)
        freed = self._free(key) if not isinstance(step, Make) else []
        self._disk.parked.pop(key, None)
        self._moves.pop(key, None)
        if place is not None:
            self._disk.put(key, place)
            freed.extend(self.waiting.pop(("there", key), ()) if self.waiting else ())
        return freed

    def _free(self, key: str) -> list[Shift]:
        """Take an entry away: who has waited for that?"""
        place = self._disk.take(key)
        if place is None or not self.waiting:
            return []
        freed = self.waiting.pop(("free", *place), [])
        freed.extend(self.waiting.pop(("out", key), ()))
        if ("empty", place[0]) in self.waiting and self._disk.count(place[0]) == 0:
            freed.extend(self.waiting.pop(("empty", place[0])))
        return freed

    # When nobody can go on.

    def unlock(self) -> None:
        """Steps wait for each other in a ring (two names that swap): those that can end well are moved aside and go on."""
        # Not everybody is called up for everything: the first on a way out of a directory may not be the one that opened it.
        steps, self.waiting = self.left(), {}
        self.take(steps)
        left = {step.key: step for step in self.left()}
        if not left:
            return
        able = _Ability(self._disk, left).able
        moves = [key for key, step in able.items() if isinstance(step, Move)]
        if not moves:
            return
        done, stuck = len(self.done), self.left()
        depth = _depths(moves, self._disk.parent)
        for key in sorted(moves, key=lambda key: -depth[key]):  # what is inside comes out while there is a path to it
            if key in self._moves:
                self.done.append(Park(key))
                freed = self._free(key)
                self._disk.parked[key] = None
                self.take(freed)
        if any(step.key in able for step in self.left()):  # rather wait than leave something moved aside
            del self.done[done:]
            self.waiting = {("stuck",): stuck}


class _Ability:
    """Which of the waiting steps can be done at all, in any order: `able`, by key."""

    def __init__(self, disk: _Disk, left: Mapping[str, Shift]) -> None:
        self.able = dict(left)
        self._disk = disk
        self._needing: dict[str, list[str]] = {}
        unable = [key for key, step in left.items() if any(need not in left for need in self._needs(key, step))]
        claimed: set[Place | None] = {None}
        for key, step in left.items():
            place = target_of(step)
            if place in claimed and place is not None:
                unable.append(key)
            claimed.add(place)
        while unable:
            self._drop(unable)
            unable = self._adrift()

    def _needs(self, key: str, step: Shift) -> list[str]:
        """Keys that have to come or go for this step."""
        place = target_of(step)
        if place is None:
            needs = self._disk.inside(key)
        else:
            holder = self._disk.at(place)
            needs = [holder] if holder is not None else []
            if place[0] and self._disk.place(place[0]) is None:
                needs.append(place[0])
        for need in needs:
            self._needing.setdefault(need, []).append(key)
        return needs

    def _drop(self, unable: list[str]) -> None:
        for key in unable:  # grows
            if self.able.pop(key, None) is not None:
                unable.extend(self._needing.get(key, ()))

    def _adrift(self) -> list[str]:
        """Keys that would end in a ring, because a directory that was to come out of them does not."""
        afloat, adrift = {""}, dict[str, None]()
        for key in self.able:
            way: dict[str, None] = {}
            at: str | None = key
            while at is not None and at not in afloat and at not in way and at not in adrift:
                way[at] = None
                step = self.able.get(at)
                place = target_of(step) if step is not None else None
                at = place[0] if place is not None else self._disk.parent(at)
            if at in afloat:
                afloat.update(way)
            else:
                adrift.update(way)
        return [key for key in adrift if key in self.able]


def _depths(keys: Iterable[str], parent: Callable[[str], str | None]) -> dict[str, int]:
    depths: dict[str, int] = {"": 0}
    for key in keys:
        way = []
        at: str | None = key
        while at is not None and at not in depths:
            way.append(at)
            at = parent(at)
        depth = depths[at] if at is not None else 0
        for at in reversed(way):
            depths[at] = depth = depth + 1
    return depths


def order_sends(sends: Sequence[Send | SendDelete], remote: Tree) -> list[Send | SendDelete]:
    """Directories before what comes into them; deletions last, what is inside before its directory. Only that of a file or a link
    whose place is taken comes right before what takes it, so that no machine sees both there."""
    living = {send.key: send for send in sends if isinstance(send, Send)}
    dying = {send.key: send for send in sends if isinstance(send, SendDelete)}

    def parent_in_remote(key: str) -> str:
        entry = remote.get(key)
        return entry.parent if entry is not None else ""

    ordered: list[Send | SendDelete] = []
    for key in _parents_first(living, lambda key: living[key].entry.parent):
        send = living[key]
        if dying:
            ordered.extend(dying.pop(there) for there in leaves_at(send.entry.place, remote) if there in dying)
        ordered.append(send)
    ordered.extend(dying[key] for key in reversed(_parents_first(dying, parent_in_remote)))
    return ordered


def leaves_at(place: Place, tree: Tree) -> Iterator[str]:
    """The keys of what is at a place and holds nothing."""
    return (
        key
        for key in tree.at(*place)
        if (entry := tree.get(key)) is not None and entry.kind is not Kind.DIR and not tree.children(key)
    )


def _parents_first(keys: Mapping[str, object], parent: Callable[[str], str]) -> list[str]:
    ordered: dict[str, None] = {}
    for key in keys:
        way: dict[str, None] = {}
        while key in keys and key not in ordered and key not in way:
            way[key] = None
            key = parent(key)
        ordered.update(dict.fromkeys(reversed(way)))
    return list(ordered)
