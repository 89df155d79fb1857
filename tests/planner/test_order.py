"""Steps come in an order that a disk allows, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.planner.order import order_sends, order_steps
from ssyncd.planner.plan import Conflict, Make, Move, Remove, Send, SendDelete, Step
from ssyncd.planner.tree import Entry, Kind, Tree
from tests.planner.histories import World, assert_equal
from tests.planner.model import Machine, Server
from tests.trees import entry, send_text, step_text, tree


def steps_between(before: Tree, after: Tree) -> list[Step]:
    """In the order of the keys, which says nothing about what works."""
    steps: list[Step] = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if new is None:
            steps.append(Remove(key))
        elif old is None:
            steps.append(Make(new))
        elif old.place != new.place:
            steps.append(Move(key, *new.place))
    return steps


ROWS = {
    "directories before what comes into them": ("", "z:d/ a:d/f=1", "make z:d/; make a:@z/f=1"),
    "what is inside goes before its directory": ("a:d/ z:d/f=1", "", "remove z; remove a"),
    "out before the directory goes": ("a:d/ z:d/f=1", "z:f=1", "move z f; remove a"),
    "a place is free before it is filled": ("z:f=1", "a:f=2", "remove z; make a:f=2"),
    "a row moves up from its end": ("a:1=a b:2=b c:3=c", "a:2=a b:3=b c:4=c", "move c 4; move b 3; move a 2"),
    "a swap needs one place more": ("a:1=a b:2=b", "a:2=a b:1=b", "park a; move b 1; move a 2"),
    "three in a circle need one too": (
        "a:1=a b:2=b c:3=c",
        "a:2=a b:3=b c:1=c",
        "park a; move c 1; move b 3; move a 2",
    ),
    "inside out": ("a:d/ b:d/e/", "b:e/ a:e/d/", "move b e; move a @b/d"),
    "inside out at the same names": ("a:d/ b:d/d/", "b:d/ a:d/d/", "park b; park a; move b d; move a @b/d"),
    "a directory into one that comes out of it": (
        "a:a/ b:a/b/ c:a/b/c/",
        "c:c/ a:c/a/ b:c/a/b/",
        "move c c; move a @c/a",
    ),
    "into a directory that is parked": (
        "a:1/ b:2/ c:3=c",
        "a:2/ b:1/ c:2/3=c".replace("c:2", "c:@a"),
        "move c @a/3; park a; move b 1; move a 2",
    ),
    "into what is inside one that is parked": (
        "a:w/ b:w/t/ c:w/t/u/",
        "b:w/ c:w/u/ a:w/u/w/",
        "park b; park a; move b w; move a @c/w",
    ),
    "a rename does not look for itself below": ("a:a/ b:a/b/", "a:c/ b:c/b/", "move a c"),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_steps_are_ordered(row):
    before, after, expected = row
    ordered, stuck = order_steps(steps_between(tree(before), tree(after)), tree(before))
    assert "; ".join(map(step_text, ordered)) == expected
    assert stuck == []


STUCK = {
    "somebody stays at the place": ("a:1=a b:2=b", [Move("a", "", "2")], ["a"]),
    "and whoever waits for that": ("a:1=a b:2=b c:3=c", [Move("a", "", "2"), Move("c", "", "1")], ["a", "c"]),
    "the directory is not there": ("", [Make(entry("f:@d/a=1"))], ["f"]),
    "something stays in the directory": ("d:d/ f:d/a=1", [Remove("d")], ["d"]),
    "what is inside cannot leave": ("d:d/ f:d/a=1 g:a=2", [Move("f", "", "a"), Remove("d")], ["f", "d"]),
    "two to one place": ("a:1=a b:2=b c:3=c", [Move("a", "", "2"), Move("c", "", "2"), Move("b", "", "1")], ["c"]),
    "into itself": ("d:d/ e:d/e/", [Move("d", "e", "d")], ["d"]),
    "into what cannot come out": ("d:d/ e:d/e/ f:e=1", [Move("d", "e", "d"), Move("e", "", "e")], ["d", "e"]),
    "while others go on": (
        "d:d/ e:d/e/ f:e=1 a:1=a b:2=b",
        [Move("d", "e", "d"), Move("e", "", "e"), Move("a", "", "2"), Move("b", "", "1")],
        ["d", "e"],
    ),
    "a conflict copy will be inside": (
        "d:d/ f:d/a=1",
        [Conflict(entry("f:@d/a=2"), "b"), Move("f", "", "a"), Remove("d")],
        ["d"],
    ),
    "a conflict copy will be there": ("f:a=1", [Conflict(entry("f:a=2"), "b"), Make(entry("g:b=3"))], ["g"]),
}


@pytest.mark.parametrize("row", STUCK.values(), ids=STUCK.keys())
def test_what_no_order_makes_possible_is_left_out(row):
    before, steps, expected = row
    ordered, stuck = order_steps(steps, tree(before))
    assert sorted(stuck) == sorted(expected)
    machine = machine_with(tree(before))
    machine._carry_out(ordered)


def machine_with(local: Tree) -> Machine:
    """A disk that refuses, and lets nothing be left aside."""
    machine = Machine("m", Server())
    for key in local:
        found = local.get(key)
        assert found is not None
        machine.local.put(found)
    return machine


ACTIONS = st.lists(st.tuples(st.integers(0, 8), st.just(0), st.integers(0, 29), st.integers(0, 29)), max_size=25)


def grow(first: list, second: list) -> tuple[Tree, Tree]:
    world = World(1)
    for actions in (first, second):
        for verb, _, one, two in actions:
            world.verbs[verb](world.machines[0], one, two)
        if actions is first:
            world.machines[0].read()
            before = machine_with(world.machines[0].local).local
    world.machines[0].read()
    return before, world.machines[0].local


@given(ACTIONS, ACTIONS)
def test_any_tree_becomes_any_other(first, second):
    before, after = grow(first, second)
    machine = machine_with(before)
    ordered, stuck = order_steps(steps_between(before, after), before)
    assert stuck == []
    machine._carry_out(ordered)
    for key in after:
        made, wanted = machine.local.get(key), after.get(key)
        assert made is not None
        assert wanted is not None
        assert made.place == wanted.place
    assert set(machine.local) == set(after)


@given(ACTIONS, ACTIONS, st.integers(0, 2**30))
def test_whatever_is_left_out_of_the_steps_the_rest_never_meets_a_refusal(first, second, mask):
    before, after = grow(first, second)
    steps = [step for number, step in enumerate(steps_between(before, after)) if not mask >> (number % 30) & 1]
    machine = machine_with(before)
    ordered, stuck = order_steps(steps, before)
    machine._carry_out(ordered)
    assert machine.aside == {}
    done = {
        step.entry.key if isinstance(step, Make) else step.key
        for step in ordered
        if isinstance(step, Make | Move | Remove)
    }
    assert done.isdisjoint(stuck)
    assert len(done) + len(stuck) == len(steps)


@given(ACTIONS, ACTIONS)
def test_the_order_depends_on_nothing_but_the_steps(first, second):
    before, after = grow(first, second)
    steps = steps_between(before, after)
    again = machine_with(before).local
    assert order_steps(steps, before) == order_steps(steps, again)
    assert_equal(before, again)


def test_sends_go_parents_first_and_deletions_children_first():
    remote = tree("a:a/ b:a/b/ c:a/b/c=1")
    made = tree("x:x/ m:x/m/ f:x/m/f=1")
    sends = [Send(found) for key in ("f", "m", "x") if (found := made.get(key))]
    ordered = order_sends(
        [SendDelete("a"), sends[0], SendDelete("b"), sends[1], SendDelete("c", True), sends[2]], remote
    )
    assert "; ".join(map(send_text, ordered)) == (
        "send x:x/; send m:@x/m/; send f:@m/f=1; delete c repair; delete b; delete a"
    )


def test_the_deletion_of_what_holds_nothing_goes_right_before_what_takes_its_place():
    remote = tree("k:k=1 l:l=1 d:d/ e:d/e=1")
    made = tree("n:new/ x:l/ y:@x/f=1 z:d=1")
    sends = [Send(found) for key in ("n", "y", "x", "z") if (found := made.get(key))]
    ordered = order_sends([SendDelete(key) for key in "lekd"] + sends, remote)
    assert "; ".join(map(send_text, ordered)) == (
        "send n:new/; delete l; send x:l/; send y:@x/f=1; send z:d=1; delete k; delete e; delete d"
    )


def test_sends_of_a_ring_all_go():
    ring = tree("a:@b/a/ b:@a/b/")
    sends = [SendDelete("a"), SendDelete("b")]
    assert len(order_sends(sends, ring)) == 2
    assert len(order_sends([Send(Entry("a", "b", "a", Kind.DIR)), Send(Entry("b", "a", "b", Kind.DIR))], ring)) == 2
