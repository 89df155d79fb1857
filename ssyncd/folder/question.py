"""A question to the server that must be answered before anything else can go on."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ssyncd.errors import ShortageError, SsyncdError
from ssyncd.network.surroundings import Lull
from ssyncd.threads import begin

FIRST_RETRY, LAST_RETRY = 0.5, 30.0

T = TypeVar("T")


class Question(Generic[T]):
    """Asked again and again, on a thread of its own, until it is answered: then `done` is called there, with this.

    `failed` is told each time it was not. `hang_up` breaks off what waits for the server.
    """

    def __init__(
        self,
        ask: Callable[[], T],
        done: "Callable[[Question[T]], object]",
        failed: Callable[[SsyncdError], None],
        hang_up: Callable[[], None],
    ) -> None:
        self.answer: T | None = None
        self._ask = ask
        self._done = done
        self._failed = failed
        self._hang_up = hang_up
        self._stopping = threading.Event()
        self._lull = Lull()
        try:
            self._thread = begin(threading.Thread(target=self._run, name="ssyncd-question"))
        except ShortageError:
            self._lull.close()
            raise

    def stop(self) -> None:
        """Returns when the thread has ended."""
        self._stopping.set()
        self._lull.wake()
        self._hang_up()
        self._thread.join()
        self._lull.close()

    def _run(self) -> None:
        delay = FIRST_RETRY
        while not self._stopping.is_set():
            try:
                self.answer = self._ask()
            except SsyncdError as error:
                if not self._stopping.is_set():
                    self._failed(error)
                changed = self._lull.wait(delay, FIRST_RETRY, self._stopping.is_set)
                delay = FIRST_RETRY if changed else min(LAST_RETRY, delay * 2)
            else:
                self._done(self)
                return
