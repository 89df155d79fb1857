"""Reading: what a file holds, as content and body."""

from collections import deque
from collections.abc import Sequence
from functools import partial

from ssyncd.errors import SsyncdError
from ssyncd.transfer.files import read_file
from ssyncd.transfer.jobs import JobFailed, ReadDone, ReadJob, Result
from ssyncd.transfer.undertaking import Desk, Part, Stopped


class Read:
    """An `Undertaking` of read jobs, in one part."""

    def __init__(self, desk: Desk, jobs: Sequence[ReadJob], device: str) -> None:
        self._desk = desk
        self._left = deque(jobs)
        self._device = device
        self._results: list[Result] = []

    def start(self) -> Sequence[Part]:
        while self._left:
            job = self._left[0]
            try:
                self._results.append(self._read(job))
            except Stopped:
                pass
            except SsyncdError as error:
                self._results.append(JobFailed(job, error))
            self._left.popleft()
        return ()

    def fail(self, error: SsyncdError) -> None:
        self._results += [JobFailed(job, error) for job in self._left]

    def finish(self) -> list[Result]:
        return self._results

    def _read(self, job: ReadJob) -> ReadDone:
        desk, early = self._desk, self._desk.begin_early(job)
        try:
            return read_file(desk.disk, job, self._device, desk.store.max_chunk, partial(self._went, job), early)
        finally:
            if early is not None:
                early.end()

    def _went(self, job: ReadJob, size: int) -> None:
        if not self._desk.wanted(job):
            raise Stopped
        self._desk.count(read=size)
        self._desk.moved(ReadJob, {job.key: size})
