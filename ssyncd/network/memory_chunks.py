"""A chunk store in memory: for tests and simulation, under the same contract as the real ones."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from ssyncd.content.chunks import MAX_CHUNK, chunk_id
from ssyncd.content.compression import open_sealed, seal
from ssyncd.errors import ChunkMissingError, ContentError, NetworkError, RefusedError


class MemoryChunks:
    """What a server holds is `stored` (id -> stored form), which several stores may share.

    `before` is called with the name of each request before it is carried out; a test raises from there or takes its time.
    """

    def __init__(
        self,
        stored: dict[bytes, bytes] | None = None,
        max_chunk: int = MAX_CHUNK,
        before: Callable[[str], None] | None = None,
    ) -> None:
        self.stored = {} if stored is None else stored
        self.max_chunk = max_chunk
        self.before = before
        self.requests: list[tuple[str, int]] = []
        self._closed = threading.Event()

    def missing(self, ids: Sequence[bytes]) -> set[bytes]:
        self._request("missing", len(ids))
        return {id for id in ids if id not in self.stored}

    def check(self, ids: Sequence[bytes]) -> set[bytes]:
        self._request("check", len(ids))
        for id in {id for id in ids if id in self.stored and not self._is_sound(id)}:
            del self.stored[id]
        return {id for id in ids if id not in self.stored}

    def _is_sound(self, id: bytes) -> bool:
        try:
            return chunk_id(open_sealed(self.stored[id], self.max_chunk)) == id
        except ContentError:
            return False

    def put(self, chunks: Iterable[tuple[bytes, bytes | memoryview]]) -> Iterator[bytes]:
        arriving = {id: bytes(plain) for id, plain in chunks}
        self._request("put", len(arriving))
        for id, plain in arriving.items():
            if len(plain) > self.max_chunk:
                raise RefusedError(f"a chunk of {len(plain)} bytes is too large", 413)
            if chunk_id(plain) != id:
                raise RefusedError(f"the bytes are not those of chunk {id.hex()}", 400)
            self.stored[id] = seal(plain)
            yield id

    def get(self, ids: Sequence[bytes], wait: float = 0.0) -> Iterator[tuple[bytes, bytes]]:  # noqa: ARG002 - nothing comes
        self._request("get", len(ids))
        for id in ids:
            sealed = self.stored.get(id)
            if sealed is None:
                raise ChunkMissingError(id)
            plain = open_sealed(sealed, self.max_chunk)
            if chunk_id(plain) != id:
                raise ContentError(f"the bytes are not those of chunk {id.hex()}")
            yield id, plain

    def renew(self) -> None:
        pass

    def close(self) -> None:
        self._closed.set()

    def _request(self, name: str, count: int) -> None:
        if self._closed.is_set():
            raise NetworkError("the chunk store is closed")
        self.requests.append((name, count))
        if self.before is not None:
            self.before(name)
