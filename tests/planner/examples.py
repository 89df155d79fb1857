"""Examples for the planner, drawn by number and without Hypothesis, so that a million of them is a matter of minutes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from tests.planner.histories import Action, run

USERS, ANYBODY = 9, 18
"""So many verbs are users' own; so many there are."""


@dataclass(frozen=True)
class Case:
    """What `histories.run` takes. `seed`: luck on the disks, None for none."""

    machines: int
    start: tuple[Action, ...]
    actions: tuple[Action, ...]
    seed: int | None


def draw(seed: str, number: int) -> Case:
    """Mostly small ones, which are many more in the same time; a third of them is one tree that was changed twice in peace."""
    random = Random(f"{seed}/{number}")
    away = random.random() < 0.35
    machines = 2 if away else random.choice((1, 2, 2, 2, 3, 3, 4))
    start = _actions(random, USERS, 1, random.choice((4, 8, 15)))
    actions = _actions(random, USERS if away else ANYBODY, machines, random.choice((6, 12, 25, 80)))
    return Case(machines, start, actions, random.randrange(1 << 30) if random.random() < 0.6 else None)


def _actions(random: Random, verbs: int, machines: int, most: int) -> tuple[Action, ...]:
    return tuple(
        (random.randrange(verbs), random.randrange(machines), random.randrange(30), random.randrange(30))
        for _ in range(random.randrange(most))
    )


def failure(case: Case) -> str:
    """How it ends, if not well. Whatever the planner raises is a failure, too."""
    try:
        run(case.machines, list(case.start), list(case.actions), case.seed)
    except Exception as error:  # noqa: BLE001 - told
        return f"{type(error).__name__}: {str(error)[:300]}"
    return ""


def shrink(case: Case) -> Case:
    """The shortest case found that still fails."""
    found = True
    while found:
        found = False
        for shorter in _shorter(case):
            if failure(shorter):
                case, found = shorter, True
                break
    return case


def _shorter(case: Case) -> Iterator[Case]:
    if case.seed is not None:
        yield replace(case, seed=None)
    for size in (16, 4, 1):
        for at in range(0, len(case.actions), size):
            yield replace(case, actions=case.actions[:at] + case.actions[at + size :])
        for at in range(0, len(case.start), size):
            yield replace(case, start=case.start[:at] + case.start[at + size :])
