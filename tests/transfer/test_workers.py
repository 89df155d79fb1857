import threading
from collections import deque

import pytest
from msgspec.structs import replace

from ssyncd.content.chunks import MIB
from ssyncd.disk.memory import MemoryDisk
from ssyncd.disk.real import RealDisk
from ssyncd.errors import NetworkError, SsyncdError
from ssyncd.network.memory_chunks import MemoryChunks
from ssyncd.transfer import Fetched, FetchJob, JobFailed, ReadDone, ReadJob, Source, Transfers, Uploaded, UploadJob
from tests.transfer.desk import KEYS, Desk, noise

DEADLINE = 30


class Inbox:
    """Where results arrive; `wait` for some of them."""

    def __init__(self):
        self.change = threading.Condition()
        self.results = []

    def __call__(self, results):
        with self.change:
            self.results += results
            self.change.notify_all()

    def wait(self, count):
        with self.change:
            assert self.change.wait_for(lambda: len(self.results) >= count, DEADLINE)
            results, self.results = self.results, []
        return results


class Gate:
    """Holds requests of one name until it is opened."""

    def __init__(self, name):
        self.name = name
        self.waiting = threading.Semaphore(0)
        self.opened = threading.Event()
        self.error = None

    def __call__(self, name):
        if name == self.name:
            self.waiting.release()
            assert self.opened.wait(DEADLINE)
            if self.error:
                raise self.error


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def run(inbox):
    """Makes transfers that are stopped at the end."""
    made = []

    def make(disk, store, workers=2):
        made.append(Transfers(disk, store, "laptop", inbox, workers))
        return made[-1]

    yield make
    for transfers in made:
        transfers.stop()


def test_a_long_file_goes_there_and_back_on_a_real_disk(tmp_path, inbox, run):
    data = noise(25 * MIB)
    (tmp_path / "a").write_bytes(data)
    disk, store = RealDisk(tmp_path), MemoryChunks()
    transfers = run(disk, store)
    stat = disk.stat("a")
    transfers.submit([ReadJob(KEYS[0], "a", stat)])
    (read,) = inbox.wait(1)
    transfers.submit([UploadJob(KEYS[0], "a", stat, read.content, read.body)])
    (sent,) = inbox.wait(1)
    assert sent.sent == len(data)
    (tmp_path / "half").write_bytes(data[: len(data) // 2])
    transfers.submit(
        [FetchJob(KEYS[1], read.content, read.body, (Source("half", disk.stat("half"), read.body.chunks),))]
    )
    (got,) = inbox.wait(1)
    disk.put(got.staged, "b", None, 5, False)
    assert (tmp_path / "b").read_bytes() == data
    progress = transfers.progress()
    assert len(data) * 0.3 < progress.down < len(data) * 0.7
    assert progress.up >= len(data)
    transfers.stop()
    disk.close()


def test_thousands_of_small_files_come_in_few_deliveries():
    disk = MemoryDisk()
    jobs = [ReadJob(f"{n:032x}", f"f{n}", disk.user.write(f"f{n}", b"%d" % n)) for n in range(3000)]
    deliveries, done = [], threading.Event()

    def deliver(results):
        deliveries.append(results)
        if sum(map(len, deliveries)) == 3000:
            done.set()

    transfers = Transfers(disk, MemoryChunks(), "laptop", deliver)
    try:
        transfers.submit(jobs)
        assert done.wait(DEADLINE)
    finally:
        transfers.stop()
    assert {result.path for results in deliveries for result in results} == {job.path for job in jobs}
    assert len(deliveries) < 30


@pytest.mark.slow
def test_short_jobs_do_not_wait_behind_long_ones(inbox, run):
    desk = Desk(max_chunk=8 * MIB)
    long = [desk.share(f"l{n}", noise(20 * MIB, n), KEYS[n]) for n in range(3)]
    gate = Gate("get")
    desk.before = gate
    transfers = run(desk.disk, desk.store)
    transfers.submit(long)
    assert gate.waiting.acquire(timeout=DEADLINE)
    assert gate.waiting.acquire(timeout=DEADLINE)
    transfers.submit([ReadJob(KEYS[9], "l0", desk.disk.stat("l0"))])
    stat = desk.disk.user.write("s", b"milk")
    transfers.submit([ReadJob(KEYS[8], "s", stat)])
    gate.opened.set()
    results = inbox.wait(5)
    kinds = [(type(result), result.key if isinstance(result, ReadDone) else "") for result in results]
    assert kinds[0] == (ReadDone, KEYS[8])
    assert sum(kind is Fetched for kind, _ in kinds) == 3
    for result in results:
        if isinstance(result, Fetched):
            result.staged.discard()


@pytest.mark.slow
def test_who_fetches_ahead_holds_nobody_up(inbox, run):
    desk = Desk(max_chunk=8 * MIB)
    ahead = [replace(desk.share(f"l{n}", noise(20 * MIB, n), KEYS[n]), ahead=True) for n in range(2)]
    gate = Gate("get")
    desk.before = gate
    transfers = run(desk.disk, desk.store, workers=1)
    transfers.submit(ahead)
    assert gate.waiting.acquire(timeout=DEADLINE)
    transfers.submit([ReadJob(KEYS[9], "l0", desk.disk.stat("l0"))])
    (read,) = inbox.wait(1)
    assert isinstance(read, ReadDone)
    gate.opened.set()
    done = inbox.wait(2)
    assert [result.job for result in done] == ahead
    for result in done:
        result.staged.discard()


@pytest.mark.slow
def test_several_fetch_ahead_one_file(inbox, run):
    desk = Desk(max_chunk=8 * MIB)
    ahead = replace(desk.share("l", noise(20 * MIB), KEYS[0]), ahead=True)
    gate = Gate("get")
    desk.before = gate
    transfers = run(desk.disk, desk.store, workers=2)
    transfers.submit([ahead])
    for _ in range(2):
        assert gate.waiting.acquire(timeout=DEADLINE)
    gate.opened.set()
    (done,) = inbox.wait(1)
    assert done.job == ahead
    done.staged.discard()


def test_what_is_fetched_ahead_ends_with_the_transfers(inbox, run):
    """With parts that nobody has begun."""
    desk = Desk(max_chunk=8 * MIB)
    gate = Gate("get")
    desk.before = gate
    transfers = run(desk.disk, desk.store, workers=1)
    transfers.submit([replace(desk.share("l", noise(40 * MIB), KEYS[0]), ahead=True)])
    assert gate.waiting.acquire(timeout=DEADLINE)
    gate.error = NetworkError("closed")
    stopper = threading.Thread(target=transfers.stop)
    stopper.start()
    gate.opened.set()
    stopper.join(DEADLINE)
    assert not stopper.is_alive()
    assert inbox.results == []
    desk.disk.stage(KEYS[0], resume=True).discard()  # it is let go of


def test_the_results_of_one_key_come_in_order(inbox, run):
    disk = MemoryDisk()
    transfers = run(disk, MemoryChunks(), workers=4)
    stats = [disk.user.write(f"f{n}", noise(40_000 + n)) for n in range(50)]
    transfers.submit(ReadJob(KEYS[0], f"f{n}", stat) for n, stat in enumerate(stats))
    assert [result.path for result in inbox.wait(50)] == [f"f{n}" for n in range(50)]


def test_jobs_of_one_key_and_different_kinds_do_not_wait_for_each_other(inbox, run):
    desk = Desk()
    fetch = desk.share("a", noise(90_000))
    gate = Gate("get")
    desk.before = gate
    transfers = run(desk.disk, desk.store)
    transfers.submit([fetch])
    assert gate.waiting.acquire(timeout=DEADLINE)
    transfers.submit([desk.reading("a")])
    assert isinstance(inbox.wait(1)[0], ReadDone)
    gate.opened.set()
    (done,) = inbox.wait(1)
    done.staged.discard()


def test_a_cancelled_job_in_the_queue_is_dropped():
    desk = Desk()
    jobs = [desk.share(f"f{n}", noise(50_000, n), KEYS[n]) for n in range(3)]
    desk.transfers.submit(jobs)
    desk.transfers.cancel(KEYS[1])
    desk.transfers.cancel(KEYS[7])
    desk.transfers.pump()
    assert [result.job for result in desk.results] == [jobs[0], jobs[2]]
    assert not desk.transfers.pump()


def test_a_cancelled_key_can_be_used_again():
    desk = Desk()
    old, new = (desk.share("a", noise(50_000, n)) for n in range(2))
    desk.transfers.submit([old])
    desk.transfers.cancel(KEYS[0])
    desk.transfers.submit([new])
    desk.transfers.pump()
    (done,) = desk.results
    assert done.job is new
    assert desk.bytes_of(done.staged) == noise(50_000, 1)


@pytest.mark.slow
def test_cancelling_ends_a_job_under_way_and_the_next_goes_on_from_its_bytes(inbox, run):
    desk = Desk(max_chunk=8 * MIB)
    job = desk.share("a", noise(20 * MIB))
    gate = Gate("get")
    desk.before = gate
    transfers = run(desk.disk, desk.store)
    transfers.submit([job])
    assert gate.waiting.acquire(timeout=DEADLINE)
    transfers.cancel(KEYS[0])
    again = FetchJob(job.key, job.content, job.body)
    transfers.submit([again])
    gate.opened.set()
    (done,) = inbox.wait(1)
    assert done.job is again
    assert desk.bytes_of(done.staged) == noise(20 * MIB)
    assert transfers.progress().down == 20 * MIB


def test_cancelling_leaves_other_kinds_alone():
    desk = Desk()
    desk.write("a", noise(50_000))
    job = desk.uploading("a")
    desk.transfers.submit([job])
    desk.transfers.cancel(KEYS[0])
    desk.transfers.pump()
    assert desk.results == [Uploaded(job, 50_000)]


@pytest.mark.parametrize("kind", [ReadJob, UploadJob, FetchJob])
def test_any_kind_can_be_cancelled(kind):
    desk = Desk()
    fetch = desk.share("a", noise(50_000))
    read = desk.reading("a")
    jobs = {ReadJob: read, FetchJob: fetch, UploadJob: UploadJob(KEYS[0], "a", read.stat, fetch.content, fetch.body)}
    desk.transfers.submit([jobs[kind]])
    desk.transfers.cancel(KEYS[0], kind)
    desk.transfers.pump()
    assert not desk.results


@pytest.mark.parametrize("size", [50_000, 20 * MIB])
def test_stopping_ends_what_is_under_way_and_keeps_its_bytes(size):
    desk = Desk(max_chunk=8 * MIB)
    job = desk.share("a", noise(size))
    gate = Gate("get")
    gate.error = NetworkError("closed")
    desk.before = gate
    desk.store.close = gate.opened.set
    delivered = []
    transfers = Transfers(desk.disk, desk.store, "laptop", delivered.extend)
    transfers.submit([job])
    assert gate.waiting.acquire(timeout=DEADLINE)
    transfers.stop()
    transfers.stop()
    assert not delivered
    assert [leftover.tag for leftover in desk.disk.leftovers()] in ([], [KEYS[0]])
    desk.before = None
    (done,) = desk.work(job)
    assert desk.bytes_of(done.staged) == noise(size)


def test_nothing_is_done_after_the_stop():
    desk = Desk()
    job = desk.write("a", b"milk")
    desk.transfers.stop()
    assert desk.work(job) == []


@pytest.mark.parametrize("request_name", ["missing", "put", "get"])
def test_a_fault_of_ours_fails_the_job_and_not_the_worker(request_name, inbox, run, caplog):
    desk = Desk()
    fetch = desk.share("a", noise(50_000))
    desk.write("b", noise(50_000, 2))
    upload = desk.uploading("b", KEYS[1])

    def fail(name):
        if name == request_name:
            raise ZeroDivisionError("a fault")

    desk.before = fail
    transfers = run(desk.disk, desk.store)
    transfers.submit([fetch, upload])
    results = inbox.wait(2)
    failed = [result for result in results if isinstance(result, JobFailed)]
    assert [type(result.error) for result in failed] == [SsyncdError]
    assert "a fault" in str(failed[0].error)
    assert "unexpectedly" in caplog.text
    desk.before = None
    transfers.submit([failed[0].job])
    assert not isinstance(inbox.wait(1)[0], JobFailed)


def test_a_delivery_may_submit_again():
    desk = Desk()
    stats = deque(desk.disk.user.write(f"f{n}", b"milk") for n in range(5))
    seen = []

    def deliver(results):
        seen.extend(result.path for result in results)
        if stats:
            transfers.submit([ReadJob(KEYS[0], f"f{5 - len(stats)}", stats.popleft())])

    transfers = Transfers(desk.disk, desk.store, "laptop", deliver, workers=0)
    deliver([])
    transfers.pump()
    assert seen == [f"f{n}" for n in range(5)]
