"""The real server code on one thread: its sessions on an event loop that moves only when it is told to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import orjson
from aiohttp import WSMessage, WSMsgType

from ssyncd.folder.entries import is_key, to_entry
from ssyncd.folder.history import Removed
from ssyncd.server.hub import Hub
from ssyncd.server.session import Session
from ssyncd.server.settings import ServerSettings
from ssyncd.server.storage.base import Token
from ssyncd.server.storage.memory import MemoryChanges
from ssyncd.server.writer import Group, Writer

SECRET = "0" * 32
OBJECT_LIMIT = 512 * 1024


class Storage(MemoryChanges):
    """Runs are named by their number, so that a history is the same each time; `copy` is a backup."""

    def __init__(self, runs: list[int]) -> None:
        super().__init__()
        self._started = runs

    def start_run(self, nonce: str) -> int:
        self._started[0] += 1
        return super().start_run(f"{self._started[0]:0{len(nonce)}x}")

    def copy(self) -> "Storage":
        made = Storage(self._started)
        made._rows, made._ccids = dict(self._rows), set(self._ccids)
        made._objects = {
            bucket: {key: list(positions) for key, positions in objects.items()}
            for bucket, objects in self._objects.items()
        }
        made._settled, made._buckets = dict(self._settled), dict(self._buckets)
        made._runs, made._end = dict(self._runs), self._end
        return made

    def texts(self) -> list[bytes]:
        """The JSON of every version that is kept."""
        return [row.data for row in self._rows.values() if row.data is not None]


class Socket:
    """What a session holds of its websocket: `incoming` to it, `send` from it."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self.incoming: asyncio.Queue[str | None] = asyncio.Queue()
        self._send = send

    async def __aiter__(self) -> AsyncIterator[WSMessage]:
        while (text := await self.incoming.get()) is not None:
            yield WSMessage(WSMsgType.TEXT, text, None)

    async def send_frame(self, message: bytes, _opcode: int) -> None:
        self._send(message.decode())

    async def close(self, **_: Any) -> None:
        self.incoming.put_nowait(None)


class Core:
    """The part of `server.services.Services` that a session uses, without its threads."""

    def __init__(self, storage: Storage, now: Callable[[], float]) -> None:
        self.settings = ServerSettings(Path("nowhere"))
        self.storage = storage
        self.hub = Hub(storage)
        self.writer = Writer(storage, self._publish, object_limit=OBJECT_LIMIT, now=now)
        self.take = self.writer.submit

    def _publish(self, group: Group) -> None:
        self.hub.publish(group.entries)
        for submission, outcome in group.outcomes:
            submission.done(outcome)

    def check(self, secret: str) -> Token | None:
        return Token(b"digest", "user", "user", "ssyncd", "device", 0, 0) if secret == SECRET else None

    async def bucket(self, token: Token, name: str) -> int:
        return self.storage.bucket(token.user, token.app, name)

    async def read(self, work: Callable[..., Any], *args: Any) -> Any:
        return work(*args)


class Server:
    """`connect` a client, `feed` it, `step` until nothing more happens by itself, `commit` what waits to be stored."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: Callable[[], float]) -> None:
        self._loop = loop
        self._now = now
        self.storage = Storage([0])
        self._core = Core(self.storage, now)
        self._open: list[tuple[Socket, asyncio.Task[None]]] = []

    def connect(self, send: Callable[[str], None]) -> Socket:
        socket = Socket(send)
        session = Session(cast(Any, self._core), cast(Any, socket), cast(Any, None))
        self._open.append((socket, self._loop.create_task(session.run())))
        return socket

    def step(self) -> None:
        ready = cast(Any, self._loop)._ready  # no public way to ask whether a loop is idle
        while ready:
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()

    @property
    def waiting(self) -> bool:
        """Whether something is to be stored."""
        return not self._core.writer._queue.empty()

    def commit(self) -> None:
        """One group: what the writer's thread would do."""
        self._core.writer._queue.put(None)
        self._core.writer._run()
        self.step()

    @property
    def bucket(self) -> int:
        [number] = [number for _, _, name, number in self.storage.all_buckets() if name == "folder"] or [0]
        return number

    def removed(self) -> list[Removed]:
        """As `History` has it of a server that lists them."""
        listed = self.storage.removed(self.bucket, "", 1 << 20, 1 << 40)
        return [
            Removed(to_entry(one.key, orjson.loads(one.data or b"")), one.version, one.at)
            for one in listed
            if is_key(one.key)
        ]

    def restart(self, storage: Storage | None = None) -> None:
        """The process ends here, what was not stored is lost; with `storage` it comes back with other data."""
        self.close()
        self.storage = storage or self.storage
        self._core = Core(self.storage, self._now)

    def close(self) -> None:
        for socket, _ in self._open:
            socket._send = _nowhere
            socket.incoming.put_nowait(None)
        self.step()
        self._open.clear()


def _nowhere(_: str) -> None:
    pass
