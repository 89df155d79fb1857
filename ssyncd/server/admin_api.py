"""What only an admin may do to accounts over HTTP (section 6 of the notes): set a password, remove a user.

The admin key is an access token of `ssyncd user token NAME --admin`, shown where others show the API key.
"""

from aiohttp import web

from ssyncd.errors import RefusedError
from ssyncd.server.accounts import Accounts
from ssyncd.server.accounts_api import body_fields, hashing
from ssyncd.server.answers import API_KEY_HEADER, app_of, as_json, services
from ssyncd.server.sessions import SESSIONS


def routes() -> list[web.AbstractRouteDef]:
    return [
        web.post(r"/1/{app}/reset_password{end:/?}", reset_password),
        web.post(r"/1/{app}/delete{end:/?}", delete),
    ]


async def reset_password(request: web.Request) -> web.Response:
    accounts, fields = await _administered(request)
    await hashing(request, accounts.set_password, fields["username"], fields.get("new_password", ""))
    return as_json({"status": "success"})


async def delete(request: web.Request) -> web.Response:
    """The user and all it has; whatever is signed in as it learns that at once."""
    accounts, fields = await _administered(request)
    tokens = await services(request).read(accounts.remove, fields["username"])
    request.app[SESSIONS].revoke({token.digest for token in tokens})
    return as_json({"status": "success"})


async def _administered(request: web.Request) -> tuple[Accounts, dict[str, str]]:
    """The accounts, and a body that names one of them. RefusedError 401 or 403 without an admin key, 404 for no such user."""
    core, app = services(request), app_of(request)
    fields = body_fields(await request.read())
    key = request.headers.get(API_KEY_HEADER) or fields.get("client_id", "")
    token = core.check(key)
    if token is None or token.app != app or not token.admin:
        known = token is not None or core.applications.admits(app, key)
        raise RefusedError("this needs an admin key" if known else "API key invalid", 403 if known else 401)
    accounts = core.accounts.of(app)
    if fields.get("username", "").strip().lower() not in map(str.lower, accounts.names()):
        raise RefusedError("no such user", 404)
    return accounts, fields
