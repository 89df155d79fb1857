"""What the server keeps of a folder beyond what is there: earlier versions, and what was deleted. All on the asking thread."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple

import orjson

from ssyncd.errors import ContentError, RefusedError, UsageError
from ssyncd.folder.asked import Asked
from ssyncd.folder.engine import Engine
from ssyncd.folder.entries import to_entry
from ssyncd.folder.history import History, Removed
from ssyncd.folder.report import waiting_for
from ssyncd.network.http import HttpServer, part, refuse
from ssyncd.network.login import bucket_name
from ssyncd.planner.tree import Entry, Kind

VERSIONS = 100
"""How far back `history` asks."""
MOST_KEYS = 1000
"""In one request."""
UNSENT = "is not in sync: `ssyncd wait`, and again"


class Version(NamedTuple):
    entry: Entry
    data: dict[str, Any]


class Deleted(NamedTuple):
    path: str
    removed: Removed

    @property
    def when(self) -> tuple[int, int]:
        """Later is more: when it went, or else when it was edited last."""
        content = self.removed.entry.content
        return self.removed.at or 0, content.mtime if content is not None else 0


def history(asked: Asked, arguments: dict[str, str]) -> dict[str, Any]:
    key, newest = find(asked, arguments.get("path", ""))
    rows = []
    with closing(Versions(asked)) as versions:
        for version in range(newest, max(0, newest - VERSIONS), -1):
            found = versions.get(key, version)
            if found is not None:
                rows.append({"version": version, "name": found.entry.name, **_facts(found.entry)})
    return {"versions": rows}


def deleted(asked: Asked, arguments: dict[str, str]) -> dict[str, Any]:
    """In a directory, or everywhere ("")."""
    return {
        "deletions": [
            {
                "deleted": removed.at,
                "path": f"{path}/" if removed.entry.kind is Kind.DIR else path,
                **_facts(removed.entry),
            }
            for path, removed in sorted(
                deleted_in(asked, arguments.get("path", "")), key=lambda one: (one.when, one.path)
            )
        ]
    }


def forget(asked: Asked, arguments: dict[str, str]) -> dict[str, Any]:
    """What the server keeps of a path, or of all below it, beyond what is there now. Only what was heard of here, and when all is
    done that follows from it: a conflict copy may still have to be made of an earlier version."""
    path = arguments.get("path", "")
    if not asked.extensions.forget:
        raise UsageError("this server forgets nothing on request")
    removed = [one.removed for one in _removed_in(asked, path)]
    asked.caught_up()
    before: dict[str, int] = asked.on_control(lambda engine: _replaced_in(engine, path, removed))
    some = iter(before.items())
    with closing(Versions(asked)) as versions:
        return {"forgotten": sum(versions.forget(lot) for lot in iter(lambda: dict(islice(some, MOST_KEYS)), {}))}


def _replaced_in(engine: Engine, inside: str, removed: Sequence[Removed]) -> dict[str, int]:
    """Which version it was replaced by, of all that is at and below a path; of what was removed, if that was heard here."""
    demand_sync(engine)
    record = engine.record
    edited = {
        key: version
        for key in record.remote
        if (version := record.ghosts.version(key)) > 1 and is_inside(record.remote.path(key) or "", inside)
    }
    return edited | {one.entry.key: one.version + 1 for one in removed if one.entry.key not in record.remote}


def demand_sync(engine: Engine) -> None:
    """UsageError while something is here that is not in the server's history yet, or the other way round."""
    if waiting_for(engine) or not engine.line.live:
        raise UsageError(f"{engine.settings.name} {UNSENT}")


def _facts(entry: Entry) -> dict[str, Any]:
    content = entry.content
    if content is not None:
        return {"size": content.size, "time": content.mtime / 1e6, "device": content.by}
    return {"target": entry.target} if entry.kind is Kind.LINK else {}


def find(asked: Asked, path: str) -> tuple[str, int]:
    """The key at a path, or of what was deleted there last, and its newest version."""
    known: tuple[str, int] | None = asked.on_control(lambda engine: _known(engine, path))
    if known is not None:
        return known
    here = [one for one in deleted_in(asked, path) if one.path == path]
    if not here:
        raise UsageError(f"{path}: the server knows nothing of it")
    removed = max(here, key=lambda one: one.when).removed
    return removed.entry.key, removed.version


def _known(engine: Engine, path: str) -> tuple[str, int] | None:
    record = engine.record
    key = record.remote.find(path) or record.local.find(path)
    if not key:
        return None
    if record.ghosts.get(key) is None:
        raise UsageError(f"{path}: was not sent yet")
    return key, record.ghosts.version(key)


def deleted_in(asked: Asked, inside: str) -> list[Deleted]:
    """At and below a path, or everywhere (""), but for what is there again."""
    found = _removed_in(asked, inside)
    there: set[str] = asked.on_control(
        lambda engine: {one.path for one in found if engine.record.remote.find(one.path)}
    )
    return [one for one in found if one.path not in there]


def _removed_in(asked: Asked, inside: str) -> list[Deleted]:
    with closing(History(asked.account, asked.name(), asked.ca_file, asked.extensions.removed)) as told:
        removed = {one.entry.key: one for one in told.removed()}
    entries = {key: one.entry for key, one in removed.items()}
    live = asked.on_control(
        lambda engine: _paths_of({entry.parent for entry in entries.values()} - entries.keys(), engine)
    )
    found = [Deleted(path, removed[key]) for key, path in paths_in(entries, live).items()]
    return [one for one in found if is_inside(one.path, inside)]


def _paths_of(keys: set[str], engine: Engine) -> dict[str, str]:
    return {key: path for key in keys if (path := engine.record.remote.path(key)) is not None}


def is_inside(path: str, directory: str) -> bool:
    """At or below it; everything is in ""."""
    return not directory or path == directory or path.startswith(f"{directory}/")


def paths_in(removed: Mapping[str, Entry], live: Mapping[str, str]) -> dict[str, str]:
    """Where what was removed would be, by key: in the directories that are there, and in those that went with it."""
    paths: dict[str, str] = {}
    for key in removed:
        names, at, seen = [], key, set[str]()
        while at in removed and at not in seen:
            seen.add(at)
            names.append(removed[at].name)
            at = removed[at].parent
        if at in live:
            paths[key] = "/".join(filter(None, (live[at], *reversed(names))))
    return paths


class Versions:
    """Asks the server for them."""

    def __init__(self, asked: Asked) -> None:
        account = asked.account
        self._server = HttpServer(account.url, account.token, asked.ca_file)
        self._path = f"/1/{part(account.app)}/{part(bucket_name(asked.name()))}/"
        self.close = self._server.close

    def get(self, key: str, version: int) -> Version | None:
        """None if the server does not have it, or it is no entry."""
        reply = self._server.ask("GET", f"{self._path}i/{key}/v/{version}")
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise RefusedError(f"version {version}: the server answers {reply.status}", reply.status)
        data = reply.json()
        try:
            return Version(to_entry(key, data), data) if isinstance(data, dict) else None
        except ContentError:
            return None

    def forget(self, before: Mapping[str, int]) -> int:
        """What is before these versions, of MOST_KEYS at most; how many went."""
        body = orjson.dumps({"before": before})
        answer = self._server.ask("POST", f"{self._path}forget", body, {"Content-Type": "application/json"})
        refuse(answer)
        value = answer.json()
        forgotten = value.get("forgotten") if isinstance(value, dict) else None
        return forgotten if isinstance(forgotten, int) else 0
