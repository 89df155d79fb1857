"""Chunks of a long file go to the server while it is still read: what is at hand need not be read, and hashed, once more."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from ssyncd.errors import SsyncdError
from ssyncd.transfer.jobs import ReadJob
from ssyncd.transfer.undertaking import Desk

log = logging.getLogger(__name__)

EARLY_BATCH = 4 * 1024 * 1024
"""Plain bytes of chunks in one request."""
AT_ONCE = 2
"""Requests under way."""


class EarlyUploads:
    """By key, those of files that are read, or were. `may_send` tells, on any thread, whether the folder sends at this moment."""

    def __init__(self, desk: Desk) -> None:
        self.may_send: Callable[[], bool] = lambda: False
        self._desk = desk
        self._threads = ThreadPoolExecutor(AT_ONCE, "ssyncd-early")
        # One operation on a dict each time, whole under the interpreter's lock; of one key one file is read at a time.
        self._files: dict[str, EarlyUpload] = {}

    def begin(self, job: ReadJob) -> "EarlyUpload":
        file = self._files[job.key] = EarlyUpload(self._desk, job, self._threads, self.may_send)
        return file

    def wait(self, key: str) -> None:
        file = self._files.pop(key, None)
        if file is not None:
            file.wait()

    def stop(self) -> None:
        self._threads.shutdown(cancel_futures=True)


class EarlyUpload:
    """One file. `offer` is called by one thread at a time, and not after `end`."""

    def __init__(self, desk: Desk, job: ReadJob, threads: ThreadPoolExecutor, may_send: Callable[[], bool]) -> None:
        self._desk = desk
        self._job = job
        self._threads = threads
        self._may_send = may_send
        self._batch: list[tuple[bytes, memoryview]] = []
        self._size = 0
        self._under_way: list[Future[None]] = []
        self._failed = False

    def offer(self, id: bytes, plain: memoryview) -> None:
        """Leaves out what comes while as much as may be is under way: reading is not to wait for the network."""
        if not self._batch and not self._is_free():
            return
        self._batch.append((id, plain))
        self._size += len(plain)
        if self._size >= EARLY_BATCH:
            self._under_way.append(self._threads.submit(self._send, self._batch))
            self._batch, self._size = [], 0

    def end(self) -> None:
        """What is not under way by now is left to who uploads the file, if anybody does."""
        self._batch = []

    def wait(self) -> None:
        for future in self._under_way:
            future.result()

    def _is_free(self) -> bool:
        self._under_way = [future for future in self._under_way if not future.done()]
        return len(self._under_way) < AT_ONCE and not self._failed and self._may_send()

    def _send(self, chunks: list[tuple[bytes, memoryview]]) -> None:
        if self._failed or not self._desk.wanted(self._job):
            return
        try:
            missing = self._desk.store.missing([id for id, _ in chunks])
            wanted = {id: plain for id, plain in chunks if id in missing}
            for id in self._desk.store.put(wanted.items()):
                self._desk.count(up=len(wanted[id]))
        except SsyncdError as error:
            # Who uploads the file will meet with the same, and tell.
            log.debug("%s: %s", self._job.path, error)
            self._failed = True
