"""The server's certificate, read again when its files change: whoever renews it need not end the server."""

import logging
import os
import ssl
from pathlib import Path

from ssyncd.errors import UsageError
from ssyncd.server.settings import ServerSettings

log = logging.getLogger(__name__)

Files = tuple[tuple[int, int, int], ...]


def encryption(settings: ServerSettings) -> ssl.SSLContext | None:
    """What to listen with; None: not encrypted. UsageError."""
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None:
        raise UsageError("--tls-key needs --tls-cert")
    return _Certificate(settings.tls_cert, settings.tls_key).context


class _Certificate:
    """`context` is to be listened with; each connection gets what is in the files when it comes."""

    def __init__(self, certificate: Path, key: Path | None) -> None:
        self._certificate, self._key = certificate, key
        self._seen = self._look()
        self.context = self._newest = _context(certificate, key)
        # It is asked for clients that name no server, too.
        self.context.sni_callback = lambda connection, _name, _context: self._choose(connection)

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject) -> None:
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            self._read_again()
        connection.context = self._newest

    def _read_again(self) -> None:
        try:
            self._newest = _context(self._certificate, self._key)
        except UsageError as error:
            # Perhaps only one of the two is there yet: it changes once more then.
            log.warning("%s: the one before goes on", error)
        else:
            log.info("there is a new certificate: %s", self._certificate)

    def _look(self) -> Files:
        return tuple(_fingerprint(path) for path in (self._certificate, self._key) if path is not None)


def _fingerprint(path: Path) -> tuple[int, int, int]:
    try:
        seen = os.stat(path)
    except OSError:
        return 0, 0, 0
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


def _context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except OSError as error:
        # ssl.SSLError is one.
        raise UsageError(f"the certificate {certificate} cannot be used: {error}") from error
    return context


def _no_password() -> str:
    raise UsageError("the key of the certificate has a password; store it without one, readable only for the server")
