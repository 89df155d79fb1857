"""The log over HTTP (section 6 of the notes): changes after a cv, and changes sent as a list."""

import asyncio

from aiohttp import web

from ssyncd.errors import ProtocolError, RefusedError
from ssyncd.protocol.changes import BadChange, ClientChange, parse_client_change
from ssyncd.protocol.encoding import loads
from ssyncd.server.answers import bucket_of, services, signed_in
from ssyncd.server.entries import encode, refusal
from ssyncd.server.hub import Waiter
from ssyncd.server.services import Services

MOST = 1000
SIZE = 4 * 1024 * 1024
POLL_SECONDS = 50.0


def routes() -> list[web.AbstractRouteDef]:
    return [
        web.get(r"/1/{app}/{bucket}/changes", get),
        web.post(r"/1/{app}/{bucket}/changes", post),
    ]


async def get(request: web.Request) -> web.Response:
    core = services(request)
    bucket = await bucket_of(request, signed_in(request))
    position = position_of(core, bucket, request.query.get("cv", ""))
    found = await core.read(_since, core, bucket, position) or await _wait(core, bucket, position)
    return _list(found)


async def _wait(core: Services, bucket: int, position: int) -> list[bytes]:
    """A long poll: the changes that come, or none after a while."""
    waiter = Waiter(position)
    feed = core.hub.join(bucket, waiter)
    try:
        # One may have come between the look into the database and here.
        if feed.head <= position and not await waiter.wait(POLL_SECONDS):
            return []
        return await core.read(_since, core, bucket, position)
    finally:
        core.hub.leave(feed, waiter)


def position_of(core: Services, bucket: int, cv: str) -> int:
    """Where the log of a bucket stood at a cv. RefusedError 404 if it is unknown (any more)."""
    position = 0 if cv in ("", "0") else core.writer.positions.parse(bucket, cv)
    if position is None or not core.storage.floor(bucket) <= position <= core.storage.head(bucket):
        raise RefusedError("unknown cv", 404)
    return position


def _since(core: Services, bucket: int, position: int) -> list[bytes]:
    rows = core.storage.since(bucket, position, MOST, SIZE)
    return [encode(row, core.writer.positions).text for row in rows]


async def post(request: web.Request) -> web.Response:
    core = services(request)
    bucket = await bucket_of(request, signed_in(request))
    client = request.query.get("clientid", "")[:256] or "http"
    changes = loads(await request.read())
    if not isinstance(changes, list) or len(changes) > MOST:
        raise ProtocolError(f"a list of up to {MOST} changes is needed")
    parsed = [parse_client_change(change) for change in changes]
    answers = asyncio.gather(*(_apply(core, bucket, client, change) for change in parsed))
    if request.query.get("wait") != "1":
        await answers
        return _list([])
    return _list([answer for part in await answers for answer in part])


async def _apply(core: Services, bucket: int, client: str, change: ClientChange | BadChange) -> list[bytes]:
    if isinstance(change, BadChange):
        return [refusal(client, change.key, change.ccid, change.code)]
    outcome = await core.submit(bucket, client, change)
    if isinstance(outcome, int):
        return [refusal(client, change.key, change.ccid, outcome)]
    return [entry.text for entry in outcome]


def _list(elements: list[bytes]) -> web.Response:
    return web.Response(body=b"[%b]" % b",".join(elements), content_type="application/json")
