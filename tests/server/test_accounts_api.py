"""Signing in over HTTP. Number 37 of "Server MUST", and our devices."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ssyncd.server.accounts import open_accounts
from tests.server.running import KEY, Running, told

BOB = {"username": "bob", "password": "secret"}


async def sign_in(server: Running, path: str = "authorize/", **fields: Any) -> Any:
    return await server.call("POST", f"/1/ssyncd/{path}", headers=KEY, json=BOB | fields)


def test_37_authorize_gives_all_three_fields_and_a_token_that_works(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        first = (await sign_in(server, device="phone")).json()
        second = (await sign_in(server, "authorize", username="BOB")).json()
        assert first["username"] == second["username"] == "bob"
        assert first["userid"] == second["userid"]
        assert first["access_token"] != second["access_token"]
        for answer in (first, second):
            assert (await server.call("GET", "/1/ssyncd/devices/", answer["access_token"])).status == 200
        names = [device["name"] for device in (await server.call("GET", "/1/ssyncd/devices/")).json()]
        assert sorted(names) == ["laptop", "phone", "unnamed"]

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded"}, json.dumps(BOB)),
        ({}, json.dumps(BOB)),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "username=bob&password=secret&provider="),
    ],
)
def test_37_json_is_taken_under_any_content_type_and_so_is_a_form(
    tmp_path: Path, headers: dict[str, str], body: str
) -> None:
    async def story(server: Running) -> None:
        answer = await server.call("POST", "/1/ssyncd/authorize/", headers=KEY | headers, data=body)
        assert answer.status == 200
        assert len(answer.json()["access_token"]) >= 32

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (KEY, BOB | {"password": "wrong"}, 401),
        (KEY, BOB | {"username": "eve"}, 401),
        ({}, BOB, 401),
        ({"X-Simperium-API-Key": "other"}, BOB, 401),
        (KEY, {"username": "bob"}, 400),
        (KEY, {"username": "bob", "password": 7}, 400),
        (KEY, [BOB], 400),
        (KEY, BOB | {"password": "\ud83d"}, 400),
    ],
)
def test_37_a_bad_sign_in_is_a_json_answer(tmp_path: Path, headers: dict[str, str], body: Any, status: int) -> None:
    async def story(server: Running) -> None:
        answer = await server.call("POST", "/1/ssyncd/authorize/", headers=headers, data=json.dumps(body))
        assert answer.status == status
        assert answer.json()["code"] == status
        assert answer.headers["Access-Control-Allow-Origin"] == "*"

    told(tmp_path, story)


def test_37_create_is_refused_unless_the_server_is_open(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        assert (await sign_in(server, "create/", username="eve")).status == 403
        assert server.accounts.names() == ["bob"]

    told(tmp_path, story)


def test_37_create_on_an_open_server(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        made = (await sign_in(server, "create/", username="eve@example.com", provider="")).json()
        assert set(made) == {"username", "access_token", "userid"}
        assert (await sign_in(server, "create/", username="EVE@example.com")).status == 409
        assert (await sign_in(server, "create/", username="{x")).status == 400
        assert await (await server.socket(made["access_token"])).init() == "0:auth:eve@example.com"

    told(tmp_path, story, open_accounts=True)


def test_update_changes_name_and_password_but_not_the_id(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        before = (await sign_in(server)).json()
        assert (await sign_in(server, "update/", new_username="robert", new_password="new")).status == 200
        after = (await sign_in(server, username="robert", password="new")).json()
        assert after["userid"] == before["userid"]
        assert (await sign_in(server)).status == 401
        assert (await sign_in(server, "reset_password/", new_password="x")).status == 403

    told(tmp_path, story)


def test_a_device_is_listed_revoked_and_then_unknown(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        phone = server.accounts.token("bob", "my phone/2")
        listed = (await server.call("GET", "/1/ssyncd/devices/", phone)).json()
        assert sorted((one["name"], one["current"]) for one in listed) == [("laptop", False), ("my phone/2", True)]
        assert (await server.call("DELETE", "/1/ssyncd/devices/my%20phone%2F2")).status == 200
        assert (await server.call("DELETE", "/1/ssyncd/devices/my%20phone%2F2")).status == 404
        assert (await server.call("GET", "/1/ssyncd/devices/", phone)).status == 401

    told(tmp_path, story)


def test_logout_ends_the_token_used(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        assert (await server.call("POST", "/1/ssyncd/logout/")).status == 200
        assert '"code":401' in await socket.receive()
        assert (await server.call("GET", "/1/ssyncd/user")).status == 401

    told(tmp_path, story)


def test_guessing_is_slowed_down_and_says_when_to_come_back(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        answers = [await sign_in(server, password="wrong") for _ in range(4)]
        assert [answer.status for answer in answers] == [401, 401, 401, 429]
        assert int(answers[-1].headers["Retry-After"]) > 0
        assert (await sign_in(server)).status == 429
        assert (await sign_in(server, username="eve")).status == 401

    told(tmp_path, story, sign_ins_per_minute=3)


def test_signing_in_holds_no_socket_up(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        # With the real cost of Argon2, four of them take a good while.
        server.accounts.remove("bob")
        with open_accounts(tmp_path) as real:
            real.add("bob", "secret")
            server.token = real.token("bob")
        socket = await server.live()
        signing = [asyncio.create_task(sign_in(server)) for _ in range(4)]
        beats = 0
        while not all(task.done() for task in signing):
            assert await socket.ask(f"h:{beats}") == f"h:{beats + 1}"
            beats += 1
        assert beats > 4
        assert [(await task).status for task in signing] == [200] * 4

    told(tmp_path, story)


def test_the_use_of_a_token_is_noted(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        (token,) = server.accounts.tokens_of(await user_id(server))
        server.accounts.used({token.digest: 0})
        while (server.accounts.tokens_of(token.user))[0].used < token.used:
            await server.call("GET", "/1/ssyncd/user")

    told(tmp_path, story, housekeeping=0.01)


async def user_id(server: Running) -> str:
    found: str = ((await server.call("GET", "/1/ssyncd/user")).json())["userid"]
    return found
