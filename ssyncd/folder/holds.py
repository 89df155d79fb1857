"""Plans that wait for the user's word (design section 4, "Holds")."""

import math
from collections.abc import Callable, Sequence

from ssyncd.folder.record import Record
from ssyncd.folder.settings import Direction, FolderSettings
from ssyncd.planner.plan import Make, Move, Plan, Remove, Send, SendDelete, Step
from ssyncd.planner.safety import held
from ssyncd.status import Hold

CALM = 10.0
"""Seconds without a deletion after which a burst of deletions is over."""
GATHER = 0.3
"""Seconds without another deletion before the first of them is done."""
LONGEST = 5.0
"""Seconds after which deletions that never pause are judged all the same."""
HERE, EVERYWHERE = "here", "everywhere"
WHY = {
    HERE: "the server's changes would delete most of this folder",
    EVERYWHERE: "most of this folder is gone here, and would be deleted everywhere",
}


class _Burst:
    """Deletions in one direction: `gathered` are wanted and wait until their number is known, `held` wait for the user, `done`
    may be carried out, and are planned again until they are."""

    def __init__(self) -> None:
        self.gathered: set[str] = set()
        self.held: set[str] = set()
        self.done: set[str] = set()
        self._first = 0.0
        self._latest = float("-inf")
        self._due = math.inf
        self._told = 0
        self._told_at = float("-inf")

    def end_if_calm(self, now: float) -> None:
        if now - self._latest > CALM:
            self.done.clear()

    def gather(self, keys: set[str], now: float) -> bool:
        """Whether there may be more to come."""
        if not keys <= self.gathered:
            self._first = self._first if self.gathered else now
            self._latest = now
            self.gathered |= keys
            self._due = min(now + GATHER, self._first + LONGEST)
        return now - self._latest < GATHER and now - self._first < LONGEST

    def expect(self, number: int, now: float) -> None:
        """So many are said to be coming."""
        self._told, self._told_at = max(number, self.coming(now)), now

    def coming(self, now: float) -> int:
        """How many are said to be coming still. Who said so may be wrong: too few are waited for, too many forgotten in time."""
        return self._told if now - self._told_at < CALM else 0

    def came(self, number: int, now: float) -> None:
        self._told, self._told_at, self._latest = self._told - number, now, now

    @property
    def due(self) -> float:
        """When those that are gathered are to be planned again."""
        return self._due if self.gathered else math.inf

    def take_due(self, now: float) -> set[str]:
        if self.due > now:
            return set()
        self._due = now + GATHER
        return self.gathered

    @property
    def waiting(self) -> set[str]:
        return self.gathered | self.held


class Holds:
    """Takes deletions out of plans when there are too many of them. What is held stays held over restarts (`meta`).

    Many deletions come in pieces: before the first of them is done, it must be known how many they are. A machine that knows
    of its own says so (`judged`), and others need not wait for it again. What takes the place of something that waits, waits
    behind it, with all that is in it.
    """

    def __init__(self, record: Record, settings: FolderSettings) -> None:
        self.judged: Callable[[str, int], None] = lambda _key, _number: None
        self._record = record
        self._settings = settings
        self._bursts = {HERE: _Burst(), EVERYWHERE: _Burst()}
        self._behind: set[str] = set()
        self._planned: set[str] = set()
        self._approved = False

    @property
    def keys(self) -> set[str]:
        return self._bursts[HERE].held | self._bursts[EVERYWHERE].held

    @property
    def due(self) -> float:
        """When there will be something to take."""
        return min(burst.due for burst in self._bursts.values())

    def take_due(self, now: float) -> set[str]:
        """The keys whose deletions no others have followed: they are to be planned again."""
        return set().union(*(burst.take_due(now) for burst in self._bursts.values()))

    @property
    def gathered(self) -> int:
        """How many deletions wait until their number is known."""
        return sum(len(burst.gathered) for burst in self._bursts.values())

    def expect(self, number: int, now: float) -> None:
        """Another machine has said that so many deletions of its own are coming."""
        self._bursts[HERE].expect(number, now)

    def gather(self, keys: set[str], now: float) -> set[str]:
        """Those of these keys that were plainly deleted here, as long as it is not known how many will be: they need no plan
        before."""
        burst, record = self._bursts[EVERYWHERE], self._record
        if self._approved or len(record.base) < self._settings.hold_least or self._is_held(EVERYWHERE):
            return set()
        gone = {key for key in keys if key not in record.local} - burst.held - burst.done
        gone = {key for key in gone if (base := record.base.get(key)) is not None and base is record.remote.get(key)}
        if not gone:
            return gone
        burst.end_if_calm(now)
        return gone if burst.gather(gone, now) else set()

    def check(self, plan: Plan, now: float) -> None:
        """Leave out of the plan what has to wait."""
        # Whether that is to be deleted was not seen.
        self._planned = self._planned - plan.waiting.keys()
        removed = {step.key for step in plan.steps if isinstance(step, Remove)}
        deleted = {send.key for send in plan.sends if isinstance(send, SendDelete) and not send.repair}
        self._check(HERE, removed, now)
        self._check(EVERYWHERE, deleted, now)
        here, everywhere = self._bursts[HERE].waiting, self._bursts[EVERYWHERE].waiting
        if here:
            self._find_behind(plan.steps, here)
            plan.keep(lambda step: not self._must_wait(step, here))
        if everywhere:
            self._find_behind(plan.sends, everywhere)
            plan.sends = [send for send in plan.sends if not self._must_wait(send, everywhere)]

    def _check(self, where: str, keys: set[str], now: float) -> None:
        burst, settings, base = self._bursts[where], self._settings, self._record.base
        burst.end_if_calm(now)
        burst.gathered -= self._planned - keys
        # A plan of others brings up what is held already; and what may be done comes again until it is, but counts once.
        keys = keys - burst.held - burst.done
        if not keys:
            return
        size = len(base) + sum(key not in base for key in burst.done)
        if self._approved or size < settings.hold_least:
            burst.gathered -= keys
            return
        wanted = self._count(burst, keys, now)
        if not wanted:
            return
        burst.gathered -= keys
        if self._is_held(where) or held(wanted, len(burst.done), size, settings.hold_share, settings.hold_least):
            burst.held |= keys
            self._record.set_meta(f"held_{where}", "1")
        else:
            burst.done |= keys
            if where == EVERYWHERE and settings.direction is Direction.BOTH:
                self.judged(min(keys), wanted)

    def _is_held(self, where: str) -> bool:
        return bool(self._record.meta.get(f"held_{where}"))

    def _count(self, burst: _Burst, keys: set[str], now: float) -> int:
        """How many deletions these belong to; 0 if that is not known yet."""
        coming = burst.coming(now)
        if len(keys) <= coming:
            burst.came(len(keys), now)
            return coming + len(burst.gathered - keys)
        return 0 if burst.gather(keys, now) else len(burst.gathered)

    def _find_behind(self, items: Sequence[Step | Send | SendDelete], waiting: set[str]) -> None:
        """Who waits for these, and who waits for those, in whatever order they come."""
        found = -1
        while found != len(self._behind):
            found = len(self._behind)
            for item in items:
                self._must_wait(item, waiting)

    def _must_wait(self, item: Step | Send | SendDelete, waiting: set[str]) -> bool:
        if isinstance(item, Remove | SendDelete):
            return item.key in waiting
        if isinstance(item, Move):
            key, parent, name = item.key, item.parent, item.name
        elif isinstance(item, Send | Make):
            key, parent, name = item.entry.key, *item.entry.place
        else:
            return False
        tree = self._record.remote if isinstance(item, Send) else self._record.local
        there = tree.at(parent, name)
        if parent not in self._behind and (
            key in there or (waiting.isdisjoint(there) and self._behind.isdisjoint(there))
        ):
            return False
        self._behind.add(key)
        return True

    def replanned(self, keys: set[str]) -> set[str]:
        """These keys are planned again, or left out: whether they are to be deleted will be seen. Returns what waited behind."""
        self._planned, freed = keys, set[str]()
        self._behind -= keys
        for burst in self._bursts.values():
            if not burst.held.isdisjoint(keys) or not burst.gathered.isdisjoint(keys):
                freed, self._behind = freed | self._behind, set()
            burst.held -= keys
        return freed

    def settle(self) -> None:
        """Everything was planned: a hold whose deletions are all gone from the plans is over, and so is an approval."""
        for where, burst in self._bursts.items():
            burst.gathered.clear()
            if not burst.held and self._is_held(where):
                self._record.set_meta(f"held_{where}", None)
        self._approved = False

    def approve(self) -> set[str]:
        """The user's word: the keys that may be planned again."""
        keys = self.keys | self._behind
        self._approved = True
        self._behind = set()
        for where, burst in self._bursts.items():
            burst.held.clear()
            self._record.set_meta(f"held_{where}", None)
        return keys

    def tell(self) -> tuple[Hold, ...]:
        return tuple(Hold(WHY[where], len(burst.held), where) for where, burst in self._bursts.items() if burst.held)
