import pytest

from ssyncd.content.body import Body
from ssyncd.content.chunks import MIB
from ssyncd.errors import ChangedError, GoneError, NetworkError, RefusedError
from ssyncd.transfer import JobFailed, Uploaded, UploadJob
from tests.transfer.desk import KEYS, Desk, noise


def stored(desk):
    return set(desk.store.stored)


def test_the_server_gets_every_chunk_once():
    desk = Desk()
    desk.write("a", noise(500_000))
    job = desk.uploading("a")
    (done,) = desk.work(job)
    assert done == Uploaded(job, 500_000)
    assert stored(desk) == {row.id for row in job.body.chunks}
    assert desk.transfers.progress().up >= 500_000
    assert desk.work(job) == [Uploaded(job, 0)]
    assert desk.asked("put") == [len(stored(desk))]


def test_only_what_the_server_misses_is_read_and_sent():
    desk = Desk()
    data = noise(2 * MIB)
    desk.write("a", data)
    desk.work(desk.uploading("a"))
    desk.write("a", data[:MIB] + b"a few new bytes" + data[MIB + 15 :])
    job = desk.uploading("a")
    before = desk.transfers.progress().read
    (done,) = desk.work(job)
    assert 0 < done.sent < 4 * 100_000
    assert desk.transfers.progress().read - before == done.sent


def test_small_content_needs_no_request():
    desk = Desk()
    desk.write("a", b"milk")
    job = desk.uploading("a")
    assert desk.work(job) == [Uploaded(job, 0)]
    assert not desk.store.requests


def test_a_list_goes_with_its_chunks():
    desk = Desk(max_chunk=4096)
    desk.write("a", noise(5 * MIB))
    job = desk.uploading("a")
    (done,) = desk.work(job)
    assert isinstance(done, Uploaded)
    assert {row.id for row in (*job.body.chunks, *job.body.list)} == stored(desk)


def test_a_list_goes_before_its_chunks():
    """Who fetches ahead needs it first."""
    desk = Desk(max_chunk=4096)
    desk.write("a", noise(5 * MIB))
    job = desk.uploading("a")
    there = []
    desk.before = lambda name: there.append(stored(desk)) if name == "put" else None
    desk.work(job)
    assert there[:2] == [set(), {row.id for row in job.body.list}]


def test_a_list_that_is_not_known_here_means_reading_again():
    desk = Desk(max_chunk=4096)
    desk.write("a", noise(5 * MIB))
    job = desk.uploading("a")
    (failed,) = desk.work(UploadJob(job.key, "a", job.stat, job.content, Body(list=job.body.list)))
    assert isinstance(failed.error, ChangedError)


def test_many_files_are_asked_and_sent_together():
    desk = Desk()
    jobs = []
    for n in range(30):
        desk.write(f"f{n}", noise(50_000, n))
        jobs.append(desk.uploading(f"f{n}", KEYS[n]))
    results = desk.work(*jobs)
    assert [result.job for result in results] == jobs
    assert all(isinstance(result, Uploaded) and result.sent == 50_000 for result in results)
    assert len(desk.asked("missing")) == len(desk.asked("put")) == 1


@pytest.mark.parametrize("change", ["write", "remove", "replace"])
def test_a_file_that_moved_on_fails_alone(change):
    desk = Desk()
    for name in "ab":
        desk.write(name, noise(50_000, ord(name)))
    jobs = [desk.uploading("a", KEYS[0]), desk.uploading("b", KEYS[1])]
    if change == "write":
        desk.disk.user.write("a", noise(50_000, 9), mtime=jobs[0].stat.mtime)
    elif change == "remove":
        desk.disk.user.delete("a")
    else:
        desk.disk.user.save("a", noise(50_000, 9))
    failed, done = desk.work(*jobs)
    assert isinstance(failed, JobFailed)
    assert isinstance(failed.error, GoneError if change == "remove" else ChangedError)
    assert done == Uploaded(jobs[1], 50_000)
    assert stored(desk) == {row.id for row in jobs[1].body.chunks}


def test_a_chunk_of_two_files_comes_from_the_one_that_still_has_it():
    desk = Desk()
    for name in "ab":
        desk.write(name, noise(50_000))
    jobs = [desk.uploading("a", KEYS[0]), desk.uploading("b", KEYS[1])]
    assert jobs[0].body == jobs[1].body
    desk.disk.user.delete("a")
    failed, done = desk.work(*jobs)
    assert isinstance(failed.error, GoneError)
    assert done == Uploaded(jobs[1], 50_000)
    assert stored(desk) == {row.id for row in jobs[1].body.chunks}


@pytest.mark.parametrize("request_name", ["missing", "put"])
@pytest.mark.parametrize("error", [NetworkError("broken off"), RefusedError("no space", 507)])
def test_a_failing_server_fails_every_job(request_name, error):
    desk = Desk()
    for name in "ab":
        desk.write(name, noise(50_000, ord(name)))
    jobs = [desk.uploading("a", KEYS[0]), desk.uploading("b", KEYS[1])]

    def fail(name):
        if name == request_name:
            raise error

    desk.before = fail
    assert desk.work(*jobs) == [JobFailed(job, error) for job in jobs]
    desk.before = None
    assert all(isinstance(result, Uploaded) for result in desk.work(*jobs))


def test_a_long_file_goes_in_bounded_requests():
    desk = Desk(max_chunk=8 * MIB)
    desk.write("a", noise(30 * MIB))
    job = desk.uploading("a")
    sizes = []
    inner = desk.store.put

    def watching(chunks):
        chunks = list(chunks)
        sizes.append(sum(len(plain) for _, plain in chunks))
        return inner(chunks)

    desk.store.put = watching
    (done,) = desk.work(job)
    assert done.sent == 30 * MIB == sum(sizes)
    assert max(sizes) <= 8 * MIB
    assert len(sizes) < 6


def test_what_is_left_gets_less_with_every_chunk_and_counts_what_the_server_has():
    desk = Desk()
    data = noise(2 * MIB)
    desk.write("a", data)
    desk.work(desk.uploading("a"))
    desk.write("a", data[:MIB] + noise(MIB, 2))
    job = desk.uploading("a")
    left = []
    put = desk.store.put

    def watched(chunks):
        for id in put(chunks):
            left.append(desk.transfers.left(UploadJob, {job.key: job.content.size}))
            yield id

    desk.store.put = watched
    assert desk.transfers.left(UploadJob, {job.key: job.content.size}) == 2 * MIB
    desk.work(job)
    assert left == sorted(left, reverse=True)
    assert left[0] < MIB + 300_000
    assert left[-1] < 100_000
