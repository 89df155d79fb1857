"""String deltas, the parameter of the operation `d`: `=N` keep, `-N` drop, `+TEXT` insert, tab-separated.

N counts UTF-16 code units, whatever Python counts. So a text with characters beyond the BMP is first mapped to its *units*, a
string with one character per UTF-16 unit, and everything is done on that. Source: diff-match-patch (toDelta, fromDelta), with
the surrogate rules of Simperium's clients: no delta of ours cuts a pair, a delta of theirs may.
"""

import re
from urllib.parse import quote, unquote_to_bytes

from diff_match_patch import diff_match_patch

from ssyncd.errors import ApplyError

Diffs = list[tuple[int, str]]

DELETE, EQUAL, INSERT = -1, 0, 1

# What JavaScript's encodeURI leaves alone, and the space; anything else escaped would not be unescaped by decodeURI.
_SAFE = "!~*'();/?:@&=+$,# "
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Only read, so one serves all threads. Its settings are those of every other implementation.
_DMP = diff_match_patch()


def make(before: str, after: str) -> str:
    """The delta from one text to another; "" only between two empty texts."""
    diffs = _DMP.diff_main(_to_units(before), _to_units(after))
    if len(diffs) > 2:
        _DMP.diff_cleanupEfficiency(diffs)
    return "\t".join(_token(kind, text) for kind, text in _whole_pairs(diffs) if text)


def apply(delta: str, text: str) -> str:
    """The text after the delta. ApplyError if its lengths do not add up to the text's or a token is none."""
    return _from_units("".join(piece for kind, piece in _parse(delta, _to_units(text)) if kind != DELETE))


def transform(first: str, second: str, text: str) -> str | None:
    """`first` as a delta over the text that `second` makes of `text`; None if it changes nothing there any more.

    Both were made from `text`. Patches are placed by context, as all implementations do; one that finds no place is dropped.
    """
    units = _to_units(text)
    patches = _DMP.patch_make(units, _parse(first, units))
    base = apply(second, text)
    patched = _from_units(_DMP.patch_apply(patches, _to_units(base))[0])
    if not _SURROGATE.search(base):
        # A patch may cut a pair of the text it was not made for.
        patched = _SURROGATE.sub("\ufffd", patched)
    return None if patched == base else make(base, patched)


def _token(kind: int, text: str) -> str:
    if kind == INSERT:
        return "+" + quote(_from_units(text).encode("utf-8", "surrogatepass"), _SAFE)
    return f"{'=' if kind == EQUAL else '-'}{len(text)}"


def _parse(delta: str, units: str) -> Diffs:
    diffs: Diffs = []
    at = 0
    for token in delta.split("\t"):
        if token[:1] == "+":
            diffs.append((INSERT, _inserted(token[1:])))
        elif token:
            size = _size(token)
            piece = units[at : at + size]
            at += size
            diffs.append((EQUAL if token[0] == "=" else DELETE, piece))
    if at != len(units):
        raise ApplyError(f"a delta for {at} units does not fit a text of {len(units)}")
    return diffs


def _size(token: str) -> int:
    digits = token[1:]
    # int() takes signs, blanks, underscores and other scripts' digits too. Twelve digits are beyond any text.
    if token[0] not in "=-" or not (digits.isascii() and digits.isdigit()) or len(digits) > 12:
        raise ApplyError(f"no delta token: {token[:40]!r}")
    return int(digits)


def _inserted(escaped: str) -> str:
    try:
        # surrogatepass: old clients insert half a pair, the other half stands in the text.
        return _to_units(unquote_to_bytes(escaped.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError as error:
        raise ApplyError(f"the text of a delta is not UTF-8: {error}") from error


def _to_units(text: str) -> str:
    if text.isascii():
        return text
    return _ASTRAL.sub(lambda found: _halves(ord(found[0]) - 0x10000), text)


def _halves(offset: int) -> str:
    return chr(0xD800 + (offset >> 10)) + chr(0xDC00 + (offset & 0x3FF))


def _from_units(units: str) -> str:
    if units.isascii():
        return units
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _whole_pairs(diffs: Diffs) -> Diffs:
    """The same edits with every cut moved off the middle of a surrogate pair."""
    whole: Diffs = []
    kept = ""
    for at, (dropped, added, following) in enumerate(_edits(diffs)):
        if at == 0:
            kept = following
            continue
        kept, dropped, added, following = _mend(kept, dropped, added, following)
        whole += [(EQUAL, kept), (DELETE, dropped), (INSERT, added)]
        kept = following
    whole.append((EQUAL, kept))
    return whole


def _edits(diffs: Diffs) -> list[tuple[str, str, str]]:
    """Each edit as (dropped, inserted, kept after it); the first one is empty and carries what is kept at the start."""
    edits = [("", "", "")]
    for kind, text in diffs:
        dropped, added, kept = edits[-1]
        if kind == EQUAL:
            edits[-1] = (dropped, added, kept + text)
        else:
            if kept or len(edits) == 1:
                edits.append(("", "", ""))
            dropped, added, _ = edits[-1]
            edits[-1] = (dropped + text, added, "") if kind == DELETE else (dropped, added + text, "")
    return edits


def _mend(kept: str, dropped: str, added: str, following: str) -> tuple[str, str, str, str]:
    high = kept[-1:]
    if "\ud800" <= high <= "\udbff":
        edit = dropped or added
        if not (dropped and added) and edit[-1:] == high:
            # A lone edit between two halves slides to the left by one: `H|xH|L` is `|Hx|HL`.
            kept, edit, following = kept[:-1], high + edit[:-1], high + following
            return (kept, edit, "", following) if dropped else (kept, "", edit, following)
        kept, dropped, added = kept[:-1], high + dropped, high + added
    low = following[:1]
    if "\udc00" <= low <= "\udfff":
        dropped, added, following = dropped + low, added + low, following[1:]
    return kept, dropped, added, following
