"""Bringing back what the server keeps: an earlier version, what was deleted, all as it was at some time. On the asking thread."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

from ssyncd.content.body import Body, open_inline, parse_content
from ssyncd.disk.base import Arrival, Disk, Staged, Stat
from ssyncd.errors import ChangedError, ContentError, DiskError, RefusedError, UsageError
from ssyncd.folder.asked import Asked
from ssyncd.folder.engine import Engine
from ssyncd.folder.history import History
from ssyncd.folder.versions import UNSENT, Version, Versions, deleted_in, demand_sync, find, is_inside, paths_in
from ssyncd.network.base import ChunkStore
from ssyncd.planner.tree import Content, Entry, Kind
from ssyncd.transfer.fetches import load_list
from ssyncd.transfer.undertaking import batches

TOGETHER = 100
"""Versions asked for, and chunks."""
ASKING = 8
"""Requests under way at a time."""


def restore(asked: Asked, arguments: dict[str, str]) -> dict[str, Any]:
    """As a user would write it: what is there now goes into the history like any edit."""
    path, version = arguments.get("path", ""), arguments.get("version", "")
    if version:
        return _restore_version(asked, path, version)
    time = arguments.get("time", "")
    wanted, lost = _then(asked, path, int(time)) if time.isdecimal() else (_deleted(asked, path), [])
    if arguments.get("dry"):
        return {"differences": [one.path for one in wanted]}
    return _bring_back(asked, path, wanted, lost)


def _restore_version(asked: Asked, path: str, version: str) -> dict[str, Any]:
    if not version.isdecimal():
        raise UsageError("the version is a number, as `history` shows it")
    key, _ = find(asked, path)
    with closing(Versions(asked)) as versions:
        found = versions.get(key, int(version))
    if found is None:
        raise UsageError(f"{path}: the server has no version {version}")
    if found.entry.kind is Kind.DIR:
        raise UsageError(f"{path}: is a directory; without `--version` what was deleted in it comes back")
    asked.caught_up()
    replaces: Stat | None = asked.on_control(lambda engine: _sent(engine, path))
    now: int = asked.on_control(lambda engine: engine.edge.clock.wall()) // 1000
    for arrival in _arrival(asked, _Wanted(path, key, int(version), replaces), found):
        try:
            asked.disk.flush()
            asked.disk.put(arrival.staged, path, replaces, now, arrival.exec)
        finally:
            arrival.staged.discard()
    asked.on_control(lambda engine: engine.agenda.look(path))
    return {"restored": path, "version": int(version)}


def _sent(engine: Engine, path: str) -> Stat | None:
    """What is there, if anything. UsageError for what would be gone with it, as it is in no history."""
    record = engine.record
    key = record.local.find(path)
    if key and any(record.unsettled((key,))):
        raise UsageError(f"{path} {UNSENT}")
    return record.stats.get(key) if key else None


def _deleted(asked: Asked, path: str) -> list["_Wanted"]:
    """All that was deleted at and below a path, each as it was last."""
    latest = {one.path: one.removed for one in sorted(deleted_in(asked, path), key=lambda one: one.when)}
    if not latest:
        raise UsageError(f"{path}: nothing was deleted there; `--version` and `--at` bring back what it was before")
    return [_Wanted(place, one.entry.key, one.version) for place, one in sorted(latest.items())]


def _then(asked: Asked, path: str, time: int) -> tuple[list["_Wanted"], list[str]]:
    """All at and below a path that is another now than it was at a time; and what cannot be told."""
    if not asked.extensions.moments:
        raise UsageError("this server does not tell what was there when; `ssyncd history` tells it of one file")
    with closing(History(asked.account, asked.name(), asked.ca_file, asked.extensions.removed)) as told:
        then = told.then(time)
    asked.caught_up()
    entries: dict[str, Entry] = asked.on_control(lambda engine: _unchanged(engine, then))
    entries.update(_entries(asked, {key: then[key] for key in then.keys() - entries.keys()}))
    places = {place: key for key, place in paths_in(entries, {"": ""}).items() if is_inside(place, path)}
    if not places:
        raise UsageError(f"{path or 'the folder'}: the server knows of nothing that was there then")
    there = {place: entries[key] for place, key in places.items()}
    differing: dict[str, Stat | None] = asked.on_control(lambda engine: _differing(engine, there))
    wanted = [_Wanted(place, places[place], then[places[place]], differing[place]) for place in sorted(differing)]
    unknown = len(then) - len(entries)
    lost = [f"{unknown} entries of the folder: the server does not keep them as they were then"] if unknown else []
    return wanted, lost


def _unchanged(engine: Engine, then: Mapping[str, int]) -> dict[str, Entry]:
    """Those of which this is the version that is known."""
    demand_sync(engine)
    record = engine.record
    return {
        key: entry
        for key, version in then.items()
        if (entry := record.remote.get(key)) is not None and record.ghosts.version(key) == version
    }


def _entries(asked: Asked, wanted: Mapping[str, int]) -> dict[str, Entry]:
    """As far as the server keeps them."""
    with closing(Versions(asked)) as versions, ThreadPoolExecutor(ASKING, "ssyncd-versions") as askers:
        found = askers.map(versions.get, wanted.keys(), wanted.values())
        return {key: one.entry for key, one in zip(wanted, found, strict=True) if one is not None}


def _differing(engine: Engine, then: Mapping[str, Entry]) -> dict[str, Stat | None]:
    """The paths where something else is than was there then, and what may be replaced."""
    record, found = engine.record, dict[str, Stat | None]()
    for path, entry in then.items():
        key = record.local.find(path)
        local = record.local.get(key) if key else None
        same = local is not None and local.kind is entry.kind
        if local is not None and same and local.same_content(entry) and local.exec == entry.exec:
            continue
        if not engine.local.exclusion.excludes(path, entry.kind is Kind.DIR):
            found[path] = record.stats.get(local.key) if local is not None and same else None
    return found


class _Wanted(NamedTuple):
    """A version of an object, the path where it is to be, and what is there and may be replaced."""

    path: str
    key: str
    version: int
    replaces: Stat | None = None


def _bring_back(asked: Asked, path: str, wanted: Sequence[_Wanted], lost: Sequence[str]) -> dict[str, Any]:
    """Each with its own time."""
    failed = list[str]()
    with closing(Versions(asked)) as versions, ThreadPoolExecutor(ASKING, "ssyncd-versions") as askers:
        for at in range(0, len(wanted), TOGETHER):
            lot = wanted[at : at + TOGETHER]
            found = askers.map(versions.get, [one.key for one in lot], [one.version for one in lot])
            for some in batches(zip(lot, found, strict=True), _size):
                failed += _put_back(asked, some)
    asked.on_control(lambda engine: engine.agenda.look_below(path, "earlier files came back"))
    restored = len(wanted) - len(failed)
    return {"restored": restored, **({"failed": [*lost, *failed]} if lost or failed else {})}


def _size(one: tuple[_Wanted, Version | None]) -> int:
    content = one[1].entry.content if one[1] is not None else None
    return content.size if content is not None else 0


def _put_back(asked: Asked, lot: Sequence[tuple[_Wanted, Version | None]]) -> Iterator[str]:
    """What could not be done, and why."""
    arrivals: list[tuple[Arrival, Stat | None]] = []
    try:
        for wanted, found in lot:
            try:
                arrivals.extend((arrival, wanted.replaces) for arrival in _arrival(asked, wanted, found))
            except (ContentError, DiskError, RefusedError) as error:
                yield str(error) if isinstance(error, DiskError) else f"{wanted.path}: {error}"
        asked.disk.flush()
        yield from map(str, _put(asked.disk, arrivals))
    finally:
        for arrival, _ in arrivals:
            arrival.staged.discard()


def _put(disk: Disk, arrivals: Sequence[tuple[Arrival, Stat | None]]) -> Iterator[DiskError]:
    """What went wrong."""
    ends = disk.put_new([arrival for arrival, replaces in arrivals if replaces is None])
    yield from (end for end in ends.values() if isinstance(end, DiskError))
    for arrival, replaces in arrivals:
        if replaces is not None:
            try:
                disk.put(arrival.staged, arrival.path, replaces, arrival.mtime, arrival.exec)
            except DiskError as error:
                yield error


def _arrival(asked: Asked, wanted: _Wanted, found: Version | None) -> Iterator[Arrival]:
    """A file on its way; nothing for a directory or a link, which is there then."""
    if found is None:
        raise ContentError("the server does not keep it any more")
    path, entry, disk = wanted.path, found.entry, asked.disk
    _make_way(disk, path)
    there = disk.stat(path)
    if there is not None and wanted.replaces is None and not there.kind == entry.kind == Kind.DIR:
        raise ChangedError(path, "something else is there")
    if entry.kind is Kind.LINK:
        disk.make_link(path, entry.target, wanted.replaces)
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


def _staged(asked: Asked, found: Version) -> Staged:
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
