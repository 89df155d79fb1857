"""Where the bytes of a file are: the `content` member of a file object, from JSON and to JSON.

`{"hash", "size", "mtime", "by"}` and one of `"data": base64 of the stored form`, `"chunks": [[id, length], ...]` or
`"list": [[id, length], ...]`, whose chunks joined hold the rows of the file: 32 bytes id, 4 bytes big-endian length each.
"""

import re
import sys
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pybase64 import b64decode, b64encode

from ssyncd.content.chunks import ID_SIZE, MAX_CHUNK, Row, chunk_id, hash_bytes
from ssyncd.content.compression import open_sealed, seal
from ssyncd.errors import ContentError
from ssyncd.planner.tree import Content

# Plain bytes up to which a file travels inside its object.
INLINE_LIMIT = 32 * 1024
# What others may have put inside an object: no object may be larger than 4 MiB anywhere.
MAX_INLINE = 4 * 1024 * 1024
# Rows up to which they stand in the object itself (80 KB of JSON).
MAX_ROWS = 1000
# Rows in one chunk of a list (36 KB).
LIST_ROWS = 1000
ROW_SIZE = ID_SIZE + 4
MAX_SIZE = 1 << 53
MAX_TIME = 1 << 62
MAX_DEVICE = 255

_is_id = re.compile("[0-9a-f]{64}").fullmatch


class Body(NamedTuple):
    """Just one of: `data` (stored form), `chunks`, or `list` (rows of the chunks that hold the list).

    With `list`, `chunks` is what the list says if that is known here, else empty.
    """

    data: bytes | None = None
    chunks: tuple[Row, ...] = ()
    list: tuple[Row, ...] = ()


def inline(plain: bytes, mtime: int, device: str) -> tuple[Content, Body]:
    """The content and body of a small file; `mtime` in microseconds."""
    return Content(hash_bytes(plain), len(plain), mtime, device), Body(seal(plain))


def open_inline(content: Content, body: Body) -> bytes:
    """The bytes of a body that has `data`, verified. ContentError."""
    if body.data is None:
        raise ContentError("the bytes are not in the object")
    plain = open_sealed(body.data, content.size)
    if len(plain) != content.size or hash_bytes(plain) != content.hash:
        raise ContentError(f"bytes that do not have the hash {content.hash}")
    return plain


def to_json(content: Content, body: Body) -> dict[str, Any]:
    """The `content` member, ready for the wire."""
    value: dict[str, Any] = {"hash": content.hash, "size": content.size, "mtime": content.mtime, "by": content.by}
    if body.data is not None:
        value["data"] = b64encode(body.data).decode("ascii")
    elif body.list:
        value["list"] = [[row.id.hex(), row.size] for row in body.list]
    else:
        value["chunks"] = [[row.id.hex(), row.size] for row in body.chunks]
    return value


def parse_content(value: object) -> tuple[Content, Body]:
    """Read a `content` member that may hold anything. ContentError.

    The bytes of `data` are verified by `open_inline`, when they are used.
    """
    if not isinstance(value, dict):
        raise ContentError("the content is no object")
    content = parse_facts(value)
    return content, parse_body(value, content.size)


def parse_body(value: dict[str, Any], size: int) -> Body:
    """Where a `content` member says the bytes of a file of this size are. ContentError."""
    data = value.get("data")
    if data is not None:
        return Body(_parse_data(data, size))
    rows = value.get("chunks")
    if rows is not None:
        return Body(chunks=_check_sum(_parse_rows(rows), size))
    rows = value.get("list")
    if rows is None:
        raise ContentError("content without bytes")
    return Body(list=_parse_list(rows, size))


def parse_facts(value: dict[str, Any]) -> Content:
    """What a `content` member says about the file, without the bytes. ContentError."""
    digest, size, mtime, by = value.get("hash"), value.get("size"), value.get("mtime"), value.get("by")
    if type(digest) is not str or not _is_id(digest):
        raise ContentError("the hash is not 64 hex digits")
    if type(size) is not int or not 0 <= size <= MAX_SIZE:
        raise ContentError("the size is not a sensible number")
    if type(mtime) is not int or not -MAX_TIME <= mtime <= MAX_TIME:
        raise ContentError("the time is not a sensible number")
    if type(by) is not str or len(by) > MAX_DEVICE:
        raise ContentError("the device is not a short text")
    # A device has written many, and each came with a text of its own.
    return Content(digest, size, mtime, sys.intern(by))


def _parse_data(data: object, size: int) -> bytes:
    if type(data) is not str or len(data) > MAX_INLINE or size > MAX_INLINE:
        raise ContentError("the data is not a text of sensible length")
    try:
        sealed = b64decode(data, validate=True)
    except (Base64Error, ValueError) as error:
        raise ContentError(f"the data is not base64: {error}") from error
    if not sealed:
        raise ContentError("the data is empty")
    return sealed


def _parse_rows(rows: object) -> tuple[Row, ...]:
    if type(rows) is not list:
        raise ContentError("the chunks are no list")
    return tuple(_parse_row(row) for row in rows)


def _parse_row(row: object) -> Row:
    if type(row) is not list or len(row) != 2:
        raise ContentError("a chunk is not a pair")
    name, size = row
    if type(name) is not str or not _is_id(name):
        raise ContentError("a chunk's id is not 64 hex digits")
    if type(size) is not int or not 0 < size <= MAX_CHUNK:
        raise ContentError("a chunk's length is not a sensible number")
    return Row(bytes.fromhex(name), size)


def _check_sum(rows: tuple[Row, ...], size: int) -> tuple[Row, ...]:
    total = sum(row.size for row in rows)
    if total != size:
        raise ContentError(f"chunks of {total} bytes for a file of {size}")
    return rows


def _parse_list(rows: object, size: int) -> tuple[Row, ...]:
    parsed = _parse_rows(rows)
    length = sum(row.size for row in parsed)
    # Each row of the list stands for one byte at least.
    if not length or length % ROW_SIZE or length // ROW_SIZE > size:
        raise ContentError(f"a list of {length} bytes for a file of {size}")
    return parsed


def pack_rows(rows: Iterable[Row]) -> bytes:
    """The plain bytes of a list."""
    return b"".join(row.id + row.size.to_bytes(4, "big") for row in rows)


def unpack_rows(plain: bytes, size: int) -> tuple[Row, ...]:
    """The rows a list holds, which must sum up to `size`. ContentError."""
    if len(plain) % ROW_SIZE:
        raise ContentError("a list that ends within a row")
    rows = tuple(
        Row(plain[at : at + ID_SIZE], int.from_bytes(plain[at + ID_SIZE : at + ROW_SIZE], "big"))
        for at in range(0, len(plain), ROW_SIZE)
    )
    if not all(0 < row.size <= MAX_CHUNK for row in rows):
        raise ContentError("a chunk's length in a list is not a sensible number")
    return _check_sum(rows, size)


def split_list(rows: Sequence[Row], max_chunk: int) -> list[bytes]:
    """The plain bytes of a list, in pieces of whole rows: an edit of the file makes few of them new."""
    step = min(LIST_ROWS, max_chunk // ROW_SIZE)
    return [pack_rows(rows[at : at + step]) for at in range(0, len(rows), step)]


def chunked(rows: tuple[Row, ...], max_chunk: int) -> Body:
    """The body of a file cut into these chunks; with a list where they are many."""
    if len(rows) <= MAX_ROWS:
        return Body(chunks=rows)
    pieces = split_list(rows, max_chunk)
    return Body(chunks=rows, list=tuple(Row(chunk_id(piece), len(piece)) for piece in pieces))
