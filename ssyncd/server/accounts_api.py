"""Signing in and out over HTTP (section 6 of the notes, and our devices)."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from aiohttp import web

from ssyncd.errors import ProtocolError, RefusedError, SignInError, UsageError
from ssyncd.protocol.encoding import loads
from ssyncd.server.accounts import Accounts
from ssyncd.server.answers import API_KEY_HEADER, LaterError, app_of, as_json, extension, services, signed_in
from ssyncd.server.rates import Rate
from ssyncd.server.sessions import SESSIONS
from ssyncd.server.storage.base import Token, User

T = TypeVar("T")

# One machine may sign in several users.
NAMES_PER_ADDRESS = 5
WAITING = 32

RATES: web.AppKey["SignInRates"] = web.AppKey("rates")


class SignInRates:
    """Limits per address and per address and name, and on how many sign-ins wait at once."""

    def __init__(self, per_minute: int) -> None:
        self._names = Rate(per_minute)
        self._addresses = Rate(per_minute * NAMES_PER_ADDRESS)
        self.waiting = 0

    def check(self, address: str | None, name: str) -> None:
        """LaterError 429 or 503."""
        wait = max(self._addresses.wait(address), self._names.wait((address, name.lower())))
        if wait:
            raise LaterError("too many attempts", 429, wait)
        if self.waiting >= WAITING:
            raise LaterError("too many are signing in", 503, 2)


def routes() -> list[web.AbstractRouteDef]:
    return [
        web.post(r"/1/{app}/authorize{end:/?}", authorize),
        web.post(r"/1/{app}/create{end:/?}", create),
        web.post(r"/1/{app}/update{end:/?}", update),
        web.post(r"/1/{app}/logout{end:/?}", logout),
        web.get(r"/1/{app}/devices{end:/?}", devices),
        web.delete(r"/1/{app}/devices/{device}", revoke),
        web.get(r"/1/{app}/user{end:/?}", user),
    ]


async def authorize(request: web.Request) -> web.Response:
    fields = await _credentials(request)
    return await _signed_in(request, await _verify(request, fields), fields)


async def create(request: web.Request) -> web.Response:
    fields = await _credentials(request)
    accounts = _accounts(request)
    if not services(request).settings.open_accounts:
        raise RefusedError("accounts are made on the server, with `ssyncd user add`", 403)
    try:
        made = await hashing(request, accounts.add, fields["username"], fields["password"])
    except UsageError as refusal:
        taken = fields["username"].strip().lower() in map(str.lower, accounts.names())
        raise RefusedError(str(refusal), 409 if taken else 400) from refusal
    return await _signed_in(request, made, fields)


async def update(request: web.Request) -> web.Response:
    fields = await _credentials(request)
    known = await _verify(request, fields)
    accounts = _accounts(request)
    name = known.name
    if fields.get("new_username"):
        accounts.rename(name, fields["new_username"])
        name = fields["new_username"]
    if fields.get("new_password"):
        await hashing(request, accounts.set_password, name, fields["new_password"])
    return as_json({"status": "success"})


async def logout(request: web.Request) -> web.Response:
    token = extension(request)
    services(request).accounts.end([token])
    request.app[SESSIONS].revoke({token.digest})
    return as_json({"status": "success"})


async def devices(request: web.Request) -> web.Response:
    token = extension(request)
    tokens = services(request).accounts.tokens_of(token.user)
    return as_json([_device(one, token) for one in tokens])


async def revoke(request: web.Request) -> web.Response:
    token = extension(request)
    ended = services(request).accounts.revoke_device(token.user, request.match_info["device"])
    if not ended:
        raise RefusedError("no such device", 404)
    request.app[SESSIONS].revoke({one.digest for one in ended})
    return as_json({"status": "success"})


async def user(request: web.Request) -> web.Response:
    token = signed_in(request)
    return as_json({"userid": token.user, "username": token.user_name})


def _accounts(request: web.Request) -> Accounts:
    """Those of the application in the path."""
    return services(request).accounts.of(app_of(request))


def _device(one: Token, asking: Token) -> dict[str, Any]:
    current = one.digest == asking.digest
    return {"name": one.device, "created": one.created, "used": one.used, "current": current}


async def _credentials(request: web.Request) -> dict[str, str]:
    """Name and password, after the rate of sign-ins. RefusedError, LaterError."""
    fields = body_fields(await request.read())
    key = request.headers.get(API_KEY_HEADER) or fields.get("client_id", "")
    if not services(request).applications.admits(app_of(request), key):
        raise RefusedError("API key invalid", 401)
    if not fields.get("username", "").strip() or not fields.get("password"):
        raise RefusedError("username and password are needed", 400)
    request.app[RATES].check(request.remote, fields["username"])
    return fields


def body_fields(body: bytes) -> dict[str, str]:
    """JSON, whatever the content type says, else a form."""
    try:
        value: Any = loads(body)
    except ProtocolError:
        value = dict(parse_qsl(body.decode("utf-8", "replace")))
    if not isinstance(value, Mapping):
        raise RefusedError("no JSON object in the body", 400)
    return {str(name): str(field) for name, field in value.items() if isinstance(field, str) and _encodable(field)}


def _encodable(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


async def _verify(request: web.Request, fields: dict[str, str]) -> User:
    try:
        return await hashing(request, _accounts(request).verify, fields["username"], fields["password"])
    except SignInError as refusal:
        raise RefusedError(str(refusal), 401) from refusal


async def hashing(request: web.Request, work: Callable[[str, str], T], name: str, password: str) -> T:
    rates = request.app[RATES]
    rates.waiting += 1
    try:
        return await services(request).hash_password(work, name, password)
    finally:
        rates.waiting -= 1


async def _signed_in(request: web.Request, known: User, fields: dict[str, str]) -> web.Response:
    core = services(request)
    secret = await core.read(core.accounts.issue, known, fields.get("device") or "unnamed")
    return as_json({"username": known.name, "access_token": secret, "userid": known.id})
