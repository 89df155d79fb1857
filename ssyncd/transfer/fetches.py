"""Fetching: put a file together in `.ssyncd/` from what an earlier try left, from files of the folder, and from the server."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from ssyncd.content.body import open_inline, unpack_rows
from ssyncd.content.chunks import FileHash, Row, chunk_id
from ssyncd.disk.base import Disk, Staged
from ssyncd.errors import ChunkMissingError, ContentError, DiskError, NoSpaceError, SsyncdError
from ssyncd.network.base import ChunkStore
from ssyncd.transfer.jobs import Fetched, FetchJob, JobFailed, Result
from ssyncd.transfer.sources import Sources
from ssyncd.transfer.undertaking import Desk, Part, batches

# What is fetched ahead: seconds that the server waits for a chunk, and how often in a row, for all parts together, it may have
# waited for nothing.
WAIT = 5.0
WAITS = 120


class _Place(NamedTuple):
    """Where a chunk belongs."""

    file: "_File"
    offset: int
    row: Row


class _File:
    """One job: its staged file, the rows that make it, and the first error."""

    def __init__(self, job: FetchJob) -> None:
        self.job = job
        self.rows: tuple[Row, ...] = ()
        self.staged: Staged | None = None
        self.resumed = 0
        self.whole = FileHash()
        self.error: SsyncdError | None = None

    def open(self, disk: Disk) -> None:
        """Go on with what an earlier try left, if it can be part of this."""
        self.staged = disk.stage(self.job.key, resume=True)
        self.resumed = self.staged.size()
        if self.resumed > self.job.content.size:
            self.staged.discard()
            self.staged, self.resumed = disk.stage(self.job.key), 0

    def left_over(self, offset: int, row: Row) -> bytes | None:
        """A chunk that an earlier try put where it belongs; verified."""
        if self.staged is None or self.error is not None or offset + row.size > self.resumed:
            return None
        try:
            plain = self.staged.read_at(row.size, offset)
        except DiskError:
            return None
        return plain if chunk_id(plain) == row.id else None

    def write(self, plain: bytes, offset: int) -> None:
        if self.error is None and self.staged is not None and not self._is_hole(plain, offset):
            try:
                self.staged.write_at(plain, offset)
            except DiskError as error:
                self.error = error

    def _is_hole(self, plain: bytes, offset: int) -> bool:
        """Whether zeros need not be written, for nothing was there and more comes behind: a sparse file stays one."""
        return (
            self.resumed <= offset < self.job.content.size - len(plain)
            and plain[:1] == b"\0"
            and plain == bytes(len(plain))
        )

    def hash(self, offset: int, size: int, plain: bytes | None) -> None:
        """The next bytes; if they are not at hand, as they lie in the staged file, where a hole may be at its end so far."""
        if self.error is None and self.staged is not None:
            try:
                self.whole.update(self.staged.read_at(size, offset).ljust(size, b"\0") if plain is None else plain)
            except DiskError as error:
                self.error = error

    def close(self) -> None:
        """What is there stays for a later try, unless it is wrong or the disk is full."""
        if self.staged is None:
            return
        wrong = self.error is None and self.whole.hexdigest() != self.job.content.hash
        if wrong:
            self.error = ContentError(f"the chunks do not make a file with the hash {self.job.content.hash}")
        try:
            if wrong or isinstance(self.error, NoSpaceError):
                self.staged.discard()
            else:
                self.staged.close()
        except DiskError as error:
            self.error = self.error or error


class Fetch:
    """An `Undertaking` of fetch jobs. A chunk that is needed at several places is fetched once."""

    def __init__(self, desk: Desk, jobs: Sequence[FetchJob]) -> None:
        self._desk = desk
        self._files = [_File(job) for job in jobs]
        self._places: dict[bytes, list[_Place]] = {}
        self._sources = Sources(desk)
        self._wait = WAIT if any(job.ahead for job in jobs) else 0.0
        self._waits = 0
        self._batches: list[list[_Place]] = []
        # Guards the three below: which batches are written, up to which the files' hashes went, and whether a worker hashes.
        self._lock = threading.Lock()
        self._done: set[int] = set()
        self._hashed = 0
        self._hashing = False

    def start(self) -> Sequence[Part]:
        places: list[_Place] = []
        for file in self._files:
            try:
                places += self._prepare(file)
            except (ContentError, DiskError) as error:
                file.error = error
        for place in places:
            self._places.setdefault(place.row.id, []).append(place)
        self._batches = list(batches(places, lambda place: place.row.size))
        return [partial(self._carry, number) for number in range(len(self._batches))]

    def fail(self, error: SsyncdError) -> None:
        for file in self._files:
            file.error = file.error or error

    def finish(self) -> list[Result]:
        self._sources.close()
        results: list[Result] = []
        for file in self._files:
            wanted = self._desk.wanted(file.job)
            if not wanted:
                file.error = file.error or ContentError("no longer wanted")
            file.close()
            if file.error is not None and wanted:
                results.append(JobFailed(file.job, file.error))
            elif file.staged is not None and wanted:
                results.append(Fetched(file.job, file.staged, file.rows))
        return results

    def _prepare(self, file: _File) -> list[_Place]:
        job = file.job
        rows = job.body.chunks
        if job.body.list and not rows:
            rows = join_list(job.body.list, self._get(job.body.list), job.content.size)
        plain = open_inline(job.content, job.body) if job.body.data is not None else b""
        file.open(self._desk.disk)
        if plain:
            rows = (Row(chunk_id(plain), len(plain)),)
            file.write(plain, 0)
            file.resumed = len(plain)
        file.rows = rows
        needed = {row.id for row in rows}
        for source in job.sources:
            self._sources.add(source, needed)
        ends = accumulate(row.size for row in rows)
        return [_Place(file, end - row.size, row) for row, end in zip(rows, ends, strict=True)]

    def _carry(self, number: int) -> None:
        """One batch: every chunk that stands here for the first time goes to all its places."""
        absent: list[Row] = []
        plains: dict[bytes, bytes] = {}
        for place in self._batches[number]:
            places = self._places[place.row.id]
            if place is places[0] and self._alive(places) and not self._at_hand(place, plains):
                absent.append(place.row)
        self._fetch(absent, plains)
        self._hash(number, plains)

    def _alive(self, places: list[_Place]) -> bool:
        return any(place.file.error is None and self._desk.wanted(place.file.job) for place in places)

    def _at_hand(self, place: _Place, plains: dict[bytes, bytes]) -> bool:
        """Take the chunk from where it belongs already, or from a file of the folder; verified."""
        row = place.row
        left = place.file.left_over(place.offset, row)
        found = self._sources.read(row) if left is None else left
        if found is None:
            return False
        plains[row.id] = found
        self._spread(row, found, None if left is None else place)
        return True

    def _fetch(self, rows: list[Row], plains: dict[bytes, bytes]) -> None:
        """From the server; what one chunk's absence spoils are the files that need it."""
        while rows:
            done = 0
            try:
                for row, plain in zip(rows, self._get(rows), strict=True):
                    self._desk.count(down=len(plain))
                    self._spread(row, plain)
                    plains[row.id] = plain
                    done += 1
            except ContentError as error:
                self._spoil(rows[done].id, error)
                done += 1
            rows = [row for row in rows[done:] if self._alive(self._places[row.id])]

    def _get(self, rows: Sequence[Row]) -> Iterator[bytes]:
        """From the server; of what is fetched ahead it may have to come there first."""
        done = 0
        while done < len(rows):
            try:
                for _, plain in self._desk.store.get([row.id for row in rows[done:]], self._wait):
                    done += 1
                    self._waits = 0
                    yield plain
            except ChunkMissingError:
                self._waits += 1
                if not self._wait or self._waits > WAITS or not self._is_wanted():
                    raise

    def _is_wanted(self) -> bool:
        return any(file.error is None and self._desk.wanted(file.job) for file in self._files)

    def _spread(self, row: Row, plain: bytes, has: _Place | None = None) -> None:
        if len(plain) != row.size:
            self._spoil(row.id, ContentError(f"chunk {row.id.hex()} has another length than promised"))
            return
        for place in self._places[row.id]:
            if place is not has:
                place.file.write(plain, place.offset)
            self._desk.moved(FetchJob, {place.file.job.key: row.size})

    def _spoil(self, id: bytes, error: SsyncdError) -> None:
        for place in self._places[id]:
            place.file.error = place.file.error or error

    def _hash(self, number: int, plains: dict[bytes, bytes]) -> None:
        """Hash what is written from the beginning on without a gap: one worker at a time, while the others go on. `plains`: what
        of this batch is still in memory."""
        with self._lock:
            self._done.add(number)
            if self._hashing:
                return
            self._hashing = True
        while (next := self._next_whole()) is not None:
            for place in self._batches[next]:
                place.file.hash(place.offset, place.row.size, plains.get(place.row.id))

    def _next_whole(self) -> int | None:
        with self._lock:
            if self._hashed not in self._done:
                self._hashing = False
                return None
            self._hashed += 1
            return self._hashed - 1


def load_list(store: ChunkStore, pieces: Sequence[Row], size: int) -> tuple[Row, ...]:
    """The rows of a file of `size` bytes, from the chunks that hold its list. NetworkError, ContentError."""
    return join_list(pieces, (plain for _, plain in store.get([row.id for row in pieces])), size)


def join_list(pieces: Sequence[Row], plains: Iterable[bytes], size: int) -> tuple[Row, ...]:
    """The same, from the bytes of these chunks."""
    got = []
    for row, plain in zip(pieces, plains, strict=True):
        if len(plain) != row.size:
            raise ContentError("a piece of the list of chunks has another length than promised")
        got.append(plain)
    return unpack_rows(b"".join(got), size)
