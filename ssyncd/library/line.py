"""One bucket's channel on its connection: what every client does with them, a program's bucket and a synced folder alike.

happening --take--> channel --> events --> the owner          outgoing() --send--> connection
"""

import logging
from collections.abc import Callable

from msgspec import Struct

from ssyncd.errors import ProtocolError, SignInError
from ssyncd.network.base import Closed, Connection, Happening, Opened
from ssyncd.protocol.channel import Channel
from ssyncd.protocol.events import CaughtUp, Delayed, Event
from ssyncd.protocol.messages import Denied, parse_frame

log = logging.getLogger(__name__)

AGAIN = 5.0
"""Seconds until a connection that was of no use is made anew, and until what a busy server put off is sent again."""


class Outgoing(Struct, frozen=True):
    """Messages to send, and whether to drop the connection after that."""

    messages: list[str]
    reconnect: bool

    def __bool__(self) -> bool:
        return bool(self.messages) or self.reconnect


class Line:
    """Called by one thread at a time. `clock` gives seconds that only grow.

    After anything was taken, submitted or due: store what the channel remembers, then `send(outgoing())`; or, if that cannot be
    stored, `break_off`, and nothing is sent. `next` is when `due` has to be called.
    """

    def __init__(self, name: str, channel: Channel, connection: Connection, clock: Callable[[], float]) -> None:
        self.channel = channel
        self.connected: bool | None = None
        """None until it is known for the first time."""
        self.live = False
        """Whether all that the server had was told, and changes come and go."""
        self.reason = "connecting"
        """Why the latest connection ended, could not be made or was broken off."""
        self.trouble = ""
        """The same; "" as long as nothing is wrong with the standing one."""
        self._name = name
        self._connection = connection
        self._clock = clock
        self._again_at: float | None = None
        self._retry_at: float | None = None
        self._reconnect = False

    @property
    def next(self) -> float | None:
        times = [at for at in (self._again_at, self._retry_at) if at is not None]
        return min(times) if times else None

    def take(self, happening: Happening, hear: Callable[[list[Event]], None]) -> None:
        """What the connection tells; `hear` is called with the events of each message. SignInError: not with this token."""
        if isinstance(happening, Opened):
            self.connected, self.trouble = True, ""
            self._again_at = None
            self.channel.opened(self._connection.far)
        elif isinstance(happening, Closed):
            self.connected = self.live = False
            self.reason = self.trouble = happening.reason
            self.channel.closed()
        else:
            self._receive(happening.messages, hear)

    def break_off(self, reason: str) -> None:
        """What came makes no sense, or cannot be taken in: begin anew on another connection in a while."""
        log.warning("%s: %s", self._name, reason)
        self.reason = self.trouble = reason
        self.live = False
        self.channel.closed()
        self._again_at = self._again_at or self._clock() + AGAIN

    def due(self) -> None:
        """Do what was put off until now."""
        now = self._clock()
        if self._retry_at is not None and self._retry_at <= now:
            self._retry_at = None
            self.channel.retry()
        if self._again_at is not None and self._again_at <= now:
            self._again_at = None
            self._reconnect = True

    def outgoing(self) -> Outgoing:
        """What is to be sent now; it is taken."""
        taken = Outgoing(self.channel.outgoing(), self._reconnect)
        self._reconnect = False
        return taken

    def send(self, outgoing: Outgoing) -> None:
        """Never blocks. May be called without whatever guards the rest."""
        if outgoing.messages:
            self._connection.send(outgoing.messages)
        if outgoing.reconnect:
            self._connection.reconnect()

    def _receive(self, messages: tuple[str, ...], hear: Callable[[list[Event]], None]) -> None:
        for message in messages:
            try:
                told = self.channel.receive(parse_frame(message))
            except ProtocolError as error:
                self.break_off(f"the server sent nonsense: {error}")
                return
            hear(told)
            for event in told:
                self._note(event)

    def _note(self, event: Event) -> None:
        if isinstance(event, CaughtUp):
            self.live = True
            self._connection.proved()
        elif isinstance(event, Delayed):
            self._retry_at = self._retry_at or self._clock() + AGAIN
        elif isinstance(event, Denied):
            if event.code in (400, 401):
                raise SignInError(f"{self._name}: the server does not accept the sign-in: {event.reason}")
            self.break_off(f"the server refuses the bucket for now: {event.reason} ({event.code})")
