"""Chunks in memory, for tests."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from ssyncd.server.blobs.base import Scope, Stored


class MemoryBlobs:
    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()  # guards `_chunks`
        self._chunks: dict[Scope, dict[bytes, tuple[bytes, float]]] = {}

    def missing(self, scope: Scope, ids: Sequence[bytes]) -> list[bytes]:
        with self._lock:
            there = self._chunks.get(scope, {})
            for chunk in there.keys() & set(ids):
                there[chunk] = (there[chunk][0], self._now())
            return [chunk for chunk in ids if chunk not in there]

    def upload(self, scope: Scope) -> "MemoryUpload":
        return MemoryUpload(self, scope)

    def store(self, scope: Scope, chunks: Sequence[tuple[bytes, bytes]]) -> None:
        with self._lock:
            there = self._chunks.setdefault(scope, {})
            there.update({chunk: (sealed, self._now()) for chunk, sealed in chunks})

    def get(self, scope: Scope, chunk: bytes) -> bytes | None:
        found = self._chunks.get(scope, {}).get(chunk)
        return None if found is None else found[0]

    def recent(self, scope: Scope, ids: Sequence[bytes]) -> Iterator[tuple[str, int]]:  # noqa: ARG002 - there are no files
        return iter(())

    def usage(self, user: str) -> int:
        with self._lock:
            mine = [chunks for scope, chunks in self._chunks.items() if scope.user == user]
            return sum(len(sealed) for chunks in mine for sealed, _ in chunks.values())

    def scopes(self) -> list[Scope]:
        with self._lock:
            return list(self._chunks)

    def ids(self, scope: Scope) -> Iterator[bytes]:
        with self._lock:
            return iter(list(self._chunks.get(scope, {})))

    def remove(self, scope: Scope, chunk: bytes, before: float) -> bool:
        with self._lock:
            found = self._chunks.get(scope, {}).get(chunk)
            if found is None or found[1] >= before:
                return False
            del self._chunks[scope][chunk]
            return True

    def discard(self, scope: Scope, chunk: bytes, sealed: bytes) -> None:
        with self._lock:
            found = self._chunks.get(scope, {}).get(chunk)
            if found is not None and found[0] == sealed:
                del self._chunks[scope][chunk]

    def close(self) -> None:
        pass


class MemoryUpload:
    def __init__(self, blobs: MemoryBlobs, scope: Scope) -> None:
        self._blobs = blobs
        self._scope = scope
        self._chunks: list[tuple[bytes, bytes]] = []

    def add(self, chunks: Sequence[tuple[bytes, Stored]]) -> None:
        self._chunks += [(chunk, b"".join(sealed)) for chunk, sealed in chunks]

    def commit(self) -> None:
        self._blobs.store(self._scope, self._chunks)
        self._chunks = []

    def abort(self) -> None:
        self._chunks = []
