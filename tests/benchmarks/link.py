"""A long, narrow line between two programs: a proxy on loopback that delays what it carries and lets only so much through."""

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

_READ = 16 * 1024
# What a router on the way would hold back before it stops taking more, in seconds at full speed.
_BUFFERED = 0.1


@dataclass
class _Lane:
    """One direction, which all connections share. `free` is when the last byte taken has been sent, by the loop's clock."""

    delay: float
    rate: float
    free: float = 0.0
    carried: int = 0

    def take(self, size: int, now: float) -> float:
        """When these bytes arrive at the other end."""
        self.free = max(now, self.free) + size / self.rate
        self.carried += size
        return self.free + self.delay


@dataclass
class _Pipe:
    """One direction of one connection: when what arrives. An empty text ends it."""

    pieces: "asyncio.Queue[tuple[float, bytes]]" = field(default_factory=asyncio.Queue)


class Link:
    """Listens on `port` and carries to `target` (a port on loopback), for the time of the `with` block.

    `round_trip` in seconds, `rate` in bytes a second for each direction.
    """

    def __init__(self, target: int, round_trip: float = 0.05, rate: float = 100e6 / 8) -> None:
        self.port = 0
        self._target = target
        self._round_trip = round_trip
        self._there, self._back = _Lane(round_trip / 2, rate), _Lane(round_trip / 2, rate)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link")
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def carried(self) -> int:
        """Bytes so far, both ways, without the heads of packets."""
        return self._there.carried + self._back.carried

    def __enter__(self) -> "Link":
        self._thread.start()
        self.port = self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, int]) -> int:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=_READ)
        return int(self._server.sockets[0].getsockname()[1])

    async def _end(self) -> int:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return 0

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = [writer]
        try:
            # The greeting of TCP takes a round trip too.
            await asyncio.sleep(self._round_trip)
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target, limit=_READ)
            writers.append(far_writer)
            async with asyncio.TaskGroup() as group:
                for lane, source, drain in ((self._there, reader, far_writer), (self._back, far_reader, writer)):
                    pipe = _Pipe()
                    group.create_task(self._take(lane, source, pipe))
                    group.create_task(self._give(drain, pipe))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for each in writers:
                each.close()

    async def _take(self, lane: _Lane, reader: asyncio.StreamReader, pipe: _Pipe) -> None:
        while data := await reader.read(_READ):
            await pipe.pieces.put((lane.take(len(data), self._loop.time()), data))
            await asyncio.sleep(lane.free - self._loop.time() - _BUFFERED)
        await pipe.pieces.put((self._loop.time() + lane.delay, b""))

    async def _give(self, writer: asyncio.StreamWriter, pipe: _Pipe) -> None:
        while True:
            due, data = await pipe.pieces.get()
            await asyncio.sleep(due - self._loop.time())
            if not data:
                break
            writer.write(data)
            await writer.drain()
        # The other direction may go on.
        writer.write_eof()
