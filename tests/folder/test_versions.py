"""Where what was deleted would be, and what may be replaced by an earlier version."""

import pytest

from ssyncd.errors import UsageError
from ssyncd.folder.restore import _sent, _unchanged
from ssyncd.folder.versions import paths_in
from ssyncd.planner.tree import Entry, Kind
from tests.simulation.world import World


def entry(key: str, parent: str, kind: Kind = Kind.DIR) -> Entry:
    return Entry(key, parent, key.upper(), kind)


@pytest.mark.parametrize(
    ("removed", "live", "paths"),
    [
        ([("a", "")], {"": ""}, {"a": "A"}),
        ([("a", "d")], {"d": "x/y"}, {"a": "x/y/A"}),
        ([("c", "b"), ("b", "a"), ("a", "d")], {"d": "x"}, {"a": "x/A", "b": "x/A/B", "c": "x/A/B/C"}),
        ([("a", "nowhere"), ("b", "a")], {"": ""}, {}),
        ([("a", "b"), ("b", "a"), ("c", "a"), ("d", "")], {"": ""}, {"d": "D"}),
        ([("a", "a")], {"": ""}, {}),
    ],
    ids=["at the top", "in what is there", "in what went too", "in what is not known", "in a ring", "in itself"],
)
def test_the_place_of_what_was_deleted(
    removed: list[tuple[str, str]], live: dict[str, str], paths: dict[str, str]
) -> None:
    assert paths_in({key: entry(key, parent) for key, parent in removed}, live) == paths


def test_what_was_edited_and_not_sent_is_not_replaced(world: World) -> None:
    one, _ = world.machines
    one.user.write("f", b"1")
    world.settle()
    record = one.engine.record
    key = record.local.find("f")
    assert key
    assert _sent(one.engine, "f") == record.stats.get(key)
    assert _unchanged(one.engine, {key: 1, "e" * 32: 1}).keys() == {key}
    assert not _unchanged(one.engine, {key: 2})
    assert _sent(one.engine, "nothing") is None
    one.link.reachable = False
    one.link.cut()
    one.user.write("f", b"22")
    while record.local.get(key) is record.remote.get(key):
        world.go_on(one)
        world.time.now += 0.01
    for refused in (lambda: _sent(one.engine, "f"), lambda: _unchanged(one.engine, {key: 1})):
        with pytest.raises(UsageError, match="not in sync"):
            refused()
