"""What a running folder can be asked. Quick answers are given on the control thread, slow ones on the asking one."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from ssyncd.content.body import Body, open_inline, parse_content
from ssyncd.disk.base import Disk
from ssyncd.errors import ContentError, DiskError, GoneError, RefusedError, UsageError
from ssyncd.folder.engine import Engine
from ssyncd.folder.entries import to_entry
from ssyncd.network.base import ChunkStore
from ssyncd.network.http import HttpServer, part
from ssyncd.network.login import Account, bucket_name
from ssyncd.planner.names import is_conflict_name
from ssyncd.planner.tree import Content, Entry, Kind
from ssyncd.transfer import ReadJob, UploadJob
from ssyncd.transfer.fetches import load_list
from ssyncd.transfer.files import read_file

HEARD = 2.0
"""Seconds that the kernel may take to tell what has happened so far."""
VERSIONS = 100
"""How far back `history` asks."""

OnControl = Callable[[Callable[[Engine], Any]], Any]
"""Runs a function on the control thread and returns what it returns."""


class Asked(Struct, frozen=True):
    """What an answer may need besides the engine."""

    on_control: OnControl
    disk: Disk
    store: ChunkStore
    account: Account
    device: str
    ca_file: Any = None
    catch_up: Callable[[float], bool] = lambda _: True


def answer(asked: Asked, command: str, arguments: dict[str, str]) -> dict[str, Any]:
    """UsageError for what is not a command or not a path of the folder; NetworkError, DiskError, ContentError."""
    quick = QUICK.get(command)
    if quick is not None:
        found: dict[str, Any] = asked.on_control(quick)
        return found
    slow = SLOW.get(command)
    if slow is None:
        raise UsageError(f"unknown command {command!r}")
    return slow(asked, arguments)


# On the control thread.


def _approve(engine: Engine) -> dict[str, Any]:
    keys = engine.holds.approve()
    engine.agenda.touch_all(keys)
    return {"approved": len(keys)}


def _pause(engine: Engine) -> dict[str, Any]:
    engine.paused = True
    return {}


def _resume(engine: Engine) -> dict[str, Any]:
    engine.paused = False
    return {}


def _rescan(engine: Engine) -> dict[str, Any]:
    engine.agenda.look_below("", "asked to")
    engine.agenda.retry_all()
    if not engine.line.connected:
        engine.edge.connection.reconnect()
    return {}


def _conflicts(engine: Engine) -> dict[str, Any]:
    local = engine.record.local
    paths = [
        path
        for key in local
        if (entry := local.get(key)) is not None and is_conflict_name(entry.name) and (path := local.path(key))
    ]
    return {"conflicts": sorted(paths)}


QUICK: dict[str, Callable[[Engine], dict[str, Any]]] = {
    "approve": _approve,
    "pause": _pause,
    "resume": _resume,
    "rescan": _rescan,
    "conflicts": _conflicts,
}


# On the asking thread.


def _history(asked: Asked, arguments: dict[str, str]) -> dict[str, Any]:
    key, newest = asked.on_control(lambda engine: _find(engine, arguments.get("path", "")))
    rows = []
    server = HttpServer(asked.account.url, asked.account.token, asked.ca_file)
    try:
        for version in range(newest, max(0, newest - VERSIONS), -1):
            found = _version(asked, server, key, version)
            if found is not None:
                rows.append(_row(version, found[0]))
    finally:
        server.close()
    return {"versions": rows}


def _row(version: int, entry: Entry) -> dict[str, Any]:
    content = entry.content
    row: dict[str, Any] = {"version": version, "name": entry.name}
    if content is not None:
        row.update(size=content.size, time=content.mtime / 1e6, device=content.by)
    elif entry.kind is Kind.LINK:
        row.update(target=entry.target)
    return row


def _find(engine: Engine, path: str) -> tuple[str, int]:
    """The key at a path, or of what was deleted there last, and its newest version."""
    record = engine.record
    key = record.remote.find(path) or record.local.find(path)
    if not key:
        directory, _, name = path.rpartition("/")
        parent = record.remote.find(directory)
        gone = [row for row in record.ghosts.tombs() if row.entry and row.entry.place == (parent, name)]
        if not gone:
            raise UsageError(f"{path}: the server knows nothing of it")
        key = max(gone, key=lambda row: row.placed).key
    if record.ghosts.get(key) is None:
        raise UsageError(f"{path}: was not sent yet")
    return key, record.ghosts.version(key)


def _version(asked: Asked, server: HttpServer, key: str, version: int) -> tuple[Entry, dict[str, Any]] | None:
    bucket = part(bucket_name_of(asked))
    reply = server.ask("GET", f"/1/{part(asked.account.app)}/{bucket}/i/{key}/v/{version}")
    if reply.status == 404:
        return None
    if reply.status != 200:
        raise RefusedError(f"version {version}: the server answers {reply.status}", reply.status)
    data = reply.json()
    try:
        return (to_entry(key, data), data) if isinstance(data, dict) else None
    except ContentError:
        return None


def bucket_name_of(asked: Asked) -> str:
    name: str = asked.on_control(lambda engine: engine.settings.name)
    return bucket_name(name)


def _restore(asked: Asked, arguments: dict[str, str]) -> dict[str, Any]:
    """The old content is written as a user would write it: what is there now goes into the history like any edit."""
    path, version = arguments.get("path", ""), arguments.get("version", "")
    if not version.isdecimal():
        raise UsageError("the version is a number, as `history` shows it")
    key, _ = asked.on_control(lambda engine: _find(engine, path))
    server = HttpServer(asked.account.url, asked.account.token, asked.ca_file)
    try:
        found = _version(asked, server, key, int(version))
    finally:
        server.close()
    if found is None:
        raise UsageError(f"{path}: the server has no version {version}")
    entry, data = found
    if entry.kind is Kind.DIR:
        raise UsageError(f"{path}: is a directory, which has no content to restore")
    _write(asked, path, entry, data)
    asked.on_control(lambda engine: engine.agenda.look(path))
    return {"restored": path, "version": int(version)}


def _write(asked: Asked, path: str, entry: Entry, data: dict[str, Any]) -> None:
    disk, there = asked.disk, asked.disk.stat(path)
    if entry.kind is Kind.LINK:
        disk.make_link(path, entry.target, there)
        return
    content, body = parse_content(data["content"])
    staged = disk.stage(f"{entry.key[:16]}{'f' * 16}")
    try:
        for piece in _pieces(asked.store, content, body):
            staged.write(piece)
        staged.close()
        disk.flush()
        disk.put(staged, path, there, asked.on_control(lambda engine: engine.edge.clock.wall()) // 1000, entry.exec)
    except BaseException:
        staged.discard()
        raise


def _pieces(store: ChunkStore, content: Content, body: Body) -> Any:
    if body.data is not None:
        yield open_inline(content, body)
        return
    rows = body.chunks or load_list(store, body.list, content.size)
    for row in rows:
        for _, plain in store.get([row.id]):
            yield plain


def _verify(asked: Asked, _: dict[str, str]) -> dict[str, Any]:
    """Read everything again. What changed without its stamps changing was damaged, not edited. What is sound, and travels as
    chunks, is offered to the server: it takes those that it has lost."""
    wanted: list[tuple[str, Entry, Any]] = asked.on_control(_all_files)
    offers: list[UploadJob] = []
    damaged, read, checked = [], 0, 0
    for path, entry, stat in wanted:
        assert entry.content is not None
        try:
            job = ReadJob(entry.key, path, stat)
            done = read_file(asked.disk, job, asked.device, asked.store.max_chunk, lambda _: None)
        except GoneError:
            continue
        except DiskError as error:
            damaged.append(f"{path}: {error.reason}")
            continue
        checked += 1
        read += entry.content.size
        if done.content.hash != entry.content.hash:
            damaged.append(f"{path}: holds other bytes than were synced, though its time and size did not change")
        elif done.body.data is None:
            offers.append(UploadJob(entry.key, path, stat, done.content, done.body, check=True))
    asked.on_control(lambda engine: _offer(engine, offers))
    return {"checked": checked, "bytes": read, "damaged": damaged}


def _offer(engine: Engine, offers: list[UploadJob]) -> None:
    """Of what the server knows to be so; the rest is sent in its turn."""
    for offer in offers:
        entry = engine.record.remote.get(offer.key)
        if entry is not None and entry.content is not None and entry.content.hash == offer.content.hash:
            engine.edge.transfers.submit([offer])


def _all_files(engine: Engine) -> list[tuple[str, Entry, Any]]:
    record = engine.record
    found = []
    for key in record.local:
        entry, path, stat = record.local.get(key), record.local.path(key), record.stats.get(key)
        if entry is not None and entry.content is not None and path is not None and stat is not None:
            found.append((path, entry, stat))
    return sorted(found, key=lambda item: item[0])


def _catch_up(asked: Asked, _: dict[str, str]) -> dict[str, Any]:
    """Returns when the status tells of all that happened on the disk before."""
    caught_up = asked.catch_up(HEARD)
    asked.on_control(lambda _: None)
    return {"caught_up": caught_up}


SLOW: dict[str, Callable[[Asked, dict[str, str]], dict[str, Any]]] = {
    "history": _history,
    "restore": _restore,
    "verify": _verify,
    "catch_up": _catch_up,
}
