"""Changes of all users, for an admin: number 38 of "Server MUST"."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.server.running import Running, told
from tests.server.test_objects_api import call


class Admin:
    """Asks with an admin token."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._token = server.accounts.token("bob", "admin", admin=True)

    async def __call__(self, **query: str) -> Any:
        answer = await self._server.call("GET", "/1/ssyncd/notes/all", self._token, params=query)
        return answer.json()


def test_38_an_admin_sees_the_changes_of_all_users(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        server.accounts.add("eve", "secret")
        eve = server.accounts.token("eve")
        await call(server, "POST", "i/k", {"n": 1}, clientid="one")
        await server.call("POST", "/1/ssyncd/notes/i/k", eve, data='{"n":2}', params={"clientid": "two"})
        await call(server, "DELETE", "i/k", clientid="one")
        assert (await call(server, "GET", "all")).status == 403
        all_changes = Admin(server)
        found = await all_changes(data="1")
        users = {one["id"].split("/")[0] for one in found}
        assert len(users) == 2
        assert [(one["id"].split("/")[1], one["d"]) for one in found] == [("k", {"n": 1}), ("k", {"n": 2}), ("k", None)]
        assert await all_changes(cv=found[1]["cv"], data="1") == found[2:]
        assert [one["clientid"] for one in await all_changes(skip_clientid="one")] == ["two"]
        assert len(await all_changes(batch="1")) == 1

    told(tmp_path, story)


async def writes(server: Running, *changes: tuple[str, int, str]) -> None:
    for key, value, client in changes:
        await call(server, "POST", f"i/{key}", {"n": value}, clientid=client)


def test_38_what_an_admin_skips_hides_nothing_behind_it(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        await writes(server, *(("k", number, "noisy") for number in range(20)), ("k", 99, "quiet"))
        (found,) = await Admin(server)(skip_clientid="noisy", batch="5", data="1")
        assert (found["clientid"], found["d"]) == ("quiet", {"n": 99})

    told(tmp_path, story)


def test_38_an_admin_can_ask_for_the_newest_change_of_each_object_and_for_names(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        await writes(server, *((key, number, "a") for number in range(5) for key in "jk"))
        await call(server, "DELETE", "i/j")
        found = await Admin(server)(most_recent="1", username="1", data="true", batch="4")
        shown = [(one["id"].split("/")[1], one["o"], one["ev"], one["d"], one["username"]) for one in found]
        assert shown == [("k", "M", 5, {"n": 4}, "bob"), ("j", "-", 6, None, "bob")]

    told(tmp_path, story)


def test_38_an_admin_waits_for_what_comes(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        all_changes = Admin(server)
        poll = asyncio.create_task(all_changes(skip_clientid="noisy"))
        await writes(server, ("k", 1, "noisy"))
        server.accounts.add("eve", "secret")
        eve = server.accounts.token("eve")
        # Nor is it the change of another bucket.
        await server.call("POST", "/1/ssyncd/tags/i/k", eve, data=json.dumps({"n": 2}))
        assert not poll.done()
        await server.call("POST", "/1/ssyncd/notes/i/k", eve, data=json.dumps({"n": 3}))
        (found,) = await poll
        assert found["v"] == {"n": {"o": "+", "v": 3}}
        assert not waiting(server)

    told(tmp_path, story)


def waiting(server: Running) -> set[object]:
    """Who still waits."""
    return set(server.server.core.hub._watchers)


def test_38_a_server_that_stops_lets_no_admin_wait(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        poll = asyncio.create_task(Admin(server)())
        while not waiting(server):
            await server.call("GET", "/healthz")
        await server.server.stop()
        assert await poll == []

    told(tmp_path, story)
