"""Cutting a stream of bytes into chunks by its content, and naming each chunk by its hash.

Cut points follow FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication", IEEE TPDS 2020) as
implemented by pyfastcdc. They depend on the bytes, the file's size class and the store's largest chunk only, never on how the
bytes were fed, so two machines of one server cut alike.
"""

from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

from blake3 import blake3
from pyfastcdc import FastCDC

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

ID_SIZE = 32
MAX_CHUNK = 8 * MIB
WINDOW = 4 * MIB

# (largest file, average chunk). Small chunks make a small edit of a big file cheap to send; beyond about a thousand rows the
# list of chunks itself becomes chunks, so that no object grows with the file.
LEVELS = ((16 * MIB, 64 * KIB), (2 * GIB, 256 * KIB), (16 * GIB, MIB))
TOP_AVERAGE = 4 * MIB
SMALLEST_AVERAGE = 4 * KIB


class Row(NamedTuple):
    """One chunk of a file: its id (32 bytes) and the length of its plain bytes."""

    id: bytes
    size: int


def chunk_id(data: bytes | memoryview) -> bytes:
    """BLAKE3-256 of the plain bytes."""
    return blake3(data).digest()


def hash_bytes(data: bytes | memoryview) -> str:
    """The hash of a whole file that is at hand: BLAKE3-256, 64 hex digits."""
    return blake3(data).hexdigest()


class FileHash:
    """The hash of a whole file, fed in order."""

    def __init__(self) -> None:
        self._hash = blake3()
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        self.size += len(data)

    def hexdigest(self) -> str:
        """64 hex digits."""
        return self._hash.hexdigest()


def average(size: int, max_chunk: int) -> int:
    """The average chunk for a file of `size` bytes in a store that takes chunks up to `max_chunk`."""
    fitting = next((avg for largest, avg in LEVELS if size <= largest), TOP_AVERAGE)
    while fitting > max_chunk:
        fitting //= 2
    if fitting < SMALLEST_AVERAGE:
        raise ValueError(f"chunks of at most {max_chunk} bytes are too small")
    return fitting


def cut(read: Callable[[int], bytes], size: int, max_chunk: int) -> Iterator[memoryview]:
    """Cut what `read(n)` gives until it gives nothing; `size` only chooses the chunk size.

    The pieces stay valid for as long as they are kept. At most WINDOW and one chunk are held here.
    """
    avg = average(size, max_chunk)
    # With a minimum of half the average, one edit of 1 MiB in five took until 1 MiB after its end to meet the old cuts again.
    cutter = FastCDC(avg, min_size=avg // 4, max_size=min(2 * avg, max_chunk))
    rest = memoryview(b"")
    while window := _read_window(read):
        begin = 0
        if rest:
            # What begins in the rest is decided by so much of the window at most: all of it need not be copied.
            both = memoryview(b"".join((rest, window[: cutter.max_size])))
            left = yield from _settled(cutter, both, len(rest))
            begin = len(both) - len(left) - len(rest)
            if begin < 0:
                rest = left
                continue
        rest = yield from _settled(cutter, memoryview(window)[begin:], len(window))
    if rest:
        yield from (chunk.data for chunk in cutter.cut_buf(rest))


def _settled(cutter: FastCDC, buffer: memoryview, until: int) -> Generator[memoryview, None, memoryview]:
    """Cut off what later bytes cannot change, of what begins before `until`: a cut is decided by the `max_size` bytes after the
    one before. Returns the rest."""
    done = 0
    for chunk in cutter.cut_buf(buffer):
        if done + cutter.max_size > len(buffer):
            break
        yield chunk.data
        done += chunk.length
        if done >= until:
            break
    return buffer[done:]


def _read_window(read: Callable[[int], bytes]) -> bytes:
    piece = read(WINDOW)
    if not piece or len(piece) == WINDOW:
        return piece
    pieces = [piece]
    missing = WINDOW - len(piece)
    while missing and (piece := read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces) if len(pieces) > 1 else pieces[0]
