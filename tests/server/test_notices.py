"""What is handed on to the other clients of a bucket, and kept by nobody; a plain server has never heard of it."""

import json
from pathlib import Path

import pytest

from ssyncd.server.channels import LONGEST_NOTICE, NOTICES, Channel
from tests.server.running import Running, Socket, sets, told

NOTICE = {"id": "k", "d": {"name": "a", "content": {"hash": "h", "chunks": [["id", 1]]}}}


def said(notice: object, number: int = 0) -> str:
    return f"{number}:notice:{json.dumps(notice)}"


async def heard(socket: Socket) -> object:
    text = await socket.receive()
    assert text.startswith("0:notice:")
    return json.loads(text.removeprefix("0:notice:"))


def test_the_others_that_want_notices_hear_them_in_order(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        author, other = await server.live("a", notices=True), await server.live("b", notices=True)
        deaf = await server.live("c")
        elsewhere = await server.live("d", bucket="photos", notices=True)
        for number in range(3):
            await author.send(said({"id": f"k{number}", "d": {}}))
        assert [await heard(other) for _ in range(3)] == [{"id": f"k{number}", "d": {}} for number in range(3)]
        # Nothing of it is an object.
        assert (await other.index())["index"] == []
        for socket in (author, deaf, elsewhere):
            await socket.nothing_more()

    told(tmp_path, story)


def test_who_does_not_want_notices_gives_none(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        author, other = await server.live("a"), await server.live("b", notices=True)
        await author.send(said(NOTICE))
        await author.send(said(NOTICE, number=7))
        await author.nothing_more()
        await other.nothing_more()

    told(tmp_path, story)


@pytest.mark.parametrize("text", ["", "?", "[]", "{}", '{"id":"","d":{}}', '{"id":"k"}', '{"id":"k","d":[]}', "{"])
def test_what_is_no_notice_is_ignored(tmp_path: Path, text: str) -> None:
    async def story(server: Running) -> None:
        author, other = await server.live("a", notices=True), await server.live("b", notices=True)
        await author.send(f"0:notice:{text}")
        await author.send(said({"id": "k", "d": {"name": "n" * LONGEST_NOTICE}}))
        await author.nothing_more()
        await other.nothing_more()
        assert (await author.put("k", sets(t=1)))["id"] == "k"

    told(tmp_path, story)


def test_who_reads_slowly_hears_the_latest_only(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        author, slow = await server.live("a", notices=True), await server.live("b", notices=True)
        (channel,) = [
            channel
            for channel in server.server.core.hub._feeds[1].listeners
            if isinstance(channel, Channel) and channel.init.client == "b"
        ]
        wake, channel.wake = channel.wake, lambda: None
        for number in range(NOTICES + 5):
            await author.send(said({"id": f"k{number}", "d": {}}))
        await author.nothing_more()
        channel.wake = wake
        wake()
        assert [await heard(slow) for _ in range(NOTICES)] == [
            {"id": f"k{number}", "d": {}} for number in range(5, NOTICES + 5)
        ]

    told(tmp_path, story)


def test_a_plain_server_hands_nothing_on(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        author, other = await server.live("a", notices=True), await server.live("b", notices=True)
        await author.send(said(NOTICE))
        await author.nothing_more()
        await other.nothing_more()

    told(tmp_path, story, plain=True)
