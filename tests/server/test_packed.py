"""Packed messages: only to who asked for them, and from who may."""

import json
from pathlib import Path

import aiohttp
import pytest

from ssyncd.content.packed import HELLO, LEAST, pack, unpack
from tests.content.test_packed import packed_form
from tests.server.running import Running, Socket, sets, told

LONG = "x" * LEAST


async def packing(server: Running, **fields: object) -> Socket:
    """A client that understands packed messages, live, and greeted."""
    socket = await server.socket()
    init = {"name": "notes", "token": socket.token, "app_id": "ssyncd", "clientid": "p", "api": "1.1", "packed": True}
    await socket.send(f"0:init:{json.dumps(init | fields)}")
    assert await socket.socket.receive_bytes() == HELLO
    assert await socket.receive() == "0:auth:bob"
    await socket.index()
    return socket


def change(key: str, value: str) -> str:
    return f"0:c:{json.dumps({'id': key, 'o': 'M', 'ccid': f'c-{key}', 'v': sets(t=value)})}"


def test_what_is_long_is_packed_for_who_asked(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket, other = await packing(server), await server.live("b")
        await other.change("short", sets(t="x"))
        assert (await socket.one())["id"] == "short"
        assert (await other.one())["id"] == "short"
        await other.change("long", sets(t=LONG))
        [text] = unpack(await socket.socket.receive_bytes())
        assert json.loads(text.removeprefix("0:c:"))[0]["id"] == "long"
        assert (await other.one())["id"] == "long"
        await socket.nothing_more()

    told(tmp_path, story)


def test_what_comes_packed_is_taken_in_order(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket, other = await packing(server), await server.live("b")
        packed = pack([change(key, LONG).encode() for key in "abc"])
        assert packed is not None
        await socket.socket.send_bytes(packed)
        seen: list[str] = []
        while len(seen) < 3:
            seen += [one["id"] for one in await other.changes()]
        assert seen == ["a", "b", "c"]

    told(tmp_path, story)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\0\0\x08\x01no zstd", *map(packed_form, (b"no end", b"\xff\1", b"x" * 5_000_000, b"\x009\0\1"))],
)
def test_what_cannot_be_unpacked_is_ignored(tmp_path: Path, data: bytes) -> None:
    async def story(server: Running) -> None:
        socket = await packing(server)
        await socket.socket.send_bytes(data)
        await socket.nothing_more()
        await socket.change("k", sets(n=1))
        assert (await socket.one())["id"] == "k"

    told(tmp_path, story)


def test_a_second_channel_is_not_greeted_again(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await packing(server)
        assert await socket.init(1, "tags", "p", packed=True) == "1:auth:bob"
        await socket.nothing_more()

    told(tmp_path, story)


def test_a_plain_server_has_never_heard_of_it(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live("a", packed=True)
        packed = pack([change("k", LONG).encode()])
        assert packed is not None
        await socket.socket.send_bytes(packed)
        await socket.nothing_more()
        await socket.change("long", sets(t=LONG))
        message = await socket.socket.receive()
        assert message.type is aiohttp.WSMsgType.TEXT

    told(tmp_path, story, plain=True)
