"""The seams to the server. Each has a memory version beside the real one, under one contract suite.

`Connection`: `websocket.WebSocketConnection`, `memory.MemoryConnection`. `ChunkStore`: `chunks.HttpChunks` (our servers),
`chunks.ObjectChunks` (plain Simperium servers), `memory.MemoryChunks`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from msgspec import Struct


class Opened(Struct, frozen=True):
    """A new connection stands; nothing of an older one comes after this."""


class Received(Struct, frozen=True):
    """Messages in the order they came."""

    messages: tuple[str, ...]


class Closed(Struct, frozen=True):
    """The connection is gone; another try follows by itself after `retry_in` seconds.

    `lost`: without a word of the other side, as when the network is another one now. So is whatever else is open to it.
    """

    reason: str
    retry_in: float
    lost: bool = False


Happening = Opened | Received | Closed


class Connection(Protocol):
    """One websocket that comes back by itself: reconnects with growing delay, beats its heart when idle, drops a silent peer.

    `far`: whether the server of the standing connection is so far that fewer bytes are worth some work.
    """

    far: bool

    def start(self, deliver: Callable[[Happening], None]) -> None:
        """`deliver` runs on the connection's thread and may block: that is the back-pressure."""

    def send(self, messages: Sequence[str]) -> None:
        """Queue messages for the standing connection, in order; never blocks; dropped if none stands."""

    def reconnect(self) -> None:
        """Drop the connection and try again at once."""

    def doubt(self) -> None:
        """See soon whether anybody is still there: what goes another way gets no answer."""

    def proved(self) -> None:
        """The owner got what it came for: should the connection break, the next try comes soon, however short it was."""

    def stop(self) -> None:
        """Returns when the thread has ended."""


class ChunkStore(Protocol):
    """Chunks by id, the BLAKE3 (32 bytes) of their plain bytes. Thread-safe. NetworkError, RefusedError, SignInError.

    `max_chunk` is the largest plain chunk it takes, in bytes.
    """

    max_chunk: int

    def missing(self, ids: Sequence[bytes]) -> set[bytes]:
        """Which of these the server does not have."""

    def check(self, ids: Sequence[bytes]) -> set[bytes]:
        """Which of these the server does not have, or has with other bytes than their ids say: each is read to find out. What
        is put of them then takes the place of what was there."""

    def put(self, chunks: Iterable[tuple[bytes, bytes | memoryview]]) -> Iterator[bytes]:
        """Store (id, plain bytes): the id of each once it is durable. Storing again is harmless."""

    def get(self, ids: Sequence[bytes], wait: float = 0.0) -> Iterator[tuple[bytes, bytes]]:
        """(id, plain bytes), verified, in the order asked for. ChunkMissingError, ContentError.

        A chunk that the server does not have yet may be waited for, for so many seconds.
        """

    def renew(self) -> None:
        """What is open to the server carries nothing any more: requests under way end (NetworkError), the next go another way."""

    def close(self) -> None: ...
