"""What a server does now and then."""

import os
import sqlite3
import time
from pathlib import Path

import pytest

from ssyncd.content.chunks import chunk_id
from ssyncd.content.compression import seal
from ssyncd.server.settings import DAY
from tests.server.running import Running, told

CHUNK = os.urandom(5000)
NAME = chunk_id(CHUNK).hex()


def age(data: Path, days: int) -> None:
    """As if all had been done so long ago."""
    with sqlite3.connect(data / "server.db") as database:
        database.execute("UPDATE changes SET at = at - ?", (days * DAY,))
    database.close()
    then = time.time() - days * DAY
    for path in (data / "collected", *(path for path in (data / "chunks").rglob("*") if path.is_file())):
        os.utime(path, (then, then))


async def make(server: Running) -> None:
    stored = await server.call("PUT", f"/1/ssyncd/notes/chunks/{NAME}", data=seal(CHUNK))
    assert stored.status == 200
    for key, value in (("a", 1), ("b", 1), ("a", 2)):
        json = {"value": value, "content": {"chunks": [[NAME, len(CHUNK)]] if key == "b" else []}}
        assert (await server.call("POST", f"/1/ssyncd/notes/i/{key}", json=json)).status == 200
    assert (await server.call("DELETE", "/1/ssyncd/notes/i/b")).status == 200


@pytest.mark.parametrize(("days", "kept"), [(0, True), (100, True), (20, False)])
def test_what_was_replaced_or_deleted_long_ago_is_forgotten_where_that_is_wanted(
    tmp_path: Path, days: int, kept: bool
) -> None:
    told(tmp_path, make)
    age(tmp_path, 50)

    async def story(server: Running) -> None:
        async def there(what: str) -> bool:
            answer = await server.call("GET", f"/1/ssyncd/notes/{what}")
            return bool(answer.status == 200)

        # Both chores are due at the start.
        while (tmp_path / "collected").stat().st_mtime < time.time() - DAY:
            await server.call("GET", "/1/ssyncd/user")
        while not kept and await there("i/a/v/1"):
            pass
        assert await there("i/a/v/2")
        assert [await there(what) for what in ("i/a/v/1", "i/b/v/1")] == [kept, kept]

    told(tmp_path, story, housekeeping=0.01, history_days=days)
    if not kept:
        age(tmp_path, 50)

        async def collected(server: Running) -> None:
            while (await server.call("GET", f"/1/ssyncd/notes/chunks/{NAME}")).status == 200:
                pass

        told(tmp_path, collected, housekeeping=0.01, history_days=days)
