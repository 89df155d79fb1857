"""Chunks over HTTP: which are missing, which are sound, up and down, one or many in a request.

Bodies are taken and given record by record: id (32 bytes), length (4 bytes, big-endian), stored form.
"""

import asyncio
import logging
import math
import time
from collections.abc import Sequence

from aiohttp import web

from ssyncd.content.chunks import MAX_CHUNK
from ssyncd.errors import ContentError, DiskError, RefusedError
from ssyncd.server.answers import LaterError, app_of, as_json, bucket_name, services, signed_in
from ssyncd.server.blobs.base import Blobs, Scope, Stored, Upload
from ssyncd.server.blobs.sealed import ID_LENGTH, ChunkTooLargeError, verify
from ssyncd.server.outlet import Outlet, Part, outlet
from ssyncd.server.rates import Rate
from ssyncd.server.records import HEAD, Records
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
# So many chunks at most are looked for at once.
IN_STEP = 16
# A stored form may be this much longer than the plain bytes: a marker, and a frame that did not help.
OVERHEAD = 1024
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
        verify(chunk, [sealed], limit)
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
        await intake.take(chunk, [await _body(request, most)])
        await intake.finish()
    finally:
        await intake.abort()
    return as_json({"status": "success"})


async def put_many(request: web.Request) -> web.Response:
    settings = services(request).settings
    scope = _scope(request)
    if (request.content_length or 0) > settings.request_limit:
        raise RefusedError(f"the request is over {settings.request_limit} bytes", 413)
    intake, records = _Intake(request, scope), Records(request.content)
    size = 0
    try:
        while (head := await records.head()) is not None:
            chunk, length = head
            size += HEAD.size + length
            if size > settings.request_limit:
                raise RefusedError(f"the request is over {settings.request_limit} bytes", 413)
            if length > settings.chunk_limit + OVERHEAD:
                raise RefusedError(f"chunk {chunk.hex()} is too large", 413)
            await intake.take(chunk, await records.stored(length))
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
    with outlet(request, core.carry) as way:
        asked = _Asked(core, scope, ids, wait, way is not None)
        part = await asked.next()
        # Only when the first part could be read: until then a failure is an answer.
        await response.prepare(request)
        while part is not None:
            following = asyncio.ensure_future(asked.next())
            try:
                await _give(response, way, part)
            finally:
                part = await following
    await response.write_eof()
    return response


async def _give(response: web.StreamResponse, way: Outlet | None, part: bytes | list[Part]) -> None:
    if isinstance(part, bytes):
        await response.write(part)
    elif way is not None:
        await way.send(part)


class _Asked:
    """The chunks that somebody asked for, a part at a time: about STEP bytes of records, or the `files` that hold them where
    those can be sent at once."""

    def __init__(self, core: Services, scope: Scope, ids: Sequence[bytes], wait: float, files: bool) -> None:
        self._core = core
        self._scope = scope
        self._ids = ids
        self._at = 0
        self._wait = wait
        self._files = files

    async def next(self) -> bytes | list[Part] | None:
        """None after the last."""
        if self._at == len(self._ids):
            return None
        if parts := self._at_hand():
            return parts
        return await self._read_when_there() if self._wait else await self._read()

    async def _read_when_there(self) -> bytes | list[Part]:
        deadline = time.monotonic() + self._wait
        with self._core.arrivals.watched(self._scope) as arrival:
            while not (part := await self._read(present=True)):
                left = deadline - time.monotonic()
                if left <= 0 or self._core.hub.closing:
                    return await self._read()
                await arrival.wait(min(left, LOOK))
                if parts := self._at_hand():
                    return parts
        return part

    async def _read(self, present: bool = False) -> bytes:
        """With `present` not beyond the first that is not there."""
        part, self._at = await self._core.carry(_records, self._core.blobs, self._scope, self._ids, self._at, present)
        return part

    def _at_hand(self) -> list[Part]:
        if not self._files:
            return []
        ids = self._ids[self._at : self._at + IN_STEP]
        parts: list[Part] = []
        size = 0
        for chunk, (path, length) in zip(ids, self._core.blobs.recent(self._scope, ids), strict=False):
            parts.append(Part(HEAD.pack(chunk, length), path, length))
            size += length
            if size >= STEP:
                break
        self._at += len(parts)
        return parts


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
        pieces.append(HEAD.pack(ids[at], NOT_THERE if sealed is None else len(sealed)))
        pieces.append(sealed or b"")
        size += len(pieces[-1]) + HEAD.size
        at += 1
    return b"".join(pieces), at


class _Intake:
    """The chunks of one request on their way to the store: verified and written in a thread while the next are read."""

    def __init__(self, request: web.Request, scope: Scope) -> None:
        self._core: Services = services(request)
        self._scope = scope
        self._upload = self._core.blobs.upload(scope)
        self._batch: list[tuple[bytes, Stored]] = []
        self._size = 0
        self._total = 0
        self._storing: asyncio.Future[None] | None = None

    async def take(self, chunk: bytes, sealed: Stored) -> None:
        size = sum(map(len, sealed))
        self._batch.append((chunk, sealed))
        self._size += size
        self._total += size
        if self._size >= STEP:
            await self._flush()

    async def _flush(self) -> None:
        await self._stored()
        await self._core.quota.check(self._scope.user, self._total)
        batch, self._batch, self._size = self._batch, [], 0
        limit = self._core.settings.chunk_limit
        self._storing = asyncio.ensure_future(self._store(batch, limit))

    async def _store(self, batch: list[tuple[bytes, Stored]], limit: int) -> None:
        async with self._core.storing:
            await self._core.carry(_verify_and_add, self._upload, batch, limit)

    async def _stored(self) -> None:
        storing, self._storing = self._storing, None
        if storing is not None:
            await storing

    async def finish(self) -> None:
        """Returns when all is durable."""
        await self._flush()
        await self._stored()
        await self._core.carry(self._upload.commit)
        self._core.quota.add(self._scope.user, self._total)
        self._core.arrivals.tell(self._scope)

    async def abort(self) -> None:
        """Forget what is not durable; nothing after `finish`."""
        if self._storing is not None:
            await asyncio.gather(self._storing, return_exceptions=True)
        await self._core.carry(self._upload.abort)


def _verify_and_add(upload: Upload, batch: list[tuple[bytes, Stored]], limit: int) -> None:
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
