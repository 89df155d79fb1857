"""A folder's status, from what its engine holds; on the control thread."""

from collections import deque
from itertools import chain, islice
from typing import Any

from msgspec.structs import replace

from ssyncd.folder.engine import Engine
from ssyncd.folder.settings import Direction
from ssyncd.planner.tree import Tree
from ssyncd.status import FolderStatus, Phase, Trouble
from ssyncd.transfer import FetchJob, ReadJob, UploadJob

MOST_TROUBLES = 100
RECOUNT = 0.5
"""Seconds between two counts of all that is to be done."""
RATED = 5.0
SETTLED = 1.0
"""Of shorter times nothing is said."""


class Report:
    """`make` costs little; what has to be counted is counted now and then."""

    def __init__(self, engine: Engine, server: str) -> None:
        self._engine = engine
        self._server = server
        self._asked = float("-inf")
        self._counted: dict[str, Any] = {}
        self._rates = _Rates()
        self.stalls = False
        """Whether it was just counted, and of the contents that are to go nothing has gone since the count before."""
        self._last = FolderStatus(engine.settings.name, str(engine.settings.path), Phase.STARTING, server)

    def make(self) -> FolderStatus:
        """Equal to the last one if nothing changed but the time."""
        engine, now = self._engine, self._engine.edge.clock.monotonic()
        pending = waiting_for(engine)
        self.stalls = False
        if now - self._asked > RECOUNT:
            self._asked = now
            up, down = self._rates.measure(now, *engine.edge.transfers.progress()[:2])
            self._counted = {"to_apply": to_apply(engine), **left(engine), "up": up, "down": down}
            self.stalls = self._moves() and self._rates.stand_still
        made = FolderStatus(
            name=engine.settings.name,
            path=str(engine.settings.path),
            phase=phase(engine, pending),
            server=self._server,
            online=bool(engine.line.connected),
            entries=len(engine.record.local),
            size=engine.record.local.size,
            to_send=to_send(engine),
            conflicts=engine.record.local.conflicts,
            holds=engine.holds.tell(),
            troubles=troubles(engine),
            last_error=engine.line.trouble,
            last_change=self._last.last_change,
            **(self._counted if pending else {}),
        )
        if made != self._last:
            self._last = replace(made, last_change=engine.edge.clock.wall() / 1e9)
        return self._last

    def wait(self, seconds: float | None) -> float | None:
        """How long to wait for something to do: while contents go, no longer than until they are counted again."""
        if not (self._moves() or self._engine.local.reading):
            return seconds
        return SETTLED if seconds is None else min(seconds, SETTLED)

    def _moves(self) -> bool:
        return bool(self._engine.sender.uploading or self._engine.supply.fetching)


class _Rates:
    """Bytes per second, over the last RATED seconds."""

    def __init__(self) -> None:
        self._counts = deque[tuple[float, int, int]]()

    @property
    def stand_still(self) -> bool:
        return len(self._counts) < 2 or self._counts[-1][1:] == self._counts[-2][1:]

    def measure(self, now: float, up: int, down: int) -> tuple[float, float]:
        counts = self._counts
        counts.append((now, up, down))
        while counts[0][0] < now - RATED:
            counts.popleft()
        since, up_before, down_before = counts[0]
        took = max(now - since, SETTLED)
        return (up - up_before) / took, (down - down_before) / took


def to_send(engine: Engine) -> int:
    if engine.settings.direction is Direction.PULL:
        return 0
    return len(engine.sender.pending) + engine.channel.in_flight + engine.local.unread


def left(engine: Engine) -> dict[str, int]:
    """Bytes of contents that are still to be sent, received, and read, which comes before sending."""
    transfers = engine.edge.transfers
    reading = {key: stat.size for key, stat in engine.local.reading.items()}
    going = {key: _size(engine.record.local, key) for key in engine.sender.uploading}
    coming = {key: content.size for key, content in engine.supply.fetching.items()}
    return {
        "bytes_to_send": transfers.left(UploadJob, going | reading),
        "bytes_to_apply": transfers.left(FetchJob, coming),
        "bytes_to_read": transfers.left(ReadJob, reading),
    }


def to_apply(engine: Engine) -> int:
    record, fetching = engine.record, engine.supply.fetching
    keys = (key for key in (*engine.agenda.keys, *engine.waiting) if key not in fetching)
    coming = sum(1 for key in keys if record.remote.get(key) != record.base.get(key))
    return engine.supply.pending + len(record.overtaken) + coming


def waiting_for(engine: Engine) -> int:
    """How many entries are not where they shall be, or may be: 0 is in sync."""
    supply, agenda = engine.supply, engine.agenda
    count = to_send(engine) + len(engine.record.overtaken) + len(agenda.keys) + len(engine.waiting)
    if engine.settings.direction is Direction.PULL:
        count += engine.local.unread
    looks = len(agenda.paths) + len(agenda.below)
    later = len(engine.local.writing) + sum(1 for _, is_path in agenda.waiting if not is_path) + engine.holds.gathered
    return max(count, supply.pending) + looks + later + engine.local.exclusion.lingers


def phase(engine: Engine, pending: int) -> Phase:
    if engine.failure is not None:
        return Phase.FAILED
    if engine.paused:
        return Phase.PAUSED
    if not engine.line.connected:
        return Phase.OFFLINE
    if engine.local.scanner.first:
        return Phase.SCANNING
    if not engine.line.live:
        return Phase.STARTING
    if pending:
        return Phase.SYNCING
    return Phase.HELD if engine.holds.keys else Phase.IN_SYNC


def troubles(engine: Engine) -> tuple[Trouble, ...]:
    """What cannot be synced now, by path."""
    record = engine.record
    found = dict(engine.local.scanner.troubles)
    named = chain(engine.agenda.troubles().items(), engine.overtaken.troubles(), engine.waiting.items())
    for key, reason in islice(named, MOST_TROUBLES):
        path = record.local.path(key) or record.remote.path(key)
        # Of two about one path the first is what hinders the other.
        found.setdefault(path if path is not None else key, reason)
    for path, reason in islice(engine.local.unwatched.items(), MOST_TROUBLES):
        if path not in found:
            found[path] = f"not watched, but looked at every few seconds: {reason}"
    for key, reason in record.unusable.items():
        found[f"(object {key[:64]})"] = reason
    return tuple(Trouble(path, reason) for path, reason in sorted(found.items())[:MOST_TROUBLES])


def _size(tree: Tree, key: str) -> int:
    entry = tree.get(key)
    return entry.content.size if entry is not None and entry.content is not None else 0
