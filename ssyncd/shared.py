"""A dataclass that is kept equal in any number of programs.

    @dataclass
    class Plan:
        title: str = ""
        tasks: dict[str, bool] = field(default_factory=dict)

    with Shared(Plan(), Secrets.from_login(), "plan") as shared:
        shared.on_change(lambda plan, change: print(plan.title))
        with shared.change() as plan:
            plan.tasks["water the plants"] = True

Only what was changed is sent. Concurrent changes merge: different members both stay, texts merge as text; one number, or one
list, that two changed at the same time has the value that reached the server last. So use a dict where many add.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from ssyncd.bucket import Change, Handle, Secrets, start_syncing
from ssyncd.errors import ShapeError, SsyncdError, UsageError
from ssyncd.library.merge import merge
from ssyncd.library.shapes import check_kind, from_json, to_json

log = logging.getLogger(__name__)

T = TypeVar("T")
KEY = "shared"
FIRST_ANSWER = 5.0


class Shared(Generic[T]):
    """`value` is what every program begins with; as long as nobody changed anything, nothing is at the server.

    It waits up to `timeout` seconds for the server and then goes on offline; `state` keeps what was not sent over restarts.
    `name` is the bucket (else the class, in lower case), `key` the object in it. Any thread may use it, in `with` or till `stop`.

    UsageError: no dataclass, or a member that cannot be shared; SignInError, StateError and BusyError as in `start_syncing`.
    """

    def __init__(
        self,
        value: T,
        secrets: Secrets,
        name: str | None = None,
        *,
        key: str = KEY,
        state: Path | str | None = None,
        timeout: float = FIRST_ANSWER,
    ) -> None:
        if not is_dataclass(value) or isinstance(value, type):
            raise UsageError(f"an object of a dataclass can be shared, not {value!r:.80}")
        self._kind: type[T] = type(value)
        check_kind(self._kind)
        self._first = to_json(value, self._kind)
        self._key = key
        self._callbacks: tuple[Callable[[T, Change], None], ...] = ()
        # One `change` of this program at a time, so that each begins with what the one before left.
        self._lock = threading.RLock()
        name = name or self._kind.__name__.lower()
        self.handle: Handle = start_syncing(
            _Listener(self._updated), secrets, state=state, name=name, timeout=timeout, offline=True
        )

    @property
    def value(self) -> T:
        """A copy of how it is now. ShapeError if another program put something there that does not fit, until it is mended."""
        return from_json(self._data(), self._kind)

    @contextmanager
    def change(self) -> Iterator[T]:
        """The value, to be changed in place; what was changed is sent at the end of the block, nothing if it raises.

        ShapeError if it does not fit, before or after; BacklogError, StateError and others as in `Handle.set`.
        """
        with self._lock:
            data = self._data()
            value = from_json(data, self._kind)
            before = to_json(value, self._kind)
            yield value
            after = to_json(value, self._kind)
            if after != before:
                # Members that only other versions of the program know stay as they are.
                self.handle.set(self._key, merge(before, after, data) or {}, base=data)

    def replace(self, value: T) -> None:
        """Make it this, whatever is there, fitting or not."""
        with self._lock:
            self.handle.set(self._key, to_json(value, self._kind))

    def on_change(self, callback: Callable[[T, Change], None]) -> None:
        """Call this with a copy of the value for every state received from now on, on a thread of its own; `change.mine` for
        one's own. What does not fit is logged instead."""
        self._callbacks = (*self._callbacks, callback)

    def wait(self, timeout: float | None = None) -> bool:
        """Whether everything is confirmed by the server within `timeout` seconds."""
        return self.handle.wait(timeout)

    @property
    def connected(self) -> bool:
        return self.handle.connected

    @property
    def failure(self) -> SsyncdError | None:
        """What ended the syncing; a callback that raised, for example."""
        return self.handle.failure

    def stop(self) -> None:
        self.handle.stop()

    def __enter__(self) -> "Shared[T]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _data(self) -> dict[str, Any]:
        data = self.handle.get(self._key)
        # Empty: another program has just made it, and is about to fill in what all begin with.
        return data or self._first

    def _updated(self, change: Change) -> None:
        if change.key != self._key or not self._callbacks:
            return
        data = change.data or self._first
        for callback in self._callbacks:
            try:
                value = from_json(data, self._kind)
            except ShapeError as error:
                log.warning("%s: what another program put there does not fit: %s", self._kind.__name__, error)
                return
            callback(value, change)


class _Listener:
    """A bucket whose objects nobody but the handle needs to remember."""

    def __init__(self, update: Callable[[Change], None]) -> None:
        self.update = update

    def init(self, version: str, entities: dict[str, dict[str, Any]]) -> None:
        pass
