"""Chunks on a server: over our own servers' chunk requests, or as objects of a second bucket on any Simperium server.

A chunk travels in its stored form (`content.compression`), and what arrives is verified before anybody sees it.
"""

import json
import secrets
import threading
import time
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

from msgspec import Struct
from pybase64 import b64decode, b64encode

from ssyncd.content.chunks import ID_SIZE, MAX_CHUNK, chunk_id
from ssyncd.content.compression import open_sealed, seal, seal_apart
from ssyncd.errors import ChunkMissingError, ContentError, NetworkError, RefusedError, RemoteError
from ssyncd.network.base import ChunkStore
from ssyncd.network.http import (
    PASSING,
    Answer,
    HttpServer,
    Response,
    explain,
    part,
    read_all,
    read_some,
    refuse,
    retry_after,
)
from ssyncd.network.login import CHUNKS, Account, Extensions, bucket_name
from ssyncd.network.throttle import UNLIMITED, Limits

T = TypeVar("T")
Plain = bytes | memoryview

MAX_IDS = 10_000
# The server reads each of these.
MAX_CHECKED = 1000
REQUEST_BYTES = 8 * 1024 * 1024
FIRST_BYTES = 1024 * 1024
LEAST_BYTES = 64 * 1024
REQUEST_SECONDS = 2.0
TOO_LARGE = 413
LENGTH_SIZE = 4
ABSENT = 0xFFFFFFFF
BINARY = {"Content-Type": "application/octet-stream"}
INDEX_PAGE = 1000
MAX_PAGE = 4 * 1024 * 1024
# What JSON, base64 and the leading byte of the stored form add to a chunk in an object.
OBJECT_OVERHEAD = 64
STEP = 4096


def open_store(
    account: Account, folder: str, extensions: Extensions, ca_file: Path | None = None, limits: Limits = UNLIMITED
) -> "HttpChunks | ObjectChunks":
    """The store for a folder's chunks at this server."""
    server = HttpServer(account.url, account.token, ca_file, limits=limits)
    if extensions.chunks:
        return HttpChunks(server, account.app, bucket_name(folder), extensions)
    return ObjectChunks(server, account.app, f"{bucket_name(folder)}{CHUNKS}", extensions.object_limit)


class HttpChunks:
    """Chunk storage of an ssyncd server: many chunks in one request."""

    def __init__(self, server: HttpServer, app: str, bucket: str, extensions: Extensions) -> None:
        self.max_chunk = min(extensions.chunk_limit or MAX_CHUNK, MAX_CHUNK)
        self._server = server
        self._path = f"/1/{part(app)}/{part(bucket)}/chunks/"
        self._request = min(extensions.request_limit or REQUEST_BYTES, REQUEST_BYTES)

    def missing(self, ids: Sequence[bytes]) -> set[bytes]:
        return self._absent("missing", _slices(ids))

    def check(self, ids: Sequence[bytes]) -> set[bytes]:
        return self._absent("check", _slices(ids, MAX_CHECKED))

    def _absent(self, question: str, slices: Iterable[Sequence[bytes]]) -> set[bytes]:
        absent: set[bytes] = set()
        for some in slices:
            answer = self._server.ask("POST", f"{self._path}{question}", b"".join(some), BINARY, MAX_IDS * ID_SIZE)
            refuse(answer)
            told = {answer.data[at : at + ID_SIZE] for at in range(0, len(answer.data), ID_SIZE)}
            if not told.issubset(some):
                raise RemoteError("the server misses chunks nobody asked for")
            absent |= told
        return absent

    def put(self, chunks: Iterable[tuple[bytes, Plain]]) -> Iterator[bytes]:
        ids: list[bytes] = []
        pieces: list[Plain] = []
        size = 0
        for id, plain in chunks:
            first, others = seal_apart(plain)
            sealed = len(first) + len(others)
            length = ID_SIZE + LENGTH_SIZE + sealed
            if pieces and size + length > self._request:
                self._put(pieces)
                yield from ids
                ids, pieces, size = [], [], 0
            pieces += (id + sealed.to_bytes(LENGTH_SIZE, "big") + first, others)
            ids.append(id)
            size += length
        if pieces:
            self._put(pieces)
            yield from ids

    def get(self, ids: Sequence[bytes], wait: float = 0.0) -> Iterator[tuple[bytes, bytes]]:
        path = f"{self._path}get?wait={wait:g}" if wait else f"{self._path}get"
        for some in _slices(ids):
            response = self._server.open("POST", path, (b"".join(some),), BINARY)
            try:
                _check_status(response)
                for id in some:
                    yield id, self._read_record(response, id)
                if read_some(response, 1):
                    raise RemoteError("the server sends more chunks than asked for")
                response.release_conn()
            finally:
                # After the last byte this does nothing; before, the connection is of no more use.
                response.close()

    def renew(self) -> None:
        self._server.renew()

    def close(self) -> None:
        self._server.close()

    def _put(self, pieces: list[Plain]) -> None:
        response = self._server.open("POST", f"{self._path}put", pieces, BINARY)
        try:
            _check_status(response)
            read_all(response, MAX_PAGE)
        finally:
            response.release_conn()

    def _read_record(self, response: Response, id: bytes) -> bytes:
        head = _read_exactly(response, ID_SIZE + LENGTH_SIZE)
        if head[:ID_SIZE] != id:
            raise RemoteError("the server sends another chunk than asked for")
        length = int.from_bytes(head[ID_SIZE:], "big")
        self._server.received(len(head) + (length if length != ABSENT else 0))
        if length == ABSENT:
            raise ChunkMissingError(id)
        # Compressed only where that makes it smaller: the stored form is longer by one byte at most.
        if length > MAX_CHUNK + 1:
            raise RemoteError(f"the server sends a chunk of {length} bytes")
        return _verified(id, _read_exactly(response, length))


class ObjectChunks:
    """Chunks as objects of a bucket, for servers that know nothing of chunks: object `ID`, `{"data": base64}`."""

    def __init__(self, server: HttpServer, app: str, bucket: str, object_limit: int) -> None:
        self.max_chunk = min((object_limit - OBJECT_OVERHEAD) // 4 * 3 // STEP * STEP, MAX_CHUNK)
        self._server = server
        self._limit = object_limit
        self._path = f"/1/{part(app)}/{part(bucket)}/"
        self._lock = threading.Lock()  # guards _present: one thread lists, the others wait for what it finds
        self._present: set[bytes] | None = None

    def missing(self, ids: Sequence[bytes]) -> set[bytes]:
        """Known from one listing of the bucket. What others add later is put again, which is harmless."""
        with self._lock:
            if self._present is None:
                self._present = self._list()
            return {id for id in ids if id not in self._present}

    def put(self, chunks: Iterable[tuple[bytes, Plain]]) -> Iterator[bytes]:
        for id, plain in chunks:
            value = json.dumps({"data": b64encode(seal(plain)).decode("ascii")}).encode()
            # One ccid for one chunk: an answer that got lost does not make a second version.
            if self._put(id, value, id.hex()) == 409 and not self._is_sound(id):
                # Carried out before, and lost or spoiled since.
                self._put(id, value, secrets.token_hex(16))
            with self._lock:
                if self._present is not None:
                    self._present.add(id)
            yield id

    def _put(self, id: bytes, value: bytes, ccid: str) -> int:
        query = urlencode({"replace": 1, "ccid": ccid})
        answer = self._server.ask(
            "POST", f"{self._path}i/{id.hex()}?{query}", value, {"Content-Type": "application/json"}
        )
        # 412: the object is just this already; 409: this request was carried out before.
        if answer.status not in (409, 412):
            refuse(answer)
        return answer.status

    def check(self, ids: Sequence[bytes]) -> set[bytes]:
        return {id for id in ids if not self._is_sound(id)}

    def _is_sound(self, id: bytes) -> bool:
        try:
            for _ in self.get([id]):
                return True
        except ContentError:
            pass
        return False

    def get(self, ids: Sequence[bytes], wait: float = 0.0) -> Iterator[tuple[bytes, bytes]]:  # noqa: ARG002 - it cannot wait
        for id in ids:
            answer = self._server.ask("GET", f"{self._path}i/{id.hex()}", limit=2 * self._limit)
            if answer.status == 404:
                with self._lock:
                    self._present = None
                raise ChunkMissingError(id)
            refuse(answer)
            yield id, _verified(id, _object_data(answer.json()))

    def renew(self) -> None:
        self._server.renew()

    def close(self) -> None:
        self._server.close()

    def _list(self) -> set[bytes]:
        found: set[bytes] = set()
        mark = ""
        while True:
            query = urlencode({"limit": INDEX_PAGE, **({"mark": mark} if mark else {})})
            answer = self._server.ask("GET", f"{self._path}index?{query}", limit=MAX_PAGE)
            # A bucket nobody has written to need not exist.
            if answer.status == 404:
                return found
            refuse(answer)
            ids, next_mark = _page(answer.json())
            if next_mark and (next_mark == mark or not ids):
                raise RemoteError("the server's listing of chunks does not end")
            found |= ids
            if not next_mark:
                return found
            mark = next_mark


class Patience(Struct, frozen=True):
    """How often to try and how long to wait, in seconds: doubling from `first` to `longest`, each by a random share."""

    tries: int = 5
    first: float = 0.5
    longest: float = 30.0

    def delay(self, failures: int, chance: float) -> float:
        return min(self.longest, self.first * 2.0 ** (failures - 1)) * (0.5 + chance / 2)


PATIENCE = Patience()


class RetryingChunks:
    """Tries again what a passing fault broke off. `chance()` is random from 0 to 1; `pause(seconds)` waits and tells whether to
    give up: without one, until the time is over or the store is closed; `now()` is a time in seconds.

    `put` keeps what it is given until it is stored: callers give a bounded batch at a time. A request that breaks off has to go
    again from its first byte, so one is to take REQUEST_SECONDS, and each failure halves what the next one holds: some progress
    is made on the worst connection. So does one that is too large for a proxy (nginx takes 1 MiB, if not told otherwise), for
    good.
    """

    def __init__(
        self,
        store: ChunkStore,
        pause: Callable[[float], bool] | None,
        chance: Callable[[], float],
        patience: Patience = PATIENCE,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_chunk = store.max_chunk
        self._store = store
        self._closed = threading.Event()
        self._pause = pause or self._closed.wait
        self._chance = chance
        self._patience = patience
        self._now = now
        # Plain bytes in one request to store chunks, and the most that a proxy before the server takes, as far as is known.
        # Several threads write them: any of their values will do.
        self._most, self._allowed = FIRST_BYTES, REQUEST_BYTES

    def missing(self, ids: Sequence[bytes]) -> set[bytes]:
        return self._persist(lambda: self._store.missing(ids))

    def check(self, ids: Sequence[bytes]) -> set[bytes]:
        return self._persist(lambda: self._store.check(ids))

    def put(self, chunks: Iterable[tuple[bytes, Plain]]) -> Iterator[bytes]:
        left = list(chunks)
        failures = 0
        while left:
            some, began, done = _first(left, self._most), self._now(), 0
            try:
                for id in self._store.put(some):
                    done += 1
                    yield id
            except NetworkError as error:
                failures = 1 if done else failures + 1
                self._most = max(LEAST_BYTES, min(self._most, _size(some)) // 2)
                self._wait(error, failures)
            except RefusedError as error:
                if error.code != TOO_LARGE:
                    raise
                self._take_less(some, error)
            else:
                failures = 0
                self._most = self._fitting(_size(some), self._now() - began)
            del left[:done]

    def _take_less(self, some: Sequence[tuple[bytes, Plain]], error: RefusedError) -> None:
        if len(some) == 1:
            raise RefusedError(
                f"{_size(some)} bytes at once are too many for the server or a proxy before it", TOO_LARGE
            ) from error
        self._most = self._allowed = min(self._allowed, _size(some) // 2)

    def _fitting(self, size: int, took: float) -> int:
        """What the next request may hold, after one that took so long."""
        fits = int(size * REQUEST_SECONDS / took) if took else REQUEST_BYTES
        if took > REQUEST_SECONDS:
            return max(LEAST_BYTES, fits)
        # Of a small one the way there and back takes most of the time: that is no reason to hold less.
        return min(self._allowed, self._most + self._most // 4, max(self._most, fits))

    def get(self, ids: Sequence[bytes], wait: float = 0.0) -> Iterator[tuple[bytes, bytes]]:
        done = failures = 0
        while done < len(ids):
            try:
                for found in self._store.get(ids[done:], wait):
                    done += 1
                    failures = 0
                    yield found
            except NetworkError as error:
                failures += 1
                self._wait(error, failures)

    def renew(self) -> None:
        self._store.renew()

    def close(self) -> None:
        self._closed.set()
        self._store.close()

    def _persist(self, request: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                return request()
            except NetworkError as error:
                failures += 1
                self._wait(error, failures)

    def _wait(self, error: NetworkError, failures: int) -> None:
        """Returns when it is time for another try, else raises the error."""
        delay = max(self._patience.delay(failures, self._chance()), error.retry_after or 0.0)
        if self._closed.is_set() or failures >= self._patience.tries or self._pause(delay):
            raise error


def _size(chunks: Iterable[tuple[bytes, Plain]]) -> int:
    return sum(len(plain) for _, plain in chunks)


def _first(chunks: Sequence[tuple[bytes, Plain]], most: int) -> list[tuple[bytes, Plain]]:
    """The first few, of at most so many bytes, but one at least."""
    total = accumulate(len(plain) for _, plain in chunks)
    return list(chunks[: max(1, sum(size <= most for size in total))])


def _slices(ids: Sequence[bytes], most: int = MAX_IDS) -> Iterator[Sequence[bytes]]:
    return (ids[at : at + most] for at in range(0, len(ids), most))


def _check_status(response: Response) -> None:
    if response.status == 200:
        return
    answer = Answer(response.status, read_all(response, MAX_PAGE))
    if answer.status in PASSING:
        raise NetworkError(explain(answer), retry_after(response.headers))
    refuse(answer)
    raise RemoteError(f"the server answered {answer.status}")


def _read_exactly(response: Response, size: int) -> bytes:
    data = read_some(response, size)
    while len(data) < size:
        more = read_some(response, size - len(data))
        if not more:
            raise NetworkError("the answer broke off")
        data += more
    return data


def _verified(id: bytes, sealed: bytes) -> bytes:
    plain = open_sealed(sealed, MAX_CHUNK)
    if chunk_id(plain) != id:
        raise ContentError(f"the bytes are not those of chunk {id.hex()}")
    return plain


def _object_data(value: object) -> bytes:
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, str):
        raise ContentError("the object holds no chunk")
    try:
        return b64decode(data, validate=True)
    except (Base64Error, ValueError) as error:
        raise ContentError(f"the object holds no base64: {error}") from error


def _page(value: object) -> tuple[set[bytes], str]:
    """The chunks of one page of a listing, and the mark of the next; names that are no ids are somebody else's."""
    rows = value.get("index") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(rows, list):
        raise RemoteError("the server's listing of chunks is none")
    ids = {_id_of(row) for row in rows}
    mark = value.get("mark")
    return ids - {b""}, mark if isinstance(mark, str) else ""


def _id_of(row: object) -> bytes:
    name = row.get("id") if isinstance(row, dict) else None
    try:
        id = bytes.fromhex(name) if isinstance(name, str) else b""
    except ValueError:
        return b""
    return id if len(id) == ID_SIZE else b""
