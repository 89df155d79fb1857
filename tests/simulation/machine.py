"""One machine of a simulated world: its disk, its user, its daemon, its wire to the server."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from ssyncd.disk.faults import is_own
from ssyncd.disk.memory import MemoryDisk, MemoryWatcher
from ssyncd.errors import StateError
from ssyncd.folder.engine import Edge, Engine
from ssyncd.folder.graves import bury
from ssyncd.folder.record import Record
from ssyncd.folder.recovery import recover
from ssyncd.folder.report import troubles, waiting_for
from ssyncd.folder.settings import Clock, FolderSettings
from ssyncd.network.memory import MemoryLink
from ssyncd.network.memory_chunks import MemoryChunks
from ssyncd.protocol.messages import Init
from ssyncd.state.database import Database
from ssyncd.transfer import Transfers
from tests.databases import MemoryDatabase
from tests.simulation.server import SECRET, Server, Socket

START = 1_700_000_000_000_000_000
TICKS = 4_000_000, 40_000_000
"""Nanoseconds: file systems stamp with a clock this coarse; so much coarser where a busy host puts off the tick."""
WRITES = frozenset(
    ("create", "write", "set_mtime", "chmod", "rename", "exchange", "symlink", "mkdir", "unlink", "rmdir")
)


class Killed(BaseException):
    """The process ends at this call."""


class Time:
    """The world's clock: seconds since its beginning."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.tick = Random(f"tick {seed}").choice(TICKS)

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> int:
        return START + int(self.now * 1e9)

    def stamp(self) -> int:
        return self.wall() // self.tick * self.tick


class Machine:
    """`inbox` holds what has not been taken in; `due` is when the daemon wants its next round (None: when something comes)."""

    def __init__(self, name: str, server: Server, stored: dict[bytes, bytes], time: Time, seed: int) -> None:
        self.name = name
        self.hold_least = 10_000
        self.time = time
        self.server = server
        self._stored = stored
        self._ids = Random(f"{name} {seed}")
        self._lean = Random(f"lean {name} {seed}").randrange(3)
        self.hears_notices = Random(f"notices {name} {seed}").randrange(4) > 0
        self.disk = MemoryDisk(f"folder of {name}", time.stamp)
        self.user = self.disk.user
        self.database = MemoryDatabase()
        self.inbox: list[Any] = []
        self.writes = 0
        self.sent: list[str] = []
        self.trace: list[str] = []
        # What happens before the so-manyth call to come: anything; something to the path of the call (which may have to be one
        # that writes); an error; the end.
        self.ambush: tuple[int, Callable[[], None]] | None = None
        self.strike: tuple[int, bool, Callable[[str], None]] | None = None
        self.failing: tuple[int, int] | None = None
        self.dying: tuple[int, Callable[[], None]] | None = None
        self._boots = 0
        self._late: list[tuple[Socket, list[str]]] = []
        self.start()

    def start(self, lost: bool = False) -> None:
        """`lost`: `Folder` finds that the state was lost, and asks the server what was removed."""
        self.inbox.clear()
        self.fresh = True
        self.due: float | None = self.time.now
        self.link = MemoryLink()
        self._socket: Socket | None = None
        self._generation = 0
        settings = FolderSettings(Path(), "folder", Path(), self.name, hold_least=self.hold_least)
        self.record = Record(self.database)
        self.record.database = self._watched(self.database)
        self.transfers = Transfers(self.disk, MemoryChunks(self._stored), self.name, self.inbox.extend, workers=0)
        if lost:
            bury(self.record, [one.entry for one in self.server.removed()])
        edge = Edge(
            self.disk,
            self.link.connection,
            self.transfers,
            self.new_id,
            Clock(self.time.monotonic, self.time.wall, self.time.stamp),
            f"boot {self._boots}",
        )
        offered = {"lean": self._lean > 0, "notices": self.hears_notices, "gaps": True}
        init = Init("folder", SECRET, "ssyncd", f"client-{self.name}", **offered)
        self.engine = Engine(settings, edge, self.record, init, 100)
        self.engine.notices.least = 0
        self.engine.channel.knows_much = lambda: self._lean > 1
        self.watcher = MemoryWatcher(self.disk, auto=False)
        recover(self.disk, self.record)
        self.watcher.start(lambda hints: self.inbox.append(list(hints)))
        self.disk.on_step = self._on_step
        self.engine.begin()
        self.link.connection.start(self.inbox.append)

    def new_id(self) -> str:
        return f"{self._ids.getrandbits(128):032x}"

    def _watched(self, database: Database) -> Any:
        """A commit is a call like those to the disk."""

        class Watched:
            chunks = staticmethod(database.chunks)
            past = staticmethod(database.past)
            is_settled = staticmethod(database.is_settled)
            settle = staticmethod(database.settle)

            @staticmethod
            def write(writes: Any) -> None:
                try:
                    self._on_step("commit", "")
                except OSError as error:
                    raise StateError(str(error)) from error
                database.write(writes)

        return Watched

    def _on_step(self, call: str, path: str) -> None:
        self.writes += call in WRITES
        if self.dying is not None:
            left, end = self.dying
            self.dying = max(0, left - 1), end
            if not left:
                raise Killed
        if self.strike is not None and path and not is_own(path) and (not self.strike[1] or call in WRITES):
            left, only_writes, hit = self.strike
            self.strike = (left - 1, only_writes, hit) if left else None
            if not left:
                hit(path)
        if self.ambush is not None:
            left, act = self.ambush
            self.ambush = (left - 1, act) if left else None
            if not left:
                act()
        if self.failing is not None and (self.failing[1] != errno.ENOSPC or call in WRITES):
            left, number = self.failing
            self.failing = (left - 1, number) if left else None
            if not left:
                raise OSError(number, os.strerror(number), path)

    # Steps

    def take_in(self) -> None:
        items, self.inbox[:] = list(self.inbox), []
        for item in items:
            self.engine.handle(item)

    def work(self) -> bool:
        """One round of the control thread. Whether there was reason for it."""
        reason = bool(self.inbox) or (self.due is not None and self.due <= self.time.now)
        return self._until_killed(self._round) or reason

    def _round(self) -> bool:
        self.take_in()
        wait = self.engine.work()
        self.fresh = False
        self.due = None if wait is None else self.time.now + wait
        return False

    def pump(self) -> bool:
        """What the threads of the transfers would do."""
        return self._until_killed(self.transfers.pump)

    def _until_killed(self, step: Callable[[], bool]) -> bool:
        try:
            return step()
        except Killed:
            assert self.dying is not None
            self.dying[1]()
            return True

    def serve(self, most: int | None = None) -> bool:
        """Carry messages to the server; it answers what it can without storing."""
        if self.link.generation != self._generation and self.link.standing:
            self._generation = self.link.generation
            self._hang_up()
            generation, link = self._generation, self.link
            self._socket = self.server.connect(
                lambda text: link.send([text]) if link.generation == generation else None
            )
        messages = self.link.take()
        if self._socket is not None:
            for message in messages:
                self.sent.append(message)
                self.trace.append(f"{self.name}>{message}")
                self._socket.incoming.put_nowait(message)
        self.server.step()
        return bool(messages)

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.incoming.put_nowait(None)
            self._socket = None

    def cut(self, half_open: bool = False) -> None:
        """Half open: the server has not heard of it, and what was sent may still come there."""
        if half_open and self._socket is not None:
            self._late.append((self._socket, self.link.take()))
            self._socket = None
        self.link.cut()
        self._hang_up()

    def deliver_late(self) -> None:
        """What was sent on connections that are no more."""
        for socket, messages in self._late:
            for message in (*messages, None):
                socket.incoming.put_nowait(message)
        self._late.clear()
        self.server.step()

    def forget(self) -> None:
        """The state database is gone."""
        self.database = MemoryDatabase()
        self.start(lost=True)

    def stop(self) -> None:
        """As `Folder` does."""
        self.engine.commit()
        self.kill()

    def approve(self) -> None:
        """The user's word; what was held is planned in the next round."""
        self.engine.agenda.touch_all(self.engine.holds.approve())
        self.due = self.time.now

    def kill(self) -> None:
        """The process ends here; the system goes on."""
        self._leave()
        self.disk.restart()

    def lose_power(self, keep: int, keep_data: bool) -> None:
        self._leave()
        self._boots += 1
        self.disk.crash(keep, keep_data)

    def _leave(self) -> None:
        self.watcher.stop()
        self.link.connection.stop()
        self._hang_up()
        self.ambush = self.strike = self.failing = self.dying = None

    def is_at_rest(self) -> bool:
        """Whether it knows that there is nothing to do, and has nothing left of what it did."""
        knows = self.engine._is_at_rest() and not waiting_for(self.engine) and not troubles(self.engine)
        return knows and not self.disk._scan_stage()

    def tree(self) -> dict[str, Any]:
        """Path to what is there, with the executable bit, or what it thinks of that where the disk keeps none."""
        return {
            path: (value, self._exec(path)) if isinstance(value, bytes) else value
            for path, value in self.user.tree().items()
        }

    def _exec(self, path: str) -> bool:
        files, local = self.disk.files, self.record.local
        known = local.get(local.find(path) or "")
        return files.stat(files.walk(path)).exec_or(known is not None and known.exec)
