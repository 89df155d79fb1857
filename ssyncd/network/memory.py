"""A Connection without a network, for tests and simulations: nothing happens but when `MemoryLink.pump` is called."""

from collections import deque
from collections.abc import Callable, Sequence

from ssyncd.network.base import Closed, Happening, Opened, Received


class MemoryLink:
    """The wire and the server's end of it. `connection` is the client's end.

    `reachable` says whether dialling works. `generation` counts the connections that stood; a message belongs to one of them.
    """

    def __init__(self, retry_in: float = 1.0) -> None:
        self.reachable = True
        self.generation = 0
        self.connection = MemoryConnection(self)
        self._retry_in = retry_in
        self._deliver: Callable[[Happening], None] | None = None
        self._standing = False
        self._to_client: deque[Happening] = deque()
        self._to_server: list[str] = []

    @property
    def standing(self) -> bool:
        return self._standing

    # The server's end

    def take(self) -> list[str]:
        """What the client sent on the standing connection since the last call."""
        messages, self._to_server = self._to_server, []
        return messages

    def send(self, messages: Sequence[str]) -> None:
        """To the client, on the standing connection; dropped if none stands."""
        kept = tuple(message for message in messages if not message.startswith("h:"))
        if self._standing and kept:
            self._to_client.append(Received(kept))

    def cut(self, reason: str = "the connection was cut") -> None:
        """Break the connection; what is under way in either direction is lost."""
        if self._standing:
            self._standing = False
            self._to_server.clear()
            self._drop_received()
            self._to_client.append(Closed(reason, self._retry_in))

    # The wire

    def pump(self, most: int | None = None) -> bool:
        """Deliver what is under way, at most so many happenings, and dial if nothing stands. Whether anything was delivered."""
        if not self._to_client and not self._standing:
            self._dial()
        delivered = 0
        while self._to_client and self._deliver is not None and delivered != most:
            self._deliver(self._to_client.popleft())
            delivered += 1
        return delivered > 0

    def _dial(self) -> None:
        if self._deliver is None:
            return
        if self.reachable:
            self._standing = True
            self.generation += 1
            self._to_client.append(Opened())
        else:
            self._to_client.append(Closed("the server cannot be reached", self._retry_in))

    def _drop_received(self) -> None:
        self._to_client = deque(happening for happening in self._to_client if not isinstance(happening, Received))

    # The client's end

    def attach(self, deliver: Callable[[Happening], None] | None) -> None:
        self._deliver = deliver
        if deliver is None:
            self._standing = False
            self._to_client.clear()
            self._to_server.clear()

    def carry(self, messages: Sequence[str]) -> None:
        if self._standing:
            self._to_server.extend(messages)


class MemoryConnection:
    """The Connection of a MemoryLink. `deliver` runs inside `pump`."""

    def __init__(self, link: MemoryLink) -> None:
        self.far = False
        self._link = link

    def start(self, deliver: Callable[[Happening], None]) -> None:
        self._link.attach(deliver)

    def send(self, messages: Sequence[str]) -> None:
        self._link.carry(messages)

    def reconnect(self) -> None:
        self._link.cut("reconnecting")

    def doubt(self) -> None:
        """What stands here stands."""

    def proved(self) -> None:
        """It dials whenever it is pumped."""

    def stop(self) -> None:
        self._link.attach(None)
