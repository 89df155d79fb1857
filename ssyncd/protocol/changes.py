"""Changes as values, and how they are written in a `c` message (section 4 of the notes)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from ssyncd.errors import ProtocolError
from ssyncd.protocol.fields import (
    encoded_json,
    integer,
    json_object,
    key_of,
    loose_text,
    source_of,
    valid_ccid,
    valid_key,
    version_of,
)

MODIFY = "M"
REMOVE = "-"
EMPTY = "EMPTY"


class ClientChange(Struct, frozen=True):
    """A change as a client sends it. `source` is the version it was made from, None for none.

    `diff` None in a modification means that `whole`, the whole object meant, stands alone.
    """

    key: str
    op: str
    ccid: str
    source: int | None = None
    diff: dict[str, Any] | None = None
    whole: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.op == MODIFY and self.diff is None and self.whole is None:
            raise ProtocolError(f"a modification of {self.key[:80]!r} that says nothing")

    def text(self, channel: int) -> str:
        return f"{channel}:c:{self.encoded()}"

    def encoded(self) -> str:
        change: dict[str, Any] = {"id": self.key, "o": self.op, "ccid": self.ccid}
        if self.diff is not None:
            change["v"] = self.diff
        if self.source:
            change["sv"] = self.source
        if self.whole is not None:
            change["d"] = self.whole
        return encoded_json(change)


class BadChange(Struct, frozen=True):
    """A client's change that is malformed but says what it is about, so that it can be answered with an error."""

    key: str
    ccid: str
    code: int
    reason: str


class ServerChange(NamedTuple):
    """An accepted change. `diff` is relative to the version before; `source` is None for a new object (and for removals).
    A modification has no diff where the server says no more than that ours was taken (see `lean`).

    On the client's side `op` may be one we do not know, with `version` 0 and `cv` "" if there was none.
    """

    client: str
    key: str
    op: str
    ccids: tuple[str, ...]
    diff: dict[str, Any] | None
    source: int | None
    version: int
    cv: str


class ChangeError(Struct, frozen=True):
    """A refusal of a client's change, told to its author only. Codes: section 4 of the notes (400 to 503)."""

    client: str
    key: str
    ccids: tuple[str, ...]
    code: int


def encode_change(change: ServerChange | ChangeError) -> str:
    """One element of a `c` list; encoded once, it goes to every channel by `changes_message`."""
    # Every official client needs these three, errors included.
    element: dict[str, Any] = {"clientid": change.client, "id": change.key, "ccids": change.ccids}
    if isinstance(change, ChangeError):
        element["error"] = change.code
        return encoded_json(element)
    element["o"] = change.op
    if change.diff is not None:
        element["v"] = change.diff
    # A source of 0 makes Node ask for a version 0 for ever.
    if change.source:
        element["sv"] = change.source
    element["ev"] = change.version
    element["cv"] = change.cv
    return encoded_json(element)


def changes_message(channel: int, encoded: Sequence[str]) -> str:
    return f"{channel}:c:[{','.join(encoded)}]"


class Changes(Struct, frozen=True):
    """What a server says in one `c`, oldest first."""

    changes: tuple[ServerChange | ChangeError, ...]

    def text(self, channel: int) -> str:
        return changes_message(channel, [encode_change(change) for change in self.changes])


def parse_client_change(change: Any) -> ClientChange | BadChange:
    """From decoded JSON, as in a `c` or a POST of changes. ProtocolError if it cannot even be answered."""
    fields = json_object(change, "change")
    key, ccid = key_of(fields), fields.get("ccid")
    if not isinstance(ccid, str) or not ccid:
        raise ProtocolError("a change without a ccid")
    try:
        return _client_change(key, ccid, fields)
    except ProtocolError as error:
        return BadChange(key, ccid, 400, str(error))


def _client_change(key: str, ccid: str, fields: Mapping[str, Any]) -> ClientChange:
    op, diff, whole = fields.get("o"), fields.get("v"), fields.get("d")
    if op not in (MODIFY, REMOVE, EMPTY):
        raise ProtocolError(f"an unknown kind of change: {str(op)[:40]!r}")
    if not valid_ccid(ccid) or not valid_key(key):
        raise ProtocolError("a key or ccid of wrong characters or length")
    if not isinstance(diff, dict | None) or not isinstance(whole, dict | None):
        raise ProtocolError("the content of a change is no object")
    return ClientChange(key, op, ccid, source_of(fields), diff, whole)


def parse_server_change(change: Any) -> ServerChange | ChangeError:
    """From decoded JSON, one element of a `c` list."""
    fields = json_object(change, "change")
    key, client, ccids = key_of(fields), fields.get("clientid"), _ccids(fields)
    if not isinstance(client, str):
        client = ""
    if (code := fields.get("error")) is not None:
        return ChangeError(client, key, ccids, integer(code, 500))
    op, diff, cv = fields.get("o"), fields.get("v"), loose_text(fields.get("cv"))
    if not isinstance(op, str):
        raise ProtocolError(f"a change of {key[:80]!r} without a kind")
    if op not in (MODIFY, REMOVE):
        version = max(0, integer(fields.get("ev"), 0))
        return ServerChange(client, key, op[:40], ccids, None, None, version, cv)
    if not cv or (op == MODIFY and "v" in fields and not isinstance(diff, dict)):
        raise ProtocolError(f"a malformed change of {key[:80]!r}")
    diff = diff if op == MODIFY else None
    return ServerChange(client, key, op, ccids, diff, source_of(fields), version_of(fields, "ev"), cv)


def _ccids(fields: Mapping[str, Any]) -> tuple[str, ...]:
    ccids = fields.get("ccids")
    if ccids is None and "ccid" in fields:
        ccids = [fields["ccid"]]
    if ccids is None:
        return ()
    if not isinstance(ccids, list):
        raise ProtocolError("ccids that are no list")
    return tuple([ccid for ccid in ccids if isinstance(ccid, str)])
