"""Design section 4, row by row: what becomes of one entry."""

import pytest

from ssyncd.planner.reconcile import base_after, merge
from tests.trees import entry, entry_text

NOTHING = ""
ROWS = {
    # name: base, local, remote, what shall be (! with a conflict, ? while ours is unread)
    "never there": (NOTHING, NOTHING, NOTHING, "gone"),
    "unchanged": ("f:a=1", "f:a=1", "f:a=1", "f:a=1"),
    "edited there": ("f:a=1", "f:a=1", "f:a=2", "f:a=2"),
    "edited here": ("f:a=1", "f:a=2", "f:a=1", "f:a=2"),
    "the same edit on both sides": ("f:a=1", "f:a=2", "f:a=2", "f:a=2"),
    "different edits": ("f:a=1", "f:a=2", "f:a=3", "f:a=3!"),
    "made on both sides alike": (NOTHING, "f:a=1", "f:a=1", "f:a=1"),
    "made on both sides differently": (NOTHING, "f:a=1", "f:a=2", "f:a=2!"),
    "made here": (NOTHING, "f:a=1", NOTHING, "f:a=1"),
    "made here, unread": (NOTHING, "f:a=?", NOTHING, "f:a=??"),
    "made there": (NOTHING, NOTHING, "f:a=1", "f:a=1"),
    "deleted here": ("f:a=1", NOTHING, "f:a=1", "gone"),
    "deleted there": ("f:a=1", "f:a=1", NOTHING, "gone"),
    "deleted on both sides": ("f:a=1", NOTHING, NOTHING, "gone"),
    "deleted here, edited there": ("f:a=1", NOTHING, "f:a=2", "f:a=2"),
    "deleted here, moved there": ("f:a=1", NOTHING, "f:b=1", "f:b=1"),
    "deleted here, made executable there": ("f:a=1", NOTHING, "f:a=1*", "f:a=1*"),
    "edited here, deleted there": ("f:a=1", "f:a=2", NOTHING, "f:a=2"),
    "moved here, deleted there": ("f:a=1", "f:b=1", NOTHING, "f:b=1"),
    "made executable here, deleted there": ("f:a=1", "f:a=1*", NOTHING, "f:a=1*"),
    "written but not read here, deleted there": ("f:a=1", "f:a=?", NOTHING, "f:a=??"),
    "moved here": ("f:a=1", "f:b=1", "f:a=1", "f:b=1"),
    "moved there": ("f:a=1", "f:a=1", "f:b=1", "f:b=1"),
    "moved on both sides, elsewhere": ("f:a=1", "f:b=1", "f:c=1", "f:c=1"),
    "moved on both sides alike": ("f:a=1", "f:b=1", "f:b=1", "f:b=1"),
    "moved here, edited there": ("f:a=1", "f:b=1", "f:a=2", "f:b=2"),
    "edited here, moved there": ("f:a=1", "f:a=2", "f:b=1", "f:b=2"),
    "moved and edited on both sides": ("f:a=1", "f:b=2", "f:c=3", "f:c=3!"),
    "moved here, renamed there": ("f:a=1", "f:@d/a=1", "f:b=1", "f:@d/b=1"),
    "renamed here, moved there": ("f:a=1", "f:b=1", "f:@d/a=1", "f:@d/b=1"),
    "moved and renamed here, renamed there": ("f:a=1", "f:@d/b=1", "f:c=1", "f:@d/c=1"),
    "moved to different directories": ("f:a=1", "f:@d/a=1", "f:@e/a=1", "f:@e/a=1"),
    "executable here": ("f:a=1", "f:a=1*", "f:a=1", "f:a=1*"),
    "executable there": ("f:a=1", "f:a=1", "f:a=1*", "f:a=1*"),
    "not executable any more here, edited there": ("f:a=1*", "f:a=1", "f:a=2*", "f:a=2"),
    "executable differs, no base": (NOTHING, "f:a=1*", "f:a=1", "f:a=1"),
    "unread here, edited there": ("f:a=1", "f:a=?", "f:a=2", "f:a=2?"),
    "unread and moved here": ("f:a=1", "f:b=?", "f:a=1", "f:b=1?"),
    "unread here, no base": (NOTHING, "f:a=?", "f:a=1", "f:a=1?"),
    "link changed there": ("l:a>x", "l:a>x", "l:a>y", "l:a>y"),
    "link changed here": ("l:a>x", "l:a>y", "l:a>x", "l:a>y"),
    "link changed on both sides": ("l:a>x", "l:a>y", "l:a>z", "l:a>z!"),
    "directory renamed on both sides": ("d:a/", "d:b/", "d:c/", "d:c/"),
    "directory made on both sides": (NOTHING, "d:a/", "d:a/", "d:a/"),
    "another kind there": ("f:a=1", "f:a=1", "f:a/", "f:a/"),
    "another kind in the base": ("f:a/", "f:a=1", "f:a=2", "f:a=2!"),
    "another kind there, deleted here": ("f:a=1", NOTHING, "f:a/", "f:a/"),
}


def at(text):
    return entry(text) if text else None


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_facets_merge_by_the_table(row):
    base, local, remote, expected = row
    merged = merge(at(base), at(local), at(remote))
    shown = "gone" if merged.entry is None else entry_text(merged.entry)
    assert shown + "!" * merged.conflict + "?" * merged.unread == expected


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_what_both_sides_hold_after_a_merge_merges_to_itself(row):
    base, local, remote, _ = row
    merged = merge(at(base), at(local), at(remote))
    if not merged.unread:
        again = merge(at(base), merged.entry, merged.entry)
        assert (again.entry, again.conflict) == (merged.entry, False)


AFTER = {
    # name: base, here before the step, here after it, remote, base after
    "all of it agreed": ("f:a=1", "f:a=1", "f:b=2", "f:b=2", "f:b=2"),
    "new here": (NOTHING, NOTHING, "f:a=1", NOTHING, NOTHING),
    "made from the server's": (NOTHING, NOTHING, "f:a=1", "f:a=1", "f:a=1"),
    "made at a mended place": (NOTHING, NOTHING, "f:b=1", "f:a=1", "f:b=1"),
    "made again, which our user had deleted": ("f:a=1", NOTHING, "f:a=2", "f:a=2", "f:a=2"),
    "both have it, holding different things": (NOTHING, "f:a=1", "f:b=1", "f:b=2", NOTHING),
    "content came, our rename is still to be sent": ("f:a=1", "f:b=1", "f:b=2", "f:a=2", "f:a=2"),
    "name came, our new directory is still to be sent": ("f:a=1", "f:@d/a=1", "f:@d/b=1", "f:b=1", "f:b=1"),
    "place came, our edit is still to be sent": ("f:a=1", "f:a=2", "f:b=2", "f:b=1", "f:b=1"),
    "mended: put where neither side had it": ("f:a=1", "f:a=1", "f:c=1", "f:b=1", "f:c=1"),
    "mended again": ("f:c=1", "f:c=1", "f:d=1", "f:b=1", "f:d=1"),
    "our rename, mended and still to be sent": ("f:a=1", "f:b=1", "f:c=1", "f:a=1", "f:a=1"),
    "our rename undone": ("f:a=1", "f:b=1", "f:c=1", "f:c=1", "f:c=1"),
    "executable bit came": ("f:a=1", "f:a=2", "f:a=2*", "f:a=1*", "f:a=1*"),
    "content came, our executable bit is still to be sent": ("f:a=1", "f:a=1*", "f:a=2*", "f:a=2", "f:a=2"),
    "link came": ("l:a>x", "l:a>x", "l:a>y", "l:a>y", "l:a>y"),
    "removed as the server said": ("f:a=1", "f:a=1", NOTHING, NOTHING, NOTHING),
    "removed, the server still has it": ("f:a=1", "f:a=1", NOTHING, "f:a=1", "f:a=1"),
    "mended, the server has it no more": ("f:a=1", "f:a=2", "f:b=2", NOTHING, "f:b=1"),
    "our rename, mended, the server has it no more": ("f:a=1", "f:b=1", "f:c=1", NOTHING, "f:a=1"),
    "the base was another kind": ("f:a/", "f:a=2", "f:a=1", "f:a=1", "f:a=1"),
}


@pytest.mark.parametrize("row", AFTER.values(), ids=AFTER.keys())
def test_the_base_takes_what_was_really_done(row):
    base, before, local, remote, expected = row
    after = base_after(at(base), at(before), at(local), at(remote))
    assert (NOTHING if after is None else entry_text(after)) == expected
