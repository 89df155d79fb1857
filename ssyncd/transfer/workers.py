"""The threads of the transfers, and which of them does what next."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from ssyncd.disk.base import Disk
from ssyncd.errors import ShortageError, SsyncdError
from ssyncd.network.base import ChunkStore
from ssyncd.threads import begin
from ssyncd.transfer.early import EarlyUploads
from ssyncd.transfer.fetches import Fetch
from ssyncd.transfer.jobs import Deliver, FetchJob, Job, JobFailed, Progress, ReadJob, Result, UploadJob
from ssyncd.transfer.reads import Read
from ssyncd.transfer.undertaking import BATCH, Early, Part, Undertaking
from ssyncd.transfer.uploads import Upload

log = logging.getLogger(__name__)

# Jobs taken together. Fetches hold a staged file and their sources open, so few of them.
TOGETHER: dict[type[Job], int] = {ReadJob: 256, UploadJob: 256, FetchJob: 32}

Slot = tuple[type[Job], str]
Task = Callable[[], None]


class _Group:
    """Some jobs under way, and how many of their parts are not finished."""

    __slots__ = ("ahead", "jobs", "long", "parts", "undertaking")

    def __init__(self, jobs: Sequence[Job], undertaking: Undertaking, long: bool = False, ahead: bool = False) -> None:
        self.jobs = jobs
        self.undertaking = undertaking
        self.long = long
        self.ahead = ahead
        self.parts = 0


class Transfers:
    """`submit` jobs; results come by `deliver`, many in one call, on a worker's thread: it must only queue them.

    Short jobs (up to BATCH bytes) go before long ones and are taken many at once; long ones are cut in parts that all workers
    share; what is fetched ahead has as many threads of its own, for it waits for others. Jobs of one key and kind are done one
    after the other. `store` is used from all threads at once. With `workers=0` there are none: `pump` does what is there.
    """

    def __init__(self, disk: Disk, store: ChunkStore, device: str, deliver: Deliver, workers: int = 2) -> None:
        self.disk = disk
        self.store = store
        self._device = device
        self._deliver = deliver
        # Guards everything below; neither jobs nor `deliver` run while it is held.
        self._change = threading.Condition()
        self._short: dict[type[Job], deque[Job]] = {kind: deque() for kind in TOGETHER}
        self._long: deque[Job] = deque()
        self._ahead: deque[Job] = deque()
        self._parts: deque[tuple[_Group, Part]] = deque()
        self._parts_ahead: deque[tuple[_Group, Part]] = deque()
        # Of each key and kind one job is queued or under way (_current); the others wait in _behind, in order.
        self._current: dict[Slot, Job] = {}
        self._behind: dict[Slot, deque[Job]] = {}
        self._cancelled: set[int] = set()
        self._long_running = 0
        self._long_allowed = max(1, workers - 1)
        self._progress = Progress(0, 0, 0)
        self._moved: dict[Slot, int] = {}
        self.early_uploads = EarlyUploads(self)
        self._stopping = False
        self._threads: list[threading.Thread] = []
        try:
            for name, next in (("transfer", self._next), ("ahead", self._next_ahead)):
                for number in range(workers):
                    thread = threading.Thread(target=self._work, args=(next,), name=f"ssyncd-{name}-{number}")
                    self._threads.append(begin(thread))
        except ShortageError:
            self.stop()
            raise

    # for the owner

    def submit(self, jobs: Iterable[Job]) -> None:
        """Queue jobs; never blocks."""
        with self._change:
            for job in jobs:
                slot = _slot(job)
                if slot in self._current:
                    self._behind.setdefault(slot, deque()).append(job)
                else:
                    self._queue(job)
            self._change.notify_all()

    def cancel(self, key: str, kind: type[Job] = FetchJob) -> None:
        """Jobs of this key and kind that are queued or under way are not wanted any more: nothing is delivered for them from now
        on, except what is being delivered at this moment. One submitted later starts when they have ended."""
        with self._change:
            self._behind.pop((kind, key), None)
            job = self._current.get((kind, key))
            if job is not None:
                self._cancelled.add(id(job))

    def progress(self) -> Progress:
        with self._change:
            return self._progress

    def left(self, kind: type[Job], sizes: Mapping[str, int]) -> int:
        """Bytes that jobs of this kind have still to do, of contents so large, by key."""
        with self._change:
            return sum(max(0, size - self._moved.get((kind, key), 0)) for key, size in sizes.items())

    def pump(self) -> bool:
        """Do all that is queued, on the calling thread; False if there was nothing. For `workers=0`."""
        did = False
        while (task := self._take(self._next, wait=False) or self._take(self._next_ahead, wait=False)) is not None:
            task()
            did = True
        return did

    def stop(self) -> None:
        """End. Closes the store, which breaks off what waits for the network; nothing more is delivered once this returns.
        What was fetched so far stays staged for a later run. May be called again."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
        self.store.close()
        for thread in self._threads:
            thread.join()
        self.early_uploads.stop()
        # Nobody else is left: the groups that still have parts let go of their files.
        for group in {id(group): group for group, _ in (*self._parts, *self._parts_ahead)}.values():
            self._finish(group)
        self._parts.clear()
        self._parts_ahead.clear()

    # for the undertakings

    def count(self, read: int = 0, up: int = 0, down: int = 0) -> None:
        with self._change:
            done = self._progress
            self._progress = Progress(done.up + up, done.down + down, done.read + read)

    def moved(self, kind: type[Job], sizes: Mapping[str, int]) -> None:
        with self._change:
            for key, size in sizes.items():
                self._moved[kind, key] = self._moved.get((kind, key), 0) + size

    def begin_early(self, job: ReadJob) -> Early | None:
        return self.early_uploads.begin(job) if job.early and self._threads and _size(job) > BATCH else None

    def wait_early(self, key: str) -> None:
        self.early_uploads.wait(key)

    def wanted(self, job: Job) -> bool:
        return not self._stopping and id(job) not in self._cancelled

    # for the workers; those that need the lock to be held say so

    def _work(self, next: Callable[[], Task | None]) -> None:
        while (task := self._take(next, wait=True)) is not None:
            task()

    def _take(self, next: Callable[[], Task | None], wait: bool) -> Task | None:
        """What to do next; None when there is nothing (any more)."""
        with self._change:
            while not self._stopping:
                task = next()
                if task is not None or not wait:
                    return task
                self._change.wait()
            return None

    def _next(self) -> Task | None:
        """With the lock."""
        for kind, queue in self._short.items():
            jobs = self._together(kind, queue)
            if jobs:
                return partial(self._begin, _Group(jobs, self._undertaking(jobs)))
        if self._parts:
            return partial(self._do, *self._parts.popleft())
        while self._long and self._long_running < self._long_allowed:
            job = self._long.popleft()
            if self._still_wanted(job):
                self._long_running += 1
                return partial(self._begin, _Group([job], self._undertaking([job]), long=True))
        return None

    def _next_ahead(self) -> Task | None:
        """With the lock."""
        if self._parts_ahead:
            return partial(self._do, *self._parts_ahead.popleft())
        while self._ahead:
            job = self._ahead.popleft()
            if self._still_wanted(job):
                return partial(self._begin, _Group([job], self._undertaking([job]), ahead=True))
        return None

    def _together(self, kind: type[Job], queue: deque[Job]) -> list[Job]:
        """The first short jobs of a kind. With the lock."""
        jobs: list[Job] = []
        size = 0
        while queue and len(jobs) < TOGETHER[kind] and (not jobs or size + _size(queue[0]) <= BATCH):
            job = queue.popleft()
            if self._still_wanted(job):
                size += _size(job)
                jobs.append(job)
        return jobs

    def _still_wanted(self, job: Job) -> bool:
        """With the lock. A job that was cancelled in the queue ends here."""
        if id(job) not in self._cancelled:
            return True
        self._release(job)
        return False

    def _release(self, job: Job) -> None:
        """The next job of this key and kind may come. With the lock."""
        self._cancelled.discard(id(job))
        slot = _slot(job)
        del self._current[slot]
        self._moved.pop(slot, None)
        behind = self._behind.get(slot)
        if behind:
            self._queue(behind.popleft())
        if not behind:
            self._behind.pop(slot, None)

    def _queue(self, job: Job) -> None:
        """With the lock."""
        self._current[_slot(job)] = job
        if isinstance(job, FetchJob) and job.ahead:
            self._ahead.append(job)
        elif _size(job) > BATCH:
            self._long.append(job)
        else:
            self._short[type(job)].append(job)

    def _undertaking(self, jobs: Sequence[Job]) -> Undertaking:
        match jobs[0]:
            case ReadJob():
                return Read(self, [job for job in jobs if isinstance(job, ReadJob)], self._device)
            case UploadJob():
                return Upload(self, [job for job in jobs if isinstance(job, UploadJob)])
            case FetchJob():
                return Fetch(self, [job for job in jobs if isinstance(job, FetchJob)])

    def _start(self, group: _Group) -> list[Part]:
        parts: list[Part] = []

        def start() -> None:
            parts.extend(group.undertaking.start())

        self._guarded(group, start)
        return parts

    def _begin(self, group: _Group) -> None:
        parts = self._start(group)
        if not parts:
            self._finish(group)
            return
        with self._change:
            group.parts = len(parts)
            (self._parts_ahead if group.ahead else self._parts).extend((group, part) for part in parts)
            self._change.notify_all()

    def _do(self, group: _Group, part: Part) -> None:
        self._guarded(group, part)
        with self._change:
            group.parts -= 1
            last = group.parts == 0
        if last:
            self._finish(group)

    def _finish(self, group: _Group) -> None:
        results: list[Result] = []

        def finish() -> None:
            results.extend(group.undertaking.finish())

        error = self._guarded(group, finish)
        if error is not None:
            results = [JobFailed(job, error) for job in group.jobs]
        # Delivered before the key is free again, so that the results of one key come in the order of its jobs.
        if results and not self._stopping:
            self._deliver(results)
        with self._change:
            self._long_running -= group.long
            for job in group.jobs:
                self._release(job)
            self._change.notify_all()

    def _guarded(self, group: _Group, step: Callable[[], None]) -> SsyncdError | None:
        """A failure is one of the group's jobs, never of the worker."""
        try:
            step()
        except SsyncdError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - the top of a thread: a fault of ours must not end the worker
            failure = _unexpected(error)
        else:
            return None
        group.undertaking.fail(failure)
        return failure


def _unexpected(error: Exception) -> SsyncdError:
    log.error("a transfer failed unexpectedly", exc_info=error)
    return SsyncdError(f"unexpected: {error!r}")


def _slot(job: Job) -> Slot:
    return type(job), job.key


def _size(job: Job) -> int:
    return job.stat.size if isinstance(job, ReadJob) else job.content.size
