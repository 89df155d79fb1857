"""Reading files of the folder into content, and small content into staged files."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from ssyncd.content.body import INLINE_LIMIT, Body, chunked, inline, open_inline
from ssyncd.content.chunks import MIB, FileHash, Row, chunk_id, cut
from ssyncd.disk.base import Disk, Reader, Staged, Stat, Wanted
from ssyncd.errors import ChangedError, DiskError, SsyncdError
from ssyncd.planner.tree import Content
from ssyncd.transfer.jobs import ReadDone, ReadJob
from ssyncd.transfer.undertaking import Early

# Files from here on are hashed by a second thread while the first reads and cuts.
LONG_FILE = 8 * MIB
HANDED_OVER = 4 * MIB
AHEAD = 3


def read_small(disk: Disk, path: str, stat: Stat, device: str, key: str = "") -> ReadDone:
    """Read a file of at most INLINE_LIMIT bytes, in the caller's thread. DiskError, ChangedError."""
    [found] = read_small_files(disk, {key: Wanted(path, stat)}, device)
    if isinstance(found, DiskError):
        raise found
    return found


def read_small_files(disk: Disk, wanted: Mapping[str, Wanted], device: str) -> Iterator[ReadDone | DiskError]:
    """The same for many, by their keys, in this order."""
    for (key, one), found in zip(wanted.items(), disk.read_files(list(wanted.values())), strict=True):
        if isinstance(found, DiskError):
            yield found
        else:
            content, body = inline(found.data, one.expected.mtime // 1000, device)
            yield ReadDone(key, one.path, one.expected, content, body, found.being_written)


def write_small(disk: Disk, tag: str, content: Content, body: Body) -> Staged:
    """Stage the bytes of a body that has `data`, in the caller's thread; closed on return. ContentError, DiskError."""
    plain = open_inline(content, body)
    staged = disk.stage(tag)
    try:
        staged.write(plain)
        staged.close()
    except SsyncdError:
        staged.discard()
        raise
    return staged


def read_file(
    disk: Disk, job: ReadJob, device: str, max_chunk: int, went: Callable[[int], None], early: Early | None = None
) -> ReadDone:
    """Read a file of any size with bounded memory; `went(bytes)` is told the progress and may raise to stop."""
    if job.stat.size <= INLINE_LIMIT:
        done = read_small(disk, job.path, job.stat, device, job.key)
        went(job.stat.size)
        return done
    with closing(disk.open(job.path)) as reader:
        check_same(reader, job.path, job.stat)
        being_written = reader.being_written()
        rows, whole = cut_and_hash(_bounded(reader, job, went), job.stat.size, max_chunk, early)
        if whole.size != job.stat.size:
            raise ChangedError(job.path, "its size changed while it was read")
        check_same(reader, job.path, job.stat)
    content = Content(whole.hexdigest(), whole.size, job.stat.mtime // 1000, device)
    return ReadDone(job.key, job.path, job.stat, content, chunked(rows, max_chunk), being_written)


def check_same(reader: Reader, path: str, stat: Stat) -> None:
    """ChangedError unless the open file is the one of `stat`."""
    if not stat.same(reader.stat()):
        raise ChangedError(path, "it changed")


def cut_and_hash(
    read: Callable[[int], bytes], size: int, max_chunk: int, early: Early | None = None
) -> tuple[tuple[Row, ...], FileHash]:
    """The rows of a file and the hash of all of it, in one pass."""
    whole = FileHash()
    rows: list[Row] = []

    def name(pieces: list[memoryview]) -> None:
        for piece in pieces:
            whole.update(piece)
            rows.append(Row(chunk_id(piece), len(piece)))
            if early is not None:
                early.offer(rows[-1].id, piece)

    pieces = cut(read, size, max_chunk)
    if size < LONG_FILE:
        name(list(pieces))
    else:
        _name_beside(pieces, name)
    return tuple(rows), whole


def _name_beside(pieces: Iterator[memoryview], name: Callable[[list[memoryview]], None]) -> None:
    """Hash on a thread of its own, in order. Cutting and hashing take the same time and both release the interpreter's lock."""
    under_way: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "ssyncd-hash") as helper:
        for some in _gathered(pieces, HANDED_OVER):
            if len(under_way) == AHEAD:
                under_way.popleft().result()
            under_way.append(helper.submit(name, some))
        for future in under_way:
            future.result()


def _gathered(pieces: Iterator[memoryview], size: int) -> Iterator[list[memoryview]]:
    some: list[memoryview] = []
    length = 0
    for piece in pieces:
        some.append(piece)
        length += len(piece)
        if length >= size:
            yield some
            some, length = [], 0
    if some:
        yield some


def _bounded(reader: Reader, job: ReadJob, went: Callable[[int], None]) -> Callable[[int], bytes]:
    """Reads that stop soon after the expected end: a file that grows as fast as it is read has none."""
    left = job.stat.size + 1

    def read(size: int) -> bytes:
        nonlocal left
        data = reader.read(min(size, left))
        left -= len(data)
        went(len(data))
        return data

    return read
