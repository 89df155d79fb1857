"""Signing in: a name and a password become a token; what a server offers; the devices of an account."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct

from ssyncd.content.packed import FORM
from ssyncd.errors import RefusedError, RemoteError, SignInError, UsageError
from ssyncd.network.http import Answer, HttpServer, checked_url, explain, part, refuse
from ssyncd.network.proxy import is_here

APP = "ssyncd"
OBJECT_LIMIT = 512 * 1024
PLAIN_WINDOW = 100
# Simperium's own service answers sign-in at a host of its own.
_SIGN_IN_HOSTS = {"https://api.simperium.com": "https://auth.simperium.com"}
_BUCKET_SAFE = "-._"
CHUNKS = ".chunks"
"""What the name of a bucket of chunks ends in."""
_BUCKET_LENGTH = 64 - len(CHUNKS)


class Service(Struct, frozen=True):
    """Which application to sign in to, and whom to trust: `ca_file` instead of the system's authorities.

    `auth_url` is what `/1/APP/authorize/` is below, `websocket_url` the whole URL of the socket; "": below the server's URL.
    """

    app: str = APP
    api_key: str = APP
    ca_file: Path | None = None
    auth_url: str = ""
    websocket_url: str = ""


DEFAULT_SERVICE = Service()


class Account(Struct, frozen=True):
    """A user at a server, and the token that stands for both. Every field is kept between runs.

    `websocket_url` as in `Service`.
    """

    url: str
    app: str
    user: str
    user_id: str
    token: str
    websocket_url: str = ""

    @property
    def socket(self) -> str:
        """The URL of the websocket."""
        return self.websocket_url or websocket_url(self.url, self.app)

    @property
    def exposed(self) -> bool:
        """Whether the token travels unencrypted to another machine."""
        return is_exposed(self.url) or is_exposed(self.socket)


class Extensions(Struct, frozen=True):
    """What a server offers beyond plain Simperium; sizes in bytes, `window` the changes that may be unanswered, `removed` a list
    of the objects that are not there any more, `moments` an index as it was at any time, `forget` the end of a history,
    `gaps` a log that is never too old."""

    chunks: bool = False
    object_limit: int = OBJECT_LIMIT
    chunk_limit: int = 0
    request_limit: int = 0
    window: int = PLAIN_WINDOW
    devices: bool = False
    lean: bool = False
    notices: bool = False
    packed: bool = False
    removed: bool = False
    moments: bool = False
    forget: bool = False
    gaps: bool = False


class Device(Struct, frozen=True):
    """A token by the name it was given; times as the server writes them."""

    name: str
    created: str
    used: str
    current: bool


def sign_in(url: str, user: str, password: str, device: str, service: Service = DEFAULT_SERVICE) -> Account:
    """A new token. SignInError, NetworkError, RemoteError (no Simperium server there), UsageError (no URL)."""
    url = checked_url(url)
    if service.websocket_url and not valid_websocket_url(service.websocket_url):
        raise UsageError(f"{service.websocket_url!r} is not the URL of a websocket: it starts with wss:// or ws://")
    body = json.dumps({"username": user, "password": password, "device": device}).encode()
    headers = {"X-Simperium-API-Key": service.api_key, "Content-Type": "application/json"}
    with _server(service.auth_url or _SIGN_IN_HOSTS.get(url, url), "", service.ca_file) as server:
        answer = server.ask("POST", f"/1/{part(service.app)}/authorize/", body, headers)
    if answer.status in (400, 401, 403):
        raise SignInError(f"{url}: name or password not accepted: {explain(answer)}")
    value = _object(url, answer)
    token, user_id = value.get("access_token"), value.get("userid", "")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise RemoteError(f"{url}: the answer to the sign-in holds no token")
    return Account(url, service.app, str(value.get("username") or user), str(user_id), token, service.websocket_url)


def discover(server: HttpServer, app: str = APP, object_limit: int = OBJECT_LIMIT) -> Extensions:
    """What the server offers; a plain Simperium server says nothing of it, not even how large an object may be, so that
    `object_limit` (bytes) is believed. NetworkError; RemoteError for no such server."""
    told = _told(server, app)
    return _extensions(told) if told else Extensions(object_limit=object_limit)


def _told(server: HttpServer, app: str) -> Mapping[str, Any]:
    """What a server of ours says of itself, with `limits`; empty from any other. NetworkError, RemoteError."""
    # No connection is kept until it is asked again: it may be another network then.
    answer = server.ask("GET", f"/1/{part(app)}/", headers={"Connection": "close"})
    if 400 <= answer.status < 500:
        return {}
    value = _object(server.url, answer)
    ours = isinstance(value.get("limits"), Mapping) and str(value.get("server", "")).startswith("ssyncd/")
    return value if ours else {}


def _extensions(value: Mapping[str, Any]) -> Extensions:
    limits = value["limits"]
    return Extensions(
        chunks=value.get("chunks") == 1,
        object_limit=_limit(limits, "object", OBJECT_LIMIT),
        chunk_limit=_limit(limits, "chunk", 0),
        request_limit=_limit(limits, "request", 0),
        window=_limit(limits, "window", PLAIN_WINDOW),
        devices=value.get("devices") == 1,
        lean=value.get("lean") == 1,
        notices=value.get("notices") == 1,
        packed=value.get("packed") == FORM,
        removed=value.get("removed") == 1,
        moments=value.get("moments") == 1,
        forget=value.get("forget") == 1,
        gaps=value.get("gaps") == 1,
    )


def devices(account: Account, ca_file: Path | None = None) -> list[Device]:
    """Every token of the account. SignInError, NetworkError, RefusedError (404: a plain server has no such list)."""
    _check_ours(account, ca_file)
    with _server(account.url, account.token, ca_file) as server:
        answer = server.ask("GET", f"/1/{part(account.app)}/devices/")
    refuse(answer)
    rows = answer.json()
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RemoteError(f"{account.url}: the list of devices is none")
    return [
        Device(
            str(row.get("name", "")), str(row.get("created", "")), str(row.get("used", "")), row.get("current") is True
        )
        for row in rows
    ]


def revoke(account: Account, device: str, ca_file: Path | None = None) -> bool:
    """Take a device's tokens away; False if there is no such device. SignInError, NetworkError, RefusedError."""
    return _delete(account, f"devices/{part(device)}", ca_file)


def _delete(account: Account, what: str, ca_file: Path | None) -> bool:
    """False if there is no such thing."""
    _check_ours(account, ca_file)
    with _server(account.url, account.token, ca_file) as server:
        answer = server.ask("DELETE", f"/1/{part(account.app)}/{what}")
    if answer.status == 404:
        return False
    refuse(answer)
    return True


def logout(account: Account, ca_file: Path | None = None) -> bool:
    """Revoke this account's own token; False if the server knows it no more. NetworkError, RefusedError (404: a plain server
    ends no token)."""
    _check_ours(account, ca_file)
    with _server(account.url, account.token, ca_file) as server:
        answer = server.ask("POST", f"/1/{part(account.app)}/logout/")
    if answer.status == 401:
        return False
    refuse(answer)
    return True


def _check_ours(account: Account, ca_file: Path | None) -> None:
    with _server(account.url, "", ca_file) as server:
        told = _told(server, account.app)
    if told.get("devices") != 1:
        raise RefusedError(f"{account.url}: this server lists and ends no access tokens, and removes no folders", 404)


def bucket_name(folder: str) -> str:
    """The bucket of a folder: percent-encoded to A-Za-z0-9._-%; a name that gets too long is cut and ends in its hash."""
    name = quote(folder, safe=_BUCKET_SAFE, errors="surrogateescape").replace("~", "%7E")
    if not name:
        raise ValueError("a folder needs a name")
    if len(name) <= _BUCKET_LENGTH:
        return name
    digest = hashlib.blake2b(folder.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return f"{name[: _BUCKET_LENGTH - len(digest) - 1]}-{digest}"


def folder_name(bucket: str) -> str:
    """The folder of a bucket; of one whose name was cut, what is left of it."""
    return unquote(bucket, errors="surrogateescape")


def folder_names(account: Account, ca_file: Path | None = None) -> list[str]:
    """The folders that the account has at its server, sorted; what other programs keep there is among them. SignInError,
    NetworkError, RefusedError."""
    with _server(account.url, account.token, ca_file) as server:
        answer = server.ask("GET", f"/1/{part(account.app)}/buckets")
    refuse(answer)
    value = answer.json()
    rows = value.get("buckets") if isinstance(value, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("name") for row in rows):
        raise RemoteError(f"{account.url}: the list of folders is none")
    buckets = {str(row["name"]) for row in rows}
    chunks = {bucket for bucket in buckets if bucket.removesuffix(CHUNKS) in buckets - {bucket}}
    return sorted(folder_name(bucket) for bucket in buckets - chunks)


def remove_folder(account: Account, name: str, ca_file: Path | None = None) -> bool:
    """Remove a folder from the server, with its history; False if there is none. SignInError, NetworkError, RefusedError (409: a
    machine syncs it now; 404: a plain server removes none)."""
    try:
        return _delete(account, f"buckets/{part(bucket_name(name))}", ca_file)
    except RefusedError as error:
        if error.code != 409:
            raise
        raise RefusedError(f"{name}: a machine syncs it now: end that first", 409) from error


def websocket_url(url: str, app: str = APP) -> str:
    """Where the socket of an application is."""
    return f"ws{checked_url(url).removeprefix('http')}/sock/1/{part(app)}/websocket"


def valid_websocket_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def is_exposed(url: str) -> bool:
    """Whether what is sent to this URL can be read on the way: no TLS, and not to this machine itself."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "ws"):
        return False
    return not is_here(parts.hostname or "")


@contextmanager
def _server(url: str, token: str, ca_file: Path | None) -> Iterator[HttpServer]:
    server = HttpServer(url, token, ca_file, connections=1)
    try:
        yield server
    finally:
        server.close()


def _object(url: str, answer: Answer) -> dict[str, Any]:
    if answer.status != 200:
        raise RemoteError(f"{url}: no Simperium server: {explain(answer)}")
    value = answer.json()
    if not isinstance(value, dict):
        raise RemoteError(f"{url}: no Simperium server: the answer is no object")
    return value


def _limit(limits: Mapping[str, Any], name: str, default: int) -> int:
    value = limits.get(name)
    return value if type(value) is int and 0 < value < 1 << 40 else default
