"""Objects over HTTP (section 6 of the notes): a change here appears on the sockets, and the other way round."""

import re
import uuid
from typing import Any

from aiohttp import web

from ssyncd.errors import ProtocolError, RefusedError, StateError
from ssyncd.protocol.changes import MODIFY, REMOVE, ClientChange
from ssyncd.protocol.encoding import loads
from ssyncd.protocol.jsondiff import diff, equal
from ssyncd.protocol.messages import valid_ccid
from ssyncd.server import acceptance
from ssyncd.server.answers import (
    VERSION_HEADER,
    Handler,
    as_json,
    bucket_name,
    bucket_of,
    extension,
    json_object,
    key_of,
    services,
    signed_in,
)
from ssyncd.server.changes_api import position_of
from ssyncd.server.entries import creation
from ssyncd.server.index import LIMIT, PAGE_BYTES, Mark, Page, PageAnswer, read_mark, read_page
from ssyncd.server.writer import INTERNAL

# HTTP has no status for the codes that only the socket knows.
_STATUS = {acceptance.WRONG_SOURCE: 404, acceptance.DOES_NOT_APPLY: 400}
_TEXT = {
    400: "bad request",
    404: "not found",
    409: "duplicate change",
    412: "no change",
    413: "object too large",
    507: "no room for it: the server's disk is full, or the account has stored all it may",
}


def routes() -> list[web.AbstractRouteDef]:
    both: list[tuple[str, Handler]] = [("GET", get), ("POST", post), ("DELETE", delete)]
    return [
        *(web.route(method, r"/1/{app}/{bucket}/i/{key}", handler) for method, handler in both),
        *(web.route(method, r"/1/{app}/{bucket}/i/{key}/v/{version:\d{1,15}}", handler) for method, handler in both),
        web.get(r"/1/{app}/{bucket}/index", index),
        web.get(r"/1/{app}/{bucket}/removed", removed),
        web.post(r"/1/{app}/{bucket}/forget", forget),
        web.get(r"/1/{app}/buckets{end:/?}", buckets),
        web.delete(r"/1/{app}/buckets/{bucket}", remove_bucket),
    ]


async def get(request: web.Request) -> web.Response:
    bucket = await bucket_of(request, signed_in(request))
    version, data = _found(request, bucket)
    return _object(version, data)


async def post(request: web.Request) -> web.Response:
    bucket = await bucket_of(request, signed_in(request))
    body = await json_object(request)
    outcome = await services(request).submit(bucket, _client(request), _change(request, bucket, body))
    version = _version_of(outcome)
    if request.query.get("response") != "1":
        return web.Response(headers={VERSION_HEADER: str(version)})
    return _object(version, services(request).storage.version(bucket, key_of(request), version) or b"{}")


def _change(request: web.Request, bucket: int, body: dict[str, Any]) -> ClientChange:
    """What a POST means: top-level members set, or with `replace=1` the whole object, from the version it names."""
    key, ccid = key_of(request), _ccid(request)
    named = "version" in request.match_info
    replace = request.query.get("replace") == "1"
    if not named and not replace:
        # As two that make one key at once: equal members vanish, others replace.
        return ClientChange(key, MODIFY, ccid, None, creation(body))
    found = services(request).storage.current(bucket, key)
    if not named and found is None:
        return ClientChange(key, MODIFY, ccid, None, creation(body))
    source, data = _found(request, bucket)
    base = loads(data)
    meant = body if replace else base | body
    if equal(base, meant):
        raise RefusedError(_TEXT[412], 412)
    return ClientChange(key, MODIFY, ccid, source, diff(base, meant))


async def delete(request: web.Request) -> web.Response:
    bucket = await bucket_of(request, signed_in(request))
    key = key_of(request)
    if services(request).storage.current(bucket, key) is None:
        raise RefusedError(_TEXT[404], 404)
    source = int(request.match_info["version"]) if "version" in request.match_info else None
    removal = ClientChange(key, REMOVE, _ccid(request), source)
    outcome = await services(request).submit(bucket, _client(request), removal)
    return web.Response(headers={VERSION_HEADER: str(_version_of(outcome))})


async def index(request: web.Request) -> web.Response:
    core = services(request)
    bucket = await bucket_of(request, signed_in(request))
    mark = read_mark(request.query.get("mark", ""))
    at = await _as_of(request, bucket) if mark is None else mark.position
    limit = request.query.get("limit", "")
    page = Page(
        bucket,
        "" if mark is None else mark.after,
        at,
        int(limit) if limit.isdecimal() and len(limit) < 10 else None,
        request.query.get("data") in ("1", "true"),
        position_of(core, bucket, request.query.get("since", "")),
    )
    answer = await core.read(read_page, core.storage, page)
    body = answer.json(core.writer.positions.text(bucket, at), count=True)
    return web.Response(body=body, content_type="application/json")


async def _as_of(request: web.Request, bucket: int) -> int:
    """The position of which an index is wanted: the newest; or, an extension, that of a `time` in seconds since the epoch."""
    core, time = services(request), request.query.get("time", "")
    head = core.storage.head(bucket)
    if core.settings.plain or not re.fullmatch(r"[0-9]{1,15}", time):
        return head
    return min(head, await core.read(core.storage.position_at, int(time)))


async def removed(request: web.Request) -> web.Response:
    """An extension: objects that are not there any more, each with its last version, as in an index, and when it went (`at`)."""
    core = services(request)
    bucket = await bucket_of(request, extension(request))
    mark = read_mark(request.query.get("mark", ""))
    after = "" if mark is None else mark.after
    listed = await core.read(core.storage.removed, bucket, after, LIMIT, PAGE_BYTES)
    full = len(listed) == LIMIT or sum(len(one.data or b"") for one in listed) > PAGE_BYTES
    answer = PageAnswer(listed, Mark(0, listed[-1].key) if full else None)
    return web.Response(body=answer.json(""), content_type="application/json")


async def forget(request: web.Request) -> web.Response:
    """An extension: of these objects all versions before the one named, but never the newest."""
    core = services(request)
    bucket = await bucket_of(request, extension(request))
    before = (await json_object(request)).get("before")
    if not isinstance(before, dict) or len(before) > LIMIT or not all(map(_is_version, before.values())):
        raise ProtocolError(f"no versions of at most {LIMIT} keys")
    return as_json({"forgotten": await core.read(core.storage.forget_history, bucket, before)})


def _is_version(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


async def buckets(request: web.Request) -> web.Response:
    token = signed_in(request)
    names = services(request).storage.buckets(token.user, token.app)
    return as_json({"buckets": [{"name": name} for name, _ in names]})


async def remove_bucket(request: web.Request) -> web.Response:
    """An extension."""
    await services(request).remove_bucket(extension(request), bucket_name(request))
    return as_json({"status": "success"})


def _found(request: web.Request, bucket: int) -> tuple[int, bytes]:
    """The version that the path names, or the current one. RefusedError 404."""
    storage, key = services(request).storage, key_of(request)
    if "version" not in request.match_info:
        current = storage.current(bucket, key)
        if current is not None:
            return current
    else:
        version = int(request.match_info["version"])
        data = storage.version(bucket, key, version)
        if data is not None:
            return version, data
    raise RefusedError(_TEXT[404], 404)


def _object(version: int, data: bytes) -> web.Response:
    return web.Response(body=data, headers={VERSION_HEADER: str(version)}, content_type="application/json")


def _client(request: web.Request) -> str:
    return request.query.get("clientid", "")[:256] or "http"


def _ccid(request: web.Request) -> str:
    ccid = request.query.get("ccid") or uuid.uuid4().hex
    if not valid_ccid(ccid):
        raise ProtocolError("no ccid: 1 to 256 letters, digits and dashes")
    return ccid


def _version_of(outcome: Any) -> int:
    """The version a change made. RefusedError, StateError."""
    if isinstance(outcome, int):
        if outcome == INTERNAL:
            raise StateError("a change could not be stored")
        status = _STATUS.get(outcome, outcome)
        raise RefusedError(_TEXT.get(status, "refused"), status)
    version: int = outcome[0].version
    return version
