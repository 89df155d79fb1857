"""Whatever users, machines and the network do in whatever order: it comes to rest, all trees are equal, nothing is lost.

Histories are described in `histories.py`, what is checked in the end in `World.finish`.
"""

from random import SystemRandom

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.planner.examples import draw, failure, shrink
from tests.planner.histories import Action, World, assert_equal, assert_well_formed, run
from tests.planner.model import settle

NUMBERS = st.integers(0, 29)
USERS = st.tuples(st.integers(0, 8), st.integers(0, 2), NUMBERS, NUMBERS)
ANYBODY = st.tuples(st.integers(0, 17), st.integers(0, 2), NUMBERS, NUMBERS)
SOME = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
EXAMPLES = 1000
"""In each part."""
LUCK = st.none() | st.integers(0, 1000)


@SOME
@given(st.lists(USERS, max_size=12), st.lists(ANYBODY, max_size=40), LUCK)
def test_two_machines_end_equal_and_lose_nothing(start, actions, seed):
    run(2, start, actions, seed)


@SOME
@given(st.lists(USERS, max_size=12), st.lists(ANYBODY, max_size=40), LUCK)
def test_three_machines_end_equal_and_lose_nothing(start, actions, seed):
    run(3, start, actions, seed)


@SOME
@given(st.lists(USERS, max_size=15), st.lists(USERS, max_size=25))
def test_one_tree_changed_twice_becomes_one_tree(start, actions):
    """Both machines are away while their users work, then meet."""
    run(2, start, [(verb, who % 2, one, two) for verb, who, one, two in actions])


@pytest.mark.slow
@SOME
@given(st.lists(USERS, max_size=15), st.lists(NUMBERS, max_size=12), st.lists(USERS, max_size=8), LUCK)
def test_a_tree_hurt_by_others_is_mended(start, scribbles, actions, seed):
    """A program that knows no rules puts entries into each other, onto each other, and into what is deleted."""
    world = World(1, seed)
    world.start(start)
    for number in scribbles:
        world.scribble(world.machines[0], number, number * 7 + 1)
    for action in actions:
        world.act(action)
    world.finish()


@SOME
@given(st.lists(USERS, max_size=15), st.lists(USERS, max_size=25))
def test_who_changed_nothing_sends_nothing_and_who_is_told_nothing_changes_nothing(start, actions):
    world = World(2)
    world.start(start)
    busy, idle = world.machines
    for verb, _, one, two in actions:
        world.verbs[verb](busy, one, two)
    busy.read()
    made = busy.work()
    assert made.steps == []
    assert made.waiting == {}
    busy.flush()
    busy.deliver()
    assert_equal(busy.local, world.server.tree)
    idle.receive()
    made = idle.work()
    assert made.sends == []
    assert made.waiting == {}
    assert_equal(idle.local, world.server.tree)
    world.finish()


@SOME
@given(st.lists(USERS, max_size=15), st.lists(ANYBODY, max_size=40))
def test_a_machine_that_comes_late_sees_the_same(start, actions):
    world = run(2, start, actions)
    late = World(1)
    machine = late.machines[0]
    machine.server = world.server
    world.server.machines.append(machine)
    for key in world.server.tree:
        entry = world.server.tree.get(key)
        assert entry is not None
        machine.remote.put(entry)
        machine.placed[key] = world.machines[0].placed[key]
        machine.versions[key] = world.server.versions[key]
        machine.touched.add(key)
    accepted = world.server.accepted
    settle(world.server)
    assert world.server.accepted == accepted
    assert_equal(machine.local, world.server.tree)
    assert_well_formed(machine.local)


# Found by histories like these, made as short as they get: what each ended in before it was mended.
FOUND: dict[str, tuple[int, list[Action], list[Action], int | None]] = {
    "a mended place taken for a rename of ours": (
        2,
        [(1, 1, 14, 25), (0, 2, 15, 21), (3, 1, 13, 18), (1, 0, 13, 10)],
        [
            *[(0, 0, 5, 18), (17, 0, 8, 8), (2, 0, 9, 15), (0, 0, 11, 24), (14, 2, 3, 2), (11, 0, 26, 23)],
            *[(9, 0, 11, 25), (9, 1, 6, 16), (17, 0, 23, 18), (1, 2, 18, 16), (4, 2, 25, 16), (2, 0, 23, 23)],
            *[(4, 0, 15, 22), (1, 1, 19, 28), (17, 0, 14, 5), (1, 2, 22, 13), (17, 2, 15, 20), (7, 0, 25, 12)],
        ],
        30025347,
    ),
    "a place for the conflict copy in a directory that was to be removed": (
        3,
        [(0, 2, 25, 28)],
        [
            *[(0, 1, 21, 20), (10, 1, 15, 29), (0, 2, 22, 23), (12, 1, 28, 3), (9, 0, 2, 10), (4, 2, 7, 8)],
            *[(1, 2, 15, 24), (10, 0, 10, 2), (0, 0, 6, 11), (9, 0, 11, 5), (12, 0, 25, 15), (6, 2, 18, 17)],
        ],
        None,
    ),
    "our own name taken for the copy of before a crash": (
        2,
        [],
        [
            (0, 0, 3, 29),
            (3, 1, 1, 22),
            (9, 2, 10, 4),
            (1, 2, 5, 27),
            (10, 0, 24, 23),
            (3, 2, 27, 2),
            (12, 0, 8, 9),
            (6, 1, 16, 21),
        ],
        None,
    ),
    "an unsaved edit of an entry that became one with another": (
        3,
        [(1, 0, 10, 25), (2, 1, 13, 5), (3, 2, 2, 8), (3, 0, 6, 18)],
        [
            *[(7, 2, 3, 2), (1, 1, 17, 8), (6, 2, 27, 1), (4, 1, 14, 21), (2, 2, 20, 9), (9, 2, 4, 25), (3, 1, 8, 18)],
            *[
                (4, 1, 10, 20),
                (9, 1, 11, 29),
                (7, 1, 12, 2),
                (1, 1, 11, 7),
                (4, 1, 25, 10),
                (3, 1, 26, 18),
                (0, 1, 2, 4),
            ],
            *[(3, 1, 14, 21), (7, 1, 14, 1), (9, 2, 14, 15), (10, 1, 2, 22), (0, 1, 14, 9)],
        ],
        None,
    ),
    "a directory in itself, to be deleted": (
        2,
        [(2, 2, 7, 21), (6, 0, 26, 20), (0, 0, 9, 21), (1, 2, 6, 16), (7, 2, 18, 17), (0, 2, 7, 21)],
        [(1, 2, 7, 10), (7, 0, 14, 11), (2, 2, 22, 26), (4, 2, 9, 26), (17, 1, 23, 17), (1, 2, 5, 19), (9, 2, 21, 26)],
        None,
    ),
    "a directory that comes back where its twin is that nobody looked at": (
        1,
        [(1, 0, 11, 28), (1, 0, 18, 13), (0, 0, 26, 12)],
        [
            *[(9, 0, 5, 3), (17, 0, 26, 3), (2, 0, 15, 17), (14, 0, 26, 23), (11, 0, 5, 0), (6, 0, 2, 24)],
            *[(12, 0, 3, 29), (17, 0, 27, 13), (13, 0, 5, 2), (14, 0, 15, 14), (4, 0, 28, 21), (10, 0, 27, 1)],
            *[(0, 0, 25, 7), (4, 0, 27, 12), (17, 0, 4, 10)],
        ],
        None,
    ),
}


@pytest.mark.parametrize("case", FOUND.values(), ids=FOUND.keys())
def test_what_was_found_once_stays_mended(case):
    run(*case)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("seed", ["always the same", "fresh"])
def test_thousands_of_examples(seed, part):
    """`python -m tests.planner` runs as many as one likes."""
    if seed == "fresh":
        seed = str(SystemRandom().randrange(1 << 30))
    print(f"seed {seed}")
    for number in range(part * EXAMPLES, (part + 1) * EXAMPLES):
        case = draw(seed, number)
        if reason := failure(case):
            pytest.fail(f"seed {seed}, example {number}: {reason}; shortest: {shrink(case)}")
