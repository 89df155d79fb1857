"""Objects and changes over HTTP: number 38 of "Server MUST"."""

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ssyncd.errors import StateFullError
from ssyncd.server.storage.sqlite import SqliteChanges
from tests.server.running import Answer, Running, sets, told

VERSION = "X-Simperium-Version"


async def call(server: Running, method: str, path: str, body: Any = None, **query: str) -> Answer:
    data = None if body is None else json.dumps(body)
    return await server.call(method, f"/1/ssyncd/notes/{path}", data=data, params=query)


def test_38_an_object_is_made_read_changed_and_removed(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        assert (await call(server, "GET", "i/k")).status == 404
        made = await call(server, "POST", "i/k", {"a": 1, "t": "x"})
        assert (made.status, made.headers[VERSION], made.body) == (200, "1", b"")
        merged = await call(server, "POST", "i/k", {"b": 2}, response="1")
        assert (merged.headers[VERSION], merged.json()) == ("2", {"a": 1, "t": "x", "b": 2})
        replaced = await call(server, "POST", "i/k", {"c": 3}, replace="1", response="1")
        assert (replaced.headers[VERSION], replaced.json()) == ("3", {"c": 3})
        old = await call(server, "GET", "i/k/v/1")
        assert (old.headers[VERSION], old.json()) == ("1", {"a": 1, "t": "x"})
        removed = await call(server, "DELETE", "i/k")
        assert (removed.status, removed.headers[VERSION], removed.body) == (200, "4", b"")
        assert [(await call(server, method, "i/k")).status for method in ("GET", "DELETE")] == [404, 404]
        again = await call(server, "POST", "i/k", {"d": 4}, replace="1")
        assert again.headers[VERSION] == "5"

    told(tmp_path, story)


def test_38_a_post_to_an_old_version_is_merged_with_what_came_since(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        await call(server, "POST", "i/k", {"t": "AC", "n": 1})
        await call(server, "POST", "i/k/v/1", {"t": "ABC"})
        merged = await call(server, "POST", "i/k/v/1", {"t": "ACD"}, response="1")
        assert (merged.headers[VERSION], merged.json()) == ("3", {"t": "ABCD", "n": 1})
        assert (await call(server, "POST", "i/k/v/9", {"t": "x"})).status == 404
        assert (await call(server, "DELETE", "i/k/v/1")).status == 404
        assert (await call(server, "DELETE", "i/k/v/3")).headers[VERSION] == "4"

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "body", "query", "status"),
    [
        ("i/k", {"n": 1}, {}, 412),
        ("i/k", {"n": 1}, {"replace": "1"}, 412),
        ("i/k/v/1", {}, {}, 412),
        ("i/k", {"n": 2}, {"ccid": "used"}, 409),
        ("i/k", {"n": 2}, {"ccid": "no/ccid"}, 400),
        ("i/k", {"t": "x" * 2000}, {}, 413),
        ("i/k", [1], {}, 400),
        ("i/k", "text", {}, 400),
        ("i/no%20key", {"n": 1}, {}, 400),
        ("i/" + "x" * 257, {"n": 1}, {}, 400),
        ("i/k/v/x", {"n": 1}, {}, 404),
    ],
)
def test_38_refusals_are_json_with_the_fitting_status(
    tmp_path: Path, path: str, body: Any, query: Any, status: int
) -> None:
    async def story(server: Running) -> None:
        await call(server, "POST", "i/k", {"n": 1}, ccid="used")
        answer = await call(server, "POST", path, body, **query)
        assert answer.status == status
        assert answer.json()["code"] == status
        assert (await call(server, "GET", "i/k")).json() == {"n": 1}

    told(tmp_path, story, object_limit=1000)


def test_38_changes_go_from_http_to_sockets_and_back(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await call(server, "POST", "i/k", {"n": 1}, clientid="web", ccid="c1")
        heard = await socket.one()
        assert (heard["clientid"], heard["ccids"], heard["v"]) == ("web", ["c1"], sets(n=1))
        await socket.put("k", {"n": {"o": "r", "v": 2}}, 1)
        assert (await call(server, "GET", "i/k")).json() == {"n": 2}

    told(tmp_path, story)


def test_38_the_index_is_paged(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        for key in "abc":
            await call(server, "POST", f"i/{key}", {"n": key})
        first = (await call(server, "GET", "index", limit="2", data="1")).json()
        assert first["index"] == [{"id": "a", "v": 1, "d": {"n": "a"}}, {"id": "b", "v": 1, "d": {"n": "b"}}]
        assert first["count"] == 2
        second = (await call(server, "GET", "index", limit="2", mark=first["mark"])).json()
        assert second["index"] == [{"id": "c", "v": 1}]
        assert "mark" not in second
        assert second["current"] == first["current"]
        assert (await call(server, "GET", "index", limit="-1", mark="junk")).status == 200

    told(tmp_path, story)


def test_an_index_as_it_was_at_a_time_in_pages_and_not_by_a_plain_server(tmp_path: Path, monkeypatch: Any) -> None:
    clock, append = [1000], SqliteChanges.append

    def append_then(storage: SqliteChanges, rows: Any, settled: Any) -> None:
        append(storage, [row._replace(at=clock[0]) for row in rows], settled)

    monkeypatch.setattr(SqliteChanges, "append", append_then)

    async def story(server: Running, plain: bool = False) -> None:
        for number in range(3):
            await call(server, "POST", f"i/k{number}", {"n": number})
        clock[0] = 2000
        await call(server, "POST", "i/k1", {"n": 10})
        await call(server, "DELETE", "i/k2")
        await call(server, "POST", "i/k3", {"n": 3})

        async def at(time: str) -> list[tuple[str, int]]:
            found, mark = [], ""
            for _ in range(4):
                page = (await call(server, "GET", "index", time=time, limit="1", mark=mark)).json()
                found += [(row["id"], row["v"]) for row in page["index"]]
                mark = page.get("mark", "")
                if not mark:
                    break
            return found

        then, now = [("k0", 1), ("k1", 1), ("k2", 1)], [("k0", 1), ("k1", 2), ("k3", 1)]
        assert await at("999") == (now if plain else [])
        assert await at("1000") == (now if plain else then)
        assert await at("1999") == (now if plain else then)
        for time in ("2000", "9" * 15, "9" * 30, "-1", "x", ""):
            assert await at(time) == now
        clock[0] = 1000

    told(tmp_path / "ours", story)
    told(tmp_path / "plain", partial(story, plain=True), plain=True)


def test_a_history_is_forgotten_but_not_by_a_plain_server(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        for number in range(3):
            await call(server, "POST", "i/k", {"n": number})
            await call(server, "POST", "i/gone", {"n": number})
        await call(server, "DELETE", "i/gone")
        assert (await call(server, "POST", "forget", {"before": {"k": 3, "gone": 4}})).json() == {"forgotten": 5}
        assert (await call(server, "GET", "i/k")).json() == {"n": 2}
        assert (await call(server, "GET", "i/k/v/1")).status == 404
        assert (await call(server, "GET", "removed")).json()["index"] == []
        assert (await call(server, "POST", "i/k", {"n": 9})).headers[VERSION] == "4"
        many = {f"k{number}": 1 for number in range(1001)}
        for wrong in ({}, {"before": ["k"]}, {"before": {"k": "1"}}, {"before": {"k": 1 << 60}}, {"before": many}):
            assert (await call(server, "POST", "forget", wrong)).status == 400

    async def plain(server: Running) -> None:
        assert (await call(server, "POST", "forget", {"before": {"k": 1}})).status == 404

    told(tmp_path / "ours", story)
    told(tmp_path / "plain", plain, plain=True)


def test_what_was_removed_is_listed_in_pages_and_not_by_a_plain_server(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("ssyncd.server.objects_api.LIMIT", 2)

    async def story(server: Running) -> None:
        assert (await call(server, "GET", "removed")).json() == {"current": "", "index": []}
        for number in range(5):
            await call(server, "POST", f"i/k{number}", {"n": number})
            await call(server, "POST", f"i/k{number}", {"n": number * 10})
        for number in (0, 1, 3, 4):
            await call(server, "DELETE", f"i/k{number}")
        found, mark = [], ""
        for _ in range(3):
            page = (await call(server, "GET", "removed", mark=mark)).json()
            found.append([(row["id"], row["d"]["n"]) for row in page["index"]])
            mark = page.get("mark", "")
        assert found == [[("k0", 0), ("k1", 10)], [("k3", 30), ("k4", 40)], []]
        assert not mark

    async def plain(server: Running) -> None:
        assert (await call(server, "GET", "removed")).status == 404

    told(tmp_path / "ours", story)
    told(tmp_path / "plain", plain, plain=True)


def test_38_the_index_can_be_of_what_changed_after_a_cv(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        for key in "abcdef":
            await call(server, "POST", f"i/{key}", {"n": 1})
        cv = (await call(server, "GET", "index")).json()["current"]
        assert (await call(server, "GET", "index", since=cv)).json()["index"] == []
        for key in "fdb":
            await call(server, "POST", f"i/{key}", {"n": 2})
        await call(server, "DELETE", "i/a")
        first = (await call(server, "GET", "index", since=cv, limit="2", data="1")).json()
        assert first["index"] == [{"id": "b", "v": 2, "d": {"n": 2}}, {"id": "d", "v": 2, "d": {"n": 2}}]
        await call(server, "POST", "i/e", {"n": 2})
        rest = (await call(server, "GET", "index", since=cv, limit="2", mark=first["mark"])).json()
        assert rest["index"] == [{"id": "f", "v": 2}]
        assert "mark" not in rest
        assert (await call(server, "GET", "index", since="unknown")).status == 404

    told(tmp_path, story)


def test_38_changes_after_a_cv_come_at_once_or_when_there_are_some(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        cv = ((await call(server, "GET", "index")).json())["current"]
        poll = asyncio.create_task(call(server, "GET", "changes", cv=cv))
        socket = await server.live()
        await socket.put("k", sets(n=1))
        (found,) = (await poll).json()
        assert found["id"] == "k"
        assert (await call(server, "GET", "changes", cv=cv)).json() == [found]
        assert (await call(server, "GET", "changes")).json() == [found]
        assert (await call(server, "GET", "changes", cv="unknown")).status == 404

    told(tmp_path, story)


def test_38_a_list_of_changes_is_answered_one_by_one(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        changes = [
            {"id": "k", "o": "M", "ccid": "1", "v": sets(n=1)},
            {"id": "k", "o": "M", "ccid": "2", "v": sets(n=1), "sv": 1},
            {"id": "no key", "o": "M", "ccid": "3", "v": {}},
            {"id": "k", "o": "-", "ccid": "4"},
        ]
        answers = (await call(server, "POST", "changes", changes, clientid="web", wait="1")).json()
        assert [(one["ccids"], one.get("error"), one.get("ev")) for one in answers] == [
            (["1"], None, 1),
            (["2"], 412, None),
            (["3"], 400, None),
            (["4"], None, 2),
        ]
        later = [{"id": "j", "o": "M", "ccid": "5", "v": {}}]
        assert (await call(server, "POST", "changes", later)).json() == []
        assert (await call(server, "GET", "i/j")).status == 200
        assert (await call(server, "POST", "changes", {})).status == 400

    told(tmp_path, story)


def test_38_buckets_and_user(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        await server.live(bucket="tags")
        await call(server, "GET", "index")
        assert (await server.call("GET", "/1/ssyncd/buckets")).json() == {
            "buckets": [{"name": "notes"}, {"name": "tags"}]
        }
        assert ((await server.call("GET", "/1/ssyncd/user")).json())["username"] == "bob"

    told(tmp_path, story)


def test_a_removed_bucket_is_forgotten_and_so_is_what_was_known_of_it(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        path = "/1/ssyncd/buckets/notes"
        socket = await server.live()
        await socket.put("k", {"a": {"o": "+", "v": 1}})
        cv = (await socket.index())["current"]
        assert (await server.call("DELETE", path)).status == 409
        await socket.socket.close()
        while (removed := await server.call("DELETE", path)).status == 409:
            await asyncio.sleep(0)  # until the server has heard of the close
        assert removed.status == 200
        assert (await server.call("DELETE", path)).status == 404
        assert (await server.call("GET", "/1/ssyncd/buckets")).json() == {"buckets": []}
        assert (await call(server, "GET", "i/k")).status == 404
        for number in range(3):
            # Beyond where it stood: else the old change version would be one to go on from.
            await call(server, "POST", f"i/other{number}", {"b": 2})
        again = await server.socket()
        await again.init()
        assert await again.ask(f"0:cv:{cv}") == "0:cv:?"
        page = await again.index()
        assert {one["id"] for one in page["index"]} == {"other0", "other1", "other2"}
        assert (await again.ask(f"0:cv:{page['current']}")).startswith("0:c:[]")

    told(tmp_path, story)


@pytest.mark.parametrize("path", ["i/k", "index", "changes", "all", "i/k/v/1"])
def test_nothing_is_told_without_a_token(tmp_path: Path, path: str) -> None:
    async def story(server: Running) -> None:
        for token in ("", "x" * 40):
            answer = await server.call("GET", f"/1/ssyncd/notes/{path}", headers={"X-Simperium-Token": token})
            assert (answer.status, answer.json()["code"]) == (401, 401)

    told(tmp_path, story)


def test_a_full_disk_is_507_and_the_server_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(server: Running) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(SqliteChanges, "append", full)
            answer = await call(server, "POST", "i/k", {"a": 1})
            assert (answer.status, "disk is full" in answer.json()["msg"]) == (507, True)
            socket = await server.live()
            assert (await socket.put("k", sets(a=1)))["error"] == 507
        assert (await call(server, "POST", "i/k", {"a": 1})).headers[VERSION] == "1"

    def full(*_: Any) -> None:
        raise StateFullError("server.db: database or disk is full")

    told(tmp_path, story)
