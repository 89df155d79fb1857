"""Answers over HTTP: JSON, errors included, and who may have them."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from ssyncd.errors import ContentError, DiskError, NoSpaceError, ProtocolError, RefusedError, StateError, UsageError
from ssyncd.protocol.encoding import dumps_stored, loads
from ssyncd.protocol.messages import valid_bucket, valid_key
from ssyncd.server.services import Services
from ssyncd.server.storage.base import Token

log = logging.getLogger(__name__)

SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

API_KEY_HEADER = "X-Simperium-API-Key"
TOKEN_HEADER = "X-Simperium-Token"
USER_HEADER = "X-Simperium-User"
VERSION_HEADER = "X-Simperium-Version"
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": f"{API_KEY_HEADER}, {TOKEN_HEADER}, {USER_HEADER}, Content-Type",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Expose-Headers": VERSION_HEADER,
}


class LaterError(RefusedError):
    """429 or 503: worth another try after so many seconds."""

    def __init__(self, text: str, code: int, retry_after: int) -> None:
        super().__init__(text, code)
        self.retry_after = retry_after


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=dumps_stored(value), status=status, headers=headers, content_type="application/json")


def error(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return as_json({"msg": text, "code": status}, status, headers)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method == "OPTIONS":
        return web.Response(status=204, headers=_CORS)
    response = await _answer(request, handler)
    if not response.prepared:
        # Tokens are headers, not cookies: any origin may try.
        response.headers.update(_CORS)
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except LaterError as refusal:
        return error(refusal.code, str(refusal), {"Retry-After": str(refusal.retry_after)})
    except RefusedError as refusal:
        return error(refusal.code, str(refusal))
    except web.HTTPException as refusal:
        allow = refusal.headers.get("Allow")
        return error(refusal.status, refusal.reason, {"Allow": allow} if allow else None)
    except (ProtocolError, ContentError, UsageError) as refusal:
        return error(400, str(refusal))
    except (StateError, DiskError) as failure:
        return _storage_failed(failure)
    except Exception as failure:  # top of a request: whatever is odd about it must not come out as a page of HTML
        if isinstance(failure, ConnectionError) or failure is request.content.exception():
            # The client went away in the middle of its request (ETIMEDOUT and EHOSTUNREACH are no ConnectionError);
            # nobody reads this.
            log.debug("%s %s: %s", request.method, request.path, failure)
            return error(400, "the request broke off")
        log.exception("%s %s", request.method, request.path)
        return error(500, "internal error")


def _storage_failed(failure: StateError | DiskError) -> web.Response:
    log.warning("%s", failure)
    if isinstance(failure, NoSpaceError):
        return error(507, f"the server's disk is full ({failure.reason})")
    return error(503, "the server cannot use its storage", {"Retry-After": "5"})


def services(request: web.Request) -> Services:
    return request.app[SERVICES]


def app_of(request: web.Request) -> str:
    """Application ids are case-insensitive."""
    return request.match_info["app"].lower()


def signed_in(request: web.Request) -> Token:
    """The token of a request, valid for the application in its path; with an admin's, any user can be acted for.
    RefusedError 401, 404."""
    core, app = services(request), app_of(request)
    token = core.check(request.headers.get(TOKEN_HEADER, ""))
    if token is None or token.app != app:
        raise RefusedError("Token invalid", 401)
    picked = request.headers.get(USER_HEADER)
    if picked is None or not token.admin:
        return token
    user = core.accounts.of(app).by_id(picked)
    if user is None:
        raise RefusedError("no such user", 404)
    return replace(token, user=user.id, user_name=user.name)


def extension(request: web.Request) -> Token:
    """The token of a request that plain Simperium does not have. RefusedError."""
    if services(request).settings.plain:
        raise RefusedError("not found", 404)
    return signed_in(request)


async def bucket_of(request: web.Request, token: Token) -> int:
    return await services(request).bucket(token, bucket_name(request))


def bucket_name(request: web.Request) -> str:
    name = request.match_info["bucket"]
    if not valid_bucket(name):
        raise RefusedError("no name of a bucket", 400)
    return name


def key_of(request: web.Request) -> str:
    key = request.match_info["key"]
    if not valid_key(key):
        raise RefusedError("no key of an object", 400)
    return key


async def json_object(request: web.Request) -> dict[str, Any]:
    """The body; ProtocolError if it is no JSON object."""
    value = loads(await request.read())
    if not isinstance(value, dict):
        raise ProtocolError("no JSON object in the body")
    return value
