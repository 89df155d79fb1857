"""Fetching: put a file together in `.ssyncd/` from what an earlier try left, from files of the folder, and from the server."""

import threading
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from ssyncd.content.body import open_inline, unpack_rows
from ssyncd.content.chunks import FileHash, Row, chunk_id
from ssyncd.disk.base import Disk, Staged
from ssyncd.errors import ContentError, DiskError, NoSpaceError, SsyncdError
from ssyncd.network.base import ChunkStore
from ssyncd.transfer.jobs import Fetched, FetchJob, JobFailed, Result
from ssyncd.transfer.sources import Sources
from ssyncd.transfer.undertaking import Desk, Part, batches


class _Place(NamedTuple):
    """Where a chunk belongs."""

    file: "_File"
    offset: int
    row: Row


class _File:
    """One job: its staged file, the rows that make it, and the first error."""

    def __init__(self, job: FetchJob) -> None:
        self.job = job
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
        if self.error is None and self.staged is not None:
            try:
                self.staged.write_at(plain, offset)
            except DiskError as error:
                self.error = error

    def hash(self, offset: int, size: int) -> None:
        """The next bytes, as they lie in the staged file."""
        if self.error is None and self.staged is not None:
            try:
                self.whole.update(self.staged.read_at(size, offset))
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
                results.append(Fetched(file.job, file.staged))
        return results

    def _prepare(self, file: _File) -> list[_Place]:
        job = file.job
        rows = job.body.chunks
        if job.body.list and not rows:
            rows = load_list(self._desk.store, job.body.list, job.content.size)
        plain = open_inline(job.content, job.body) if job.body.data is not None else b""
        file.open(self._desk.disk)
        if plain:
            rows = (Row(chunk_id(plain), len(plain)),)
            file.write(plain, 0)
            file.resumed = len(plain)
        needed = {row.id for row in rows}
        for source in job.sources:
            self._sources.add(source, needed)
        ends = accumulate(row.size for row in rows)
        return [_Place(file, end - row.size, row) for row, end in zip(rows, ends, strict=True)]

    def _carry(self, number: int) -> None:
        """One batch: every chunk that stands here for the first time goes to all its places."""
        absent: list[Row] = []
        for place in self._batches[number]:
            places = self._places[place.row.id]
            if place is places[0] and self._alive(places) and not self._at_hand(place):
                absent.append(place.row)
        self._fetch(absent)
        self._hash(number)

    def _alive(self, places: list[_Place]) -> bool:
        return any(place.file.error is None and self._desk.wanted(place.file.job) for place in places)

    def _at_hand(self, place: _Place) -> bool:
        """Take the chunk from where it belongs already, or from a file of the folder; verified."""
        row = place.row
        left = place.file.left_over(place.offset, row)
        if left is not None:
            self._spread(row, left, place)
            return True
        found = self._sources.read(row)
        if found is not None:
            self._spread(row, found)
        return found is not None

    def _fetch(self, rows: list[Row]) -> None:
        """From the server; what one chunk's absence spoils are the files that need it."""
        while rows:
            done = 0
            try:
                for row, (_, plain) in zip(rows, self._desk.store.get([row.id for row in rows]), strict=True):
                    self._desk.count(down=len(plain))
                    self._spread(row, plain)
                    done += 1
            except ContentError as error:
                self._spoil(rows[done].id, error)
                done += 1
            rows = rows[done:]

    def _spread(self, row: Row, plain: bytes, has: _Place | None = None) -> None:
        if len(plain) != row.size:
            self._spoil(row.id, ContentError(f"chunk {row.id.hex()} has another length than promised"))
            return
        for place in self._places[row.id]:
            if place is not has:
                place.file.write(plain, place.offset)

    def _spoil(self, id: bytes, error: SsyncdError) -> None:
        for place in self._places[id]:
            place.file.error = place.file.error or error

    def _hash(self, number: int) -> None:
        """Hash what is written from the beginning on without a gap: one worker at a time, while the others go on."""
        with self._lock:
            self._done.add(number)
            if self._hashing:
                return
            self._hashing = True
        while (batch := self._next_whole()) is not None:
            for place in batch:
                place.file.hash(place.offset, place.row.size)

    def _next_whole(self) -> list[_Place] | None:
        with self._lock:
            if self._hashed not in self._done:
                self._hashing = False
                return None
            self._hashed += 1
            return self._batches[self._hashed - 1]


def load_list(store: ChunkStore, pieces: Sequence[Row], size: int) -> tuple[Row, ...]:
    """The rows of a file of `size` bytes, from the chunks that hold its list. NetworkError, ContentError."""
    got = []
    for row, (_, plain) in zip(pieces, store.get([row.id for row in pieces]), strict=True):
        if len(plain) != row.size:
            raise ContentError("a piece of the list of chunks has another length than promised")
        got.append(plain)
    return unpack_rows(b"".join(got), size)
