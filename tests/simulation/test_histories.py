"""Whole machines in one process: random users, a hostile disk and network, judged when the dust has settled."""

import random

import pytest

from tests.simulation.history import Script, draw, run
from tests.simulation.oracles import Superfluous
from tests.simulation.shrink import shrink

FIXED = range(150)
MANY = 700
COPIES = 2
"""Of these histories, so many may end with a copy too many; the long runs have one in some thousands."""


@pytest.mark.parametrize("first", range(0, len(FIXED), 25))
def test_histories_of_fixed_seeds_end_well(first: int) -> None:
    for seed in FIXED[first : first + 25]:
        judge(seed)


@pytest.mark.slow
def test_histories_of_fresh_seeds_end_well() -> None:
    first = random.SystemRandom().randrange(1 << 30)
    print(f"seeds {first} to {first + MANY - 1}")
    superfluous = []
    for seed in range(first, first + MANY):
        failure = run(draw(seed)).failure
        if failure.startswith(Superfluous.__name__):
            superfluous.append(f"seed {seed}: {failure}")
        elif failure:
            judge(seed)
    print(*superfluous, sep="\n")
    assert len(superfluous) <= COPIES


def test_a_write_that_left_no_trace_and_was_told_of_late_is_not_deleted_unseen() -> None:
    """In the same tick of the disk's clock as what was read; another machine deletes the file meanwhile."""
    actions = (
        ("user0", 0, 1526, 223),
        ("all", 1, 2547, 105),
        ("user15", 0, 3085, 3824),
        ("user8", 1, 2041, 1269),
        ("all", 1, 923, 2723),
        ("receive", 0, 3302, 203),
        ("wait", 1, 3174, 2651),
        ("work", 0, 1263, 3261),
    )
    faults = ("ambush", "cut", "kill", "overflow", "late")
    assert not run(Script(981008158, 2, False, faults, actions)).failure


def test_a_seed_gives_the_same_history_each_time() -> None:
    for seed in FIXED[::15]:
        once, again = run(draw(seed)), run(draw(seed))
        assert once == again, f"seed {seed}"


def judge(seed: int) -> None:
    result = run(draw(seed))
    if not result.failure:
        return
    script = shrink(result.script, fails, most=300)
    shown = run(script)
    pytest.fail(f"seed {seed}: {result.failure}\nshortest script: {script}\n{shown.failure}\n{shown.trees}")


def fails(script: Script) -> bool:
    return bool(run(script).failure)


def test_two_files_that_change_places_are_both_kept_when_a_power_cut_takes_that_back() -> None:
    """The server has one half of it; so the disk had to have both before."""
    actions = (
        ("user4", 0, 154, 48),
        ("user0", 0, 205, 858),
        ("all", 1, 2814, 900),
        ("user14", 1, 2118, 301),
        ("all", 1, 1634, 1368),
        ("user13", 1, 607, 1917),
        ("wait", 1, 694, 1202),
        ("work", 1, 1600, 597),
        ("serve", 1, 438, 279),
        ("power", 1, 264, 3156),
    )
    assert not run(Script(987000784, 2, False, ("power",), actions)).failure
