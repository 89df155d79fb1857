"""`ssyncd serve` with settings: how many versions are kept, how large an object may be."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

from ssyncd.server.accounts import open_accounts

HOURS = 2 * 3600


class Client:
    """A user with a token."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._headers = f"{url}/1/ssyncd/notes/i/k", {"X-Simperium-Token": token}
        self._pool = urllib3.PoolManager()

    def post(self, value: Any) -> int:
        body = json.dumps({"value": value}).encode()
        return int(self._pool.request("POST", self._url, body=body, headers=self._headers).status)

    def kept(self, newest: int) -> list[int]:
        """The versions that the server still has."""
        found = range(1, newest + 1)
        return [one for one in found if self._ask(f"/v/{one}") == 200]

    def _ask(self, path: str) -> int:
        return int(self._pool.request("GET", self._url + path, headers=self._headers).status)

    def close(self) -> None:
        self._pool.clear()


@contextmanager
def serving(home: Path, settings: str) -> Iterator[Client]:
    data = home / "server"
    (home / "my.toml").write_text(settings)
    with open_accounts(data) as accounts:
        if not accounts.names():
            accounts.add("bob", "secret")
        token = accounts.token("bob")
    words = ["--config", str(home / "my.toml"), "serve", "--listen", "127.0.0.1:0", "--data", str(data)]
    process = subprocess.Popen([sys.executable, "-m", "ssyncd", *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        with closing(Client(process.stdout.readline().split()[2], token)) as client:
            yield client
    finally:
        process.terminate()
        process.communicate(timeout=20)


def two_hours_pass(home: Path) -> None:
    """Versions stay readable for an hour, because somebody may have just been told of them."""
    with closing(sqlite3.connect(home / "server" / "server.db")) as database:
        database.execute("UPDATE changes SET at = at - ?", (HOURS,))
        database.commit()


@pytest.mark.slow
def test_so_many_versions_are_kept_as_the_settings_say(tmp_path: Path) -> None:
    with serving(tmp_path, "[serve]\nversion_max = 5\nversion10_max = 2\n") as client:
        assert [client.post(version) for version in range(1, 40)] == [200] * 39
        assert client.kept(39) == list(range(1, 40))
    two_hours_pass(tmp_path)
    with serving(tmp_path, "[serve]\nversion_max = 5\nversion10_max = 2\n") as client:
        # Old versions are thinned out with every sixteenth new one; the first is what the log says of the creation.
        assert [client.post(version) for version in range(40, 49)] == [200] * 9
        assert client.kept(48) == [1, 31, *range(40, 49)]
    two_hours_pass(tmp_path)
    with serving(tmp_path, "[serve]\nversion_max = 1\nversion10_max = 0\n") as client:
        assert [client.post(version) for version in range(49, 65)] == [200] * 16
        assert client.kept(64) == [1, *range(49, 65)]


def test_an_object_is_as_large_as_the_settings_say(tmp_path: Path) -> None:
    with serving(tmp_path, "[serve]\nobject_limit = 131_072\n") as client:
        assert client.post("x" * 131_072) == 413
        assert client.post("x" * 131_000) == 200
