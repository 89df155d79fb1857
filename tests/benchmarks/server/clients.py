"""Many clients of one server in one event loop, with the messages of the package."""

import asyncio
import hashlib
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from ssyncd.protocol.messages import MODIFY, ClientChange, IndexRequest, Init, Since
from tests.benchmarks.processes import Cost, cost, end

APP = "ssyncd"
Heard = Callable[["Client", list[dict[str, Any]]], None]


@dataclass(frozen=True)
class Target:
    """A server in a process of its own, and an access token for it; `startup`: what it took until it listened, in `started` s."""

    url: str
    token: str
    pid: int
    http: aiohttp.ClientSession
    startup: Cost
    started: float

    def cost(self) -> Cost:
        return cost(self.pid)

    async def client(self, bucket: str, name: str) -> "Client":
        socket = await self.http.ws_connect(f"{self.url}/sock/1/{APP}/websocket", max_msg_size=0)
        return Client(socket, Init(bucket, self.token, APP, name))


@asynccontextmanager
async def serving(data: Path) -> AsyncIterator[Target]:
    """Run the server as users get it, on loopback, for as long as the block lasts."""
    command = [sys.executable, "-m", "ssyncd.server", "--data", str(data), "--open"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        startup, started = cost(process.pid), time.perf_counter() - began
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
            yield Target(url, await _account(http, url), process.pid, http, startup, started)
    finally:
        end(process)


async def _account(http: aiohttp.ClientSession, url: str) -> str:
    body = orjson.dumps({"username": "somebody", "password": "a long password"})
    for path in ("create", "authorize"):
        async with http.post(f"{url}/1/{APP}/{path}/", data=body, headers={"X-Simperium-API-Key": APP}) as response:
            if response.status == 200:
                return str((await response.json())["access_token"])
    raise RuntimeError("no account for the load")


def _nobody(_client: "Client", _elements: list[dict[str, Any]]) -> None:
    """Hears nothing."""


class Client:
    """One socket with one channel. What comes is taken as fast as it comes, unless `reading` is cleared."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, init: Init) -> None:
        self.name = init.client
        self.bucket = init.bucket
        self.cv = ""
        self.reading = asyncio.Event()
        self.reading.set()
        self._socket = socket
        self._init = init
        self._task: asyncio.Task[None] | None = None
        self._heard: Heard = _nobody

    async def go_live(self) -> None:
        """Open the channel and page through the index without data."""
        await self._ask(self._init.text(0), "auth")
        mark = ""
        while True:
            page = orjson.loads(await self._ask(IndexRequest(False, mark, 1000).text(0), "i"))
            mark = page.get("mark", "")
            if not mark:
                self.cv = page["current"]
                return

    async def catch_up(self, cv: str) -> list[dict[str, Any]]:
        """Open the channel, and what the server tells first after this change version."""
        await self._ask(self._init.text(0), "auth")
        found: list[dict[str, Any]] = orjson.loads(await self._ask(Since(cv).text(0), "c"))
        return found

    async def _ask(self, text: str, answer: str) -> str:
        await self._socket.send_str(text)
        got = await self._socket.receive_str()
        if not got.startswith(f"0:{answer}:"):
            raise RuntimeError(f"{text[:80]}: {got[:80]}")
        return got[len(answer) + 3 :]

    def hears(self, heard: Heard) -> None:
        """Tell this of what comes from now on."""
        self._heard = heard

    def listen(self, heard: Heard) -> None:
        self.hears(heard)
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            await self.reading.wait()
            message = await self._socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            if message.data.startswith("0:c:"):
                self._heard(self, orjson.loads(message.data[4:]))

    async def send(self, change: ClientChange) -> None:
        await self._socket.send_str(change.text(0))

    async def beat(self) -> None:
        await self._socket.send_str("h:1")

    async def close(self) -> None:
        await self._socket.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class Author:
    """Edits the entries of one folder, one after the other, each edit as the daemon sends one of a small file."""

    def __init__(self, client: Client, entries: int, size: int = 200) -> None:
        self.client = client
        self._keys = [hashlib.md5(f"{client.bucket}{index}".encode()).hexdigest() for index in range(entries)]
        self._versions = dict.fromkeys(self._keys, 0)
        self._count = 0
        self._size = size

    def change(self) -> ClientChange:
        key = self._keys[self._count % len(self._keys)]
        self._count += 1
        version = self._versions[key]
        self._versions[key] = version + 1
        ccid = uuid.uuid4().hex
        content = {"hash": ccid * 2, "size": self._size, "mtime": self._count, "by": "laptop", "data": "x" * self._size}
        diff: dict[str, Any] = {"content": {"o": "r" if version else "+", "v": content}}
        if not version:
            made = {"parent": "", "name": f"file {self._count}", "kind": "file", "exec": False}
            diff |= {name: {"o": "+", "v": value} for name, value in made.items()}
        return ClientChange(key, MODIFY, ccid, version or None, diff)


async def together(coroutines: list[Any], at_once: int = 50) -> list[Any]:
    """All of them, so many at a time; what they returned."""
    done: list[Any] = []
    for start in range(0, len(coroutines), at_once):
        done += await asyncio.gather(*coroutines[start : start + at_once])
    return done


async def audience(target: Target, bucket: str, count: int, heard: Heard) -> list[Client]:
    """Clients that are live in one folder and listen."""
    clients: list[Client] = await together([target.client(bucket, f"{bucket}-{index}") for index in range(count)])
    await together([client.go_live() for client in clients])
    for client in clients:
        client.listen(heard)
    return clients


async def farewell(clients: list[Client]) -> None:
    await together([client.close() for client in clients])
