import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.content.body import INLINE_LIMIT, MAX_ROWS, Body, inline, open_inline
from ssyncd.content.chunks import MIB, chunk_id, hash_bytes
from ssyncd.disk.memory import MemoryDisk
from ssyncd.disk.real import RealDisk
from ssyncd.errors import ChangedError, ContentError, GoneError, NoSpaceError, UnreadableError
from ssyncd.transfer import ReadDone, ReadJob, read_small, write_small
from ssyncd.transfer.files import LONG_FILE
from tests.transfer.desk import KEYS, Desk, noise


@given(st.binary(max_size=INLINE_LIMIT))
def test_a_small_file_is_read_and_written_again(data):
    disk = MemoryDisk()
    stat = disk.user.write("a", data)
    done = read_small(disk, "a", stat, "laptop", KEYS[0])
    assert (done.key, done.path, done.stat) == (KEYS[0], "a", stat)
    assert (done.content.hash, done.content.size, done.content.by) == (hash_bytes(data), len(data), "laptop")
    assert done.content.mtime == stat.mtime // 1000
    disk.put(write_small(disk, KEYS[0], done.content, done.body), "b", None, done.content.mtime, False)
    assert disk.user.read("b") == data


@pytest.mark.parametrize("size", [0, 1, INLINE_LIMIT])
def test_a_small_file_on_a_real_disk(tmp_path, size):
    (tmp_path / "a").write_bytes(noise(size))
    disk = RealDisk(tmp_path)
    done = read_small(disk, "a", disk.stat("a"), "laptop")
    disk.put(write_small(disk, KEYS[0], done.content, done.body), "b", None, 5, False)
    assert (tmp_path / "b").read_bytes() == noise(size)
    disk.close()


STEPS_OF_A_READ = 6


@pytest.mark.parametrize("size", [100, 3 * INLINE_LIMIT])
@pytest.mark.parametrize("step", range(STEPS_OF_A_READ))
@pytest.mark.parametrize("change", ["write", "save", "append", "shrink"])
def test_a_file_that_changes_while_it_is_read_is_never_mixed(size, step, change):
    """Whatever the user does between two of our calls: either the old bytes, or ChangedError."""
    desk = Desk()
    old = noise(size)
    job = desk.write("a", old)
    new = {"write": noise(size, 2), "save": noise(size, 2), "append": old + b"more", "shrink": old[:-1]}[change]
    steps = iter(range(100))

    def meanwhile(*_):
        if next(steps) == step:
            desk.disk.user.save("a", new) if change == "save" else desk.disk.user.write("a", new)

    desk.disk.on_step = meanwhile
    (result,) = desk.work(job)
    if isinstance(result, ReadDone):
        assert result.content.hash == hash_bytes(old)
    else:
        assert isinstance(result.error, ChangedError)
        assert result.job is job


def test_a_file_that_is_gone_or_replaced_is_told():
    desk = Desk()
    job = desk.write("a", b"milk")
    desk.disk.user.save("a", b"milk")
    assert isinstance(desk.work(job)[0].error, ChangedError)
    desk.disk.user.delete("a")
    assert isinstance(desk.work(job)[0].error, GoneError)


def test_an_unreadable_file_is_told_and_the_others_are_read():
    desk = Desk()
    jobs = [ReadJob(KEYS[n], name, desk.disk.user.write(name, name.encode())) for n, name in enumerate("abc")]

    def refuse(call, path):
        if (call, path) == ("open", "b"):
            raise PermissionError(13, "Permission denied")

    desk.disk.on_step = refuse
    first, failed, last = desk.work(*jobs)
    assert isinstance(failed.error, UnreadableError)
    assert failed.job is jobs[1]
    assert (first.path, last.path) == ("a", "c")


@pytest.mark.parametrize("size", [INLINE_LIMIT + 1, 70_000, LONG_FILE - 1, LONG_FILE, LONG_FILE + 3 * MIB])
def test_a_longer_file_is_cut_into_chunks_that_make_it(size):
    desk = Desk(max_chunk=8 * MIB)
    data = noise(size)
    done = desk.read(desk.write("a", data).path)
    assert done.content.hash == hash_bytes(data)
    assert done.body.data is None
    offset = 0
    for row in done.body.chunks:
        assert chunk_id(data[offset : offset + row.size]) == row.id
        offset += row.size
    assert offset == size


def test_a_file_of_many_chunks_gets_a_list():
    desk = Desk(max_chunk=4096)
    data = noise(5 * MIB)
    done = desk.read(desk.write("a", data).path)
    assert len(done.body.chunks) > MAX_ROWS
    assert done.body.list


def test_reading_tells_its_progress():
    desk = Desk()
    desk.work(desk.write("a", noise(300_000)))
    assert desk.transfers.progress().read == 300_000


@pytest.mark.parametrize("body", [Body(b"\x00honey"), Body(b"\x00milk!"), Body(b"\x01milk"), Body()])
def test_wrong_bytes_are_never_staged(body):
    disk = MemoryDisk()
    content, _ = inline(b"milk", 5, "tower")
    with pytest.raises(ContentError):
        write_small(disk, KEYS[0], content, body)
    assert not list(disk.leftovers())


def test_a_full_disk_leaves_nothing_staged():
    disk = MemoryDisk(capacity=1000)
    content, body = inline(noise(5000), 5, "tower")
    with pytest.raises(NoSpaceError):
        write_small(disk, KEYS[0], content, body)
    assert not list(disk.leftovers())
    assert open_inline(content, body) == noise(5000)
