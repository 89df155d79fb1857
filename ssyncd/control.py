"""The local socket of a daemon: one JSON line asked, one JSON line answered, per connection.

`ControlSocket` answers inside the daemon; `daemons` and `ask` are for the command line. Sockets are named after the
process, in a directory that only its owner can enter.
"""

import contextlib
import errno
import json
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from ssyncd import places
from ssyncd.errors import AnsweredError, Exit, NetworkError, ShortageError, SsyncdError, UsageError
from ssyncd.threads import begin

LIMIT = 64 * 1024  # bytes of a request
ANSWER_LIMIT = 256 * 1024 * 1024  # bytes of an answer: a status names every trouble
CONNECTIONS = 64  # at once; a waiting command holds one
READ_SECONDS = 5.0
STOP_SECONDS = 1.0  # for answers that are being written

_PATH_LIMIT = 100  # sun_path holds 108 bytes
_log = logging.getLogger(__name__)


class Answer(Protocol):
    def __call__(self, request: dict[str, Any], gone: Callable[[], bool], /) -> dict[str, Any]:
        """Runs on the connection's thread and may block; `gone` tells whether the asker hung up. SsyncdError is answered."""


class ControlSocket:
    """Listens on `DIRECTORY/PID.sock` from `start` to `stop`."""

    def __init__(self, directory: Path, answer: Answer) -> None:
        self.path = directory / f"{os.getpid()}.sock"
        self._answer = answer
        # Guards _open, the connections being served by their threads; owned by this object.
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._stopping = False

    def __enter__(self) -> "ControlSocket":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """SsyncdError if the socket cannot be made."""
        places.private(self.path.parent)
        self._listener = _listen(self.path)
        self._wake, self._woken = socket.socketpair()
        self._thread = begin(threading.Thread(target=self._accept, name="control"))

    def stop(self) -> None:
        """No new requests; those being answered are hung up on, unless they end by themselves within a second."""
        self._stopping = True
        with contextlib.suppress(OSError):  # who finds it and nobody behind it removes it
            self.path.unlink()
        self._wake.send(b".")
        self._thread.join()
        self._listener.close()
        with self._lock:
            threads = list(self._open.items())
        deadline = time.monotonic() + STOP_SECONDS
        for thread, connection in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()
        self._wake.close()
        self._woken.close()

    def _accept(self) -> None:
        woken, asked = select.poll(), select.poll()
        for poll in (woken, asked):
            poll.register(self._woken, select.POLLIN)
        asked.register(self._listener, select.POLLIN)
        while not self._stopping:
            asked.poll()
            try:
                self._take()
            except BlockingIOError:
                continue
            except (OSError, ShortageError) as error:
                # Out of descriptors: the connection stays in the backlog, so the next poll would return at once.
                _log.warning("control socket: %s", getattr(error, "strerror", error))
                woken.poll(1000)

    def _take(self) -> None:
        connection, _ = self._listener.accept()
        with self._lock:
            if len(self._open) >= CONNECTIONS:
                connection.close()
                return
            thread = threading.Thread(target=self._serve, args=(connection,), name="control-answer")
            self._open[thread] = connection
            try:
                begin(thread)
            except ShortageError:
                self._open.pop(thread).close()
                raise

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(READ_SECONDS)
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps(self._respond(connection)).encode() + b"\n")
        finally:
            with self._lock:
                del self._open[threading.current_thread()]
            connection.close()

    def _respond(self, connection: socket.socket) -> dict[str, Any]:
        try:
            request = _parse(_read_line(connection, LIMIT))
            return {"ok": True, "result": self._answer(request, lambda: _hung_up(connection))}
        except SsyncdError as error:
            return {"ok": False, "error": str(error), "code": int(error.exit_code)}
        except Exception as error:  # noqa: BLE001 - the top of this thread: a fault in one answer must not end the daemon
            _log.exception("control request failed")
            return {"ok": False, "error": f"internal error: {error!r}", "code": int(Exit.FAILED)}


def daemons(directory: Path) -> list[Path]:
    """The sockets of running daemons, oldest first; those left by dead ones are removed."""
    try:
        found = [entry for entry in os.scandir(directory) if entry.name.endswith(".sock")]
        found.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime_ns)
    except OSError:
        return []
    return [Path(entry.path) for entry in found if _alive(Path(entry.path))]


def ask(path: Path, request: dict[str, Any], timeout: float | None = 30.0) -> dict[str, Any]:
    """The result of one request, waiting for it at most `timeout` seconds. AnsweredError, NetworkError if there is no answer."""
    try:
        with _connect(path) as connection:
            connection.settimeout(timeout)
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = _parse(_read_line(connection, ANSWER_LIMIT))
    except OSError as error:
        raise NetworkError(f"{path}: the daemon does not answer: {error}") from error
    except UsageError as error:
        raise NetworkError(f"{path}: the daemon hung up") from error
    if not answer.get("ok"):
        raise AnsweredError(str(answer.get("error")), answer.get("code", 1))
    result: dict[str, Any] = answer["result"]
    return result


def _parse(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError("a request must be one line of JSON") from error
    if not isinstance(value, dict):
        raise UsageError("a request must be a JSON object")
    return value


def _read_line(connection: socket.socket, limit: int) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        try:
            more = connection.recv(65536)
        except TimeoutError as error:
            raise UsageError("no whole message in time") from error
        if not more:
            raise UsageError("no whole message before the end")
        data += more
        if len(data) > limit:
            raise UsageError(f"a message is longer than {limit} bytes")
    return bytes(data)


def _hung_up(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, 0)  # POLLHUP is always told: both directions are closed
    return bool(poll.poll(0))


def _listen(path: Path) -> socket.socket:
    """Bound under another name first: a socket that has its own name listens already, so a refusal there means dead."""
    fresh = path.with_suffix(".new")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        fresh.unlink(missing_ok=True)
        with _short(fresh) as name:
            listener.bind(name)
        fresh.chmod(0o600)
        listener.listen(CONNECTIONS)
        listener.setblocking(False)
        fresh.replace(path)
    except OSError as error:
        listener.close()
        raise SsyncdError(f"{path}: the control socket cannot be made: {error.strerror or error}") from error
    return listener


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as name:
            connection.connect(name)
    except OSError:
        connection.close()
        raise
    return connection


def _alive(path: Path) -> bool:
    try:
        _connect(path).close()
    except OSError as error:
        if error.errno == errno.ECONNREFUSED:
            with contextlib.suppress(OSError):
                path.unlink()
        return False
    return True


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name of the socket that fits into sun_path: through the descriptor of its directory if the real one is too long."""
    if len(os.fsencode(path)) < _PATH_LIMIT:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
