"""Another order for the steps of a plan that works as well: what a plan promises must not hang on the order it was given in."""

from random import Random

from ssyncd.planner.plan import Conflict, Make, Move, Park, Rekey, Step
from ssyncd.planner.tree import Kind, Tree


def shuffled(steps: list[Step], local: Tree, random: Random) -> list[Step]:
    """Neighbours that have nothing to do with each other change places, many times."""
    steps = list(steps)
    touched = [_touched(step, local) for step in steps]
    for _ in range(3 * len(steps)):
        at = random.randrange(len(steps))
        if at and _free(steps[at - 1], steps[at], local) and touched[at - 1].isdisjoint(touched[at]):
            steps[at - 1], steps[at] = steps[at], steps[at - 1]
            touched[at - 1], touched[at] = touched[at], touched[at - 1]
    return steps


def _free(one: Step, other: Step, local: Tree) -> bool:
    """Two directories that move may be in each other's way far above or below; whatever is parked is in everybody's."""
    if isinstance(one, Park | Rekey) or isinstance(other, Park | Rekey):
        return False
    return not (_moves_directory(one, local) and _moves_directory(other, local))


def _moves_directory(step: Step, local: Tree) -> bool:
    entry = local.get(step.key) if isinstance(step, Move) else None
    return isinstance(step, Move) and (entry is None or entry.kind is Kind.DIR)


def _touched(step: Step, local: Tree) -> set[object]:
    """Keys and places that a step needs or changes: its entry, the directories it is and will be in, where it is and will be."""
    key = step.key
    places = [local_entry.place] if (local_entry := local.get(key)) is not None else []
    if isinstance(step, Make):
        places.append(step.entry.place)
    elif isinstance(step, Move):
        places.append((step.parent, step.name))
    elif isinstance(step, Conflict):
        places.append((step.entry.parent, step.copy))
    return {key, *places, *(parent for parent, _ in places if parent)}
