"""Applications: each has an API key, users, tokens and buckets of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from ssyncd.errors import UsageError
from ssyncd.server.accounts import open_accounts
from ssyncd.server.applications import BUILT_IN, Applications, open_applications
from ssyncd.server.storage.memory import MemoryAccounts
from tests.server.running import KEY, Running, sets, told


@pytest.fixture
def applications() -> Applications:
    return Applications(MemoryAccounts())


def test_the_built_in_application_is_always_there(applications: Applications) -> None:
    assert applications.all() == [BUILT_IN]
    assert applications.admits("ssyncd", "ssyncd")
    assert applications.admits("SSYNCD", "ssyncd")
    with pytest.raises(UsageError, match="is built in and stays"):
        applications.remove("Ssyncd")
    with pytest.raises(UsageError, match="there is one already"):
        applications.add("SSyncd")


def test_each_application_has_a_key_of_its_own(applications: Applications) -> None:
    notes, other = applications.add("Notes"), applications.add("other-app_1.0")
    assert notes.id == "notes"
    assert notes.api_key != other.api_key
    assert len(notes.api_key) == 32
    assert applications.all() == [BUILT_IN, notes, other]
    assert applications.admits("NOTES", notes.api_key)
    for key in ("", other.api_key, "ssyncd", "notes", notes.api_key.upper() + "x", "\ud83d"):
        assert not applications.admits("notes", key)
    assert not applications.admits("unknown", "unknown")


def test_a_removed_application_is_unknown_and_its_key_is_never_given_again(applications: Applications) -> None:
    first = applications.add("notes")
    applications.remove("Notes")
    assert not applications.admits("notes", first.api_key)
    with pytest.raises(UsageError, match="application notes: there is none: ssyncd app add notes"):
        applications.remove("notes")
    assert applications.add("notes").api_key != first.api_key


@pytest.mark.parametrize("name", ["", " ", "a/b", "a b", "é", ".", "..", "x" * 65, "a\nb", "{a"])
def test_a_name_that_is_no_application_id_is_refused(applications: Applications, name: str) -> None:
    with pytest.raises(UsageError, match="an application id has"):
        applications.add(name)
    assert applications.all() == [BUILT_IN]


def test_the_applications_of_a_data_directory_outlive_the_process(tmp_path: Path) -> None:
    with open_applications(tmp_path) as applications:
        notes = applications.add("notes")
    with open_applications(tmp_path) as applications:
        assert applications.known("notes") == notes
    with pytest.raises(UsageError, match="application other: there is none"), open_accounts(tmp_path, app="other"):
        pass


def key(text: str) -> dict[str, str]:
    return {"X-Simperium-API-Key": text}


async def sign_in(server: Running, app: str, headers: dict[str, str], path: str = "authorize/", **fields: Any) -> Any:
    body = {"username": "bob", "password": "secret"} | fields
    return await server.call("POST", f"/1/{app}/{path}", headers=headers, json=body)


@pytest.mark.slow
def test_users_are_those_of_one_application(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        notes = server.applications.add("notes")
        assert (await sign_in(server, "notes", key(notes.api_key))).status == 401
        made = await sign_in(server, "Notes", key(notes.api_key), "create/", password="other")
        assert made.status == 200
        assert (await sign_in(server, "notes", key(notes.api_key), "create/")).status == 409
        here, there = await sign_in(server, "ssyncd", KEY), await sign_in(server, "notes", key(notes.api_key))
        assert (here.status, there.status) == (200, 401)
        again = await sign_in(server, "notes", key(notes.api_key), password="other")
        assert again.json()["userid"] == made.json()["userid"] != here.json()["userid"]
        assert server.accounts.names() == server.accounts.of("notes").names() == ["bob"]
        server.accounts.remove("bob")
        assert (await sign_in(server, "notes", key(notes.api_key), password="other")).status == 200

    told(tmp_path, story, open_accounts=True)


def test_an_unknown_application_and_a_wrong_key_are_told_alike(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        notes = server.applications.add("notes")
        answers = [
            await sign_in(server, app, key(shown), path)
            for path in ("authorize/", "create/", "update/")
            for app, shown in (("unknown", "unknown"), ("unknown", "ssyncd"), ("notes", "ssyncd"), ("notes", "notes"))
        ]
        answers += [await sign_in(server, "ssyncd", key(notes.api_key)), await sign_in(server, "notes", {})]
        assert [(answer.status, answer.json()["msg"]) for answer in answers] == [(401, "API key invalid")] * 14
        in_the_body = await sign_in(server, "notes", {}, client_id=notes.api_key)
        assert in_the_body.json()["msg"] == "wrong name or password"

    told(tmp_path, story, open_accounts=True)


def test_a_token_opens_the_objects_and_sockets_of_its_application_alone(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        server.applications.add("notes")
        others = server.accounts.of("notes")
        others.add("bob", "other")
        token = others.token("bob")
        await server.call("POST", "/1/ssyncd/things/i/k", data='{"here":1}')
        await server.call("POST", "/1/notes/things/i/k", token, data='{"there":2}')
        assert (await server.call("GET", "/1/ssyncd/things/i/k")).json() == {"here": 1}
        assert (await server.call("GET", "/1/NOTES/things/i/k", token)).json() == {"there": 2}
        for app, secret in (("ssyncd", token), ("notes", server.token), ("unknown", token)):
            for path in ("things/i/k", "things/index", "buckets", "user"):
                assert (await server.call("GET", f"/1/{app}/{path}", secret)).status == 401
        socket = await server.socket(token, "notes")
        denied = [await socket.init(client="x", bucket="things", app_id=app) for app in ("ssyncd", "unknown")]
        assert [json.loads(answer.partition(":auth:")[2])["code"] for answer in denied] == [401, 401]
        assert await socket.init(bucket="things", app_id="Notes") == "0:auth:bob"
        assert (await socket.index())["index"] == [{"id": "k", "v": 1, "d": {"there": 2}}]

    told(tmp_path, story)


def test_a_removed_application_takes_its_users_with_it_at_once(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        server.applications.add("notes")
        others = server.accounts.of("notes")
        others.add("bob", "other")
        token = others.token("bob")
        socket, mine = await server.socket(token, "notes"), await server.live()
        assert await socket.init(app_id="notes") == "0:auth:bob"
        server.applications.remove("notes")
        assert '"code":401' in await socket.receive()
        assert (await server.call("GET", "/1/notes/user", token)).status == 401
        assert (await mine.put("k", sets(n=1)))["ev"] == 1
        assert server.accounts.names() == ["bob"]
        assert others.names() == []

    told(tmp_path, story, housekeeping=0.01)


def test_what_is_offered_is_told_for_applications_that_exist(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        server.applications.add("notes")
        assert (await server.call("GET", "/1/notes/")).json()["app"] == "notes"
        assert (await server.call("GET", "/1/ssyncd/")).json()["app"] == "ssyncd"
        assert (await server.call("GET", "/1/unknown/")).status == 404

    told(tmp_path, story)
