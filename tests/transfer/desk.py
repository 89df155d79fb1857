"""A disk, a chunk store and transfers without threads, for the tests of the parts."""

import random

from ssyncd.content.body import Body
from ssyncd.content.chunks import FileHash, chunk_id
from ssyncd.disk.memory import MemoryDisk
from ssyncd.network.memory_chunks import MemoryChunks
from ssyncd.planner.tree import Content
from ssyncd.transfer import FetchJob, ReadJob, Transfers, UploadJob

KEYS = [f"{n:032x}" for n in range(100)]
MAX_CHUNK = 100_000


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


class Desk:
    """`work` does jobs and gives the results; small chunks, so that small files have many."""

    def __init__(self, max_chunk=MAX_CHUNK, workers=0):
        self.disk = MemoryDisk()
        self.before = None
        self.store = MemoryChunks(max_chunk=max_chunk, before=lambda name: self.before(name) if self.before else None)
        self.results = []
        self.transfers = Transfers(self.disk, self.store, "laptop", self.results.extend, workers=workers)

    def work(self, *jobs):
        self.transfers.submit(jobs)
        self.transfers.pump()
        results, self.results[:] = list(self.results), []
        return results

    def write(self, path, data):
        """The user writes a file: the job to read it."""
        self.disk.user.write(path, data)
        return self.reading(path)

    def reading(self, path, key=KEYS[0]):
        return ReadJob(key, path, self.disk.stat(path))

    def read(self, path, key=KEYS[0]):
        (done,) = self.work(self.reading(path, key))
        return done

    def uploading(self, path, key=KEYS[0]):
        done = self.read(path, key)
        return UploadJob(key, path, done.stat, done.content, done.body)

    def share(self, path, data, key=KEYS[0]):
        """The user writes a file and it is uploaded: the job that fetches it elsewhere, as its object tells it."""
        self.disk.user.write(path, data)
        job = self.uploading(path, key)
        self.work(job)
        body = Body(list=job.body.list) if job.body.list else job.body
        return FetchJob(key, job.content, body)

    def bytes_of(self, staged):
        """Put a staged file in place and read it."""
        self.disk.put(staged, "put", self.disk.stat("put"), 5, False)
        return self.disk.user.read("put")

    def asked(self, name):
        return [count for request, count in self.store.requests if request == name]


def content_of(data):
    whole = FileHash()
    whole.update(data)
    return Content(whole.hexdigest(), len(data), 5, "tower")


def id_of(data):
    return chunk_id(data)
