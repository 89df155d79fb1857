"""What an account may store bounds objects, their history and chunks together."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ssyncd.errors import UnreadableError
from ssyncd.server import housekeeping
from ssyncd.server.blobs.directory import DirectoryBlobs
from tests.server.running import Answer, Running, sets, told

MOST = 20_000


async def post(server: Running, key: str, size: int, **fields: Any) -> Answer:
    return await server.call("POST", f"/1/ssyncd/notes/i/{key}", data=json.dumps({"a": "x" * size}), **fields)


def test_what_is_stored_over_the_websocket_is_bounded(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        assert "error" not in await socket.put("a", sets(a="x" * 12_000))
        assert (await socket.put("b", sets(a="x" * 12_000)))["error"] == 507
        assert "error" not in await socket.put("c", sets(a="x" * 6_000))
        assert (await socket.put("a", {"a": {"o": "r", "v": "y" * 6_000}}, 1))["error"] == 507

    told(tmp_path, story, storage_quota=MOST)


def test_what_comes_at_once_is_bounded_too(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        for key in "abcd":
            await socket.change(key, sets(a="x" * 6_000))
        answers: list[dict[str, Any]] = []
        while len(answers) < 4:
            answers += await socket.changes()
        assert [answer.get("error") for answer in answers].count(507) == 1

    told(tmp_path, story, storage_quota=MOST)


def test_what_was_refused_for_another_reason_counts_for_nothing(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        for version in (5, 6, 7):
            assert (await socket.put("a", {"a": {"o": "r", "v": "x" * 12_000}}, version))["error"] == 404
        assert "error" not in await socket.put("a", sets(a="x" * 12_000))

    told(tmp_path, story, storage_quota=MOST)


def test_a_full_account_can_rename_and_remove(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await socket.put("a", sets(a="x" * (MOST - 100), name="old"))
        assert (await socket.put("b", sets(a="x" * 2_000)))["error"] == 507
        for version in range(1, 9):
            assert "error" not in await socket.put("a", {"name": {"o": "r", "v": f"new {version}"}}, version)
        assert "error" not in await socket.put("a", None, 9)

    told(tmp_path, story, storage_quota=MOST)


def test_what_is_stored_over_http_is_bounded_and_so_are_chunks(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        assert (await post(server, "a", 12_000)).status == 200
        refused = await post(server, "b", 12_000)
        assert (refused.status, "may" in refused.json()["msg"]) == (507, True)
        socket = await server.live()
        assert (await socket.put("b", sets(a="x" * 12_000)))["error"] == 507

    told(tmp_path, story, storage_quota=MOST)


def test_what_was_there_before_counts_and_what_is_forgotten_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def before(server: Running) -> None:
        for version in range(2):
            assert (await post(server, "a", 7_000 + version)).status == 200

    async def story(server: Running) -> None:
        assert (await post(server, "b", 7_000)).status == 507
        core = server.server.core
        [(_, _, _, bucket)] = core.storage.all_buckets()
        assert core.storage.forget_history(bucket, {"a": 2}) == 1
        while (await post(server, "b", 7_000)).status == 507:
            await asyncio.sleep(0.01)

    told(tmp_path, before)
    monkeypatch.setattr(housekeeping, "MINUTE", 0.0)
    told(tmp_path, story, storage_quota=MOST, housekeeping=0.01)


def test_an_account_is_not_bounded_by_what_another_stores(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        assert (await post(server, "a", MOST - 100)).status == 200
        server.accounts.add("eve", "secret")
        headers = {"X-Simperium-Token": server.accounts.token("eve")}
        assert (await post(server, "a", MOST - 100, headers=headers)).status == 200

    told(tmp_path, story, storage_quota=MOST)


def test_a_chunk_is_refused_where_objects_fill_the_account(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        assert (await post(server, "a", MOST - 500)).status == 200
        sealed = b"\0" + os.urandom(1000)
        answer = await server.call("PUT", f"/1/ssyncd/notes/chunks/{'0' * 64}", data=sealed)
        assert (answer.status, str(MOST) in answer.json()["msg"]) == (507, True)

    told(tmp_path, story, storage_quota=MOST)


def test_who_cannot_be_measured_now_is_to_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(server: Running) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(DirectoryBlobs, "usage", unreadable)
            socket = await server.socket()
            with pytest.raises(TypeError):  # no text, but the end
                await socket.init()
            assert socket.socket.close_code == 1013
            assert (await post(server, "a", 10)).status == 503
        assert (await post(server, "a", 10)).status == 200

    def unreadable(*_: object) -> int:
        raise UnreadableError("chunks", "Input/output error")

    told(tmp_path, story, storage_quota=MOST)
