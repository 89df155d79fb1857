import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.planner.merge import MAX_TEXT, merge_text


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        (b"a\nb\nc\n", b"A\nb\nc\n", b"a\nb\nC\n", b"A\nb\nC\n"),
        (b"a\nb\nc", b"A\nb\nc", b"a\nb\nC", b"A\nb\nC"),
        (b"a\nb\nc", b"A\nb\nc", b"a\nb\nc\n", b"A\nb\nc\n"),
        (b"a\r\nb\nc\r\n", b"A\r\nb\nc\r\n", b"a\r\nb\nC\n", b"A\r\nb\nC\n"),
        (b"a\rb\rc\r", b"A\rb\rc\r", b"a\rb\rC\r", b"A\rb\rC\r"),
        (b"\xef\xbb\xbfa\nb\nc\n", b"\xef\xbb\xbfA\nb\nc\n", b"\xef\xbb\xbfa\nb\nC\n", b"\xef\xbb\xbfA\nb\nC\n"),
        (b"a\nb\nc\n", b"a\nc\n", b"a\nb\nc\nd\n", b"a\nc\nd\n"),
        (b"a\nb\nc\n", b"x\na\nb\nc\n", b"a\nb\nc\ny\n", b"x\na\nb\nc\ny\n"),
        (b"a\nb\nc\n", b"A\nb\nc\n", b"A\nb\nC\n", b"A\nb\nC\n"),
        (b"a\n", b"a\nb\n", b"a\nb\n", b"a\nb\n"),
        (b"a\n", b"a\n", b"b\n", b"b\n"),
        (b"a\n", b"b\n", b"a\n", b"b\n"),
        (b"a\nb\nc\nd\n", b"c\nd\n", b"a\nb\nc\nD\n", b"c\nD\n"),
        ("é\nb\nü\n".encode(), "è\nb\nü\n".encode(), "é\nb\nù\n".encode(), "è\nb\nù\n".encode()),
    ],
)
def test_edits_apart_are_both_kept(base, ours, theirs, merged):
    assert merge_text(base, ours, theirs) == merged
    assert merge_text(base, theirs, ours) == merged


@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [
        (b"a\nb\n", b"A\nb\n", b"x\nb\n"),
        (b"a\nb\n", b"A\nb\n", b"a\nB\n"),
        (b"", b"x\n", b"y\n"),
        (b"a\n", b"", b"A\n"),
        (b"a\n", b"a\nx\n", b"a\ny\n"),
        (b"a\nb\nc\n", b"a\nb\nc\nd", b"A\nB\nC\n"),
        (b"one line", b"one long line", b"one short line"),
    ],
)
def test_edits_that_touch_are_left_to_a_person(base, ours, theirs):
    assert merge_text(base, ours, theirs) is None
    assert merge_text(base, theirs, ours) is None


@pytest.mark.parametrize(
    "odd", [b"a\0b\nb\nc\n", b"\xff\nb\nc\n", b"\xed\xa0\x80\nb\nc\n", b"x\n" * (MAX_TEXT // 2 + 1)]
)
def test_what_is_no_text_is_not_merged(odd):
    assert merge_text(b"a\nb\nc\n", odd, b"a\nb\nC\n") is None
    assert merge_text(b"a\nb\nc\n", b"a\nb\nC\n", odd) is None
    assert merge_text(odd, b"a\nb\nC\n", b"A\nb\nC\n") is None
    assert merge_text(odd, odd, odd) is None


LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\r\n", b"\n", b"d"]), max_size=12).map(b"".join)


@given(st.lists(st.integers(0, 9), min_size=8, max_size=60), st.data())
def test_disjoint_edits_keep_both(numbers, data):
    """Each line of the base is known by its number, so that an edit has just one place where it can be."""
    base = [b"%d: %d\n" % line for line in enumerate(numbers)]
    middle = len(base) // 2
    ours_at = data.draw(st.integers(0, middle - 2))
    theirs_at = data.draw(st.integers(middle, len(base) - 1))
    mine = data.draw(st.lists(st.sampled_from([b"mine 1\n", b"mine 2\r\n"]), max_size=3))
    other = data.draw(st.lists(st.sampled_from([b"theirs 1\n", b"theirs 2\n"]), max_size=3))
    ours = [*base[:ours_at], *mine, *base[ours_at + 1 :]]
    theirs = [*base[:theirs_at], *other, *base[theirs_at + 1 :]]
    both = [*base[:ours_at], *mine, *base[ours_at + 1 : theirs_at], *other, *base[theirs_at + 1 :]]
    assert merge_text(b"".join(base), b"".join(ours), b"".join(theirs)) == b"".join(both)


@given(LINES, LINES, LINES)
def test_no_line_appears_from_nowhere_and_new_lines_stay(base, ours, theirs):
    merged = merge_text(base, ours, theirs)
    assert merge_text(base, theirs, ours) == merged
    if merged is None:
        return
    sides = [set(side.splitlines(keepends=True)) for side in (base, ours, theirs)]
    lines = set(merged.splitlines(keepends=True))
    assert lines <= sides[0] | sides[1] | sides[2]
    assert (sides[1] | sides[2]) - sides[0] <= lines


@pytest.mark.parametrize("line", [b"%d\n", b"x\n", b"\n"])
def test_long_and_repetitive_texts_take_bounded_time(line):
    base = [line % n if b"%" in line else line for n in range(9000)]
    ours = [b"ours\n" if n % 300 == 10 else one for n, one in enumerate(base)]
    theirs = [b"theirs\n" if n % 300 == 110 else one for n, one in enumerate(base)]
    began = time.process_time()
    merged = merge_text(*(b"".join(side) for side in (base, ours, theirs)))
    assert time.process_time() - began < 5
    if b"%" in line:
        assert merged is not None
        assert merged.count(b"ours\n") == merged.count(b"theirs\n") == 30
