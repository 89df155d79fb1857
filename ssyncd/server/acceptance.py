"""How a change is accepted or refused; pure.

The numbered steps are those of section 4 of the protocol notes, "How a server applies a change".

accept(change, object, limit) -> Accepted | code
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from ssyncd.errors import ProtocolError
from ssyncd.protocol.changes import REMOVE, ClientChange
from ssyncd.protocol.encoding import dumps_stored
from ssyncd.protocol.jsondiff import apply, diff, equal, transform

Data = Mapping[str, Any]

BAD_REQUEST = 400
MISSING = 404
WRONG_SOURCE = 405
DUPLICATE = 409
NO_EFFECT = 412
TOO_LARGE = 413
DOES_NOT_APPLY = 440


class Object(Struct, frozen=True):
    """What the server has under a key: `version` 0 if it never was, not `live` if it is removed.

    `data_of` gives the data of a version, or None if it is not held; it is only asked when it matters.
    """

    version: int
    live: bool
    data_of: Callable[[int], Data | None]


NOTHING = Object(0, False, lambda _version: None)


class Accepted(Struct, frozen=True):
    """The version a change makes. `source` and `diff` are what the log says: both None in a creation, `diff` None in a removal.

    `data` None: removed. `encoded` is the JSON of the data. `as_sent`: it is the author's diff that made it, and no other.
    """

    version: int
    source: int | None
    diff: Mapping[str, Any] | None
    data: Data | None
    encoded: bytes | None
    as_sent: bool = False


class _RefusedError(ProtocolError):
    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


def accept(change: ClientChange, known: Object, limit: int) -> Accepted | int:
    """Steps 3 to 10: what becomes of the object, or the code of the refusal. An object has at most `limit` bytes of JSON."""
    try:
        if change.op == REMOVE:
            return _remove(change, known)
        if not known.live:
            return _create(change, known, limit)
        return _modify(change, known, limit)
    except _RefusedError as refusal:
        return refusal.code
    except ProtocolError:
        return DOES_NOT_APPLY


def _remove(change: ClientChange, known: Object) -> Accepted:
    # 412, not 404: with 404 the key stays stuck in Node.
    if not known.live:
        raise _RefusedError(NO_EFFECT)
    if change.source not in (None, known.version):
        raise _RefusedError(WRONG_SOURCE)
    return Accepted(known.version + 1, known.version, None, None, None)


def _create(change: ClientChange, known: Object, limit: int) -> Accepted:
    """Step 4. Versions of a removed object count on, since Node caches history by key and version."""
    whole, by_diff = _whole(change), False
    if change.source is not None:
        # An edit of what is gone makes it again only if it says what the whole is.
        if whole is None:
            raise _RefusedError(MISSING)
        data: Data = whole
    else:
        data, by_diff = _intended(change.diff, whole, {}, {})
    return Accepted(known.version + 1, None, None, data, _encoded(data, limit), by_diff)


def _modify(change: ClientChange, known: Object, limit: int) -> Accepted:
    current = _held(known)
    whole = _whole(change)
    base = _base(change.source, known, current)
    if base is not None:
        data, by_diff = _intended(change.diff, whole, base, current)
    elif whole is not None:
        data, by_diff = whole, False
    else:
        raise _RefusedError(WRONG_SOURCE)
    # Python's own comparison is fast but takes 1 for true: it can only tell that two are different.
    if data == current and equal(data, current):
        raise _RefusedError(NO_EFFECT)
    encoded = _encoded(data, limit)
    as_sent = by_diff and base is current and change.diff is not None and relayable(change.diff, current)
    told = change.diff if as_sent else diff(current, data)
    return Accepted(known.version + 1, known.version, told, data, encoded, as_sent)


def _held(known: Object) -> Data:
    data = known.data_of(known.version)
    if data is None:
        raise _RefusedError(WRONG_SOURCE)
    return data


def _base(source: int | None, known: Object, current: Data) -> Data | None:
    """What the change was made from; None if that is not held (any more)."""
    if source is None:
        # Step 7: two made the same key. As if made from nothing: equal members vanish, others replace.
        return {}
    if source == known.version:
        return current
    return known.data_of(source) if 0 < source < known.version else None


def _intended(patch: Data | None, whole: Data | None, base: Data, current: Data) -> tuple[Data, bool]:
    """What `current` becomes, and whether by `patch`. Step 8: the diff first, then the whole object."""
    if patch is not None:
        try:
            return _rebased(patch, base, current), True
        except ProtocolError:
            if whole is None:
                raise
    return _rebased(diff(base, whole or {}), base, current), False


def _rebased(patch: Data, base: Data, current: Data) -> Data:
    """Steps 5 and 6: apply what was meant for `base` to what the object has become."""
    if base is not current and (over := diff(base, current)):
        patch = transform(patch, over, base)
    return apply(patch, current)


def _whole(change: ClientChange) -> Data | None:
    """`d`, the whole object meant; unwrapped if it is Node's ghost record with the old data in it (step 8)."""
    whole = change.whole
    if whole is None or change.diff is None or not _WRAPPED <= whole.keys() <= _WRAPPER:
        return whole
    if not isinstance(whole["data"], dict):
        return whole
    try:
        return apply(change.diff, whole["data"])
    except ProtocolError:
        return None


_WRAPPED = {"version", "data"}
_WRAPPER = {"version", "data", "key"}


def _encoded(data: Data, limit: int) -> bytes:
    try:
        encoded = dumps_stored(data)
    except ProtocolError as error:
        raise _RefusedError(BAD_REQUEST) from error
    if len(encoded) > limit:
        raise _RefusedError(TOO_LARGE)
    return encoded


# Zero-length tokens and halves of a surrogate pair: allowed from clients, but iOS and Node stumble over them.
_UNCLEAN = re.compile(r"(?:^|\t)(?:[=-]0+(?=\t|$)|(?=\t|$))|%ED%[AB]", re.IGNORECASE)


def relayable(patch: Data, current: Data) -> bool:
    """Whether a client's diff may go to all others as it is: only `+ - r O d`, and nothing an old client stumbles over."""
    for name, operation in patch.items():
        kind = operation["o"]
        if kind in ("+", "r"):
            continue
        if kind == "-" and name in current:
            continue
        if kind == "d" and not _UNCLEAN.search(operation["v"]):
            continue
        if kind == "O" and relayable(operation["v"], current[name]):
            continue
        return False
    return True
