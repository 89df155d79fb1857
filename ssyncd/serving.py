"""Which server process has a data directory: one at a time, and everybody on this machine can find it.

`serving.lock` is held (flock) by the server for as long as it lives, so a crash lets go. `serving.json` says where it listens
and is believed only while the lock is held: anybody may take a port that became free.
"""

import contextlib
import fcntl
import http.client
import json
import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import asdict

from ssyncd import places
from ssyncd.errors import BusyError, SsyncdError

_HEALTH_SECONDS = 5.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


class Serving(Struct, frozen=True):
    """A server on this machine; `url` as one reaches it from here."""

    url: str
    pid: int


@contextlib.contextmanager
def hold(data: Path, patience: float = 0.0, elected: bool = False) -> Iterator[Callable[[str], None]]:
    """Have the data directory; the value announces the URL. Waits up to `patience` seconds for a server that is
    ending. `elected`: our starter has the election lock. BusyError names the process that has the directory."""
    places.private(data)
    lock = _open_lock(data)
    try:
        with contextlib.nullcontext() if elected else election(data):
            held = _take(lock) or (_wait_for_end(data, patience) and _take(lock))
        if not held:
            found = _read(data)
            raise BusyError(f"{data}: another server{f' (process {found.pid})' if found else ''} uses it")
        yield lambda url: _announce(data, url)
    finally:
        os.close(lock)


def election(data: Path) -> contextlib.AbstractContextManager[None]:
    """The right to look for a server and to start one."""
    places.private(data)
    return places.locked(data / "election.lock")


def find(data: Path) -> Serving | None:
    """The server that has this data directory and has announced where it listens. Only with the election lock: looking
    takes the server's lock for a moment."""
    found = _read(data)
    if found is None:
        return None
    lock = _open_lock(data)
    try:
        return None if _take(lock) else found
    finally:
        os.close(lock)


def healthy(url: str) -> bool:
    """Whether `GET /healthz` says that all is well."""
    parts = urlsplit(url)
    if parts.hostname is None:
        return False
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_HEALTH_SECONDS)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status == 200 and json.loads(answer.read(65536)).get("status") == "ok"
    except (OSError, ValueError, AttributeError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def local(url: str) -> str:
    """The URL for this machine of a server that listens on every address."""
    parts = urlsplit(url)
    host = _EVERYWHERE.get(parts.hostname or "")
    return f"{parts.scheme}://{host}:{parts.port}" if host else url


def end_of(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where there is no such thing."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _wait_for_end(data: Path, patience: float) -> bool:
    found = _read(data)
    watched = end_of(found.pid) if found else None
    if watched is None:
        return False
    try:
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        return bool(poll.poll(patience * 1000))
    finally:
        os.close(watched)


def _announce(data: Path, url: str) -> None:
    places.write_private(data / "serving.json", json.dumps(asdict(Serving(local(url), os.getpid()))).encode())


def _read(data: Path) -> Serving | None:
    try:
        value = json.loads((data / "serving.json").read_bytes())
        return Serving(str(value["url"]), int(value["pid"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _open_lock(data: Path) -> int:
    try:
        return os.open(data / "serving.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SsyncdError(f"{data / 'serving.lock'}: cannot be opened: {error.strerror}") from error


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise SsyncdError(f"the server's directory cannot be locked: {error.strerror}") from error
    return True
