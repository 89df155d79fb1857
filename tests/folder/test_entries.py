from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ssyncd.content.body import Body
from ssyncd.errors import ContentError
from ssyncd.folder.entries import change, creation, is_data_of, to_data, to_entry
from ssyncd.planner.tree import Content, Entry, Kind
from ssyncd.protocol import jsondiff

KEY, PARENT = "0a" * 16, "0b" * 16
CONTENT = Content("ab" * 32, 3, 5, "laptop")
OTHER = Content("cd" * 32, 4, 6, "desk")
FILE = Entry(KEY, PARENT, "a", Kind.FILE, CONTENT)
GOOD: dict[str, Any] = to_data(FILE)

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
contents = st.builds(
    Content, st.sampled_from(["ab" * 32, "cd" * 32]), st.integers(0, 99), st.integers(0, 99), st.just("x")
)
entries = st.one_of(
    st.builds(lambda *facets: Entry(KEY, PARENT, *facets), names, st.just(Kind.FILE), contents, st.booleans()),
    st.builds(lambda name: Entry(KEY, "", name, Kind.DIR), names),
    st.builds(lambda name, target: Entry(KEY, PARENT, name, Kind.LINK, target=target), names, names),
).filter(lambda entry: entry.name not in (".", "..", ".ssyncd"))


@given(entries)
def test_an_entry_survives_the_wire(entry: Entry) -> None:
    assert to_entry(KEY, to_data(entry)) == entry
    body = Body(b"\0abc")
    assert to_entry(KEY, jsondiff.apply(creation(entry, body), {})) == entry


def test_a_change_replaces_whole_members_and_only_those_that_differ() -> None:
    renamed = Entry(KEY, PARENT, "b", Kind.FILE, CONTENT)
    assert change(FILE, renamed, None) == {"name": {"o": "r", "v": "b"}}
    edited = change(FILE, Entry(KEY, PARENT, "a", Kind.FILE, OTHER, True), Body(b"\0data"))
    assert {member: op["o"] for member, op in edited.items()} == {"content": "r", "exec": "r"}
    assert edited["content"]["v"]["hash"] == OTHER.hash


ODD = st.sampled_from([None, "", "x", True, False, 1, 0, 3.0, 5.0, "3", "ab" * 32, "file", "dir", PARENT, [], {}])
MEMBERS = st.sampled_from([*GOOD, *(("content", name) for name in GOOD["content"]), "another"])


@example({"exec": 1}, FILE._replace(exec=True))
@given(st.dictionaries(MEMBERS, ODD, max_size=2), st.sampled_from([FILE, FILE._replace(exec=True, content=OTHER)]))
def test_what_is_the_data_of_a_file_makes_just_that_file(odd: dict[Any, Any], entry: Entry) -> None:
    data = to_data(entry)
    for member, value in odd.items():
        if isinstance(member, str):
            data[member] = value
        elif isinstance(data["content"], dict):
            data["content"][member[1]] = value
    made = None
    with suppress(ContentError):
        made = to_entry(KEY, data)
    for other in (FILE, entry):
        assert is_data_of(other, data) == (made == other)


@pytest.mark.parametrize("entry", [FILE._replace(content=None), Entry(KEY, PARENT, "a", Kind.DIR)])
def test_of_what_is_no_file_that_was_read_nothing_is_the_data(entry: Entry) -> None:
    assert not is_data_of(entry, to_data(entry))


def test_another_time_alone_is_no_change() -> None:
    touched = Entry(KEY, PARENT, "a", Kind.FILE, Content(CONTENT.hash, 3, 99, "desk"))
    assert change(FILE, touched, None) == {}


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("parent", None),
        ("parent", "../x"),
        ("parent", "0B" * 16),
        ("name", ""),
        ("name", "."),
        ("name", ".."),
        ("name", "a/b"),
        ("name", "a\0b"),
        ("name", "x" * 256),
        ("name", "lone \ud800"),
        ("name", 5),
        ("kind", "device"),
        ("kind", None),
        ("content", None),
        ("content", {"hash": "../../etc", "size": 1, "mtime": 1, "by": "x"}),
        ("content", {"hash": "ab" * 32, "size": -1, "mtime": 1, "by": "x"}),
        ("content", {"hash": "ab" * 32, "size": 1, "mtime": 1e300, "by": "x"}),
    ],
)
def test_hostile_data_is_no_entry(member: str, value: object) -> None:
    with pytest.raises(ContentError):
        to_entry(KEY, {**GOOD, member: value})


@pytest.mark.parametrize("target", [None, "", "a\0b", "x" * 4096, "\ud800"])
def test_a_link_needs_a_target_that_a_disk_takes(target: object) -> None:
    with pytest.raises(ContentError):
        to_entry(KEY, {"parent": "", "name": "l", "kind": "link", "target": target})


def test_our_own_directory_is_no_entry_at_the_top_only() -> None:
    with pytest.raises(ContentError):
        to_entry(KEY, {"parent": "", "name": ".ssyncd", "kind": "dir"})
    assert to_entry(KEY, {"parent": PARENT, "name": ".ssyncd", "kind": "dir"}).name == ".ssyncd"


def test_a_key_is_32_lower_hex_digits() -> None:
    for key in ("", "x" * 32, "0a" * 15, "0A" * 16):
        with pytest.raises(ContentError):
            to_entry(key, GOOD)
