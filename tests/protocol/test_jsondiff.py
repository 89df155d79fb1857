import contextlib
import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.errors import ApplyError
from ssyncd.protocol import jsondiff
from ssyncd.protocol.encoding import dumps, loads

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "jsondiff-assertions.json"

values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0]) | st.text("ab😀😁\n", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)
policies = st.sampled_from(
    [
        None,
        {name: {"otype": "list", "item": {"otype": "integer"}} for name in "abcd"},
        {name: {"otype": "list_dmp"} for name in "abcd"},
        {name: {"otype": "integer", "attributes": {"a": {"otype": "replace"}}} for name in "abcd"},
    ]
)


def vectors(kind):
    if not VECTORS.exists():
        return [
            pytest.param(None, None, None, marks=pytest.mark.skip(reason="the vectors of jsondiff are not at hand"))
        ]
    rows = json.loads(VECTORS.read_text())
    return [pytest.param(row[1], row[2], row[3], id=row[1]) for row in rows if row[0] == kind]


@pytest.mark.parametrize(("title", "arguments", "expected"), vectors("diff"))
def test_diffs_are_those_of_jsondiff(title, arguments, expected):
    made = jsondiff.diff(*arguments)
    assert {"o": "O", "v": made} == expected, title
    assert jsondiff.apply(made, arguments[0]) == arguments[1]


@pytest.mark.parametrize(("title", "arguments", "expected"), vectors("transform"))
def test_transforms_are_those_of_jsondiff(title, arguments, expected):
    source, ours, theirs, *policy = arguments
    mine = jsondiff.diff(source, ours, *policy)
    other = jsondiff.diff(source, theirs, *policy)
    moved = jsondiff.transform(mine, other, source)
    assert jsondiff.apply(moved, jsondiff.apply(other, source)) == expected, title


@given(objects, objects, policies)
def test_a_diff_makes_the_one_object_of_the_other(before, after, policy):
    kept = copy.deepcopy(before)
    made = jsondiff.diff(before, after, policy)
    assert jsondiff.equal(jsondiff.apply(made, before), after)
    assert jsondiff.equal(before, kept)
    assert (made == {}) == jsondiff.equal(before, after)


@given(objects, objects, objects)
def test_a_change_over_one_to_other_members_keeps_both(source, ours, theirs):
    theirs = {**source, **{f"their {name}": value for name, value in theirs.items()}}
    mine, other = jsondiff.diff(source, ours), jsondiff.diff(source, theirs)
    one = jsondiff.apply(jsondiff.transform(mine, other, source), theirs)
    two = jsondiff.apply(jsondiff.transform(other, mine, source), ours)
    assert jsondiff.equal(one, two)


@given(objects, objects, objects)
def test_a_change_over_another_can_be_applied_and_sent_or_is_refused(source, ours, theirs):
    mine, other = jsondiff.diff(source, ours), jsondiff.diff(source, theirs)
    try:
        merged = jsondiff.apply(jsondiff.transform(mine, other, source), theirs)
    except ApplyError:
        # Only a text or object edit of what became something else.
        kinds = {name: (mine[name]["o"], other[name]["o"]) for name in mine.keys() & other.keys()}
        assert any(kind in (("d", "r"), ("O", "r"), ("O", "O"), ("+", "+")) for kind in kinds.values())
        return
    assert jsondiff.equal(jsondiff.apply(jsondiff.diff(theirs, loads(dumps(merged))), theirs), merged)


@given(objects, objects)
def test_the_same_change_twice_leaves_no_more_than_texts_to_do(source, after):
    change = jsondiff.diff(source, after)
    again = jsondiff.transform(change, change, source)
    assert all(operation["o"] in ("d", "O", "r") for operation in again.values())


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ({"o": "+", "v": 1}, {"o": "+", "v": 1}, None),
        ({"o": "+", "v": 2}, {"o": "+", "v": 1}, {"o": "r", "v": 2}),
        ({"o": "+", "v": "ab"}, {"o": "+", "v": "a"}, {"o": "d", "v": "=1\t+b"}),
        ({"o": "-"}, {"o": "-"}, None),
        ({"o": "-"}, {"o": "r", "v": 1}, {"o": "-"}),
        ({"o": "d", "v": "=3\t+!"}, {"o": "-"}, {"o": "+", "v": "abc!"}),
        ({"o": "r", "v": 7}, {"o": "-"}, {"o": "+", "v": 7}),
        ({"o": "r", "v": 7}, {"o": "r", "v": 8}, {"o": "r", "v": 7}),
        ({"o": "d", "v": "=3\t+!"}, {"o": "d", "v": "+?\t=3"}, {"o": "d", "v": "=4\t+!"}),
        ({"o": "d", "v": "=3\t+!"}, {"o": "r", "v": 5}, {"o": "d", "v": "=3\t+!"}),
    ],
)
def test_the_table_of_transform(mine, theirs, expected):
    moved = jsondiff.transform({"m": mine, "other": {"o": "-"}}, {"m": theirs}, {"m": "abc", "other": 1})
    assert moved == {"other": {"o": "-"}} | ({} if expected is None else {"m": expected})


def test_numbers_compare_by_value_and_truth_is_no_number():
    assert jsondiff.diff({"a": 1}, {"a": 1.0}) == {}
    assert jsondiff.diff({"a": 1}, {"a": True}) == {"a": {"o": "r", "v": True}}
    assert jsondiff.diff({"a": [0]}, {"a": [False]}) == {"a": {"o": "r", "v": [False]}}


def test_removing_what_is_not_there_does_nothing():
    assert jsondiff.apply({"a": {"o": "-"}}, {"b": 1}) == {"b": 1}


def test_list_operations_come_in_the_order_of_their_numbers():
    change = {"l": {"o": "L", "v": {"10": {"o": "-"}, "9": {"o": "-"}, "2": {"o": "+", "v": "new"}}}}
    assert jsondiff.apply(change, {"l": list(range(12))}) == {"l": [0, 1, "new", 2, 3, 4, 5, 6, 7, 10, 11]}


@pytest.mark.parametrize(
    "hostile",
    [
        {"s": {"o": "x", "v": 1}},
        {"s": {"o": ["+"], "v": 1}},
        {"s": {"v": 1}},
        {"s": {"o": "+"}},
        {"s": {"o": "d"}},
        {"s": {"o": "d", "v": 5}},
        {"s": {"o": "d", "v": "=99"}},
        {"s": {"o": "O", "v": {}}},
        {"s": {"o": "I", "v": 1}},
        {"s": None},
        {"s": "+"},
        {"s": [1]},
        {"gone": {"o": "d", "v": "+a"}},
        {"n": {"o": "I", "v": True}},
        {"n": {"o": "I", "v": "1"}},
        {"n": {"o": "I", "v": 1e308}},
        {"t": {"o": "I", "v": 1}},
        {"o": {"o": "O", "v": "x"}},
        {"o": {"o": "O", "v": {"a": 1}}},
        {"l": {"o": "L", "v": {"x": {"o": "-"}}}},
        {"l": {"o": "L", "v": {"-1": {"o": "-"}}}},
        {"l": {"o": "L", "v": {"01": {"o": "-"}}}},
        {"l": {"o": "L", "v": {"7": {"o": "-"}}}},
        {"l": {"o": "L", "v": {"2": {"o": "-"}}}},
        {"l": {"o": "L", "v": {"0": 5}}},
        {"l": {"o": "L", "v": {"0": {"o": "+"}}}},
        {"l": {"o": "L", "v": []}},
        {"l": {"o": "dL", "v": "-4\t+nonsense"}},
        {"l": {"o": "dL", "v": "+x"}},
    ],
)
def test_a_diff_that_does_not_fit_is_an_apply_error(hostile):
    before = {"s": "abc", "n": 1e308, "t": True, "o": {"a": 1}, "l": [1, 2]}
    with pytest.raises(ApplyError):
        jsondiff.apply(hostile, before)
    assert before == {"s": "abc", "n": 1e308, "t": True, "o": {"a": 1}, "l": [1, 2]}


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["+", "-", "r", "O", "d", "I", "L", "dL", "=1", "a", "0"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["o", "v", "a", "b", "0"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from("ab"), junk), st.dictionaries(st.sampled_from("ab"), junk), objects)
def test_junk_never_raises_anything_else(one, other, source):
    for act in (lambda: jsondiff.apply(one, source), lambda: jsondiff.transform(one, other, source)):
        with contextlib.suppress(ApplyError):
            act()


def nested(depth, make):
    value = make(None)
    for _ in range(depth):
        value = make(value)
    return value


def test_what_is_nested_too_deeply_is_an_apply_error():
    deep = nested(5000, lambda inner: {"a": inner})
    other = nested(5000, lambda inner: {"a": inner})
    with pytest.raises(ApplyError):
        jsondiff.diff(deep, other)
    change = nested(5000, lambda inner: {"a": {"o": "O", "v": inner or {}}})
    with pytest.raises(ApplyError):
        jsondiff.apply(change, deep)
    with pytest.raises(ApplyError):
        jsondiff.transform(change, nested(5000, lambda inner: {"a": {"o": "O", "v": inner or {}}}), deep)


def test_a_long_list_diff_takes_no_longer_than_its_length():
    change = {"l": {"o": "L", "v": {str(at): {"o": "+", "v": at} for at in range(50_000)}}}
    assert jsondiff.apply(change, {"l": []}) == {"l": list(range(50_000))}
