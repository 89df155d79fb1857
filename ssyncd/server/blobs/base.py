"""The interface to the chunk storage; one contract suite for `memory.MemoryBlobs` and `directory.DirectoryBlobs`.

A chunk is kept under its id (BLAKE3-256 of the plain bytes, 32 bytes) in its stored form, in the scope of one bucket of one
account. All of it blocks and is meant for worker threads; all is thread-safe. DiskError subclasses: NoSpaceError when the disk is
full, UnreadableError otherwise.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

Stored = Sequence[bytes | bytearray | memoryview]
"""A stored form, in pieces."""


class Scope(NamedTuple):
    """A bucket of an account: nothing is shared across."""

    user: str
    app: str
    bucket: str


class Upload(Protocol):
    """The chunks of one request. Nothing of it is visible before `commit`."""

    def add(self, chunks: Sequence[tuple[bytes, Stored]]) -> None:
        """Take (id, stored form), verified by the caller. An id that is there already is harmless."""

    def commit(self) -> None:
        """Make all durable, with one flush, and visible."""

    def abort(self) -> None:
        """Forget what was not committed; harmless afterwards."""


class Blobs(Protocol):
    def missing(self, scope: Scope, ids: Sequence[bytes]) -> list[bytes]:
        """Those that are not there, in order. The others are young again, so that the collector leaves them alone."""

    def upload(self, scope: Scope) -> Upload: ...

    def get(self, scope: Scope, chunk: bytes) -> bytes | None:
        """The stored form; None if it is not there."""

    def recent(self, scope: Scope, ids: Sequence[bytes]) -> Iterator[tuple[str, int]]:
        """Of these chunks the first few that were put a short while ago: path and size of the file that holds the stored form and
        nothing else, looked at when it is asked for. Does not block."""

    def usage(self, user: str) -> int:
        """Bytes of all chunks of an account, roughly."""

    def scopes(self) -> list[Scope]: ...

    def ids(self, scope: Scope) -> Iterator[bytes]:
        """Every chunk there; one that comes or goes meanwhile may be in it or not."""

    def remove(self, scope: Scope, chunk: bytes, before: float) -> bool:
        """Remove a chunk unless it was put or asked for since `before` (seconds since the epoch)."""

    def discard(self, scope: Scope, chunk: bytes, sealed: bytes) -> None:
        """Remove a chunk if this is what is stored of it: whoever puts a sound one at this moment does not lose it."""

    def close(self) -> None: ...
