"""What a running folder can be asked. Quick answers are given on the control thread, slow ones on the asking one."""

from collections.abc import Callable
from typing import Any

from ssyncd.errors import DiskError, GoneError, UsageError
from ssyncd.folder.asked import Asked
from ssyncd.folder.engine import Engine
from ssyncd.folder.restore import restore
from ssyncd.folder.versions import deleted, forget, history
from ssyncd.planner.names import is_conflict_name
from ssyncd.planner.tree import Entry
from ssyncd.transfer import ReadJob, UploadJob
from ssyncd.transfer.files import read_file


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
    return {"caught_up": asked.caught_up()}


SLOW: dict[str, Callable[[Asked, dict[str, str]], dict[str, Any]]] = {
    "history": history,
    "deleted": deleted,
    "restore": restore,
    "forget": forget,
    "verify": _verify,
    "catch_up": _catch_up,
}
