"""A bad network between a machine and the server: a TCP proxy that cuts, resets, goes deaf, is slow, or takes nobody."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PIECE = 16 * 1024
LONGEST = 10.0
"""Seconds for anything that is asked of the proxy's thread."""
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Weather:
    """How the network is. `latency`: seconds that each piece is late; `rate`: bytes a second in each direction of a connection,
    0 for no limit; `cut_after`: bytes in both directions, counted from its start, after which a connection breaks;
    `reset`: connections break with a reset, else with an end; `closed`: new ones break at once."""

    latency: float = 0.0
    rate: int = 0
    cut_after: int | None = None
    reset: bool = False
    closed: bool = False


CALM = Weather()


class Proxy:
    """Listens at `url` from `start` to `stop`, and leads to the server at `target`. For any thread."""

    def __init__(self, target: str) -> None:
        self.weather = CALM
        self.accepted = 0
        """Connections so far."""
        self.url = ""
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy")

    def start(self) -> None:
        self._thread.start()
        self._do(self._listen())

    def stop(self) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LONGEST)

    def cut(self, reset: bool = False) -> None:
        """Break all connections."""
        self._do(self._break(reset))

    def half_open(self) -> None:
        """The connections that stand carry nothing any more, for ever, and neither end is told; new ones are not concerned."""
        self._do(self._deafen())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(LONGEST)

    # On the proxy's thread.

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = "http://{}:{}".format(*self._server.sockets[0].getsockname())

    async def _break(self, reset: bool) -> None:
        for link in self._links:
            link.cut(reset)

    async def _deafen(self) -> None:
        for link in self._links:
            link.deaf = True

    async def _end(self) -> None:
        self._server.close()
        await self._break(True)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.CancelledError):
            if self.weather.closed:
                return
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            link = _Link(self, writer, far_writer)
            self._links.add(link)
            try:
                await asyncio.gather(link.carry(reader, far_writer), link.carry(far_reader, writer))
            finally:
                self._links.discard(link)
                far_writer.close()


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, *ends: asyncio.StreamWriter) -> None:
        self.deaf = False
        self._proxy = proxy
        self._ends = ends
        self._carried = 0

    async def carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """One direction to its end."""
        while data := await source.read(PIECE):
            weather = self._proxy.weather
            await asyncio.sleep(weather.latency + (len(data) / weather.rate if weather.rate else 0.0))
            if self.deaf:
                continue
            left = len(data) if weather.cut_after is None else weather.cut_after - self._carried
            self._carried += len(data)
            target.write(data[: max(0, left)])
            if left < len(data):
                self.cut(weather.reset)
                return
            await target.drain()
        if not self.deaf:
            target.write_eof()

    def cut(self, reset: bool) -> None:
        for end in self._ends:
            if reset:
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.transport.abort()
            else:
                end.close()
