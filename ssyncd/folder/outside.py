"""Steps of a plan that lead to where this machine leaves things out.

What is new there stays away. What another machine has moved there is gone from what is seen here: it is removed, as if it was
deleted. The server has it, and no base says that anybody here deleted it.
"""

from ssyncd.folder.exclusion import Exclusion
from ssyncd.folder.record import Record
from ssyncd.planner.plan import Conflict, Make, Move, Plan, Remove, Step
from ssyncd.planner.tree import Kind

UNSENT = "it was moved to where things are left out here, and not all in it has been sent"


def keep_inside(plan: Plan, record: Record, exclusion: Exclusion) -> None:
    """Where something of it, or in it, is not on the server yet, that goes first; it is in `waiting` until then."""
    steps: list[Step] = []
    kept = {step.key for step in plan.steps if isinstance(step, Conflict)} | {send.key for send in plan.sends}
    ways, absent, removed = _Ways(record, exclusion), set[str](), set[str]()
    for step in plan.steps:
        if isinstance(step, Make) and (step.entry.parent in absent or ways.leads_out(step)):
            absent.add(step.key)
        elif isinstance(step, Move) and ways.leads_out(step):
            inside = [step.key, *record.local.below(step.key)]
            if kept.isdisjoint(inside) and all(_is_sent(key, record) and exclusion.is_outside(key) for key in inside):
                removed.update(inside)
                steps += [Remove(key) for key in reversed(inside)]
            else:
                plan.waiting[step.key] = UNSENT
        else:
            steps.append(step)
    if removed or len(steps) < len(plan.steps):
        plan.steps = steps
        plan.keep(lambda step: isinstance(step, Remove) or step.key not in removed)


class _Ways:
    """Where steps lead; the path of each directory is worked out once."""

    def __init__(self, record: Record, exclusion: Exclusion) -> None:
        self._record = record
        self._exclusion = exclusion
        self._above: dict[str, str | None] = {"": ""}

    def leads_out(self, step: Make | Move) -> bool:
        entry = step.entry if isinstance(step, Make) else self._record.local.get(step.key)
        parent, name = step.entry.place if isinstance(step, Make) else (step.parent, step.name)
        if parent not in self._above:
            self._above[parent] = self._path(parent)
        above = self._above[parent]
        if above is None or entry is None:
            return False
        return self._exclusion.ignores(f"{above}/{name}" if above else name, entry.kind is Kind.DIR)

    def _path(self, key: str) -> str | None:
        """Where a directory is here; if it is not here yet, where it will be."""
        local = self._record.local.path(key)
        return local if local is not None else self._record.remote.path(key)


def _is_sent(key: str, record: Record) -> bool:
    """Whether nothing was changed here that the server does not have."""
    local, known = record.local.get(key), (record.base.get(key), record.remote.get(key))
    return any(local and there and local.same_content(there) and local.exec == there.exec for there in known)
