"""A real server on loopback and bare clients for it; every test is one coroutine with a deadline."""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import argon2

from ssyncd.server.accounts import Accounts
from ssyncd.server.app import Server, ServerSettings
from ssyncd.server.applications import Applications
from ssyncd.server.storage.opening import open_database
from ssyncd.server.storage.sqlite_accounts import SqliteAccounts

DEADLINE = 30.0
KEY = {"X-Simperium-API-Key": "ssyncd"}
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def run(story: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(DEADLINE):
            await story

    asyncio.run(limited())


class Socket:
    """One websocket, as a client without any wits uses it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, token: str) -> None:
        self.socket = socket
        self.token = token

    async def send(self, text: str) -> None:
        await self.socket.send_str(text)

    async def receive(self) -> str:
        async with asyncio.timeout(10):
            return await self.socket.receive_str()

    async def ask(self, text: str) -> str:
        await self.send(text)
        return await self.receive()

    async def init(self, number: int = 0, bucket: str = "notes", client: str = "a", **fields: Any) -> str:
        init = {"name": bucket, "token": self.token, "app_id": "ssyncd", "clientid": client, "api": "1.1"}
        return await self.ask(f"{number}:init:{json.dumps(init | fields)}")

    async def index(self, number: int = 0, request: str = "1:::") -> dict[str, Any]:
        answer = await self.ask(f"{number}:i:{request}")
        assert answer.startswith(f"{number}:i:{{")
        page: dict[str, Any] = json.loads(answer.partition(":i:")[2])
        return page

    async def live(self, number: int = 0, bucket: str = "notes", client: str = "a", **fields: Any) -> str:
        """Open a channel and index it; the cv it stands at."""
        assert await self.init(number, bucket, client, **fields) == f"{number}:auth:bob"
        cv: str = (await self.index(number))["current"]
        return cv

    async def change(
        self, key: str, v: dict[str, Any] | None, sv: Any = None, *, number: int = 0, **fields: Any
    ) -> str:
        """Send a change, a removal without `v`; its ccid."""
        ccid = fields.pop("ccid", None) or uuid.uuid4().hex
        change = {"id": key, "o": "-" if v is None else "M", "ccid": ccid}
        change |= {} if v is None else {"v": v}
        change |= {} if sv is None else {"sv": sv}
        await self.send(f"{number}:c:{json.dumps(change | fields)}")
        return ccid

    async def changes(self, number: int = 0) -> list[dict[str, Any]]:
        text = await self.receive()
        assert re.match(rf"{number}:c:\[", text), text
        found: list[dict[str, Any]] = json.loads(text.partition(":c:")[2])
        return found

    async def one(self, number: int = 0) -> dict[str, Any]:
        found = await self.changes(number)
        assert len(found) == 1
        return found[0]

    async def put(self, key: str, v: dict[str, Any] | None, sv: Any = None, **fields: Any) -> dict[str, Any]:
        """Send a change and take its answer."""
        ccid = await self.change(key, v, sv, **fields)
        answer = await self.one(fields.get("number", 0))
        assert answer["ccids"] == [ccid]
        return answer

    async def nothing_more(self) -> None:
        """Whatever was due has come by the second heartbeat: answers go first, then the logs of all channels."""
        assert await self.ask("h:1") == "h:2"
        assert await self.ask("h:3") == "h:4"


class Running:
    def __init__(self, url: str, storage: SqliteAccounts, http: aiohttp.ClientSession, server: Server) -> None:
        self.url = url
        self.accounts = Accounts(storage, hasher=CHEAP)
        self.applications = Applications(storage)
        self.http = http
        self.server = server
        if "bob" not in self.accounts.names():
            self.accounts.add("bob", "secret")
        self.token = self.accounts.token("bob", "laptop")

    async def socket(self, token: str | None = None, app: str = "ssyncd", limit: int = 0) -> Socket:
        path = f"{self.url}/sock/1/{app}/websocket"
        return Socket(await self.http.ws_connect(path, max_msg_size=limit), token or self.token)

    async def live(self, client: str = "a", bucket: str = "notes", **fields: Any) -> Socket:
        socket = await self.socket()
        await socket.live(0, bucket, client, **fields)
        return socket

    async def call(self, method: str, path: str, token: str | None = None, **fields: Any) -> "Answer":
        """One HTTP request, answered in full."""
        headers = fields.pop("headers", {"X-Simperium-Token": token or self.token})
        async with self.http.request(method, self.url + path, headers=headers, **fields) as response:
            return Answer(response.status, response.headers, response.content_type, await response.read())


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    content_type: str
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@asynccontextmanager
async def running(data: Path, **settings: Any) -> AsyncIterator[Running]:
    """A server with the user `bob`, whose password is `secret`."""
    server = Server(ServerSettings(data, listen="127.0.0.1:0", **settings))
    url = await server.start()
    storage = SqliteAccounts(open_database(data, settings.get("database")))
    try:
        async with aiohttp.ClientSession() as http:
            yield Running(url, storage, http, server)
    finally:
        storage.close()
        await server.stop()


Story = Callable[[Running], Coroutine[Any, Any, None]]


def told(data: Path, story: Story, **settings: Any) -> None:
    """Run one story against one server."""

    async def whole() -> None:
        async with running(data, **settings) as server:
            await story(server)

    run(whole())


def sets(**members: Any) -> dict[str, Any]:
    """A diff that sets members."""
    return {name: {"o": "+", "v": value} for name, value in members.items()}
