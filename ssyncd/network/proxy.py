"""HTTP proxies: which one the environment names for a server, and how it is asked for a way there (CONNECT, RFC 9110 9.3.6).

The variables are those of other programs (curl(1), "ENVIRONMENT"): `https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`, in small
or capital letters.
"""

import base64
import ipaddress
import os
from collections.abc import Callable
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

from ssyncd.errors import NetworkError

_MAX_ANSWER = 64 * 1024


class Proxy(Struct, frozen=True):
    """`authorization` is the value of the header, "" without a name."""

    host: str
    port: int
    authorization: str = ""

    @property
    def where(self) -> str:
        return f"the proxy {self.host}:{self.port}"

    def request(self, host: str, port: int) -> bytes:
        """What asks it for a way to a server."""
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
        if self.authorization:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        return "\r\n".join([*lines, "", ""]).encode()

    def check(self, read: Callable[[], bytes]) -> None:
        """Read its answer, byte by byte as what comes after is the server's. NetworkError if there is no way."""
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            byte = read()
            if not byte or len(answer) > _MAX_ANSWER:
                raise NetworkError(f"{self.where} does not answer as one")
            answer += byte
        version, _, status = answer.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        if status.startswith("407"):
            raise NetworkError(f"{self.where} wants a name and a password (http://NAME:PASSWORD@HOST:PORT)")
        if not version.startswith("HTTP/") or not status.startswith("2"):
            raise NetworkError(f"{self.where} gives no way to the server: {status[:100]}")


def proxy_for(server: SplitResult, port: int) -> Proxy | None:
    """The one for a server by its URL, if there is one; never for a server on this machine. NetworkError for one of no use."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    # Loading it takes milliseconds of each start, and few have a proxy.
    from urllib.request import getproxies_environment, proxy_bypass

    host, proxies = server.hostname or "", getproxies_environment()
    url = proxies.get("https" if server.scheme in ("https", "wss") else "http") or proxies.get("all")
    if not url or is_here(host) or proxy_bypass(f"{host}:{port}"):
        return None
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        name, at = parts.hostname, parts.port or 80
    except ValueError:
        name = None
    if not name or parts.scheme != "http":
        raise NetworkError("the environment names a proxy that is not of the form http://[NAME:PASSWORD@]HOST[:PORT]")
    return Proxy(name, at, _basic(parts) if parts.username else "")


def _basic(parts: SplitResult) -> str:
    """RFC 7617."""
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def is_here(host: str) -> bool:
    """Whether a server of this name is on this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
