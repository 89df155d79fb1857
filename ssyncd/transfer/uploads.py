"""Uploading: ask once what the server misses, then read just that again, verify it and send it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from ssyncd.content.body import split_list
from ssyncd.content.chunks import Row, chunk_id
from ssyncd.disk.base import Reader
from ssyncd.errors import ChangedError, DiskError, SsyncdError
from ssyncd.transfer.files import check_same
from ssyncd.transfer.jobs import JobFailed, Result, Uploaded, UploadJob
from ssyncd.transfer.undertaking import Desk, Part, batches


class _File:
    """One job: what of it was sent, and the first error."""

    __slots__ = ("error", "job", "sent")

    def __init__(self, job: UploadJob) -> None:
        self.job = job
        self.sent = 0
        self.error: SsyncdError | None = None


class _Chunk(NamedTuple):
    """A chunk at `offset` of a file, or `plain` where it is a piece of the file's list."""

    file: _File
    row: Row
    offset: int
    plain: bytes | None = None


class Upload:
    """An `Undertaking` of upload jobs. A chunk that several of them have is sent once, from another if one fails."""

    def __init__(self, desk: Desk, jobs: Sequence[UploadJob]) -> None:
        self._desk = desk
        self._files = [_File(job) for job in jobs]
        self._holders: dict[bytes, list[_Chunk]] = {}

    def start(self) -> Sequence[Part]:
        for file in self._files:
            for chunk in self._chunks(file):
                self._holders.setdefault(chunk.row.id, []).append(chunk)
        if not self._holders:
            return ()
        for file in self._files:
            self._desk.wait_early(file.job.key)
        missing = self._missing()
        self._arrived(id for id in self._holders if id not in missing)
        needed = [holders[0] for id, holders in self._holders.items() if id in missing]
        # The lists first: who fetches ahead can do nothing without them.
        lists = [chunk.row for chunk in needed if chunk.plain is not None]
        rows = [chunk.row for chunk in needed if chunk.plain is None]
        parts = [*batches(lists, _row_size), *batches(rows, _row_size)]
        return [partial(self._send, part) for part in parts]

    def _missing(self) -> set[bytes]:
        store = self._desk.store
        doubtful = {id for id, holders in self._holders.items() if any(chunk.file.job.check for chunk in holders)}
        absent = store.check(list(doubtful)) if doubtful else set()
        others = [id for id in self._holders if id not in doubtful]
        return absent | store.missing(others) if others else absent

    def fail(self, error: SsyncdError) -> None:
        for file in self._files:
            file.error = file.error or error

    def finish(self) -> list[Result]:
        wanted = [file for file in self._files if self._desk.wanted(file.job)]
        return [JobFailed(file.job, file.error) if file.error else Uploaded(file.job, file.sent) for file in wanted]

    def _chunks(self, file: _File) -> Iterator[_Chunk]:
        body = file.job.body
        if body.list and not body.chunks:
            file.error = ChangedError(file.job.path, "its chunks are not known here")
            return
        offset = 0
        for row in body.chunks:
            yield _Chunk(file, row, offset)
            offset += row.size
        if body.list:
            pieces = split_list(body.chunks, self._desk.store.max_chunk)
            for row, piece in zip(body.list, pieces, strict=True):
                yield _Chunk(file, row, 0, piece)

    def _send(self, rows: Sequence[Row]) -> None:
        chunks = list(self._read(rows))
        if chunks:
            for id in self._desk.store.put(chunks):
                self._desk.count(up=self._holders[id][0].row.size)
                self._arrived([id])

    def _arrived(self, ids: Iterable[bytes]) -> None:
        sizes = Counter[str]()
        for id in ids:
            for chunk in self._holders[id]:
                if chunk.plain is None:
                    sizes[chunk.file.job.key] += chunk.row.size
        self._desk.moved(UploadJob, sizes)

    def _read(self, rows: Sequence[Row]) -> Iterator[tuple[bytes, bytes]]:
        """The chunks, from the files as they are now. One that no file holds any more is left out: then its files have failed."""
        reading = _Reading(self._desk)
        try:
            for row in rows:
                for chunk in self._holders[row.id]:
                    plain = self._find(reading, chunk)
                    if plain is not None:
                        chunk.file.sent += row.size
                        yield row.id, plain
                        break
        finally:
            reading.close()

    def _find(self, reading: "_Reading", chunk: _Chunk) -> bytes | None:
        file = chunk.file
        if not self._desk.wanted(file.job):
            file.error = file.error or ChangedError(file.job.path, "no longer wanted")
        if file.error:
            return None
        if chunk.plain is not None:
            return chunk.plain
        try:
            return reading.read(chunk)
        except DiskError as error:
            file.error = error
            return None


def _row_size(row: Row) -> int:
    return row.size


class _Reading:
    """The file that was read last stays open: the chunks of a batch come file by file."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._file: _File | None = None
        self._reader: Reader | None = None

    def read(self, chunk: _Chunk) -> bytes:
        """DiskError; ChangedError if the bytes there are not the chunk's."""
        job, row = chunk.file.job, chunk.row
        if self._reader is None or self._file is not chunk.file:
            self.close()
            self._reader, self._file = self._desk.disk.open(job.path), chunk.file
            check_same(self._reader, job.path, job.stat)
        plain = self._reader.read_at(row.size, chunk.offset)
        if chunk_id(plain) != row.id:
            raise ChangedError(job.path, "it changed before it was sent")
        self._desk.count(read=row.size)
        return plain

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
