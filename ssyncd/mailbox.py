"""A queue to sleep on that signals wake, too."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """`put` may be called from any thread, and from a signal handler. `get` belongs to one thread, inside `opened`.

    Python runs signal handlers between two instructions of the main thread only. One whose signal comes just before a wait
    on a lock, or is taken by another thread, would run when the wait ends by itself: hence a wait on a socket that the
    interpreter writes to at every signal (signal.set_wakeup_fd).
    """

    def __init__(self) -> None:
        # put() is reentrant: a handler may call it while another put() or get() is under way.
        self._queue: SimpleQueue[T] = SimpleQueue()
        self._sleeping: socket.socket | None = None
        self._waking: socket.socket | None = None

    @contextmanager
    def opened(self) -> Iterator[None]:
        self._sleeping, self._waking = socket.socketpair()
        self._waking.setblocking(False)
        main = threading.current_thread() is threading.main_thread()
        before = signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False) if main else -1
        try:
            yield
        finally:
            if main:
                signal.set_wakeup_fd(before)
            self._sleeping.close()
            self._waking.close()

    def put(self, thing: T) -> None:
        self._queue.put(thing)
        if self._waking is not None:
            # Full: the sleeper is woken anyway. Closed: nobody sleeps any more.
            with suppress(OSError):
                self._waking.send(b"\0")

    def get(self, timeout: float | None) -> T | None:
        """None if nothing came within `timeout` seconds, or something else than a `put` woke us."""
        assert self._sleeping is not None
        with suppress(Empty):
            return self._queue.get_nowait()
        self._sleeping.settimeout(timeout)
        # A timeout of 0 is a refusal, not a TimeoutError.
        with suppress(TimeoutError, BlockingIOError):
            self._sleeping.recv(4096)
        return None
