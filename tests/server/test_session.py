"""One socket: transport, sign-in, order. Numbers are those of "Server MUST" in the protocol notes."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.server.running import Running, run, running, sets, told


def test_01_02_a_heartbeat_is_answered_by_the_next_number(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.socket()
        assert socket.socket.protocol is None
        for asked, answered in (("h:7", "h:8"), ("h:0", "h:1"), ("h:what", "h:1"), ("h:", "h:1"), ("h", "h:1")):
            assert await socket.ask(asked) == answered

    told(tmp_path, story)


def test_03_a_fragmented_message_is_put_together(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        text = "x" * 100_000
        change = f'0:c:{{"id":"a","o":"M","ccid":"c1","v":{{"t":{{"o":"+","v":"{text}"}}}}}}'.encode()
        writer = socket.socket._writer
        for at in range(0, len(change), 16_384):
            last = at + 16_384 >= len(change)
            kind = aiohttp.WSMsgType.CONTINUATION if at else aiohttp.WSMsgType.TEXT
            _write_frame(writer.transport, kind, change[at : at + 16_384], last=last)
        assert (await socket.one())["v"]["t"]["v"] == text

    told(tmp_path, story)


def _write_frame(transport: Any, kind: int, payload: bytes, *, last: bool) -> None:
    """A masked frame (RFC 6455, 5.2), with a mask of zeros."""
    head = bytes([kind | (0x80 if last else 0), 0x80 | 126]) + len(payload).to_bytes(2, "big")
    transport.write(head + bytes(4) + payload)


def test_03_no_frame_is_over_1_mib_and_a_long_message_comes_whole(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        # 0 is no limit on messages; frames are looked at by a bare reader.
        socket = await server.live()
        text = "y" * 2_500_000
        await socket.change("big", sets(t=text))
        assert (await socket.one())["v"]["t"]["v"] == text
        frames = await _frames_of(server, f"{server.url}/sock/1/ssyncd/websocket")
        assert max(frames) <= 1024 * 1024
        assert sum(frames) > len(text)

    told(tmp_path, story, object_limit=4_000_000)


async def _frames_of(server: Running, url: str) -> list[int]:
    """Lengths of the frames of an index page that holds the big object."""
    host, port = url.removeprefix("http://").split("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**24)
    writer.write(
        f"GET /sock/1/ssyncd/websocket HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    init = {"name": "notes", "token": server.token, "app_id": "ssyncd", "clientid": "x", "api": "1.1", "cmd": "i:1:::"}
    _write_frame(writer, aiohttp.WSMsgType.TEXT, f"0:init:{json.dumps(init)}".encode().ljust(200), last=True)
    lengths = []
    finished = 0
    while finished < 2:
        first, length = await reader.readexactly(2)
        size = {126: 2, 127: 8}.get(length, 0)
        length = int.from_bytes(await reader.readexactly(size), "big") if size else length
        await reader.readexactly(length)
        lengths.append(length)
        finished += first >> 7
    writer.close()
    await writer.wait_closed()
    return lengths


def test_04_channels_are_kept_apart(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        one, two = await server.socket(), await server.socket()
        await one.live(0, "notes", "a")
        await one.live(1, "tags", "a")
        await two.live(5, "notes", "b")
        await one.change("k", sets(n=1))
        assert (await one.one(0))["id"] == "k"
        assert (await two.one(5))["clientid"] == "a"
        await one.change("k", sets(n=2), number=1)
        assert (await one.one(1))["ev"] == 1
        await one.nothing_more()
        await two.nothing_more()

    told(tmp_path, story)


def test_05_a_name_that_is_json_does_not_look_like_a_failure(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        for name in ("12345", "true", '"bob"', "[]", "null"):
            server.accounts.add(name, "secret")
            socket = await server.socket(server.accounts.token(name))
            answer = (await socket.init()).removeprefix("0:auth:")
            assert name in answer
            with pytest.raises(ValueError, match=r"Expecting|Extra|JSON"):
                json.loads(answer)

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"token": "short"}, 400),
        ({"token": None}, 400),
        ({"token": "x" * 40}, 401),
        ({"app_id": "other"}, 401),
        ({"name": "no/such"}, 500),
        ({"name": ""}, 500),
        ({"clientid": "x" * 257}, 500),
        ({"clientid": "\ud83d"}, 500),
    ],
)
def test_06_a_bad_init_is_answered_and_the_socket_stays(tmp_path: Path, fields: dict[str, Any], code: int) -> None:
    async def story(server: Running) -> None:
        socket = await server.socket()
        answer = await socket.init(**fields)
        assert json.loads(answer.removeprefix("0:auth:"))["code"] == code
        await socket.send("0:i:::::")
        assert await socket.init(1) == "1:auth:bob"

    told(tmp_path, story)


def test_06_an_old_client_is_told_in_its_own_words(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.socket()
        assert await socket.init(api=1, token="x" * 40) == "0:auth:expired"
        assert json.loads((await socket.receive()).removeprefix("0:auth:"))["code"] == 401
        await socket.init(api=1)
        assert await socket.ask("0:cv:unknown") == "0:c:?"

    told(tmp_path, story)


def test_07_the_command_of_an_init_runs_after_auth(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.socket()
        assert await socket.init(cmd="i:1:::10") == "0:auth:bob"
        cv = json.loads((await socket.receive()).removeprefix("0:i:"))["current"]
        assert await socket.init(2, cmd=f"cv:{cv}") == "2:auth:bob"
        assert await socket.receive() == "2:c:[]"
        await socket.init(3, cmd="init:{}")
        await socket.nothing_more()

    told(tmp_path, story)


@pytest.mark.parametrize(
    "fields",
    [
        {"api": 1.100000023841858, "library": "ios", "version": "1.9.0", "username": "", "app_id": "SSYNCD"},
        {"api": "1.1", "library": "android", "version": 0, "cmd": "", "username": "bob@example.com"},
        {"api": None, "build": 12, "unknown": {"a": [1]}},
        {"clientid": "", "client_id": "b"},
    ],
)
def test_08_every_known_init_is_good(tmp_path: Path, fields: dict[str, Any]) -> None:
    async def story(server: Running) -> None:
        assert await (await server.socket()).init(**fields) == "0:auth:bob"

    told(tmp_path, story)


def test_09_what_is_sent_before_auth_is_answered_waits_its_turn(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.socket()
        init = {"name": "notes", "token": server.token, "app_id": "ssyncd", "clientid": "a", "api": "1.1"}
        await socket.send(f"0:init:{json.dumps(init)}")
        await socket.change("k", sets(n=1))
        await socket.send("0:i:1:::")
        assert await socket.receive() == "0:auth:bob"
        # 20: the acknowledgement before the index that shows the object.
        assert (await socket.one())["id"] == "k"
        assert json.loads((await socket.receive())[4:])["index"] == [{"id": "k", "v": 1, "d": {"n": 1}}]

    told(tmp_path, story)


@pytest.mark.parametrize(
    "junk",
    [
        "",
        ":",
        "::::",
        "0",
        "0:",
        "0:what",
        "0:c:",
        "0:c:{",
        "0:c:[]",
        "0:c:null",
        '0:c:{"id":1}',
        '0:c:{"id":"k"}',
        "0:e:",
        "0:e:nothing",
        "0:e:k.x",
        "0:init:no json",
        "0:i",
        "7:i::::",
        '7:c:{"id":"k","o":"-","ccid":"c"}',
        "log:1",
        '0:index:{"current":1}',
        "99999999999999999999:h:1",
        "0:h:1",
        "nonsense",
        "\x00\ufffd\U0001f47f",
        "[" * 10_000,
        "0:c:" + "[" * 100_000,
    ],
)
def test_10_junk_is_ignored_and_costs_nothing(tmp_path: Path, junk: str) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await socket.send(junk)
        if junk in ("0:i", "0:init:no json"):
            # An index request with nothing in it is one; an init that cannot be read is told so and changes nothing.
            await socket.send("h:1")
            while await socket.receive() != "h:2":
                pass
        await socket.nothing_more()
        assert (await socket.put("k", sets(n=1)))["ev"] == 1

    told(tmp_path, story)


def test_a_message_that_is_too_large_ends_only_its_own_connection(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket, other = await server.live(), await server.live("b")
        await socket.send("0:c:" + "x" * 70_000)
        message = await socket.socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)
        assert (await other.put("k", sets(n=1)))["ev"] == 1

    told(tmp_path, story, message_limit=65_536)


def test_binary_messages_are_ignored(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await socket.socket.send_bytes(b"\x00\xff")
        await socket.nothing_more()

    told(tmp_path, story)


def test_a_second_init_replaces_the_channel(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket, other = await server.live(), await server.live("b", "tags")
        await socket.init(0, "tags")
        await other.put("k", sets(n=1))
        await socket.nothing_more()
        await socket.live(0, "tags")
        await other.put("k", sets(n=2), 1)
        assert (await socket.one())["ev"] == 2

    told(tmp_path, story)


def test_a_revoked_token_ends_its_channels_and_no_others(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        phone = server.accounts.token("bob", "phone")
        socket = await server.live()
        await socket.live(1, "tags", token=phone)
        assert (await server.call("DELETE", "/1/ssyncd/devices/phone")).status == 200
        answer = await socket.receive()
        assert json.loads(answer.removeprefix("1:auth:")) == {"msg": "Token invalid", "code": 401}
        await socket.change("k", sets(n=1), number=1)
        await socket.nothing_more()
        assert (await socket.put("k", sets(n=1)))["ev"] == 1

    told(tmp_path, story)


def test_a_token_revoked_by_another_process_is_noticed(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        server.accounts.revoke("bob", "laptop")
        assert json.loads((await socket.receive()).removeprefix("0:auth:"))["code"] == 401

    told(tmp_path, story, housekeeping=0.01)


def test_a_stopping_server_says_goodbye_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as server:
            socket = await server.live()
            feed = server.server.core.hub._feeds[1]
            poll = asyncio.create_task(server.call("GET", "/1/ssyncd/notes/changes"))
            while len(feed.listeners) < 2:
                await asyncio.sleep(0)
            async with asyncio.timeout(4):
                stopping = asyncio.create_task(server.server.stop())
                assert (await socket.socket.receive()).data == 1001
                assert (await poll).json() == []
                await stopping

    run(story())


def test_a_client_that_comes_while_the_server_stops_holds_it_not_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = web.WebSocketResponse.prepare

    async def story() -> None:
        async with running(tmp_path) as server:
            stops: list[asyncio.Task[None]] = []

            async def late(socket: web.WebSocketResponse, request: web.BaseRequest) -> object:
                stops.append(asyncio.create_task(server.server.stop()))
                while not server.server.core.hub.closing:
                    await asyncio.sleep(0)
                return await prepare(socket, request)

            monkeypatch.setattr(web.WebSocketResponse, "prepare", late)
            async with asyncio.timeout(4):
                assert (await (await server.socket()).socket.receive()).data == 1001
                await stops[0]

    run(story())


def test_a_client_that_does_not_say_goodbye_holds_no_server_up(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as server:
            deaf = await server.live()
            async with asyncio.timeout(4):
                await server.server.stop()
            assert (await deaf.socket.receive()).data == 1001

    run(story())
