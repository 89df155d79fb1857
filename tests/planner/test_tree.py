from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.planner.tree import Content, Entry, Kind, Tree, birth_key
from tests.trees import entry, paths, tree


def test_a_new_tree_is_empty():
    empty = Tree()
    assert (len(empty), list(empty), empty.at("", "a"), empty.children(""), empty.find("")) == (0, [], (), [], "")
    assert empty.find("a") is None
    assert empty.remove("a") is None
    assert empty.path("a") is None


def test_put_remove_and_look_up():
    docs = tree("d:docs/ f:docs/a=1 g:b=2*")
    assert docs.at("", "docs") == ("d",)
    assert docs.children("d") == ["f"]
    assert docs.path("f") == "docs/a"
    assert docs.find("docs/a") == "f"
    assert docs.below("") == ["d", "g", "f"]
    assert docs.remove("f") == entry("f:@d/a=1")
    assert docs.children("d") == []
    assert docs.find("docs/a") is None


def test_a_moved_directory_takes_what_is_inside_along():
    docs = tree("d:docs/ e:docs/e/ f:docs/e/a=1")
    docs.put(entry("d:papers/"))
    assert docs.path("f") == "papers/e/a"
    assert docs.at("", "docs") == ()


def test_several_entries_may_claim_one_place():
    hurt = tree("f:a=1 g:a=2 h:a=3")
    assert hurt.at("", "a") == ("f", "g", "h")
    assert hurt.children("") == ["f", "g", "h"]
    assert hurt.find("a") is None
    hurt.remove("g")
    assert hurt.at("", "a") == ("f", "h")
    hurt.remove("f")
    assert hurt.find("a") == "h"
    hurt.remove("h")
    assert hurt.children("") == []


def test_thousands_of_entries_at_one_place_stay_cheap():
    crowd = Tree()
    for number in range(50_000):
        crowd.put(Entry(str(number), "", "a", Kind.DIR))
    for number in range(50_000):
        crowd.remove(str(number))
    assert crowd.children("") == []


@pytest.mark.parametrize("text", ["f:@f/a/", "f:@g/a/ g:@f/b/", "f:@gone/a=1"])
def test_what_no_way_leads_to_has_no_path(text):
    assert tree(text).path("f") is None


def test_rekey_keeps_everything_but_the_key():
    docs = tree("d:docs/ f:docs/a=1 e:docs/e/")
    docs.rekey("d", "x")
    assert "d" not in docs
    assert paths(docs) == paths(tree("d:docs/ f:docs/a=1 e:docs/e/"))
    assert docs.children("x") == ["f", "e"]
    docs.rekey("gone", "y")
    assert "y" not in docs


def test_deep_trees_do_not_overflow_the_stack():
    deep = Tree()
    for number in range(5_000):
        deep.put(Entry(str(number), str(number - 1) if number else "", "d", Kind.DIR))
    assert len(deep.below("")) == 5_000
    path = deep.path("4999")
    assert path is not None
    assert deep.find(path) == "4999"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("f:a=1", "f:a=1", True),
        ("f:a=1", "f:a=2", False),
        ("f:a=1", "f:b=1", False),
        ("f:a=1", "f:a=1*", False),
        ("f:a=1", "f:a=?", False),
        ("f:a=?", "f:a=?", False),
        ("f:a=1", "f:a/", False),
        ("f:a/", "f:a/", True),
        ("f:a/", "f:@d/a/", False),
        ("f:a>x", "f:a>x", True),
        ("f:a>x", "f:a>y", False),
        ("f:a=?", "f:a/", False),
    ],
)
def test_entries_are_the_same_if_every_facet_is(one, other, same):
    assert entry(one).same(entry(other)) is same
    assert entry(other).same(entry(one)) is same


def test_another_time_or_device_alone_makes_no_difference():
    one = Entry("f", "", "a", Kind.FILE, Content("1", 1, 5, "pc"))
    assert one.same(Entry("f", "", "a", Kind.FILE, Content("1", 1, 9, "laptop")))
    assert not one.same(None)


def test_the_birth_key_depends_on_kind_parent_and_name():
    births = [("", "a", Kind.FILE), ("", "a", Kind.DIR), ("a", "", Kind.FILE), ("", "b", Kind.FILE)]
    keys = {birth_key(*birth) for birth in births}
    assert len(keys) == 4
    assert all(len(key) == 32 and set(key) <= set("0123456789abcdef") for key in keys)
    # Written down once: another answer would make two machines' new files two objects.
    assert birth_key("", "a", Kind.FILE) == "ff1349b91d27556f128ff7a87c66519b"


def test_keys_go_by_directory():
    """What an index brings one after the other is in one directory, and directories come first."""
    births = [(parent, str(name), Kind.FILE) for name in range(20) for parent in ("", "a", "b")]
    keys = sorted((birth_key(*birth), birth[0]) for birth in births)
    assert len(list(groupby(keys, lambda one: one[1]))) == 3
    assert birth_key("a", "d", Kind.DIR) < keys[0][0]


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", *"abcdef"]), st.sampled_from("xy"), st.booleans())
    )
)
def test_the_index_of_places_always_agrees_with_the_entries(changes):
    made = Tree()
    for key, parent, name, keep in changes:
        if keep:
            made.put(Entry(key, parent, name, Kind.DIR))
        else:
            made.remove(key)
    agrees(made)
    for key, *_ in changes:
        made.remove(key)
    assert len(made) == 0
    assert made.children("") == []


def agrees(made):
    for parent in ["", *"abcdef"]:
        here = [found for key in made if (found := made.get(key)) and found.parent == parent]
        assert sorted(made.children(parent)) == sorted(found.key for found in here)
        for name in "xy":
            assert sorted(made.at(parent, name)) == sorted(found.key for found in here if found.name == name)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdef"), st.sampled_from(["", *"abcdef"]), st.sampled_from("xyz"), st.sampled_from(Kind)
        )
    )
)
def test_misplaced_is_what_shares_its_place_or_has_no_way_to_it(entries):
    made = Tree()
    for key, parent, name, kind in entries:
        made.put(Entry(key, parent, name, kind))

    def has_place(found):
        if made.at(found.parent, found.name) != (found.key,):
            return False
        if found.kind is Kind.DIR:
            return made.path(found.key) is not None
        return found.parent == "" or found.parent in made

    misplaced = [found.key for found in made.misplaced()]
    assert sorted(misplaced) == sorted(key for key in made if not has_place(made.get(key)))
