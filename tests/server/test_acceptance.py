"""How a change is applied: a table by the steps of the protocol notes, section 4, and any interleaving by Hypothesis."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.protocol.changes import ClientChange
from ssyncd.protocol.jsondiff import apply, diff, equal
from ssyncd.server.acceptance import Accepted, Object, accept, relayable

LIMIT = 1000


def known(*versions: dict[str, Any] | None) -> Object:
    """An object with these versions, the first being 1; None is a removal."""
    held = dict(enumerate(versions, 1))
    return Object(len(versions), bool(versions) and versions[-1] is not None, held.get)


def gone(*versions: dict[str, Any] | None) -> Object:
    """As `known`, but only the last version is still held."""
    return Object(len(versions), versions[-1] is not None, {len(versions): versions[-1]}.get)


def modify(v: Any = None, sv: int | None = None, d: Any = None) -> ClientChange:
    return ClientChange("k", "M", "c", sv, v, d)


def remove(sv: int | None = None) -> ClientChange:
    return ClientChange("k", "-", "c", sv)


def put(**members: Any) -> dict[str, Any]:
    return {name: {"o": "+", "v": value} for name, value in members.items()}


def text(delta: str) -> dict[str, Any]:
    return {"t": {"o": "d", "v": delta}}


NEVER = known()
ONE = known({"t": "abc", "n": 1})
EDITED = known({"t": "abc", "n": 1}, {"t": "xabc", "n": 1})
REMOVED = known({"t": "abc"}, None)
N_IS_3 = {"n": {"o": "r", "v": 3}}
N_IS_9 = {"n": {"o": "r", "v": 9}}
NODES_D = {"version": 1, "data": {"t": "abc", "n": 1}}

ACCEPTED = [
    # what, the object, the change, data, version, source, diff
    ("4 creates", NEVER, modify(put(n=1)), {"n": 1}, 1, None, None),
    ("4 creates from odd ops", NEVER, modify({"n": {"o": "r", "v": 1}}), {"n": 1}, 1, None, None),
    ("4 creates an empty object", NEVER, modify({}), {}, 1, None, None),
    ("4 creates from d", NEVER, modify(None, None, {"n": 1}), {"n": 1}, 1, None, None),
    ("4 creates again, counting on", REMOVED, modify(put(n=2)), {"n": 2}, 3, None, None),
    ("4 edit of a removed one with d", REMOVED, modify(text("=3\t+d"), 1, {"t": "abcd"}), {"t": "abcd"}, 3, None, None),
    ("3 removes", ONE, remove(), None, 2, 1, None),
    ("3 removes the version it means", EDITED, remove(2), None, 3, 2, None),
    ("5 relays what fits", ONE, modify(put(m=2), 1), {"t": "abc", "n": 1, "m": 2}, 2, 1, put(m=2)),
    ("5 a text", ONE, modify(text("=3\t+d"), 1), {"t": "abcd", "n": 1}, 2, 1, text("=3\t+d")),
    (
        "10 an increment goes out as a replacement",
        ONE,
        modify({"n": {"o": "I", "v": 4}}, 1),
        {"t": "abc", "n": 5},
        2,
        1,
        {"n": {"o": "r", "v": 5}},
    ),
    (
        "10 removing what is not there is not passed on",
        ONE,
        modify({"n": {"o": "-"}, "zz": {"o": "-"}}, 1),
        {"t": "abc"},
        2,
        1,
        {"n": {"o": "-"}},
    ),
    ("6 another member", EDITED, modify(put(n=5), 1), {"t": "xabc", "n": 5}, 3, 2, {"n": {"o": "r", "v": 5}}),
    ("6 the same text elsewhere", EDITED, modify(text("=3\t+d"), 1), {"t": "xabcd", "n": 1}, 3, 2, text("=4\t+d")),
    (
        "7 two made one key",
        ONE,
        modify(put(t="abc", n=2, m=3)),
        {"t": "abc", "n": 2, "m": 3},
        2,
        1,
        {"n": {"o": "r", "v": 2}, "m": {"o": "+", "v": 3}},
    ),
    ("8 d alone", EDITED, modify(None, 1, {"t": "abc", "n": 7}), {"t": "xabc", "n": 7}, 3, 2, {"n": {"o": "r", "v": 7}}),
    ("8 d when v does not fit", ONE, modify(text("=9"), 1, {"t": "z"}), {"t": "z"}, 2, 1, diff({"t": "abc", "n": 1}, {"t": "z"})),
    ("8 v before d", ONE, modify(put(m=1), 1, {"t": "z"}), {"t": "abc", "n": 1, "m": 1}, 2, 1, put(m=1)),
    ("8 d when sv is not held", gone({"n": 1}, {"n": 2}), modify(put(n=3), 1, {"n": 3}), {"n": 3}, 3, 2, N_IS_3),
    ("8 d when sv is from the future", ONE, modify(put(n=3), 9, {"n": 3}), {"n": 3}, 2, 1, diff({"t": "abc", "n": 1}, {"n": 3})),
    ("8 Node's wrapped d", gone({}, {"t": "abc", "n": 1}), modify(put(n=9), 1, NODES_D), {"t": "abc", "n": 9}, 3, 2, N_IS_9),
    ("4 Node's wrapped d on a removed one", REMOVED, modify(text("=3\t+d"), 1, NODES_D), {"t": "abcd", "n": 1}, 3, None, None),
]  # fmt: skip

REFUSED = [
    ("3 removing what never was", NEVER, remove(), 412),
    ("3 removing what is gone", REMOVED, remove(1), 412),
    ("3 removing an older version", EDITED, remove(1), 405),
    ("3 removing a future version", ONE, remove(2), 405),
    ("4 editing what never was", NEVER, modify(put(n=1), 3), 404),
    ("4 editing what is gone", REMOVED, modify(text("=3\t+d"), 1), 404),
    ("4 creating with a diff that needs something", NEVER, modify(text("=3\t+d")), 440),
    ("5 a delta of another length", ONE, modify(text("=4\t+d"), 1), 440),
    ("5 an op nobody knows", ONE, modify({"n": {"o": "?", "v": 1}}, 1), 440),
    ("5 an op of the wrong type", ONE, modify({"n": {"o": "d", "v": "=1"}}, 1), 440),
    ("5 an op without a value", ONE, modify({"n": {"o": "r"}}, 1), 440),
    ("5 an op that is none", ONE, modify({"n": None}, 1), 440),
    ("6 sv from the future", ONE, modify(put(n=5), 2), 405),
    ("6 sv no longer held", gone({"n": 1}, {"n": 2}), modify(put(n=5), 1), 405),
    ("6 a text edit of what became a number", known({"t": "abc"}, {"t": 1}), modify(text("=3\t+d"), 1), 440),
    ("7 two made the same", ONE, modify(put(t="abc", n=1)), 412),
    ("9 nothing changes", ONE, modify(put(n=1), 1), 412),
    ("9 nothing changes, by number", ONE, modify({"n": {"o": "r", "v": 1.0}}, 1), 412),
    ("9 an empty diff", ONE, modify({}, 1), 412),
    ("9 too large", ONE, modify(put(x="x" * LIMIT), 1), 413),
    ("9 created too large", NEVER, modify(put(x="x" * LIMIT)), 413),
]


@pytest.mark.parametrize(("what", "before", "change", "data", "version", "source", "patch"), ACCEPTED)
def test_accepted(
    what: str, before: Object, change: ClientChange, data: Any, version: int, source: Any, patch: Any
) -> None:
    result = accept(change, before, LIMIT)
    assert isinstance(result, Accepted), what
    assert (result.data, result.version, result.source, result.diff) == (data, version, source, patch)
    if source is not None and data is not None:
        assert apply(result.diff or {}, before.data_of(before.version) or {}) == data


@pytest.mark.parametrize(("what", "before", "change", "code"), REFUSED)
def test_refused(what: str, before: Object, change: ClientChange, code: int) -> None:
    assert accept(change, before, LIMIT) == code, what


def test_true_is_not_one() -> None:
    result = accept(modify({"n": {"o": "r", "v": True}}, 1), ONE, LIMIT)
    assert isinstance(result, Accepted)


@pytest.mark.parametrize("delta", ["=0\t=3\t+x", "=3\t-0\t+x", "=3\t+%ED%A0%BD%ED%B8%80", "=3\t+x\t", "\t=3\t+x"])
def test_a_delta_old_clients_stumble_over_is_made_anew(delta: str) -> None:
    assert not relayable(text(delta), {"t": "abc"})


@pytest.mark.parametrize("delta", ["=3\t+x", "+a\t=3", "-1\t=10\t+0", "=2\t+%F0%9F%98%80\t=1", "+-0", "-3\t+=0"])
def test_a_clean_delta_is_passed_on_as_it_is(delta: str) -> None:
    assert relayable(text(delta), {"t": "abc"})


def test_a_nested_diff_is_looked_into() -> None:
    inner = {"o": "O", "v": {"n": {"o": "I", "v": 1}}}
    assert not relayable({"m": inner}, {"m": {"n": 1}})
    assert relayable({"m": {"o": "O", "v": {"n": {"o": "r", "v": 1}}}}, {"m": {"n": 1}})


# Any interleaving

VALUES = st.one_of(
    st.integers(0, 3), st.booleans(), st.text("ab😀", max_size=5), st.lists(st.integers(0, 2), max_size=2)
)
OBJECTS = st.dictionaries(st.sampled_from("xyz"), st.one_of(VALUES, st.dictionaries(st.sampled_from("pq"), VALUES)))


class Replica:
    """A client that keeps one change on its way and rebases nothing: it takes what the server says."""

    def __init__(self) -> None:
        self.version = 0
        self.data: dict[str, Any] | None = None


@pytest.mark.slow
@given(st.data())
def test_any_interleaving_of_clients_converges(data: st.DataObject) -> None:
    """Clients edit whatever version they saw last, however old; all who apply the log's diffs end with the server's object."""
    versions: list[dict[str, Any] | None] = []
    log: list[Accepted] = []
    replicas = [Replica() for _ in range(3)]
    for _ in range(data.draw(st.integers(1, 12))):
        replica = data.draw(st.sampled_from(replicas))
        for entry in log[replica.version : data.draw(st.integers(replica.version, len(log)))]:
            follow(replica, entry)
        change = data.draw(changes(replica))
        result = accept(change, known(*versions), 10_000)
        if isinstance(result, Accepted):
            assert result.version == len(versions) + 1
            versions.append(None if result.data is None else dict(result.data))
            log.append(result)
    for replica in replicas:
        for entry in log[replica.version :]:
            follow(replica, entry)
        assert equal(replica.data, versions[-1] if versions else None)


def follow(replica: Replica, entry: Accepted) -> None:
    if entry.data is None:
        replica.data = None
    elif entry.source is None:
        replica.data = dict(entry.data)
    else:
        assert entry.source == replica.version
        replica.data = apply(entry.diff or {}, replica.data or {})
    replica.version = entry.version


@st.composite
def changes(draw: st.DrawFn, replica: Replica) -> ClientChange:
    if replica.data is None:
        return modify(put(**draw(OBJECTS)))
    if draw(st.integers(0, 5)) == 0:
        return remove(draw(st.sampled_from([None, replica.version])))
    wanted = draw(OBJECTS)
    whole = draw(st.sampled_from([None, wanted]))
    return modify(diff(replica.data, wanted), replica.version, whole)
