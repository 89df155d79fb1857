"""Removes chunks that no kept version of an object names."""

import logging
from collections.abc import Iterator
from typing import Any

from ssyncd.content.compression import open_sealed
from ssyncd.errors import ChunkMissingError, ContentError, ProtocolError
from ssyncd.protocol.encoding import loads
from ssyncd.server.blobs.base import Blobs, Scope
from ssyncd.server.blobs.sealed import ID_LENGTH
from ssyncd.server.storage.base import ChangeStorage

log = logging.getLogger(__name__)

ROW = ID_LENGTH + 4
LIST_MOST = 64 * 1024 * 1024


def collect(storage: ChangeStorage, blobs: Blobs, before: float) -> int:
    """Remove unnamed chunks that were last put or asked for before a time (seconds since the epoch); how many went.

    A version may come to name an old chunk while this runs: its author has asked whether the chunk is missing, which made it
    young.
    """
    buckets = {Scope(user, app, name): number for user, app, name, number in storage.all_buckets()}
    removed = 0
    for scope in blobs.scopes():
        named = _named(storage, blobs, scope, buckets[scope]) if scope in buckets else set()
        if named is None:
            continue
        removed += sum(blobs.remove(scope, chunk, before) for chunk in blobs.ids(scope) if chunk not in named)
    if removed:
        log.info("removed %d chunks that nothing needs any more", removed)
    return removed


def _named(storage: ChangeStorage, blobs: Blobs, scope: Scope, bucket: int) -> set[bytes] | None:
    """The chunks of all kept versions; None if that cannot be told, so that nothing may go."""
    named: set[bytes] = set()
    lists: set[tuple[bytes, ...]] = set()
    try:
        for encoded in storage.versions(bucket):
            content = _content(loads(encoded))
            named.update(_ids(content.get("chunks")))
            lists.add(_ids(content.get("list")))
        for parts in lists:
            named.update(parts, _listed(blobs, scope, parts))
    except (ProtocolError, ContentError) as error:
        log.warning("nothing is removed from the chunks of bucket %s: %s", scope.bucket, error)
        return None
    return named


def _content(data: Any) -> dict[str, Any]:
    content = data.get("content") if isinstance(data, dict) else None
    return content if isinstance(content, dict) else {}


def _ids(rows: Any) -> tuple[bytes, ...]:
    """The chunk ids in `[[id, length], ...]`; what else a foreign client writes there names no chunk."""
    return tuple(chunk for row in rows if (chunk := _id(row)) is not None) if isinstance(rows, list) else ()


def _id(row: Any) -> bytes | None:
    try:
        return bytes.fromhex(row[0])
    except (TypeError, ValueError, LookupError):
        return None


def _listed(blobs: Blobs, scope: Scope, parts: tuple[bytes, ...]) -> Iterator[bytes]:
    """The ids in a list that lies in chunks; its rows may run on from one chunk to the next. ContentError."""
    plain = b""
    for part in parts:
        sealed = blobs.get(scope, part)
        if sealed is None:
            raise ChunkMissingError(part)
        plain += open_sealed(sealed, LIST_MOST)
    for at in range(0, len(plain) - ID_LENGTH + 1, ROW):
        yield plain[at : at + ID_LENGTH]
