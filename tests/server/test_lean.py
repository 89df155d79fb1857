"""What a client that says `lean` is spared; a plain server has never heard of it."""

from pathlib import Path
from typing import Any

import pytest

from tests.server.running import Running, sets, told

BYTES = "x" * 2000
CONTENT = {"hash": "h", "data": BYTES, "chunks": [["id", 1]]}


def test_the_author_hears_only_that_a_change_was_taken_as_it_was_sent(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        author, other = await server.live("a", lean=True), await server.live("b", lean=True)
        made = await author.put("k", sets(t="AC", content=CONTENT))
        assert made.keys() == {"clientid", "id", "o", "ev", "cv", "ccids"}
        assert await other.one() == made | {"v": sets(t="AC", content=CONTENT)}
        edited = await author.put("k", {"t": {"o": "d", "v": "=1\t+B\t=1"}}, 1)
        assert "v" not in edited
        assert (edited["sv"], edited["ev"]) == (1, 2)
        assert (await other.one())["v"] == {"t": {"o": "d", "v": "=1\t+B\t=1"}}
        merged = await author.put("k", {"t": {"o": "d", "v": "=2\t+D"}}, 1)
        assert merged["v"] == {"t": {"o": "d", "v": "=3\t+D"}}

    told(tmp_path, story)


def test_the_log_tells_the_author_of_an_earlier_run_everything(tmp_path: Path) -> None:
    with_server: list[dict[str, Any]] = []

    async def before(server: Running) -> None:
        with_server.append(await (await server.live("a", lean=True)).put("k", sets(t=1)))

    async def after(server: Running) -> None:
        author = await server.socket()
        await author.init(client="a", lean=True)
        await author.send("0:cv:0")
        assert await author.changes() == [with_server[0] | {"v": sets(t=1)}]

    told(tmp_path, before)
    told(tmp_path, after)


@pytest.mark.parametrize(("settings", "left_out"), [({}, {"data", "chunks"}), ({"plain": True}, set())])
def test_a_lean_index_has_no_bytes(tmp_path: Path, settings: dict[str, Any], left_out: set[str]) -> None:
    async def story(server: Running) -> None:
        socket = await server.live("a", lean=True)
        await socket.put("k", sets(name="n" * 2000, content=CONTENT))
        (entry,) = (await socket.index(request="lean:::"))["index"]
        content = {name: value for name, value in CONTENT.items() if name not in left_out}
        assert entry["d"] == {"name": "n" * 2000, "content": content}
        (whole,) = (await socket.index(request="1:::"))["index"]
        assert whole["d"]["content"] == CONTENT

    told(tmp_path, story, **settings)


def test_a_plain_server_tells_the_author_everything(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        author = await server.live("a", lean=True)
        assert (await author.put("k", sets(t=1)))["v"] == sets(t=1)

    told(tmp_path, story, plain=True)
