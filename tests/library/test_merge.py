"""Two edits of one object, as one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.library.merge import merge
from ssyncd.protocol.jsondiff import equal

SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab😀", max_size=6)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("xyz"), inner), max_leaves=6
)
OBJECTS = st.none() | st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "merged"),
    [
        pytest.param({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 2}, id="different members"),
        pytest.param({"a": 1}, {"a": 2}, {"a": 3}, {"a": 2}, id="one number: mine"),
        pytest.param({"a": "hello"}, {"a": "oh hello"}, {"a": "hello!"}, {"a": "oh hello!"}, id="texts"),
        pytest.param({"a": "x😀y"}, {"a": "x😀y1"}, {"a": "0x😀y"}, {"a": "0x😀y1"}, id="texts beyond the BMP"),
        pytest.param({"a": 1}, {}, {"a": 2}, {"a": 2}, id="an edit beats a removal"),
        pytest.param({"a": 1}, {"a": 2}, {}, {"a": 2}, id="a removal does not beat an edit"),
        pytest.param({"a": 1, "b": 1}, {"b": 1}, {"a": 1, "b": 2}, {"b": 2}, id="a removal and an edit elsewhere"),
        pytest.param({"a": {"x": 1}}, {"a": {"x": 1, "y": 2}}, {"a": {"x": 3}}, {"a": {"x": 3, "y": 2}}, id="inside"),
        pytest.param({"a": 1}, None, {"a": 2}, {"a": 2}, id="an edit beats a deletion"),
        pytest.param({"a": 1}, {"a": 2}, None, {"a": 2}, id="a deletion does not beat an edit"),
        pytest.param({"a": 1}, {"a": 1}, None, None, id="their deletion"),
        pytest.param({"a": 1}, None, {"a": 1}, None, id="my deletion"),
        pytest.param(None, {"a": 1, "x": 1}, {"b": 2, "x": 2}, {"b": 2, "x": 1, "a": 1}, id="both created"),
        pytest.param({"a": [1, 2]}, {"a": [1, 2, 3]}, {"a": [0, 1, 2]}, {"a": [0, 1, 2, 3]}, id="lists by elements"),
        pytest.param({"a": []}, {"a": ["me"]}, {"a": ["them"]}, {"a": ["them", "me"]}, id="both added to a list"),
        pytest.param({"a": [1]}, {"a": [2]}, {"a": [3]}, {"a": [2]}, id="one element: mine"),
        pytest.param({"a": 1}, {"a": True}, {"a": 1, "b": 0}, {"a": True, "b": 0}, id="true is not 1"),
    ],
)
def test_two_edits_become_one(base, mine, theirs, merged):
    assert equal(merge(base, mine, theirs), merged)


@given(OBJECTS, OBJECTS)
def test_who_changed_nothing_takes_what_the_other_has(base, other):
    assert equal(merge(base, base, other), other)
    assert equal(merge(base, other, base), other)


@given(OBJECTS, OBJECTS)
def test_the_same_edit_twice_is_one(base, other):
    assert equal(merge(base, other, other), other)


@given(OBJECTS, OBJECTS, OBJECTS)
def test_whatever_was_edited_a_merge_is_found(base, mine, theirs):
    merge(base, mine, theirs)


def test_what_is_nested_too_deeply_to_merge_stays_ours():
    deep: dict = {}
    for _ in range(3000):
        deep = {"a": deep}
    assert merge({}, {"b": deep}, {"b": {"a": deep}})["b"] is deep
