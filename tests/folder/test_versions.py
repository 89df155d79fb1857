"""Where what was deleted would be."""

import pytest

from ssyncd.folder.versions import paths_in
from ssyncd.planner.tree import Entry, Kind


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
