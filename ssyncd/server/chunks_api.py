"""Chunks over HTTP: which are missing, which are sound, up and down, one or many in a request.

Bodies are taken and given record by record: id (32 bytes), length (4 bytes, big-endian), stored form.
"""

import asyncio
import logging
import math
import struct
import time
from collections.abc import Sequence

from aiohttp import web

from ssyncd.content.chunks import MAX_CHUNK
from ssyncd.errors import ContentError, DiskError, RefusedError
from ssyncd.server.answers import LaterError, app_of, as_json, bucket_name, services, signed_in
from ssyncd.server.blobs.base import Blobs, Scope, Upload
from ssyncd.server.blobs.sealed import ID_LENGTH, ChunkTooLargeError, verify
from ssyncd.server.quota import QUOTA
from ssyncd.server.rates import Rate
from ssyncd.server.services import Services

log = logging.getLogger(__name__)

IDS = 10_000
# Of a request to check, which reads them all; and how many such requests a user may make in a minute.
CHECKED = 1000
CHECKS_PER_MINUTE = 60
CHECKS: web.AppKey[Rate] = web.AppKey("checks")
NOT_THERE = 0xFFFFFFFF
# Seconds that a request may ask to wait for a chunk, and between two looks for one that came by way of another process.
LONGEST_WAIT = 30.0
LOOK = 1.0
# What goes to a thread at once, and is in memory twice for each request.
STEP = 1024 * 1024
# A stored form may be this much longer than the plain bytes: a marker, and a frame that did not help.
OVERHEAD = 1024
_RECORD = struct.Struct(f">{ID_LENGTH}sI")
_OCTETS = "application/octet-stream"


def routes() -> list[web.AbstractRouteDef]:
    return [
        web.post(r"/1/{app}/{bucket}/chunks/missing", missing),
        web.post(r"/1/{app}/{bucket}/chunks/check", check),
        web.post(r"/1/{app}/{bucket}/chunks/put", put_many),
        web.post(r"/1/{app}/{bucket}/chunks/get", get_many),
        web.put(r"/1/{app}/{bucket}/chunks/{id}", put),
        web.get(r"/1/{app}/{bucket}/chunks/{id}", get),
    ]


async def missing(request: web.Request) -> web.Response:
    core, scope = services(request), _scope(request)
    ids = await _ids(request)
    answer = await core.carry(core.blobs.missing, scope, ids)
    return web.Response(body=b"".join(answer), content_type=_OCTETS)


async def check(request: web.Request) -> web.Response:
    """Those that are not there, or were spoiled and are not there any more. The server sees for itself which."""
    core, scope = services(request), _scope(request)
    ids = await _ids(request, CHECKED)
    if wait := request.app[CHECKS].wait(scope.user):
        raise LaterError("too many checks", 429, wait)
    limit = max(core.settings.chunk_limit, MAX_CHUNK)
    sound = [chunk for chunk in ids if await core.carry(_is_sound, core.blobs, scope, chunk, limit)]
    absent = set(ids).difference(sound).union(await core.carry(core.blobs.missing, scope, sound))
    return web.Response(body=b"".join(absent), content_type=_OCTETS)


def _is_sound(blobs: Blobs, scope: Scope, chunk: bytes, limit: int) -> bool:
    try:
        sealed = blobs.get(scope, chunk)
    except DiskError as error:
        log.warning("chunk %s cannot be read: %s", chunk.hex(), error)
        return False
    if sealed is None:
        return False
    try:
        verify(chunk, sealed, limit)
    except ContentError as error:
        log.warning("removed a chunk that was spoiled: %s", error)
        blobs.discard(scope, chunk, sealed)
        return False
    return True


async def get(request: web.Request) -> web.Response:
    core, scope = services(request), _scope(request)
    sealed = await core.carry(core.blobs.get, scope, _id(request))
    if sealed is None:
        raise RefusedError("no such chunk", 404)
    return web.Response(body=sealed, content_type=_OCTETS)


async def put(request: web.Request) -> web.Response:
    scope, chunk = _scope(request), _id(request)
    most = services(request).settings.chunk_limit + OVERHEAD
    if (request.content_length or 0) > most:
        raise RefusedError("the chunk is too large", 413)
    intake = _Intake(request, scope)
    try:
        await intake.take(chunk, await _body(request, most))
        await intake.finish()
    finally:
        await intake.abort()
    return as_json({"status": "success"})


async def put_many(request: web.Request) -> web.Response:
    settings = services(request).settings
    scope = _scope(request)
    if (request.content_length or 0) > settings.request_limit:
        raise RefusedError(f"the request is over {settings.request_limit} bytes", 413)
    intake = _Intake(request, scope)
    size = 0
    try:
        while (record := await _next_record(request)) is not None:
            chunk, length = record
            size += _RECORD.size + length
            if size > settings.request_limit:
                raise RefusedError(f"the request is over {settings.request_limit} bytes", 413)
            if length > settings.chunk_limit + OVERHEAD:
                raise RefusedError(f"chunk {chunk.hex()} is too large", 413)
            await intake.take(chunk, await _exactly(request, length))
        await intake.finish()
    finally:
        await intake.abort()
    return as_json({"status": "success"})


async def get_many(request: web.Request) -> web.StreamResponse:
    """With `wait=SECONDS` each chunk that is not there is waited for, for so long: it may be on its way here."""
    core, scope, wait = services(request), _scope(request), _wait(request)
    ids = await _ids(request)
    response = web.StreamResponse(headers={"Access-Control-Allow-Origin": "*"})
    response.content_type = _OCTETS
    part, at = await _next_records(core, scope, ids, 0, wait)
    # Only when the first part could be read: until then a failure is an answer.
    await response.prepare(request)
    while at < len(ids):
        following = asyncio.ensure_future(_next_records(core, scope, ids, at, wait))
        try:
            await response.write(part)
        finally:
            part, at = await following
    await response.write(part)
    await response.write_eof()
    return response


async def _next_records(
    core: Services, scope: Scope, ids: Sequence[bytes], start: int, wait: float
) -> tuple[bytes, int]:
    if not wait or start == len(ids):
        return await core.carry(_records, core.blobs, scope, ids, start)
    deadline = time.monotonic() + wait
    with core.arrivals.watched(scope) as arrival:
        while True:
            part, at = await core.carry(_records, core.blobs, scope, ids, start, True)
            left = deadline - time.monotonic()
            if at > start:
                return part, at
            if left <= 0 or core.hub.closing:
                return await core.carry(_records, core.blobs, scope, ids, start)
            await arrival.wait(min(left, LOOK))


def _records(blobs: Blobs, scope: Scope, ids: Sequence[bytes], start: int, present: bool = False) -> tuple[bytes, int]:
    """Records from `start` on, about STEP bytes of them, and where to go on; with `present` not beyond the first that is not
    there."""
    pieces: list[bytes] = []
    size = 0
    at = start
    while at < len(ids) and size < STEP:
        sealed = blobs.get(scope, ids[at])
        if sealed is None and present:
            break
        pieces.append(_RECORD.pack(ids[at], NOT_THERE if sealed is None else len(sealed)))
        pieces.append(sealed or b"")
        size += len(pieces[-1]) + _RECORD.size
        at += 1
    return b"".join(pieces), at


class _Intake:
    """The chunks of one request on their way to the store: verified and written in a thread while the next are read."""

    def __init__(self, request: web.Request, scope: Scope) -> None:
        self._core: Services = services(request)
        self._quota = request.app[QUOTA]
        self._scope = scope
        self._upload = self._core.blobs.upload(scope)
        self._batch: list[tuple[bytes, bytes]] = []
        self._size = 0
        self._total = 0
        self._storing: asyncio.Future[None] | None = None

    async def take(self, chunk: bytes, sealed: bytes) -> None:
        self._batch.append((chunk, sealed))
        self._size += len(sealed)
        self._total += len(sealed)
        if self._size >= STEP:
            await self._flush()

    async def _flush(self) -> None:
        await self._stored()
        await self._quota.check(self._core, self._scope.user, self._total)
        batch, self._batch, self._size = self._batch, [], 0
        limit = self._core.settings.chunk_limit
        self._storing = asyncio.ensure_future(self._core.carry(_store, self._upload, batch, limit))

    async def _stored(self) -> None:
        storing, self._storing = self._storing, None
        if storing is not None:
            await storing

    async def finish(self) -> None:
        """Returns when all is durable."""
        await self._flush()
        await self._stored()
        await self._core.carry(self._upload.commit)
        self._quota.add(self._scope.user, self._total)
        self._core.arrivals.tell(self._scope)

    async def abort(self) -> None:
        """Forget what is not durable; nothing after `finish`."""
        if self._storing is not None:
            await asyncio.gather(self._storing, return_exceptions=True)
        await self._core.carry(self._upload.abort)


def _store(upload: Upload, batch: list[tuple[bytes, bytes]], limit: int) -> None:
    for chunk, sealed in batch:
        try:
            verify(chunk, sealed, limit)
        except ChunkTooLargeError as error:
            raise RefusedError(str(error), 413) from error
        except ContentError as error:
            raise RefusedError(f"chunk {chunk.hex()}: {error}", 400) from error
    upload.add(batch)


def _scope(request: web.Request) -> Scope:
    if services(request).settings.plain:
        raise RefusedError("this server stores no chunks", 404)
    token = signed_in(request)
    return Scope(token.user, app_of(request), bucket_name(request))


def _id(request: web.Request) -> bytes:
    try:
        chunk = bytes.fromhex(request.match_info["id"])
    except ValueError:
        chunk = b""
    if len(chunk) != ID_LENGTH:
        raise RefusedError("no chunk id: 64 hex digits", 400)
    return chunk


def _wait(request: web.Request) -> float:
    try:
        seconds = float(request.query.get("wait", "0"))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_WAIT:
        raise RefusedError(f"wait is a number of seconds, at most {LONGEST_WAIT:.0f}", 400)
    return seconds


async def _ids(request: web.Request, most: int = IDS) -> list[bytes]:
    body = await _body(request, most * ID_LENGTH)
    if len(body) % ID_LENGTH:
        raise RefusedError(f"ids of {ID_LENGTH} bytes each are needed", 400)
    return [body[at : at + ID_LENGTH] for at in range(0, len(body), ID_LENGTH)]


async def _body(request: web.Request, most: int) -> bytes:
    body = bytearray()
    while piece := await request.content.readany():
        body += piece
        if len(body) > most:
            raise RefusedError(f"the body is over {most} bytes", 413)
    return bytes(body)


async def _next_record(request: web.Request) -> tuple[bytes, int] | None:
    """The head of the next record; None at the end of the body."""
    try:
        head = await request.content.readexactly(_RECORD.size)
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise RefusedError("the body ends inside a record", 400) from error
    chunk, length = _RECORD.unpack(head)
    return chunk, length


async def _exactly(request: web.Request, length: int) -> bytes:
    try:
        return await request.content.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise RefusedError("the body ends inside a record", 400) from error
