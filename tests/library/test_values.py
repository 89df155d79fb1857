"""What may be sent, and what may not."""

import math

import pytest

from ssyncd.errors import UsageError
from ssyncd.library import values


def test_a_value_is_copied_in_plain_types():
    data = {"a": [1, (2, 3)], "b": {"c": None}, "d": 1.5, "e": True}
    found = values.checked(data)
    assert found == {"a": [1, [2, 3]], "b": {"c": None}, "d": 1.5, "e": True}
    data["a"].append(4)
    assert found["a"] == [1, [2, 3]]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([1], "list"),
        ({"a": {1: 2}}, "a: a member's name"),
        ({"a": [0, {"b": {1}}]}, r"a\[1\].b: a set"),
        ({"a": math.nan}, "a: nan"),
        ({"a": -math.inf}, "a: -inf"),
        ({"a": 2**63}, "64 bits"),
        ({"a": "\ud83d"}, "no Unicode"),
        ({"\ud83d": 1}, "no Unicode"),
        ({"a": b"x"}, "bytes"),
        ({"a": "x" * values.LARGEST}, "KiB"),
    ],
)
def test_what_cannot_be_sent_is_named(data, said):
    with pytest.raises(UsageError, match=said):
        values.checked(data)


def test_what_contains_itself_is_refused():
    data: dict = {}
    data["a"] = data
    with pytest.raises(UsageError, match="deeply"):
        values.checked(data)


def test_a_copy_shares_nothing():
    data = {"a": [{"b": 1}]}
    copy = values.copied(data)
    copy["a"][0]["b"] = 2
    assert data == {"a": [{"b": 1}]}
