"""Log entries as bytes: encoded once, sent to every channel."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ssyncd.protocol.encoding import dumps_stored, loads
from ssyncd.server.acceptance import Accepted
from ssyncd.server.positions import Positions
from ssyncd.server.storage.base import Row


class Entry(NamedTuple):
    """An accepted change as channels get it; `text` is one element of a `c` list. `bare` is it without the diff, for an
    author who needs no more; "" if all have to hear what became of it."""

    position: int
    bucket: int
    key: str
    version: int
    client: str
    removed: bool
    text: bytes
    bare: bytes = b""


def encode(row: Row, positions: Positions, accepted: Accepted | None = None) -> Entry:
    """As clients get it. `accepted`, of what was stored just now, spares reading it from the row."""
    element: dict[str, Any] = {"clientid": row.client, "id": row.key, "o": "M" if row.live else "-"}
    # No `sv` in a creation: `sv:0` makes Node ask for a version 0 and never apply the change.
    if row.diff is not None:
        element["sv"] = row.version - 1
    element["ev"] = row.version
    element["cv"] = positions.text(row.bucket, row.position)
    element["ccids"] = [row.ccid]
    bare = text = dumps_stored(element)
    if row.live:
        diff = dumps_stored(_creation(row, accepted)) if row.diff is None else row.diff
        text = b'%b,"v":%b}' % (bare[:-1], diff)
    told = bare if row.live and accepted is not None and accepted.as_sent else b""
    return Entry(row.position, row.bucket, row.key, row.version, row.client, not row.live, text, told)


def _creation(row: Row, accepted: Accepted | None) -> dict[str, Any]:
    data = None if accepted is None else accepted.data
    return creation(loads(row.data or b"{}") if data is None else data)


def creation(data: Mapping[str, Any]) -> dict[str, Any]:
    """The diff from nothing to this object."""
    return {name: {"o": "+", "v": value} for name, value in data.items()}


def refusal(client: str, key: str, ccid: str, code: int) -> bytes:
    """An element of a `c` list for the author alone."""
    # The code must be a number: Node compares strictly.
    return dumps_stored({"clientid": client, "id": key, "error": code, "ccids": [ccid]})


def changes_message(channel: int, elements: Sequence[bytes]) -> bytes:
    return b"%d:c:[%b]" % (channel, b",".join(elements))
