"""What the server keeps of a folder beyond what is there: earlier versions, and what was deleted. All on the asking thread."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

from ssyncd.content.body import Body, open_inline, parse_content
from ssyncd.disk.base import Arrival, Disk, Staged
from ssyncd.errors import ChangedError, ContentError, DiskError, RefusedError, UsageError
from ssyncd.folder.asked import Asked
from ssyncd.folder.engine import Engine
from ssyncd.folder.entries import to_entry
from ssyncd.folder.history import History, Removed
from ssyncd.network.base import ChunkStore
from ssyncd.network.http import HttpServer, part
from ssyncd.network.login import bucket_name
from ssyncd.planner.tree import Content, Entry, Kind
from ssyncd.transfer.fetches import load_list

VERSIONS = 100
"""How far back `history` asks."""
TOGETHER = 100
"""Files that are put back at once, and chunks asked for at once."""
ASKING = 8
"""Requests under way at a time."""


class _Version(NamedTuple):
    entry: Entry
    data: dict[str, Any]


class _Deleted(NamedTuple):
    path: str
    removed: Removed

    @property
    def when(self) -> tuple[int, int]:
        """Later is more: when it went, or else when it was edited last."""
        content = self.removed.entry.content
        return self.removed.at or 0, content.mtime if content is not None else 0


# What there is.


def history(asked: Asked, arguments: dict[str, str]) -> dict[str, Any]:
    key, newest = _find(asked, arguments.get("path", ""))
    rows = []
    with closing(_Versions(asked)) as versions:
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
                _deleted_in(asked, arguments.get("path", "")), key=lambda one: (one.when, one.path)
            )
        ]
    }


def _facts(entry: Entry) -> dict[str, Any]:
    content = entry.content
    if content is not None:
        return {"size": content.size, "time": content.mtime / 1e6, "device": content.by}
    return {"target": entry.target} if entry.kind is Kind.LINK else {}


def _find(asked: Asked, path: str) -> tuple[str, int]:
    """The key at a path, or of what was deleted there last, and its newest version."""
    known: tuple[str, int] | None = asked.on_control(lambda engine: _known(engine, path))
    if known is not None:
        return known
    here = [one for one in _deleted_in(asked, path) if one.path == path]
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


def _deleted_in(asked: Asked, inside: str) -> list[_Deleted]:
    """At and below a path, or everywhere (""), but for what is there again."""
    with closing(History(asked.account, asked.name(), asked.ca_file, asked.lists_removed)) as told:
        removed = {one.entry.key: one for one in told.removed()}
    entries = {key: one.entry for key, one in removed.items()}
    live = asked.on_control(
        lambda engine: _paths_of({entry.parent for entry in entries.values()} - entries.keys(), engine)
    )
    found = [_Deleted(path, removed[key]) for key, path in _paths(entries, live).items()]
    found = [one for one in found if not inside or one.path == inside or one.path.startswith(f"{inside}/")]
    there: set[str] = asked.on_control(lambda engine: {path for path, _ in found if engine.record.remote.find(path)})
    return [one for one in found if one.path not in there]


def _paths_of(keys: set[str], engine: Engine) -> dict[str, str]:
    return {key: path for key in keys if (path := engine.record.remote.path(key)) is not None}


def _paths(removed: Mapping[str, Entry], live: Mapping[str, str]) -> dict[str, str]:
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


class _Versions:
    """Asks the server for them."""

    def __init__(self, asked: Asked) -> None:
        account = asked.account
        self._server = HttpServer(account.url, account.token, asked.ca_file)
        self._path = f"/1/{part(account.app)}/{part(bucket_name(asked.name()))}/i/"
        self.close = self._server.close

    def get(self, key: str, version: int) -> _Version | None:
        """None if the server does not have it, or it is no entry."""
        reply = self._server.ask("GET", f"{self._path}{key}/v/{version}")
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise RefusedError(f"version {version}: the server answers {reply.status}", reply.status)
        data = reply.json()
        try:
            return _Version(to_entry(key, data), data) if isinstance(data, dict) else None
        except ContentError:
            return None


# Bringing it back.


def restore(asked: Asked, arguments: dict[str, str]) -> dict[str, Any]:
    """As a user would write it: what is there now goes into the history like any edit."""
    path, version = arguments.get("path", ""), arguments.get("version", "")
    if not version:
        return _restore_deleted(asked, path)
    if not version.isdecimal():
        raise UsageError("the version is a number, as `history` shows it")
    key, _ = _find(asked, path)
    with closing(_Versions(asked)) as versions:
        found = versions.get(key, int(version))
    if found is None:
        raise UsageError(f"{path}: the server has no version {version}")
    if found.entry.kind is Kind.DIR:
        raise UsageError(f"{path}: is a directory; without `--version` what was deleted in it comes back")
    _make_way(asked.disk, path)
    _replace(asked, path, found)
    asked.on_control(lambda engine: engine.agenda.look(path))
    return {"restored": path, "version": int(version)}


def _replace(asked: Asked, path: str, found: _Version) -> None:
    disk, there = asked.disk, asked.disk.stat(path)
    if found.entry.kind is Kind.LINK:
        disk.make_link(path, found.entry.target, there)
        return
    now: int = asked.on_control(lambda engine: engine.edge.clock.wall()) // 1000
    staged = _staged(asked, found)
    try:
        disk.flush()
        disk.put(staged, path, there, now, found.entry.exec)
    except BaseException:
        staged.discard()
        raise


def _restore_deleted(asked: Asked, path: str) -> dict[str, Any]:
    """All at and below a path, each as it was last, with its own time."""
    latest = {one.path: one.removed for one in sorted(_deleted_in(asked, path), key=lambda one: one.when)}
    if not latest:
        raise UsageError(f"{path}: nothing was deleted there; `--version` brings an earlier version back")
    wanted, failed = sorted(latest.items()), list[str]()
    with closing(_Versions(asked)) as versions, ThreadPoolExecutor(ASKING, "ssyncd-versions") as askers:
        for at in range(0, len(wanted), TOGETHER):
            lot = wanted[at : at + TOGETHER]
            found = askers.map(versions.get, *zip(*((one.entry.key, one.version) for _, one in lot), strict=True))
            failed += _put_back(asked, [(place, version) for (place, _), version in zip(lot, found, strict=True)])
    asked.on_control(lambda engine: engine.agenda.look_below(path, "deleted files came back"))
    return {"restored": len(wanted) - len(failed), **({"failed": failed} if failed else {})}


def _put_back(asked: Asked, lot: Sequence[tuple[str, _Version | None]]) -> Iterator[str]:
    """What could not be done, and why."""
    arrivals: list[Arrival] = []
    try:
        for path, found in lot:
            try:
                arrivals.extend(_arrival(asked, path, found))
            except (ContentError, DiskError, RefusedError) as error:
                yield str(error) if isinstance(error, DiskError) else f"{path}: {error}"
        asked.disk.flush()
        yield from (str(end) for end in asked.disk.put_new(arrivals).values() if isinstance(end, DiskError))
    finally:
        for arrival in arrivals:
            arrival.staged.discard()


def _arrival(asked: Asked, path: str, found: _Version | None) -> Iterator[Arrival]:
    """A file on its way; nothing for a directory or a link, which is there then."""
    if found is None:
        raise ContentError("the server does not keep it any more")
    entry, disk = found.entry, asked.disk
    _make_way(disk, path)
    there = disk.stat(path)
    if there is not None and not there.kind == entry.kind == Kind.DIR:
        raise ChangedError(path, "something else is there")
    if entry.kind is Kind.LINK:
        disk.make_link(path, entry.target, None)
    elif entry.kind is Kind.FILE and entry.content is not None:
        yield Arrival(_staged(asked, found), path, entry.content.mtime, entry.exec)
    elif there is None:
        disk.make_dir(path)


def _make_way(disk: Disk, path: str) -> None:
    """The directories that a path is in."""
    heads = path.split("/")[:-1]
    for count in range(1, len(heads) + 1):
        directory = "/".join(heads[:count])
        if disk.stat(directory) is None:
            disk.make_dir(directory)


def _staged(asked: Asked, found: _Version) -> Staged:
    content, body = parse_content(found.data["content"])
    staged = asked.disk.stage(f"{found.entry.key[:16]}{'f' * 16}")
    try:
        for piece in _pieces(asked.store, content, body):
            staged.write(piece)
        staged.close()
    except BaseException:
        staged.discard()
        raise
    return staged


def _pieces(store: ChunkStore, content: Content, body: Body) -> Iterator[bytes]:
    if body.data is not None:
        yield open_inline(content, body)
        return
    ids = [row.id for row in body.chunks or load_list(store, body.list, content.size)]
    for at in range(0, len(ids), TOGETHER):
        yield from (plain for _, plain in store.get(ids[at : at + TOGETHER]))
