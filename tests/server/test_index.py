"""`i`, `e`, `cv` and the ordering rule over a real socket, and pages by themselves."""

import json
from pathlib import Path
from typing import Any

import pytest

from ssyncd.server.index import PAGE_BYTES, Mark, Page, read_mark, read_page
from ssyncd.server.storage.memory import MemoryChanges
from tests.server.contract_storage import Writing
from tests.server.running import Running, Socket, run, running, sets, told


async def pages(socket: Socket, request: str = "1:{}::2", number: int = 0) -> list[dict[str, Any]]:
    found = [await socket.index(number, request.format(""))]
    while "mark" in found[-1]:
        found.append(await socket.index(number, request.format(found[-1]["mark"])))
    return found


async def fill(socket: Socket, keys: str) -> None:
    for key in keys:
        await socket.put(key, sets(key=key))


def ids(page: dict[str, Any]) -> list[str]:
    return [entry["id"] for entry in page["index"]]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_11_12_every_live_object_comes_once_and_the_last_page_has_no_mark(tmp_path: Path, count: int) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await fill(socket, "abcde"[:count])
        found = await pages(socket)
        assert [key for page in found for key in ids(page)] == list("abcde"[:count])
        assert len(found) == max(1, -(-count // 2))
        assert all(page["index"] for page in found) or count == 0
        for page in found:
            assert all(entry["d"] == {"key": entry["id"]} for entry in page["index"])
            assert ":" not in page.get("mark", "") + page["current"]
        bare = (await socket.index(0, ":::1"))["index"]
        assert bare == [{"id": "a", "v": 1}][:count]

    told(tmp_path, story)


def test_13_the_current_of_an_empty_bucket_is_known_later(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.socket()
        cv = await socket.live()
        assert cv
        assert await socket.ask(f"0:cv:{cv}") == "0:c:[]"

    told(tmp_path, story)


def test_14_removed_objects_are_not_listed(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await fill(socket, "abc")
        await socket.put("b", None)
        assert ids(await socket.index()) == ["a", "c"]

    told(tmp_path, story)


def test_15_every_version_asked_for_is_answered_in_order(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await socket.put("dot.ted", sets(t="one\ntwo"))
        await socket.put("dot.ted", {"t": {"o": "r", "v": 2}}, 1)
        await socket.put("dot.ted", None)
        for version in (2, 1, 3, 0, 9):
            await socket.send(f"0:e:dot.ted.{version}")
        await socket.send("0:e:never.1")
        answers = [await socket.receive() for _ in range(6)]
        assert answers == [
            '0:e:dot.ted.2\n{"data":{"t":2}}',
            '0:e:dot.ted.1\n{"data":{"t":"one\\ntwo"}}',
            "0:e:dot.ted.3\n?",
            "0:e:dot.ted.0\n?",
            "0:e:dot.ted.9\n?",
            "0:e:never.1\n?",
        ]

    told(tmp_path, story)


def test_16_all_later_changes_come_oldest_first_own_ones_included(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.socket()
        cv = await socket.live()
        await fill(socket, "ab")
        middle = (await socket.put("a", None))["cv"]
        await fill(socket, "c")
        again = await server.socket()
        await again.init()
        await again.send(f"0:cv:{cv}")
        assert [change["id"] for change in await again.changes()] == ["a", "b", "a", "c"]
        await again.init(1)
        await again.send(f"1:cv:{middle}")
        assert [change["id"] for change in await again.changes(1)] == ["c"]
        await again.init(2)
        for empty in ("", "0"):
            await again.init(2)
            await again.send(f"2:cv:{empty}")
            assert len(await again.changes(2)) == 4

    told(tmp_path, story)


@pytest.mark.parametrize(
    "cv", ["x", "?", "5119dafb37a401031d47c0f7", "0" * 28, "é" * 28, "ffffffff00000001-00000000001"]
)
def test_16_an_unknown_cv_is_said_to_be_unknown(tmp_path: Path, cv: str) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        assert await socket.ask(f"0:cv:{cv}") == "0:cv:?"

    told(tmp_path, story)


def test_16_a_cv_is_of_one_bucket_only(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        cv = await socket.live(1, "tags")
        assert await socket.ask(f"0:cv:{cv}") == "0:cv:?"

    told(tmp_path, story)


def test_17_cvs_are_known_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as server:
            socket = await server.socket()
            empty = await socket.live(1, "empty")
            await socket.live()
            first = (await socket.put("a", sets(n=1)))["cv"]
            last = (await socket.put("b", sets(n=1)))["cv"]
        async with running(tmp_path) as server:
            socket = await server.socket()
            await socket.init()
            await socket.init(1, "empty")
            await socket.send(f"0:cv:{first}")
            assert [change["cv"] for change in await socket.changes()] == [last]
            assert await socket.ask(f"1:cv:{empty}") == "1:c:[]"
            assert (await socket.put("c", sets(n=1)))["cv"] not in (first, last)

    run(story())


def test_17_cvs_of_a_lost_future_are_unknown_when_a_backup_is_restored(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as server:
            socket = await server.live()
            kept = (await socket.put("a", sets(n=1)))["cv"]
        backup = (tmp_path / "server.db").read_bytes()
        async with running(tmp_path) as server:
            socket = await server.live()
            lost = [(await socket.put(key, sets(n=1)))["cv"] for key in "bcd"]
        for log in ("-wal", "-shm"):
            (tmp_path / f"server.db{log}").unlink(missing_ok=True)
        (tmp_path / "server.db").write_bytes(backup)
        async with running(tmp_path) as server:
            socket = await server.live()
            await fill(socket, "wxyz")
            for cv in lost:
                await socket.init()
                assert await socket.ask(f"0:cv:{cv}") == "0:cv:?"
            await socket.send(f"0:cv:{kept}")
            assert [change["id"] for change in await socket.changes()] == list("wxyz")

    run(story())


def test_17_a_wiped_server_knows_no_cv_of_its_former_life(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path / "one") as server:
            cv = await (await server.socket()).live()
        async with running(tmp_path / "two") as server:
            assert await (await server.live()).ask(f"0:cv:{cv}") == "0:cv:?"

    run(story())


def test_18_no_change_is_told_twice_on_one_channel(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.socket()
        cv = await socket.live()
        other = await server.live("b")
        await fill(other, "ab")
        assert [change["id"] for change in await socket.changes() + await socket.changes()] == ["a", "b"]
        # iOS asks for the index's cv after indexing, whatever came meanwhile.
        assert await socket.ask(f"0:cv:{cv}") == "0:c:[]"
        await fill(other, "c")
        assert (await socket.one())["id"] == "c"

    told(tmp_path, story)


def test_19_changes_while_paging_come_after_the_pages_which_are_as_of_their_beginning(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket, other = await server.live("a", "notes"), await server.live("b")
        await fill(other, "acdf")
        for _ in range(4):
            await socket.one()
        first = await socket.index(0, "1:::2")
        assert ids(first) == ["a", "c"]
        await other.put("a", sets(key="A"), 1)
        await other.put("b", sets(key="b"))
        await other.put("d", None)
        await other.put("e", sets(key="e"))
        await other.put("f", sets(key="F"), 1)
        await socket.nothing_more()
        second = await socket.index(0, f"1:{first['mark']}::2")
        assert second["index"] == [{"id": "d", "v": 1, "d": {"key": "d"}}, {"id": "f", "v": 1, "d": {"key": "f"}}]
        assert "mark" not in second
        assert second["current"] == first["current"]
        later = await socket.changes()
        assert [(change["id"], change.get("sv"), change["ev"]) for change in later] == [
            ("a", 1, 2),
            ("b", None, 1),
            ("d", None, 2),
            ("e", None, 1),
            ("f", 1, 2),
        ]
        await socket.nothing_more()

    told(tmp_path, story)


def test_19_a_page_can_be_gone_on_with_after_a_reconnect(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await fill(socket, "abcd")
        mark = (await socket.index(0, ":::2"))["mark"]
        again = await server.socket()
        await again.init()
        await socket.send('0:c:{"id":"e","o":"M","ccid":"c1","v":{}}')
        page = await again.index(0, f":{mark}::2")
        assert ids(page) == ["c", "d"]
        assert "mark" not in page
        assert (await again.one())["id"] == "e"

    told(tmp_path, story)


def test_19_a_channel_that_is_neither_indexed_nor_caught_up_hears_its_own_changes_only(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket, other = await server.socket(), await server.live("b")
        await socket.init()
        await other.put("a", sets(n=1))
        assert (await socket.put("b", sets(n=1)))["clientid"] == "a"
        assert (await socket.put("b", sets(n=1)))["error"] == 412
        await socket.nothing_more()
        assert ids(await socket.index()) == ["a", "b"]
        await socket.nothing_more()

    told(tmp_path, story)


def test_20_a_change_sent_while_paging_is_acknowledged_by_the_log_or_before_the_next_index(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await fill(socket, "abc")
        mark = (await socket.index(0, ":::2"))["mark"]
        first = await socket.change("d", sets(n=1))
        assert (await socket.put("a", sets(key="a")))["error"] == 412
        assert ids(await socket.index(0, f":{mark}::2")) == ["c"]
        assert (await socket.one())["ccids"] == [first]
        await socket.index(0, ":::2")
        second = await socket.change("e", sets(n=1))
        await socket.send("0:i::::")
        assert (await socket.one())["ccids"] == [second]
        assert '"e"' in await socket.receive()
        await socket.nothing_more()

    told(tmp_path, story)


def test_a_mark_that_is_none_begins_again(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await fill(socket, "ab")
        for mark in ("x", "fff-a", "-a", "zz-a"):
            assert ids(await socket.index(0, f":{mark}::5")) == ["a", "b"]

    told(tmp_path, story)


def test_a_page_of_large_objects_is_shorter_than_its_limit(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        for key in "abcde":
            await socket.put(key, sets(t="x" * 400_000))
        found = await pages(socket, "1:{}::100")
        assert [key for page in found for key in ids(page)] == list("abcde")
        assert max(len(json.dumps(page)) for page in found) < 1_000_000

    told(tmp_path, story)


# Pages by themselves


@pytest.mark.parametrize("sizes", [[PAGE_BYTES + 1], [10, PAGE_BYTES + 1], [PAGE_BYTES + 1, 10], [PAGE_BYTES // 2] * 5])
def test_the_mark_is_right_however_large_the_objects_are(sizes: list[int]) -> None:
    storage = MemoryChanges()
    writing = Writing(storage, storage.bucket("user", "ssyncd", "notes"))
    for number, size in enumerate(sizes):
        storage.append([writing.row(str(number))._replace(data=b'"%b"' % (b"x" * size))], [])
    found: list[str] = []
    after = ""
    while True:
        answer = read_page(storage, Page(writing.bucket, after, writing.position, 100, True))
        assert answer.listed
        found += [one.key for one in answer.listed]
        if answer.mark is None:
            break
        assert answer.mark.after == found[-1]
        after = answer.mark.after
    assert found == [str(number) for number in range(len(sizes))]


@pytest.mark.parametrize("mark", [Mark(0, "a"), Mark(255, "k-1.x%@_")])
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert read_mark(str(mark)) == mark
