"""The bucket `__options__`: what an admin says about buckets (section 7 of the notes)."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from tests.server.running import Answer, Running, told


async def post(server: Running, path: str, body: str, token: str = "", **query: str) -> Answer:
    return await server.call("POST", f"/1/ssyncd/{path}", token or server.token, data=body, params=query)


def two_hours_pass(data: Path) -> None:
    """A version stays readable for an hour, because somebody may have just been told of it."""
    with contextlib.closing(sqlite3.connect(data / "server.db")) as database:
        database.execute("UPDATE changes SET at = at - 7200")
        database.commit()


def test_an_admin_says_how_many_versions_a_bucket_keeps(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        admin = server.accounts.token("bob", "admin", admin=True)
        said = '{"version_max":4,"version10_max":1}'
        assert (await post(server, "__options__/i/notes", said, admin)).status == 200
        for bucket in ("notes", "tags"):
            for version in range(1, 32):
                await post(server, f"{bucket}/i/k", f'{{"n":{version}}}')
        two_hours_pass(tmp_path)
        for bucket, kept in (("notes", [21, 29, 30, 31, 32]), ("tags", list(range(2, 33)))):
            await post(server, f"{bucket}/i/k", '{"n":32}')
            asked = [await server.call("GET", f"/1/ssyncd/{bucket}/i/k/v/{version}") for version in range(2, 33)]
            assert [version for version, one in enumerate(asked, 2) if one.status == 200] == kept

    told(tmp_path, story)


def test_options_are_one_for_all_admins_and_nobody_elses(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        server.accounts.add("eve", "secret")
        one, other = (server.accounts.token(name, "admin", admin=True) for name in ("bob", "eve"))
        await post(server, "__options__/i/notes", '{"version_max":4}', one)

        async def get(token: str, path: str = "__options__/i/notes", **query: Any) -> Answer:
            return await server.call("GET", f"/1/ssyncd/{path}", token, params=query)

        assert (await get(other)).json() == {"version_max": 4}
        assert [row["id"] for row in (await get(other, "__options__/index")).json()["index"]] == ["notes"]
        for path in ("i/notes", "index", "changes", "all"):
            assert (await get(server.token, f"__options__/{path}")).status == 403
        assert (await post(server, "__options__/i/notes", "{}", replace="1")).status == 403
        socket = await server.socket()
        assert '"code":500' in await socket.init(bucket="__options__")
        assert (await get(server.token, "buckets")).json() == {"buckets": []}

    told(tmp_path, story)
