"""Log entries as bytes: encoded once, sent to every channel."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from ssyncd.protocol.encoding import dumps_stored, loads
from ssyncd.server.positions import Positions
from ssyncd.server.storage.base import Row


class Entry(NamedTuple):
    """An accepted change as channels get it; `text` is one element of a `c` list."""

    position: int
    bucket: int
    key: str
    version: int
    client: str
    removed: bool
    text: bytes


def encode(row: Row, positions: Positions, data: Mapping[str, Any] | None = None) -> Entry:
    """As clients get it. `data`, for a creation, spares reading it from the row."""
    element: dict[str, Any] = {"clientid": row.client, "id": row.key, "o": "M" if row.live else "-"}
    if row.diff is not None:
        element["v"] = orjson.Fragment(row.diff)
        element["sv"] = row.version - 1
    elif row.live:
        # No `sv` in a creation: `sv:0` makes Node ask for a version 0 and never apply the change.
        element["v"] = creation(loads(row.data or b"{}") if data is None else data)
    element["ev"] = row.version
    element["cv"] = positions.text(row.bucket, row.position)
    element["ccids"] = [row.ccid]
    return Entry(row.position, row.bucket, row.key, row.version, row.client, not row.live, dumps_stored(element))


def creation(data: Mapping[str, Any]) -> dict[str, Any]:
    """The diff from nothing to this object."""
    return {name: {"o": "+", "v": value} for name, value in data.items()}


def refusal(client: str, key: str, ccid: str, code: int) -> bytes:
    """An element of a `c` list for the author alone."""
    # The code must be a number: Node compares strictly.
    return dumps_stored({"clientid": client, "id": key, "error": code, "ccids": [ccid]})


def changes_message(channel: int, elements: Sequence[bytes]) -> bytes:
    return b"%d:c:[%b]" % (channel, b",".join(elements))
