"""Opening one websocket: name, TCP, TLS, handshake; can be broken off from another thread at any moment."""

import contextlib
import hashlib
import hmac
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import websocket
from msgspec import Struct

from ssyncd.errors import NetworkError
from ssyncd.network.reach import port_of, reach

# Of an answer to the handshake; a web page may be longer, nobody reads it.
_MAX_ANSWER = 256 * 1024
_MAX_RETRY_AFTER = 3600.0


class Trust(Struct, frozen=True):
    """Whose certificate is accepted: the system's authorities, those in a PEM file, or just the one with this SHA-256 (hex)."""

    ca_file: Path | None = None
    fingerprint: str | None = None

    def context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise NetworkError(f"the certificates in {self.ca_file} cannot be read: {error}") from error
        if self.fingerprint is not None:
            # The one certificate is known by heart: no name and no authority can add to that.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def check(self, certificate: bytes | None) -> None:
        """NetworkError if this is not the pinned certificate (DER)."""
        if self.fingerprint is None:
            return
        expected = self.fingerprint.replace(":", "").lower()
        if not hmac.compare_digest(hashlib.sha256(certificate or b"").hexdigest(), expected):
            raise NetworkError("the server shows another certificate than the pinned one")


class Dial:
    """One try to open a websocket. NetworkError for a URL of none. `run` in one thread, `cancel` from any other."""

    def __init__(self, url: str, headers: Sequence[str], trust: Trust, timeout: float) -> None:
        self._url = url
        self._parts = _parse(url)
        self._headers = list(headers)
        self._trust = trust
        self._reach = reach(self._parts, timeout)
        self.took = 0.0
        """Seconds from the handshake's question to its answer."""
        # Guards the two below.
        self._lock = threading.Lock()
        self._cancelled = False
        self._socket: socket.socket | None = None

    def run(self) -> socket.socket:
        """The socket after the handshake, not blocking. NetworkError with a sentence that names the server."""
        try:
            opened = self._reach.run()
            self._hold(opened)
            if self._parts.scheme == "wss":
                opened = self._secure(opened, self._parts.hostname or "")
            self._greet(opened)
        except OSError as error:
            self._drop()
            raise NetworkError(self._reason(error)) from error
        except NetworkError:
            self._drop()
            raise
        opened.setblocking(False)
        return opened

    def cancel(self) -> None:
        """Make `run` fail at once."""
        with self._lock:
            self._cancelled = True
            if self._socket is not None:
                hang_up(self._socket)
        self._reach.cancel()

    def _secure(self, opened: socket.socket, host: str) -> socket.socket:
        context = self._trust.context()
        secured = context.wrap_socket(opened, server_hostname=host, do_handshake_on_connect=False)
        # The plain one was emptied into this one.
        self._hold(secured)
        secured.settimeout(self._reach.left())
        secured.do_handshake()
        self._trust.check(secured.getpeercert(binary_form=True))
        return secured

    def _greet(self, opened: socket.socket) -> None:
        client, where, began = websocket.WebSocket(), self._reach.where, time.monotonic()
        try:
            client.connect(  # type: ignore[no-untyped-call]
                self._url,
                socket=_Bounded(opened, self._reach.left),
                header=self._headers,
                suppress_origin=True,
                redirect_limit=0,
            )
        except websocket.WebSocketBadStatusException as error:
            raise _refusal(error, where) from error
        except websocket.WebSocketTimeoutException as error:
            raise TimeoutError from error
        # ValueError and IndexError: what its reader of headers makes of an answer that is not HTTP.
        except (websocket.WebSocketException, ValueError, IndexError) as error:
            self._check_cancelled()
            if (answer := client.handshake_response) is not None and 300 <= answer.status < 400:
                elsewhere = answer.headers.get("location", "nowhere")
                raise NetworkError(f"{where} sends elsewhere: {elsewhere} (status {answer.status})") from error
            raise NetworkError(f"{where} does not answer as a websocket server: {error}") from error
        self.took = time.monotonic() - began

    def _hold(self, opened: socket.socket) -> None:
        with self._lock:
            self._socket = opened
        self._check_cancelled()

    def _check_cancelled(self) -> None:
        with self._lock:
            if self._cancelled:
                raise NetworkError("broken off")

    def _drop(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = None

    def _reason(self, error: OSError) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the certificate of {self._reach.where} is not trusted: {error.verify_message}"
        return self._reach.why(error)


class _Bounded:
    """The socket as websocket-client sees it: an answer can neither drip for ever nor be endless."""

    def __init__(self, opened: socket.socket, left: Callable[[], float]) -> None:
        self._socket = opened
        self._left = left
        self._read = 0

    def recv(self, size: int) -> bytes:
        if self._read > _MAX_ANSWER:
            raise websocket.WebSocketException("too long an answer")
        self._socket.settimeout(self._left())
        data = self._socket.recv(size)
        self._read += len(data)
        return data

    def send(self, data: bytes) -> int:
        self._socket.sendall(data)
        return len(data)

    def gettimeout(self) -> float:
        return self._left()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """The dial closes it."""


def hang_up(opened: socket.socket) -> None:
    """Wake whoever waits for this socket, for good."""
    # An OSError: it never was connected, or is not any more, and nobody waits. Not the SSLSocket's own shutdown: that would
    # let a reader in the midst of a call take encrypted bytes for plain ones.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(opened, socket.SHUT_RDWR)


def _parse(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port_of(parts)
    except ValueError as error:
        raise NetworkError(f"no address of a server: {url!r}: {error}") from error
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise NetworkError(f"no address of a server: {url!r}")
    return parts


def _refusal(error: Any, where: str) -> NetworkError:
    status, headers = int(error.status_code), error.resp_headers or {}
    if status in (429, 503):
        return NetworkError(f"{where} is too busy just now (status {status})", _retry_after(headers.get("retry-after")))
    if "html" in str(headers.get("content-type", "")):
        return NetworkError(
            f"{where} answers with a web page, it is no sync server or a proxy stands between (status {status})"
        )
    return NetworkError(f"{where} refuses a websocket, or a proxy before it does not pass it on (status {status})")


def _retry_after(value: str | None) -> float | None:
    """Seconds, from either form of the header (RFC 9110, 10.2.3)."""
    if not value:
        return None
    try:
        seconds = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None
    return min(max(0.0, seconds), _MAX_RETRY_AFTER)
