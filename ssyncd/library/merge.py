"""Two edits of one object, made from the same base, as one.

The table is that of jsondiff's transform (section 5 of the protocol notes): edits of different members both stay, texts merge
as text, an edit beats a removal, and where both set one value ours wins. Beyond it, as nothing is sent yet: lists merge by
elements, and objects that both created by members. Whatever comes out is sent as a diff against the server's version, so a
server that decides otherwise is right in the end.
"""

from typing import Any

from merge3 import Merge3

from ssyncd.errors import ApplyError
from ssyncd.library.values import Data
from ssyncd.protocol import delta
from ssyncd.protocol.encoding import dumps_stored
from ssyncd.protocol.jsondiff import equal

# What difflib can compare in a moment; longer lists are replaced whole.
_LONGEST_LIST = 2000
# No JSON value: the member is not there.
_ABSENT: Any = object()


def merge(base: Data, mine: Data, theirs: Data) -> Data:
    """The object with both edits. Shares parts with what is passed in."""
    if theirs is None:
        return None if same(base, mine) else mine
    if mine is None:
        return None if same(base, theirs) else theirs
    try:
        return _members(base or {}, mine, theirs)
    except RecursionError:
        return mine


def same(one: Data, other: Data) -> bool:
    try:
        return equal(one, other)
    except RecursionError:
        return False


def _members(base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    merged = {}
    for name in [*theirs, *(name for name in mine if name not in theirs)]:
        value = _value(base.get(name, _ABSENT), mine.get(name, _ABSENT), theirs.get(name, _ABSENT))
        if value is not _ABSENT:
            merged[name] = value
    return merged


def _value(base: Any, mine: Any, theirs: Any) -> Any:
    if equal(base, mine) or equal(mine, theirs):
        return theirs
    if equal(base, theirs) or theirs is _ABSENT:
        return mine
    if mine is _ABSENT:
        return theirs
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return _members(base if isinstance(base, dict) else {}, mine, theirs)
    if type(base) is type(mine) is type(theirs):
        if isinstance(base, str):
            return _text(base, mine, theirs)
        if isinstance(base, list):
            return _list(base, mine, theirs)
    return mine


def _text(base: str, mine: str, theirs: str) -> str:
    try:
        moved = delta.transform(delta.make(base, mine), delta.make(base, theirs), base)
        return theirs if moved is None else delta.apply(moved, theirs)
    except ApplyError:
        return mine


def _list(base: list[Any], mine: list[Any], theirs: list[Any]) -> list[Any]:
    if max(map(len, (base, mine, theirs))) > _LONGEST_LIST:
        return mine
    rows = {dumps_stored(value): value for value in (*base, *theirs, *mine)}
    before, ours, others = ([dumps_stored(value) for value in side] for side in (base, mine, theirs))
    merged: list[bytes] = []
    for group in Merge3(before, ours, others).merge_groups():
        if group[0] == "conflict":
            # Both put something into one place: both stay, what the server had first. Otherwise ours, as for any value.
            merged += group[2] if group[1] else [*group[3], *group[2]]
        else:
            merged += group[1]
    return [rows[row] for row in merged]
