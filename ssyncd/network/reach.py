"""Reaching a server by its name: looking it up, and connecting to the first of its addresses that answers; or to a proxy.

Addresses are tried beside each other, as RFC 8305 (Happy Eyeballs) has it: where one kind of them leads nowhere, connecting takes
a moment longer and not for ever.
"""

import errno
import ipaddress
import math
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain, zip_longest
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import SplitResult

from ssyncd.errors import NetworkError
from ssyncd.network.proxy import Proxy, proxy_for
from ssyncd.threads import begin

STAGGER = 0.25
"""Seconds for an address to answer before the next is tried beside it (RFC 8305, section 5)."""

Address = tuple[Any, ...]
"""As `socket.getaddrinfo` gives it."""


class Reach:
    """One try to open a TCP connection, within `timeout` seconds, through a `proxy` if there is one.

    `run` in one thread, `cancel` from any other.
    """

    def __init__(self, host: str, port: int, timeout: float, proxy: Proxy | None = None) -> None:
        self.where = f"{host}:{port}"
        self._proxy = proxy
        self._request = b"" if proxy is None else proxy.request(host, port)
        self._host, self._port = (host, port) if proxy is None else (proxy.host, proxy.port)
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._found: SimpleQueue[list[Address] | OSError | None] = SimpleQueue()
        # Guards the two below.
        self._lock = threading.Lock()
        self._cancelled = False
        self._waker: socket.socket | None = None

    def run(self) -> socket.socket:
        """The socket, connected, with a timeout. OSError; NetworkError if it was cancelled."""
        wake, waker = socket.socketpair()
        with wake, waker:
            with self._lock:
                self._waker = waker
            try:
                self._check_cancelled()
                opened = self._connect(_alternating(self._addresses()), wake)
                if self._proxy is not None:
                    self._pass(self._proxy, opened, wake)
            finally:
                with self._lock:
                    self._waker = None
        opened.settimeout(self._timeout)
        return opened

    def cancel(self) -> None:
        """Make `run` fail at once."""
        with self._lock:
            self._cancelled = True
            if self._waker is not None:
                self._waker.send(b"!")
        self._found.put(None)

    def left(self) -> float:
        """Seconds; TimeoutError if there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def why(self, error: OSError) -> str:
        """In a sentence."""
        where = self.where if self._proxy is None else self._proxy.where
        if isinstance(error, TimeoutError):
            return f"{self.where} did not answer in {self._timeout:g} seconds"
        if isinstance(error, ConnectionRefusedError):
            return f"nothing listens at {where}"
        if isinstance(error, socket.gaierror):
            return f"the name of {'the server' if self._proxy is None else 'the proxy'} is not known ({where}): {error.strerror}"
        return f"no connection to {where}: {error.strerror or error}"

    def _addresses(self) -> list[Address]:
        if _is_address(self._host):
            return socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        # A look-up cannot be broken off; one that is not waited for any more ends by itself and touches nothing.
        begin(
            threading.Thread(
                target=_look_up, args=(self._host, self._port, self._found.put), name="ssyncd-look-up", daemon=True
            )
        )
        try:
            found = self._found.get(timeout=self.left())
        except Empty:
            raise TimeoutError from None
        self._check_cancelled()
        if isinstance(found, OSError):
            raise found
        return found or []

    def _connect(self, addresses: Iterable[Address], wake: socket.socket) -> socket.socket:
        waiting, trying = deque(addresses), set[socket.socket]()
        failure = OSError("it has no address")
        try:
            while waiting or trying:
                try:
                    if waiting:
                        trying.add(_begun(waiting.popleft()))
                except OSError as error:
                    failure = error
                    continue
                for opened in self._ready(trying, selectors.EVENT_WRITE, wake, STAGGER if waiting else math.inf):
                    trying.remove(opened)
                    code = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        return opened
                    opened.close()
                    failure = OSError(code, os.strerror(code))
            raise failure
        finally:
            for opened in trying:
                opened.close()

    def _ready(
        self, sockets: Iterable[socket.socket], event: int, wake: socket.socket, most: float
    ) -> list[socket.socket]:
        with selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ)
            for one in sockets:
                selector.register(one, event, one)
            events = selector.select(min(self.left(), most))
        self._check_cancelled()
        return [key.data for key, _ in events if key.data is not None]

    def _pass(self, proxy: Proxy, opened: socket.socket, wake: socket.socket) -> None:
        """Have the proxy connect it with the server."""

        def read() -> bytes:
            while not self._ready((opened,), selectors.EVENT_READ, wake, math.inf):
                pass
            return opened.recv(1)

        try:
            opened.sendall(self._request)
            proxy.check(read)
        except BaseException:
            opened.close()
            raise

    def _check_cancelled(self) -> None:
        if self._cancelled:
            raise NetworkError("broken off")


def reach(server: SplitResult, timeout: float) -> Reach:
    """A server by its URL, the way the environment says. NetworkError for a proxy of no use."""
    host, port = server.hostname or "", port_of(server)
    return Reach(host, port, timeout, proxy_for(server, port))


def port_of(parts: SplitResult) -> int:
    """The port of a server by its URL. ValueError if it is none."""
    return parts.port or (443 if parts.scheme in ("https", "wss") else 80)


def _begun(found: Address) -> socket.socket:
    """A connection under way."""
    family, kind, protocol, _, address = found
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setblocking(False)
        if (code := opened.connect_ex(address)) not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
    except OSError:
        opened.close()
        raise
    return opened


def _alternating(addresses: Iterable[Address]) -> Iterable[Address]:
    """In their order, but the two kinds in turns (RFC 8305, section 4)."""
    kinds: dict[int, list[Address]] = {}
    for address in addresses:
        kinds.setdefault(address[0], []).append(address)
    return (address for address in chain.from_iterable(zip_longest(*kinds.values())) if address is not None)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _look_up(host: str, port: int, deliver: Callable[[list[Address] | OSError], None]) -> None:
    try:
        deliver(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as error:
        deliver(error)
    except UnicodeError as error:
        # A label too long for IDNA.
        deliver(socket.gaierror(socket.EAI_NONAME, str(error)))
