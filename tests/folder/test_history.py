"""What the history of a server tells of what was removed, asked over HTTP."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ssyncd.errors import NetworkError
from ssyncd.folder.entries import to_data
from ssyncd.folder.history import History
from ssyncd.network.http import HttpServer, refuse
from ssyncd.network.login import Account
from ssyncd.planner.tree import Content, Entry, Kind, birth_key
from ssyncd.server import changes_api
from tests.network.servers import Reply, Request, fake_server, real_server


@pytest.fixture(params=[False, True], ids=["ours", "plain"])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["Server"]:
    monkeypatch.setattr(changes_api, "POLL_SECONDS", 0.2)  # a plain server that has nothing to tell waits so long
    with real_server(tmp_path, plain=request.param) as account:
        made = Server(account, plain=request.param)
        yield made
        made.http.close()
        made.history.close()


class Server:
    def __init__(self, account: Account, plain: bool) -> None:
        self.plain = plain
        self.http = HttpServer(account.url, account.token)
        self.history = History(account, "Folder", None, listing=not plain)

    def put(self, entry: Entry, **more: Any) -> None:
        """As a new version of the object."""
        value = json.dumps({**to_data(entry), **more}).encode()
        headers = {"Content-Type": "application/json"}
        refuse(self.http.ask("POST", f"/1/ssyncd/Folder/i/{entry.key}?replace=1", value, headers))

    def delete(self, key: str) -> None:
        refuse(self.http.ask("DELETE", f"/1/ssyncd/Folder/i/{key}"))

    def removed(self) -> dict[str, Entry]:
        return {one.entry.key: one.entry for one in self.history.removed()}


def file(name: str, hash: str = "1") -> Entry:
    return Entry(birth_key("", name, Kind.FILE), "", name, Kind.FILE, Content(hash * 64, 5, 7, "pc"))


def test_of_a_folder_that_nobody_has_made_nothing_was_removed(server: Server) -> None:
    assert server.removed() == {}


def test_everything_that_was_removed_is_told_as_it_was_last(server: Server) -> None:
    files = [file(f"f{number}") for number in range(7)]
    for each in files:
        server.put(each)
    edited = file("f1", "2")
    server.put(edited)
    for each in files[:3]:
        server.delete(each.key)
    server.put(files[2])
    directory = Entry(birth_key("", "d", Kind.DIR), "", "d", Kind.DIR)
    server.put(directory)
    server.delete(directory.key)
    assert server.removed() == {each.key: each for each in (files[0], edited, directory)}
    [told] = [one for one in server.history.removed() if one.entry == edited]
    assert told.version == 2
    assert told.at is None if server.plain else abs(time.time() - told.at) < 1000


def test_what_is_no_entry_is_passed_over(server: Server) -> None:
    kept, odd = file("kept"), file("..")
    for each in (kept, odd):
        server.put(each)
        server.delete(each.key)
    assert server.removed() == {kept.key: kept}


def test_a_long_history_comes_in_pages(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssyncd.server.objects_api.LIMIT", 3)
    monkeypatch.setattr("ssyncd.server.changes_api.MOST", 4)
    files = [file(f"f{number}") for number in range(10)]
    for each in files:
        server.put(each)
    for each in files[1:]:
        server.delete(each.key)
    assert server.removed() == {each.key: each for each in files[1:]}


def asked(answer: Any) -> dict[str, Entry]:
    """What becomes of what a plain server answers."""
    with fake_server(answer) as server:
        history = History(Account(server.url, "ssyncd", "anna", "", "token"), "Folder", None, listing=False)
        try:
            return {one.entry.key: one.entry for one in history.removed()}
        finally:
            history.close()


def log_of(*changes: dict[str, Any], versions: dict[str, Any] | None = None) -> Any:
    """A plain server with this log."""

    def answer(request: Request) -> Reply:
        path = request.path.partition("/1/ssyncd/Folder/")[2]
        if path.startswith("index"):
            return Reply(200, json.dumps({"current": f"cv{len(changes)}", "index": []}).encode())
        if path.startswith("changes"):
            return Reply(200, json.dumps(changes).encode())
        found = (versions or {}).get(path)
        return Reply(200, json.dumps(found).encode()) if found else Reply(404)

    return answer


def test_what_the_log_does_not_lead_to_is_asked_for() -> None:
    gone = file("gone")
    changes = (
        {"id": gone.key, "o": "M", "v": {"name": {"o": "r", "v": "x"}}, "sv": 3, "ev": 5, "cv": "cv1", "ccids": ["a"]},
        {"id": gone.key, "o": "-", "sv": 5, "ev": 6, "cv": "cv2", "ccids": ["b"]},
    )
    assert asked(log_of(*changes, versions={f"i/{gone.key}/v/5": to_data(gone)})) == {gone.key: gone}
    assert asked(log_of(*changes)) == {}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404, b'{"msg": "unknown cv", "code": 404}'),
        Reply(200, b"{"),
        Reply(200, b'{"current": 5}'),
        Reply(200, b"<html>", {"Content-Type": "text/html"}),
    ],
)
def test_a_server_that_cannot_tell_has_nothing_removed(reply: Reply) -> None:
    assert asked(lambda _: reply) == {}


def test_a_server_that_is_busy_is_to_be_asked_again() -> None:
    with pytest.raises(NetworkError):
        asked(lambda _: Reply(503))
