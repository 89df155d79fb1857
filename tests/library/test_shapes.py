"""Dataclasses to JSON and back, and what does not fit."""

from dataclasses import dataclass, field
from typing import Any, Optional

import pytest

from ssyncd.errors import ShapeError, UsageError
from ssyncd.library.shapes import check_kind, from_json, to_json


@dataclass
class Leaf:
    word: str
    weight: float = 1.0


@dataclass
class Tree:
    name: str = ""
    count: int = 0
    on: bool = False
    leaf: Leaf | None = None
    leaves: list[Leaf] = field(default_factory=list)
    by_name: dict[str, Leaf] = field(default_factory=dict)
    below: list["Tree"] = field(default_factory=list)
    either: int | str = 0
    nothing: None = None
    anything: Any = None
    maybe: Optional[str] = None  # noqa: UP045 - the older spelling too


FULL = Tree(
    "oak", 3, True, Leaf("a"), [Leaf("b", 2.5)], {"x": Leaf("c")}, [Tree("small")], "text", None, [1, {"a": None}], "m"
)


def test_a_dataclass_comes_back_as_it_went():
    check_kind(Tree)
    data = to_json(FULL, Tree)
    assert data["leaves"] == [{"word": "b", "weight": 2.5}]
    assert from_json(data, Tree) == FULL


def test_what_comes_back_shares_nothing_with_the_data():
    data = to_json(FULL, Tree)
    from_json(data, Tree).anything.append(1)
    assert data["anything"] == [1, {"a": None}]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"name": 1}, "name: str wanted, the int 1 is there"),
        ({"count": "3"}, "count: int wanted, the str '3'"),
        ({"count": True}, "count: int wanted"),
        ({"count": 1.5}, "count: int wanted"),
        ({"count": None}, r"count: int wanted, nothing \(null\)"),
        ({"on": 1}, "on: bool wanted"),
        ({"leaf": {"weight": 1}}, r"leaf.word: is missing"),
        ({"leaf": {"word": 1}}, r"leaf.word: str wanted"),
        ({"leaf": 3}, "leaf: .*Leaf.* wanted"),
        ({"leaves": {}}, "leaves: .*list.* wanted"),
        ({"leaves": [{"word": "a"}, {"word": None}]}, r"leaves\[1\].word"),
        ({"by_name": {"x": {"word": []}}}, "by_name.x.word"),
        ({"below": [{"below": [{"count": []}]}]}, r"below\[0\].below\[0\].count"),
        ({"either": 1.5}, "either: int | str wanted"),
        ({"nothing": 0}, "nothing: .* wanted"),
    ],
)
def test_what_does_not_fit_is_named(data, said):
    with pytest.raises(ShapeError, match=said):
        from_json(data, Tree)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Tree(name=None), "name"),
        (Tree(leaves=[1]), r"leaves\[0\]"),
        (Tree(by_name={1: Leaf("a")}), "by_name"),
        (3, "value"),
    ],
)
def test_nothing_goes_out_that_is_not_what_it_was_declared(value, said):
    with pytest.raises(ShapeError, match=said):
        to_json(value, Tree)


def test_numbers_are_taken_as_json_has_them():
    assert from_json({"count": 3.0}, Tree).count == 3
    weight = from_json({"word": "a", "weight": 2}, Leaf).weight
    assert (weight, type(weight)) == (2.0, float)
    with pytest.raises(ShapeError):
        from_json({"word": "a", "weight": 10**400}, Leaf)


def test_members_unknown_or_absent_do_no_harm():
    assert from_json({"word": "a", "colour": "red"}, Leaf) == Leaf("a")


def test_a_dataclass_may_refuse_what_it_does_not_like():
    @dataclass
    class Picky:
        n: int

        def __post_init__(self):
            if self.n < 0:
                raise ValueError("negative")

    with pytest.raises(ShapeError, match="Picky does not take it: negative"):
        from_json({"n": -1}, Picky)


@dataclass
class WithSet:
    inner: list[set[int]]


@dataclass
class WithKeys:
    inner: dict[int, str]


@dataclass
class WithNonsense:
    inner: "NotThere"  # noqa: F821 - that is the point


@pytest.mark.parametrize("kind", [WithSet, WithKeys, WithNonsense])
def test_what_cannot_be_shared_is_said_before_anything_is_sent(kind):
    with pytest.raises(UsageError):
        check_kind(kind)
