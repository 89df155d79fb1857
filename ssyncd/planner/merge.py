"""Three-way merge of text by lines."""

from collections import Counter
from collections.abc import Sequence

from merge3 import Merge3

MAX_TEXT = 1024 * 1024
# What is left to compare once equal beginnings and ends are gone: difflib's time grows with the pairs of equal lines.
MAX_LINES = 10_000
MAX_PAIRS = 200_000


def merge_text(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """Both edits in one text, or None where that needs a person: they touch the same or neighbouring lines, or a side is no
    UTF-8 text, longer than MAX_TEXT, or too repetitive to compare in bounded time.

    Every line of the result is byte for byte a line of one of the three: line ends, a BOM and a missing last newline stay.
    """
    if ours == theirs or theirs == base:
        return ours if _is_text(ours) else None
    if not all(map(_is_text, (base, ours, theirs))):
        return None
    if ours == base:
        return theirs
    sides = [side.splitlines(keepends=True) for side in (base, ours, theirs)]
    start, end = _common_start(sides), 0
    sides = [side[start:] for side in sides]
    end = _common_start([side[::-1] for side in sides])
    head, tail = ours.splitlines(keepends=True)[:start], sides[0][len(sides[0]) - end :]
    middle = _merge_lines(*(side[: len(side) - end] for side in sides))
    return None if middle is None else b"".join((*head, *middle, *tail))


def _is_text(data: bytes) -> bool:
    if len(data) > MAX_TEXT or b"\0" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _common_start(sides: Sequence[Sequence[bytes]]) -> int:
    count = 0
    for first, second, third in zip(*sides, strict=False):
        if not first == second == third:
            break
        count += 1
    return count


def _merge_lines(base: list[bytes], ours: list[bytes], theirs: list[bytes]) -> list[bytes] | None:
    if _too_much(base, ours) or _too_much(base, theirs):
        return None
    merged: list[bytes] = []
    for group in Merge3(base, ours, theirs).merge_groups():
        if group[0] == "conflict":
            return None
        merged.extend(group[1])
    return merged


def _too_much(base: list[bytes], side: list[bytes]) -> bool:
    if max(len(base), len(side)) > MAX_LINES:
        return True
    counts = Counter(side)
    # difflib leaves out lines that make up more than a hundredth of a long text.
    popular = len(side) // 100 + 1 if len(side) >= 200 else len(side)
    return sum(counts[line] for line in base if counts[line] <= popular) > MAX_PAIRS
