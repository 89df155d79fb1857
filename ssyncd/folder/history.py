"""What the server's history tells: of entries that are not there any more, from its list of them or from its log of changes; and
what was there when."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from ssyncd.errors import ContentError, ProtocolError, RemoteError
from ssyncd.folder.entries import WHOLE, to_data, to_entry
from ssyncd.network.http import HttpServer, part, refuse
from ssyncd.network.login import Account, bucket_name
from ssyncd.planner.tree import Entry
from ssyncd.protocol.changes import REMOVE, ServerChange, parse_server_change
from ssyncd.protocol.ghosts import Ghost, advance
from ssyncd.protocol.messages import IndexPage

log = logging.getLogger(__name__)

MOST = 16 * 1024 * 1024
"""Bytes of an answer."""
PAGE = "1000"
"""Objects of one."""


_Told = tuple[str, int, dict[str, Any] | None, int | None]


class Removed(NamedTuple):
    """An entry as it was last, in this version, and when it was removed, in seconds since the epoch, if the server tells that."""

    entry: Entry
    version: int
    at: int | None


class History:
    """Of one folder. `listing`: whether the server has a list of what was removed. `close` breaks off what is asked."""

    def __init__(self, account: Account, folder: str, ca_file: Path | None, listing: bool) -> None:
        self._server = HttpServer(account.url, account.token, ca_file, connections=1)
        self._path = f"/1/{part(account.app)}/{part(bucket_name(folder))}/"
        self._listing = listing
        self.close = self._server.close

    def removed(self) -> list[Removed]:
        """Each as it was last; none if the history does not reach back so far. NetworkError."""
        try:
            return [
                Removed(entry, version, at)
                for key, version, data, at in (self._listed() if self._listing else self._logged())
                for entry in _entry(key, data)
            ]
        except RemoteError as error:
            log.warning("the server cannot tell what was deleted: %s", error)
            return []

    def then(self, time: int) -> dict[str, int]:
        """Keys of what was there at a time, in seconds since the epoch, each with the version that it had. Of servers that have
        `moments`. NetworkError."""
        pages = self._pages("index", time=str(time), limit=PAGE)
        return {entry.key: entry.version for page in pages for entry in page.entries}

    def _listed(self) -> Iterator[_Told]:
        for page in self._pages("removed"):
            yield from ((entry.key, entry.version, entry.data, entry.at) for entry in page.entries)

    def _pages(self, what: str, **options: str) -> Iterator[IndexPage]:
        mark: str | None = ""
        while mark is not None:
            page = IndexPage.parse(self._ask(what, mark=mark, **options))
            yield page
            if mark == page.mark:
                raise ProtocolError("a list that repeats its mark")
            mark = page.mark

    def _logged(self) -> Iterator[_Told]:
        last: dict[str, Ghost] = {}
        gone: dict[str, Ghost] = {}
        for change in self._log():
            key, before = change.key, last.get(change.key)
            if change.op == REMOVE:
                gone[key] = last.pop(key, Ghost(change.version - 1, None))
            else:
                after = advance(before, change, change.diff, WHOLE) or Ghost(change.version, None)
                last[key] = Ghost(after.version, _facts(key, after.data))
                gone.pop(key, None)
        for key, ghost in gone.items():
            yield key, ghost.version, ghost.data or self._version(key, ghost.version), None

    def _log(self) -> Iterator[ServerChange]:
        """All changes up to now: a question for what comes after the newest would wait until there is something."""
        current = IndexPage.parse(self._ask("index", limit="1")).current
        cv = "0"
        while cv != current:
            some = _list(self._ask("changes", cv=cv))
            if not some or not some[-1].cv:
                return
            yield from some
            if any(change.cv == current for change in some):
                return
            cv = some[-1].cv

    def _version(self, key: str, version: int) -> dict[str, Any] | None:
        answer = self._server.ask("GET", f"{self._path}i/{key}/v/{version}", limit=MOST)
        data = answer.json() if answer.status == 200 else None
        return data if isinstance(data, dict) else None

    def _ask(self, what: str, **options: str) -> str:
        answer = self._server.ask("GET", f"{self._path}{what}?{urlencode(options)}", limit=MOST)
        refuse(answer)
        return answer.data.decode("utf-8", "replace")


def _list(text: str) -> list[ServerChange]:
    try:
        rows = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"changes that are no JSON: {error}") from error
    if not isinstance(rows, list):
        raise ProtocolError("changes that are no list")
    return [change for row in rows if isinstance(change := parse_server_change(row), ServerChange)]


def _facts(key: str, data: dict[str, Any] | None) -> dict[str, Any] | None:
    """Without the bytes: a log may be long."""
    entries = _entry(key, data)
    return to_data(entries[0]) if entries else None


def _entry(key: str, data: dict[str, Any] | None) -> list[Entry]:
    """One, or none if it is none."""
    try:
        return [] if data is None else [to_entry(key, data)]
    except ContentError:
        return []
