"""The network around this machine: news of its addresses and routes, and from where the way to a server starts now.

There are such news when a cable is pulled, another wireless network joined or a tunnel built: rtnetlink(7). When the machine has
slept, or was halted with the virtual one it is, the network may have forgotten us, though nothing has changed here but the clock.
"""

import ctypes
import errno
import os
import select
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress

from ssyncd.errors import ShortageError

# RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR and RTMGRP_IPV6_ROUTE of linux/rtnetlink.h.
_GROUPS = 0x10 | 0x40 | 0x100 | 0x400
# TFD_TIMER_ABSTIME and TFD_TIMER_CANCEL_ON_SET.
_ABSOLUTE, _CANCEL_ON_SET = 1, 2


class News:
    """Readable, in the sense of select(2), when the network has changed or the clock was set, as it is after a sleep; never where
    the system does not tell."""

    def __init__(self) -> None:
        # The second end is kept, for without it the first would be readable.
        self._ends = _subscribed()
        self._timer: int | None = None
        self._either: select.epoll | None = None
        try:
            self._timer = _timer()
            if self._timer is not None:
                self._either = select.epoll()
                for one in (self._ends[0].fileno(), self._timer):
                    self._either.register(one, select.EPOLLIN)
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        return (self._either or self._ends[0]).fileno()

    def take(self) -> bool:
        """Whether there were any since the last call."""
        return self._clock_was_set() | self._was_told()

    def _clock_was_set(self) -> bool:
        if self._timer is None:
            return False
        try:
            os.read(self._timer, 8)
        except OSError as error:
            return error.errno == errno.ECANCELED
        return True

    def _was_told(self) -> bool:
        taken = False
        while True:
            try:
                self._ends[0].recv(1)
            except OSError as error:
                # More than the system keeps for us.
                if error.errno != errno.ENOBUFS:
                    return taken
            taken = True

    def close(self) -> None:
        for end in self._ends:
            end.close()
        if self._either is not None:
            self._either.close()
        if self._timer is not None:
            os.close(self._timer)


class Lull:
    """The time between two tries, in one thread. `wake` from any. It has all the descriptors it needs, or ShortageError."""

    def __init__(self) -> None:
        try:
            with ExitStack() as made:
                self.news = made.enter_context(closing(News()))
                self._wake, self._waker = map(made.enter_context, socket.socketpair())
                self._selector = made.enter_context(selectors.DefaultSelector())
                self.close = made.pop_all().close
        except OSError as error:
            raise ShortageError(f"no descriptors to wait with: {error.strerror} (see `ulimit -n`)") from error
        self._waker.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def wait(self, seconds: float, soon: float, over: Callable[[], bool]) -> bool:
        """For so long, or until `over`, which is asked at each `wake`. When the network changes it takes `soon` more seconds at
        most; whether it did."""
        deadline, changed = time.monotonic() + seconds, False
        self._selector.register(self.news, selectors.EVENT_READ)
        while not over() and (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if key.fileobj is self._wake:
                    self._wake.recv(1024)
                elif self.news.take():
                    changed = True
                    deadline = min(deadline, time.monotonic() + soon)
                    # Many more may follow.
                    self._selector.unregister(self.news)
        if not changed:
            self._selector.unregister(self.news)
        return changed

    def wake(self) -> None:
        # Full of what nobody has taken yet: that will do.
        with suppress(BlockingIOError):
            self._waker.send(b"!")


def start_of_way(opened: socket.socket) -> str:
    """The address of ours from where what is sent to the other end of a connection goes now; "" if there is no way."""
    try:
        with socket.socket(opened.family, socket.SOCK_DGRAM) as probe:
            probe.connect(opened.getpeername())
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def _subscribed() -> tuple[socket.socket, ...]:
    ends: tuple[socket.socket, ...]
    try:
        ends = (socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE),)
        try:
            ends[0].bind((0, _GROUPS))
        except OSError:
            # Some sandboxes (gVisor) know the sockets, but not the groups.
            ends[0].close()
            raise
    except (AttributeError, OSError):
        ends = socket.socketpair()
    ends[0].setblocking(False)
    return ends


class _Times(ctypes.Structure):
    """`struct itimerspec`, its members one after another."""

    _fields_ = (("period", ctypes.c_long * 2), ("end", ctypes.c_long * 2))


def _timer() -> int | None:
    """A timer that ends in ages, and cannot be read before; but the kernel cancels it when the clock is set (timerfd_create(2)),
    and a sleep that ends counts as that."""
    create, arm = (getattr(ctypes.CDLL(None), f"timerfd_{name}", None) for name in ("create", "settime"))
    if create is None or arm is None:
        return None
    timer: int = create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
    if timer < 0:
        return None
    ages = _Times((0, 0), ((1 << 8 * ctypes.sizeof(ctypes.c_long) - 1) - 1, 0))
    if arm(timer, _ABSOLUTE | _CANCEL_ON_SET, ctypes.byref(ages), None):
        os.close(timer)
        return None
    return timer
