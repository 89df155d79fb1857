"""What an admin may do over HTTP: set a password, remove a user, act for a user."""

from pathlib import Path
from typing import Any

import pytest

from tests.server.running import KEY, Running, told


async def ask(server: Running, path: str, key: str, app: str = "ssyncd", **fields: Any) -> Any:
    return await server.call("POST", f"/1/{app}/{path}/", headers={"X-Simperium-API-Key": key}, json=fields)


async def sign_in(server: Running, user: str, password: str) -> int:
    body = {"username": user, "password": password}
    answer = await server.call("POST", "/1/ssyncd/authorize/", headers=KEY, json=body)
    return int(answer.status)


def admin(server: Running) -> str:
    return server.accounts.token("bob", "admin", admin=True)


def test_an_admin_sets_a_password(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        server.accounts.add("eve", "old")
        answer = await ask(server, "reset_password", admin(server), username="Eve", new_password="new")
        assert (answer.status, answer.json()) == (200, {"status": "success"})
        assert [await sign_in(server, "eve", password) for password in ("old", "new")] == [401, 200]
        assert (await ask(server, "reset_password", admin(server), username="eve")).status == 400

    told(tmp_path, story)


def test_an_admin_removes_a_user_with_everything(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        server.accounts.add("eve", "secret")
        eve = server.accounts.token("eve")
        socket, mine = await server.socket(eve), await server.live()
        assert await socket.init() == "0:auth:eve"
        in_the_body = {"client_id": admin(server), "username": "eve"}
        answer = await server.call("POST", "/1/ssyncd/delete", headers={}, json=in_the_body)
        assert answer.json() == {"status": "success"}
        assert '"code":401' in await socket.receive()
        assert server.accounts.names() == ["bob"]
        assert (await ask(server, "delete", admin(server), username="eve")).status == 404
        await mine.nothing_more()

    told(tmp_path, story)


@pytest.mark.parametrize("path", ["reset_password", "delete"])
def test_nobody_else_may(tmp_path: Path, path: str) -> None:
    async def story(server: Running) -> None:
        notes = server.applications.add("notes")
        server.accounts.of("notes").add("bob", "other")
        fields = {"username": "bob", "new_password": "new"}
        for key, app, status in (
            ("ssyncd", "ssyncd", 403),
            (server.token, "ssyncd", 403),
            (admin(server), "notes", 403),
            (notes.api_key, "notes", 403),
            (notes.api_key, "ssyncd", 401),
            ("", "ssyncd", 401),
            ("x", "unknown", 401),
        ):
            assert (await ask(server, path, key, app, **fields)).status == status
        assert server.accounts.of("notes").verify("bob", "other").name == "bob"
        assert server.accounts.verify("bob", "secret").name == "bob"

    told(tmp_path, story)


def test_an_admin_acts_for_the_user_it_picks(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        eve = server.accounts.add("eve", "secret")
        token = server.accounts.token("eve")
        await server.call("POST", "/1/ssyncd/notes/i/k", token, data='{"of":"eve"}')

        async def get(token: str, user: str, path: str = "notes/i/k") -> Any:
            headers = {"X-Simperium-Token": token, "X-Simperium-User": user}
            return await server.call("GET", f"/1/ssyncd/{path}", headers=headers)

        assert (await get(admin(server), eve.id)).json() == {"of": "eve"}
        assert (await get(admin(server), eve.id, "user")).json() == {"userid": eve.id, "username": "eve"}
        assert (await get(admin(server), "unknown")).status == 404
        # Not an admin: the header says nothing.
        assert (await get(server.token, eve.id)).status == 404
        assert (await get(server.token, eve.id, "user")).json()["username"] == "bob"

    told(tmp_path, story)
