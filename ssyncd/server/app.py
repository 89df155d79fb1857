"""The life of the server: listen, serve, shut down."""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from ssyncd.errors import BusyError, StateError, UsageError
from ssyncd.server.answers import SERVICES
from ssyncd.server.api import make_app
from ssyncd.server.blobs.opening import open_blobs
from ssyncd.server.certificate import encryption
from ssyncd.server.housekeeping import Housekeeping
from ssyncd.server.services import Services
from ssyncd.server.sessions import SESSIONS
from ssyncd.server.settings import ServerSettings
from ssyncd.server.storage.base import Retention
from ssyncd.server.storage.opening import open_database
from ssyncd.server.storage.sqlite import SqliteChanges
from ssyncd.server.storage.sqlite_accounts import SqliteAccounts
from ssyncd.tuning import keep_memory, rare_collections

__all__ = ["Server", "ServerSettings", "serve"]

log = logging.getLogger(__name__)

# Connections that have not ended by then are cut.
SHUTDOWN_SECONDS = 5.0
# What a refused client still sends is read and dropped for so long, so that it reads why. Aiohttp does so even when the client
# has gone, and a stop waits for it.
LINGER_SECONDS = 1.0
READ_BUFFER = 1024 * 1024


def serve(settings: ServerSettings, ready: Callable[[str], None] | None = None) -> None:
    """Run until SIGTERM or SIGINT. `ready` is called with the URL once the server listens; the port may be 0.

    UsageError for a bad address or certificate, or a store that is not built; BusyError for a port that another program has;
    StateError for a data directory, database or chunk directory that cannot be used.
    """
    keep_memory()
    asyncio.run(_serve(settings, ready))


async def _serve(settings: ServerSettings, ready: Callable[[str], None] | None) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(_note)
    with _signals(stop):
        server = Server(settings)
        url = await server.start()
        try:
            log.info("listening on %s, data in %s", url, settings.data)
            if ready is not None:
                ready(url)
            with rare_collections():
                await stop.wait()
            log.info("stopping")
        finally:
            await server.stop()


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the system refuses for a moment (a connection more, say) is no defect of ours: the loop tries again by itself."""
    error = context.get("exception")
    # asyncio listens again a second later, even where the server has stopped in that second.
    late = isinstance(error, ValueError) and "_start_serving" in str(context.get("handle"))
    if isinstance(error, OSError):
        log.warning("%s: %s", str(context.get("message")).rstrip("."), error.strerror or error)
    elif not late:
        loop.default_exception_handler(context)


class Server:
    """One server in the running event loop. `core` is there once it has started."""

    core: Services

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._undo = contextlib.AsyncExitStack()

    async def start(self) -> str:
        """Everything that can fail, in order; the URL. UsageError, BusyError, StateError."""
        async with contextlib.AsyncExitStack() as undo:
            url = await self._start(undo)
            self._undo = undo.pop_all()
        return url

    async def stop(self) -> None:
        """Stop listening, tell the connections, write what is queued, close the storage."""
        await self._undo.aclose()

    async def _start(self, undo: contextlib.AsyncExitStack) -> str:
        settings = self._settings
        host, port = _address(settings.listen)
        encrypted = encryption(settings)
        undo.enter_context(_locked(settings.data))
        database = open_database(settings.data, settings.database)
        undo.callback(database.close)
        blobs = open_blobs(settings.data, settings.chunks, settings.chunk_limit)
        undo.callback(blobs.close)
        storage = SqliteChanges(database, Retention(settings.version_max, settings.version10_max))
        core = self.core = Services(settings, storage, SqliteAccounts(database), blobs)
        undo.callback(core.close)
        app = make_app(core)
        chores = Housekeeping(core, app)
        undo.push_async_callback(chores.stop)
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_SECONDS,
            lingering_time=LINGER_SECONDS,
            read_bufsize=READ_BUFFER,
        )
        app.on_shutdown.append(_close_connections)
        await runner.setup()
        undo.push_async_callback(runner.cleanup)
        await _listen(runner, host, port, encrypted)
        chores.start()
        return _url(runner, encrypted is not None)


async def _close_connections(app: web.Application) -> None:
    # Long polls end with nothing new.
    app[SERVICES].hub.wake_all()
    await app[SESSIONS].close()


async def _listen(runner: web.AppRunner, host: str, port: int, encrypted: ssl.SSLContext | None) -> None:
    try:
        await web.TCPSite(runner, host, port, ssl_context=encrypted).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise BusyError(f"{host}:{port}: another program listens there") from error
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def _url(runner: web.AppRunner, encrypted: bool) -> str:
    host, port = runner.addresses[0][:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if encrypted else 'http'}://{shown}:{port}"


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--listen {listen}: HOST:PORT is needed")
    return host.strip("[]") or "0.0.0.0", int(port)


@contextlib.contextmanager
def _locked(data: Path) -> Iterator[None]:
    """One server per data directory; the kernel drops the lock with the process."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StateError(f"{data}: cannot be written: {error.strerror}") from error
    try:
        _take(lock, data)
        yield
    finally:
        os.close(lock)


def _take(lock: int, data: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StateError(f"{data}: another server uses it") from error
    except OSError as error:
        raise StateError(f"{data}: cannot be locked: {error.strerror}") from error


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT stop the server gracefully; a second one as if there were no handler."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def heard(number: int) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heard, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
