"""The threads of a bucket: one works (it alone uses the connection), one calls the application's `update`.

The connection's own thread delivers here, and waits while too much is undone: that is the back-pressure towards the server.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from ssyncd.errors import BacklogError, SignInError, SsyncdError, StateError, UsageError
from ssyncd.library.line import Line, Outgoing
from ssyncd.library.memory import Writes
from ssyncd.library.replica import Outcome, Replica
from ssyncd.library.statefile import StateFile
from ssyncd.library.values import Data
from ssyncd.network.base import Connection, Happening
from ssyncd.protocol.events import Event
from ssyncd.threads import begin

log = logging.getLogger(__name__)

MOST_WAITING = 4
"""Received batches that may wait for the working thread."""
MOST_UPDATES = 1000
"""Updates that may wait for the application before nothing more is received."""

T = TypeVar("T")


class Syncing:
    """`start` and `stop` once each. Whatever ends the work is `failure`; edits that are in the state file stay there."""

    def __init__(self, name: str, replica: Replica, connection: Connection, state: StateFile | None = None) -> None:
        self.name = name
        self._replica = replica
        self._connection = connection
        self._state = state
        # Guards everything below, the replica and the state file; notified whenever one of them changes. Nothing foreign is
        # called while it is held.
        self._changed = threading.Condition()
        self._line = Line(name, replica.channel, connection, time.monotonic)
        self._happenings: deque[Happening] = deque()
        self._updates: deque[Outcome] = deque()
        self._listening = False
        self._stopping = False
        self._edited = False
        self._failure: SsyncdError | None = None
        self._worker = threading.Thread(target=self._work, name=f"ssyncd bucket {name}", daemon=True)
        self._caller: threading.Thread | None = None

    # For the application's threads

    def start(self) -> None:
        begin(self._worker)
        self._connection.start(self._deliver)

    def stop(self) -> None:
        """Every thread has ended on return, but the one that `stop` is called from and an `update` that hangs."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._connection.stop()
        if self._worker.ident is not None:
            self._worker.join()
        if self._caller is not None and self._caller is not threading.current_thread():
            self._caller.join()
        with self._changed:
            if self._state is not None:
                self._state.close()
                self._state = None

    @property
    def known(self) -> bool:
        """Whether an earlier run has left something: all objects as they were, or edits."""
        with self._changed:
            memory = self._replica.memory
            return bool(memory.cursor) or memory.edited > 0

    def begin(self) -> tuple[str, dict[str, dict[str, Any]]]:
        """The cursor and copies of all objects; what is received from now on becomes an update."""
        with self._changed:
            self._listening = True
            return self._replica.memory.cursor, self._replica.entities()

    def call(self, update: Callable[[Outcome], None]) -> None:
        """Have a thread call this for every update, one at a time."""
        self._caller = begin(
            threading.Thread(target=self._call, args=(update,), name=f"ssyncd updates {self.name}", daemon=True)
        )

    def read(self, question: Callable[[Replica], T]) -> T:
        """The answer of a quick question. The failure, if there is one."""
        with self._changed:
            self._check()
            return question(self._replica)

    def edit(self, key: str, wanted: Data, base: Data, most: int, wait: float) -> None:
        """Take an edit: it is in the state file, if there is one, on return. BacklogError, StateError, the failure."""
        with self._changed:
            self._check()
            if not self._has_room(key, most) and not self._wait_for_room(key, most, wait):
                raise BacklogError(f"{self.name}: {most} objects have unsent changes")
            self._check()
            self._replica.put(key, wanted, base)
            self._after_edit()

    def discard(self, key: str) -> None:
        with self._changed:
            self._check()
            self._replica.discard(key)
            self._after_edit()

    def wait_sent(self, timeout: float | None, only_connected: bool = False) -> bool:
        """Whether all edits are accepted, or refused for good, within `timeout` seconds. `only_connected`: give up at once while
        there is no connection. The failure, if there is one."""

        def over() -> bool:
            gone = self._failure is not None or self._stopping or (only_connected and self._line.connected is False)
            return gone or self._replica.unsent() == 0

        with self._changed:
            self._changed.wait_for(over, timeout)
            self._check()
            return self._replica.unsent() == 0

    def wait_live(self, timeout: float | None) -> bool:
        """Whether everything the server has was told within `timeout` seconds. The failure, if there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._line.live or self._failure is not None or self._stopping, timeout)
            self._check()
            return self._line.live

    @property
    def live(self) -> bool:
        with self._changed:
            return self._line.live and self._failure is None

    @property
    def reason(self) -> str:
        """Why there is no connection, or was none."""
        with self._changed:
            return self._line.reason

    @property
    def failure(self) -> SsyncdError | None:
        with self._changed:
            return self._failure

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._stopping:
            raise UsageError(f"{self.name}: is stopped")

    def _has_room(self, key: str, most: int) -> bool:
        memory = self._replica.memory
        return memory.edited < most or memory.edit(key) is not None

    def _wait_for_room(self, key: str, most: int, wait: float) -> bool:
        # `update` must not wait for what may only come once it has returned.
        if threading.current_thread() is self._caller:
            return False
        return self._changed.wait_for(
            lambda: self._failure is not None or self._stopping or self._has_room(key, most), wait
        )

    def _after_edit(self) -> None:
        self._edited = True
        self._changed.notify_all()
        self._store()

    def _store(self) -> None:
        writes = self._replica.memory.writes
        if self._state is not None and writes:
            self._state.write(writes)
        self._replica.memory.writes = Writes()

    # The connection's thread

    def _deliver(self, happening: Happening) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or not self._too_much())
            self._happenings.append(happening)
            self._changed.notify_all()

    def _too_much(self) -> bool:
        return len(self._happenings) >= MOST_WAITING or len(self._updates) >= MOST_UPDATES

    # The working thread

    def _work(self) -> None:
        try:
            while self._round():
                pass
        except SsyncdError as error:
            self._fail(error)
        except Exception as error:  # the top of a thread
            log.critical("%s: ended by a defect", self.name, exc_info=error)
            self._fail(SsyncdError(f"{self.name}: a defect in ssyncd: {error!r}"))

    def _round(self) -> bool:
        """Take in what came, send what is ready; False at the end."""
        with self._changed:
            self._changed.wait_for(self._due, self._until_next())
            if self._stopping or self._failure is not None:
                return False
            self._edited = False
            while self._happenings:
                self._line.take(self._happenings.popleft(), self._hear)
            self._line.due()
            self._tell(self._replica.submit())
            outgoing = self._stored_outgoing()
            self._changed.notify_all()
        self._line.send(outgoing)
        return True

    def _due(self) -> bool:
        return bool(self._happenings) or self._edited or self._stopping or self._failure is not None

    def _until_next(self) -> float | None:
        at = self._line.next
        return None if at is None else max(0.0, at - time.monotonic())

    def _stored_outgoing(self) -> Outgoing:
        """Nothing is sent that is not in the ledger."""
        try:
            self._store()
        except StateError as error:
            self._line.break_off(str(error))
        return self._line.outgoing()

    def _hear(self, events: list[Event]) -> None:
        self._tell(self._replica.hear(events))

    def _tell(self, outcomes: list[Outcome]) -> None:
        if self._listening:
            self._updates.extend(outcomes)

    def _fail(self, error: SsyncdError) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()
        if not isinstance(error, SignInError):
            log.error("%s: syncing has ended: %s", self.name, error)

    # The calling thread

    def _call(self, update: Callable[[Outcome], None]) -> None:
        try:
            while (told := self._next_update()) is not None:
                update(told)
        except Exception as error:  # the top of a thread; `update` is the application's
            log.exception("%s: the application's update failed", self.name)
            failure = SsyncdError(f"{self.name}: update failed: {error!r}")
            failure.__cause__ = error
            self._fail(failure)

    def _next_update(self) -> Outcome | None:
        with self._changed:
            self._changed.wait_for(lambda: self._updates or self._stopping)
            if self._stopping:
                return None
            told = self._updates.popleft()
            if len(self._updates) < MOST_UPDATES:
                self._changed.notify_all()
            return told
