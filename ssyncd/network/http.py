"""Requests to one server over HTTP: a pool of connections, errors mapped, answers bounded, and an end to all of it on close."""

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from weakref import WeakSet

import urllib3
from msgspec import Struct
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from ssyncd.errors import (
    ConfigError,
    NetworkError,
    RefusedError,
    RemoteError,
    SignInError,
    SsyncdError,
    UntrustedError,
    UsageError,
)
from ssyncd.network.reach import Reach, reach
from ssyncd.network.throttle import UNLIMITED, Limits, Throttle

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
MAX_ANSWER = 1024 * 1024
MAX_ERROR_TEXT = 300
LONGEST_WAIT = 3600.0
# 500 is here because a server that stumbled once may well not the next time; the callers' number of tries is bounded.
PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))

Response = urllib3.BaseHTTPResponse


class Answer(Struct, frozen=True):
    status: int
    data: bytes

    def json(self) -> Any:
        """RemoteError if it is none."""
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError) as error:
            raise RemoteError(f"the server answered no JSON: {_extract(self.data)}") from error


class HttpServer:
    """Everything under one URL; thread-safe. NetworkError, SignInError, RefusedError, RemoteError as in `ssyncd.errors`.

    `renew` and `close` end requests that are under way (NetworkError there), which is why it keeps the sockets in view.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        ca_file: Path | None = None,
        connections: int = 8,
        limits: Limits = UNLIMITED,
    ) -> None:
        self.url = checked_url(url)
        self._limits = limits
        self._ended = threading.Event()
        self._headers = {"X-Simperium-Token": token} if token else {}
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._reaches: WeakSet[Reach] = WeakSet()
        self._lock = threading.Lock()  # guards _sockets, _reaches and _closed
        self._closed = False
        self._pool = self._new_pool(ca_file, connections)
        self._root = urlsplit(self.url).path

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        limit: int = MAX_ANSWER,
    ) -> Answer:
        """One request, the whole answer, whatever its status but a passing one; RemoteError if it is over `limit` bytes."""
        response = self.open(method, path, (body,) if body else (), headers)
        try:
            answer = Answer(response.status, read_all(response, limit))
        finally:
            response.release_conn()
        if answer.status in PASSING:
            raise NetworkError(f"{self.url}: {explain(answer)}", retry_after(response.headers))
        self.received(len(answer.data))
        return answer

    def received(self, size: int) -> None:
        """So many bytes of an answer have come: returns when the next may."""
        if self._limits.down is not None:
            self._ended.wait(self._limits.down.reserve(size))

    def _in_time(self, pieces: Iterable[bytes | memoryview], limit: Throttle) -> Iterator[bytes | memoryview]:
        for piece in pieces:
            for at in range(0, len(piece), limit.slice):
                some = memoryview(piece)[at : at + limit.slice]
                self._ended.wait(limit.reserve(len(some)))
                yield some

    def open(
        self,
        method: str,
        path: str,
        content: Iterable[bytes | memoryview] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """One request; the caller reads the answer and then calls `release_conn`, or `close` on the response to give up."""
        pieces = [piece for piece in content if piece]
        length = {"Content-Length": str(sum(map(len, pieces)))} if pieces or method != "GET" else {}
        up = self._limits.up
        body = self._in_time(pieces, up) if up is not None and pieces else pieces
        try:
            response = self._pool.urlopen(
                method,
                self._root + path,
                body=body or None,  # type: ignore[arg-type]  # it sends whatever a socket takes
                headers={**self._headers, **length, **(headers or {})},
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
            )
        except (HTTPError, OSError, ValueError) as error:
            raise self._map(error) from error
        if self._closed:
            response.close()
            raise NetworkError(f"{self.url}: the connection was closed here")
        self._check_kind(response)
        return response

    def close(self) -> None:
        """End requests under way and take no more."""
        with self._lock:
            self._closed = True
        self._ended.set()
        self.renew()
        self._pool.close()

    def renew(self) -> None:
        """End every connection: those at rest are not used again."""
        with self._lock:
            sockets, reaches = list(self._sockets), list(self._reaches)
        for way in reaches:
            way.cancel()
        for one in sockets:
            # Closing a descriptor does not wake a thread that waits on it; shutting down does. Past TLS on purpose: a
            # proper goodbye would wait for the peer.
            with suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    def _check_kind(self, response: Response) -> None:
        place = response.headers.get("Location", "")
        if 300 <= response.status < 400:
            response.close()
            # Following it would carry the token to wherever it leads.
            raise RemoteError(f"{self.url}: the server is elsewhere: {place[:MAX_ERROR_TEXT]}")
        # A hotel's sign-in page says 200 to everything: never take that for "stored".
        if response.status < 400 and response.headers.get("Content-Type", "").startswith("text/html"):
            response.close()
            raise RemoteError(f"{self.url}: a web page where a server should answer")
        # http.client takes the end of a broken connection for the end of the headers: such an answer would be empty, not cut off.
        length, coding = response.headers.get("Content-Length", ""), response.headers.get("Transfer-Encoding", "")
        if response.status == 200 and not length.isdigit() and coding.lower() != "chunked":
            response.close()
            raise NetworkError(f"{self.url}: the answer broke off, or does not say how long it is")

    def _map(self, error: Exception) -> SsyncdError:
        if self._closed:
            return NetworkError(f"{self.url}: the connection was closed here")
        if (why := _distrust(error)) is not None:
            return UntrustedError(f"{self.url}: the certificate is not trusted: {why}")
        return NetworkError(f"{self.url}: {_reason(error)}")

    def _connect(self) -> socket.socket:
        way = reach(urlsplit(self.url), CONNECT_TIMEOUT)
        with self._lock:
            self._reaches.add(way)
            if self._closed:
                way.cancel()
        try:
            return self._watch(way.run())
        except OSError as error:
            raise NetworkError(f"{self.url}: {way.why(error)}") from error

    def _watch(self, one: socket.socket) -> socket.socket:
        with self._lock:
            if not self._closed:
                self._sockets.add(one)
                return one
        one.close()
        raise OSError("closed")

    def _new_pool(self, ca_file: Path | None, connections: int) -> HTTPConnectionPool:
        server, parts = self, urlsplit(self.url)

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return server._connect()

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return server._connect()

            def connect(self) -> None:
                super().connect()
                # The plain socket was emptied into this one.
                server._watch(self.sock)

        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT)
        host, port = parts.hostname or "", parts.port
        pool: HTTPConnectionPool
        if parts.scheme == "http":
            pool = HTTPConnectionPool(host, port, timeout=timeout, maxsize=connections)
            pool.ConnectionCls = Plain
        else:
            context = _tls(ca_file)
            pool = HTTPSConnectionPool(host, port, timeout=timeout, maxsize=connections, ssl_context=context)
            pool.ConnectionCls = Secure
        return pool


def checked_url(url: str) -> str:
    """The URL without a slash at its end. UsageError if it is no http(s) URL of a server."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment or parts.username is not None:
        raise UsageError(f"{url!r} is not the URL of a server, as https://example.org or http://127.0.0.1:8730")
    return url.rstrip("/")


def part(text: str) -> str:
    """A text as one component of a path."""
    return quote(text, safe="")


def read_all(response: Response, limit: int) -> bytes:
    """The rest of an answer. RemoteError if it is over `limit` bytes, NetworkError if it breaks off."""
    pieces, missing = [], limit + 1
    # One read more than seems needed: only that tells a broken connection from an end.
    while missing and (piece := read_some(response, missing)):
        pieces.append(piece)
        missing -= len(piece)
    data = b"".join(pieces)
    if len(data) > limit:
        response.close()
        raise RemoteError(f"the server's answer is longer than {limit} bytes")
    return data


def read_some(response: Response, size: int) -> bytes:
    """`size` bytes of an answer, fewer only at its end. NetworkError if it breaks off."""
    try:
        return response.read(size)
    except (HTTPError, OSError, ValueError) as error:
        response.close()
        raise NetworkError(f"the answer broke off: {_reason(error)}") from error


def refuse(answer: Answer) -> None:
    """Raise what an answer that is no success means: SignInError or RefusedError."""
    if answer.status in (200, 201, 204):
        return
    if answer.status == 401:
        raise SignInError(f"the server does not accept the token: {explain(answer)}")
    raise RefusedError(explain(answer), answer.status)


def explain(answer: Answer) -> str:
    """What the server says about an error, in one line."""
    try:
        value = json.loads(answer.data)
        text = value.get("msg") if isinstance(value, dict) else None
    except (ValueError, RecursionError):
        text = None
    said = text if isinstance(text, str) and text else _extract(answer.data)
    return f"{said[:MAX_ERROR_TEXT]} ({answer.status})" if said else f"status {answer.status}"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `Retry-After` (RFC 9110, 10.2.3: seconds or a date)."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_WAIT)
    try:
        wait = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(wait, 0.0), LONGEST_WAIT)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{ca_file}: no usable certificate: {error}") from error


def _distrust(error: BaseException | None) -> str | None:
    """Why a certificate was not accepted, if that is what went wrong."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error.verify_message if error is not None else None


def _reason(error: Exception) -> str:
    """The last cause is the one that tells something: urllib3 wraps it."""
    inner = getattr(error, "reason", None) or next((cause for cause in error.args if isinstance(cause, OSError)), None)
    text = str(getattr(inner, "strerror", None) or inner if isinstance(inner, Exception) else error)
    return text.rpartition("object at 0x")[2].partition(": ")[2] or text


def _extract(data: bytes) -> str:
    """Of a web page, as proxies send it, its title."""
    text = data[:MAX_ANSWER].decode(errors="replace")
    title = re.search(r"<title>([^<]*)", text, re.IGNORECASE)
    return " ".join((title[1] if title else text).split())[:MAX_ERROR_TEXT]
