import errno

import pytest
from msgspec.structs import replace

from ssyncd.content.body import Body, chunked, pack_rows
from ssyncd.content.chunks import MIB, Row, hash_bytes
from ssyncd.content.compression import seal
from ssyncd.errors import ChunkMissingError, ContentError, NetworkError, NoSpaceError, UnreadableError
from ssyncd.planner.tree import Content
from ssyncd.transfer import Fetched, FetchJob, JobFailed, Source
from ssyncd.transfer.fetches import WAITS, Fetch
from tests.transfer.desk import KEYS, Desk, content_of, id_of, noise


@pytest.mark.parametrize("size", [0, 1, 5000, 40_000, 99_999, 700_000, 10 * MIB])
def test_a_file_comes_as_it_was(size):
    desk = Desk()
    job = desk.share("a", noise(size))
    (done,) = desk.work(job)
    assert isinstance(done, Fetched)
    assert done.job is job
    assert desk.bytes_of(done.staged) == noise(size)
    assert not list(desk.disk.leftovers())


def test_a_file_of_many_chunks_comes_by_its_list():
    desk = Desk(max_chunk=4096)
    job = desk.share("a", noise(5 * MIB))
    assert job.body.list
    assert not job.body.chunks
    (done,) = desk.work(job)
    assert desk.bytes_of(done.staged) == noise(5 * MIB)
    assert sum(row.size for row in done.rows) == 5 * MIB


def test_a_chunk_that_stands_in_many_places_is_fetched_once():
    desk = Desk()
    block = noise(50_000)
    row = Row(id_of(block), len(block))
    list(desk.store.put([(row.id, block)]))
    data = block * 200
    (done,) = desk.work(FetchJob(KEYS[0], content_of(data), chunked((row,) * 200, 100_000)))
    assert desk.bytes_of(done.staged) == data
    assert desk.transfers.progress().down == 50_000


@pytest.mark.parametrize("left", [b"", b"left over" * 150_000])
def test_zeros_are_not_written_where_nothing_was(left):
    """A sparse file takes no more room here than where it was made."""
    desk = Desk()
    data = noise(200_000) + bytes(MIB) + noise(200_000, 2) + bytes(3 * MIB)
    job = desk.share("a", data)
    with desk.disk.stage(job.key) as before:
        before.write(left)
    written, write_at = [], desk.disk.memory.write_at

    def write(handle, some, at):
        written.append(len(some))
        write_at(handle, some, at)

    desk.disk.memory.write_at = write
    (done,) = desk.work(job)
    assert desk.bytes_of(done.staged) == data
    if left:
        assert sum(written) >= 200_000 + MIB, "what was left over is written over"
    else:
        assert sum(written) < 2 * MIB


def test_many_files_are_asked_for_together():
    desk = Desk()
    jobs = [desk.share(f"f{n}", noise(50_000, n), KEYS[n]) for n in range(20)]
    desk.store.requests.clear()
    results = desk.work(*jobs)
    assert [result.job for result in results] == jobs
    assert len(desk.store.requests) == 1
    for n, result in enumerate(results):
        assert desk.bytes_of(result.staged) == noise(50_000, n)


@pytest.mark.parametrize("known", [True, False])
def test_what_is_on_this_disk_is_not_fetched(known):
    desk = Desk()
    old = noise(2 * MIB)
    desk.disk.user.write("old", old)
    before = desk.read("old")
    job = desk.share("new", old[:MIB] + b"a few new bytes" + old[MIB:])
    source = Source("old", before.stat, before.body.chunks if known else ())
    (done,) = desk.work(FetchJob(job.key, job.content, job.body, (source,)))
    assert desk.bytes_of(done.staged) == desk.disk.user.read("new")
    assert desk.transfers.progress().down < 400_000


@pytest.mark.parametrize("change", ["write", "save", "delete", "lie"])
def test_a_source_that_moved_on_is_only_a_source_less(change):
    desk = Desk()
    data = noise(MIB)
    job = desk.share("a", data)
    stat = desk.disk.stat("a")
    if change == "write":
        desk.disk.user.write("a", noise(MIB, 2), mtime=stat.mtime)
    elif change == "save":
        desk.disk.user.save("a", noise(MIB, 2))
    elif change == "delete":
        desk.disk.user.delete("a")
    rows = job.body.chunks[::-1] if change == "lie" else job.body.chunks
    (done,) = desk.work(FetchJob(job.key, job.content, job.body, (Source("a", stat, rows), Source("gone", stat))))
    assert desk.bytes_of(done.staged) == data


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_fetch_that_broke_off_goes_on_where_it_was(at):
    desk = Desk(max_chunk=8 * MIB)
    data = noise(20 * MIB)
    job = desk.share("a", data)
    requests = iter(range(10))

    def break_off(name):
        if name == "get" and next(requests) >= at:
            raise NetworkError("broken off")

    desk.before = break_off
    (failed,) = desk.work(job)
    assert isinstance(failed.error, NetworkError)
    fetched = desk.transfers.progress().down
    assert fetched == 0 if at == 0 else fetched > at * 4 * MIB
    desk.before = None
    (done,) = desk.work(job)
    assert desk.bytes_of(done.staged) == data
    assert desk.transfers.progress().down == len(data)


@pytest.mark.parametrize("size", [100, 300_000, 999_999])
def test_a_left_over_file_with_other_bytes_does_no_harm(size):
    desk = Desk()
    data = noise(400_000)
    job = desk.share("a", data)
    staged = desk.disk.stage(KEYS[0])
    staged.write(data[: size // 2] + noise(size - size // 2, 2))
    staged.close()
    (done,) = desk.work(job)
    assert desk.bytes_of(done.staged) == data


def test_small_content_over_a_left_over_file():
    desk = Desk()
    job = desk.share("a", b"milk")
    staged = desk.disk.stage(KEYS[0])
    staged.write(b"honeymoon")
    staged.close()
    (done,) = desk.work(job)
    assert desk.bytes_of(done.staged) == b"milk"


def test_a_chunk_the_server_lost_fails_only_the_files_that_need_it():
    desk = Desk()
    jobs = [desk.share(f"f{n}", noise(90_000, n), KEYS[n]) for n in range(3)]
    lost = jobs[1].body.chunks[0].id
    del desk.store.stored[lost]
    first, failed, last = desk.work(*jobs)
    assert isinstance(failed.error, ChunkMissingError)
    assert failed.error.chunk_id == lost
    assert desk.bytes_of(first.staged) == noise(90_000, 0)
    assert desk.bytes_of(last.staged) == noise(90_000, 2)


def test_a_chunk_with_wrong_bytes_is_never_put_together():
    desk = Desk()
    job = desk.share("a", noise(90_000))
    desk.store.stored[job.body.chunks[0].id] = seal(noise(job.body.chunks[0].size, 2))
    (failed,) = desk.work(job)
    assert isinstance(failed.error, ContentError)


def test_chunks_that_do_not_make_the_promised_file_leave_nothing():
    desk = Desk()
    job = desk.share("a", noise(90_000))
    promised = Content(hash_bytes(b"something else"), 90_000, 5, "tower")
    (failed,) = desk.work(FetchJob(job.key, promised, job.body))
    assert isinstance(failed.error, ContentError)
    assert not list(desk.disk.leftovers())


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_chunk_of_another_length_than_promised_is_refused(wrong):
    desk = Desk()
    job = desk.share("a", noise(90_000))
    first, *rest = job.body.chunks
    rows = (Row(first.id, first.size + wrong), *rest)
    content = Content(job.content.hash, 90_000 + wrong, 5, "tower")
    (failed,) = desk.work(FetchJob(job.key, content, Body(chunks=rows)))
    assert isinstance(failed.error, ContentError)


@pytest.mark.parametrize("plain", [b"x" * 35, pack_rows([Row(b"x" * 32, 7)]), b""])
def test_a_broken_list_fails_its_file_alone(plain):
    desk = Desk()
    good = desk.share("a", noise(90_000), KEYS[1])
    list(desk.store.put([(id_of(plain), plain)]))
    bad = FetchJob(KEYS[0], content_of(b"milk"), Body(list=(Row(id_of(plain), len(plain)),)))
    failed, done = desk.work(bad, good)
    assert isinstance(failed, JobFailed)
    assert isinstance(failed.error, ContentError)
    assert isinstance(done, Fetched)


@pytest.mark.parametrize("call", ["create", "write"])
@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, NoSpaceError), (errno.EIO, UnreadableError)])
def test_a_failing_disk_fails_the_file(call, number, error):
    desk = Desk()
    job = desk.share("a", noise(90_000))

    def fail(name, _):
        if name == call:
            raise OSError(number, "no luck")

    desk.disk.on_step = fail
    (failed,) = desk.work(job)
    assert isinstance(failed, JobFailed)
    if number == errno.ENOSPC:
        assert isinstance(failed.error, error)
    desk.disk.on_step = None
    (done,) = desk.work(job)
    assert desk.bytes_of(done.staged) == noise(90_000)


def test_what_comes_out_of_order_is_read_back_to_be_hashed():
    desk = Desk(max_chunk=8 << 20)
    data = noise(20_000_000)
    fetch = Fetch(desk.transfers, [desk.share("a", data)])
    parts = fetch.start()
    assert len(parts) > 2
    for part in reversed(parts):
        part()
    (done,) = fetch.finish()
    assert desk.bytes_of(done.staged) == data


def test_a_disk_that_does_not_give_back_what_came_out_of_order_fails_the_file():
    desk = Desk(max_chunk=8 << 20)
    fetch = Fetch(desk.transfers, [desk.share("a", noise(20_000_000))])

    def fail(name, _):
        if name == "read":
            raise OSError(errno.EIO, "no luck")

    parts = fetch.start()
    desk.disk.on_step = fail
    for part in reversed(parts):
        part()
    (failed,) = fetch.finish()
    assert isinstance(failed, JobFailed)
    assert isinstance(failed.error, UnreadableError)


def test_what_is_fetched_ahead_waits_for_its_chunks():
    desk = Desk()
    data = noise(900_000)
    job = replace(desk.share("a", data), ahead=True)
    stored, desk.store.stored = dict(desk.store.stored), {}
    waits = []

    def come(name):
        if name == "get":
            waits.append(name)
            # One more of the chunks each time.
            id = next((id for id in stored if id not in desk.store.stored), None)
            if id is not None:
                desk.store.stored[id] = stored[id]

    desk.before = come
    (done,) = desk.work(job)
    assert desk.bytes_of(done.staged) == data
    assert len(waits) >= len(stored)


def test_what_never_comes_is_not_waited_for_for_ever():
    desk = Desk()
    job = replace(desk.share("a", noise(900_000)), ahead=True)
    desk.store.stored.popitem()
    (failed,) = desk.work(job)
    assert isinstance(failed.error, ChunkMissingError)
    assert desk.asked("get")[-WAITS:] == [1] * WAITS


def test_who_no_longer_wants_it_waits_for_nothing():
    desk = Desk()
    job = replace(desk.share("a", noise(900_000)), ahead=True)
    desk.store.stored.clear()
    desk.before = lambda name: desk.transfers.cancel(job.key) if name == "get" else None
    assert desk.work(job) == []
    assert len(desk.asked("get")) == 1


def test_a_file_that_fits_no_disk_leaves_nothing():
    desk = Desk()
    job = desk.share("a", noise(900_000))
    desk.disk.memory.capacity = 1_000_000
    (failed,) = desk.work(job)
    assert isinstance(failed.error, NoSpaceError)
    assert not list(desk.disk.leftovers())


def test_what_is_left_gets_less_with_every_chunk():
    desk = Desk()
    job = desk.share("a", noise(500_000))
    left = []
    get = desk.store.get

    def watched(ids, wait=0.0):
        for found in get(ids, wait):
            left.append(desk.transfers.left(FetchJob, {job.key: job.content.size}))
            yield found

    desk.store.get = watched
    desk.work(job)
    assert left[0] == 500_000
    assert left == sorted(left, reverse=True)
    assert left[-1] < 100_000
