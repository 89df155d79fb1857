"""The stored form of bytes: 0x00 and the plain bytes, or 0x01 and one zstd frame (RFC 8878) that tells its content size.

The same form travels in objects and over HTTP and lies on the server's disk.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import zstandard

from ssyncd.errors import ContentError

T = TypeVar("T")

RAW = b"\x00"
ZSTD = b"\x01"

# Measured on chunks of 256 KiB: level 3 takes 25 to 70 % more time than level 1, and saves a twentieth (programs, sources), or
# nothing (text, logs).
LEVEL = 1
# Shorter ones are not worth a sample.
SHORT = 32 * 1024
# A saving of less than a sixteenth is not worth the work of opening it.
LEAST_SAVING = 16
SAMPLE = 4 * 1024
SAMPLES = 4


class _Pool(Generic[T]):
    """zstd contexts for reuse: none may be used by two threads at once. Taking from a list and adding to it are atomic."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._idle: list[T] = []

    @contextmanager
    def one(self) -> Iterator[T]:
        try:
            context = self._idle.pop()
        except IndexError:
            context = self._make()
        yield context
        self._idle.append(context)


_packers = _Pool(lambda: zstandard.ZstdCompressor(level=LEVEL))
_openers = _Pool(zstandard.ZstdDecompressor)


def seal(plain: bytes | memoryview) -> bytes:
    """Plain bytes to the stored form, compressed where that helps."""
    return b"".join(seal_apart(plain))


def seal_apart(plain: bytes | memoryview) -> tuple[bytes, bytes | memoryview]:
    """The same, without a copy of what does not get smaller: the first byte, and the others."""
    size = len(plain)
    if size > SHORT and _looks_packed(plain):
        return RAW, plain
    with _packers.one() as context:
        packed = context.compress(plain)
    return (ZSTD, packed) if len(packed) < size - size // LEAST_SAVING else (RAW, plain)


def _looks_packed(plain: bytes | memoryview) -> bool:
    """Whether a few samples say that compressing is a waste (video, archives, encrypted files)."""
    view = memoryview(plain)
    step = (len(view) - SAMPLE) // (SAMPLES - 1)
    sample = b"".join(view[at : at + SAMPLE] for at in range(0, step * SAMPLES, step))
    with _packers.one() as context:
        return len(context.compress(sample)) > len(sample) - len(sample) // LEAST_SAVING


def sealed_size(sealed: bytes | memoryview) -> int:
    """The number of plain bytes a stored form says it holds, without opening it. ContentError."""
    if sealed[:1] == RAW:
        return len(sealed) - 1
    if sealed[:1] != ZSTD:
        raise ContentError("neither raw nor compressed bytes")
    try:
        size = zstandard.get_frame_parameters(sealed[1:]).content_size
    except zstandard.ZstdError as error:
        raise ContentError(f"broken compressed bytes: {error}") from error
    if size == zstandard.CONTENTSIZE_UNKNOWN or size == zstandard.CONTENTSIZE_ERROR:
        raise ContentError("compressed bytes that do not tell their size")
    return size


def open_sealed(sealed: bytes | memoryview, max_size: int) -> bytes:
    """The plain bytes of a stored form, at most `max_size` of them; never allocates more. ContentError."""
    size = sealed_size(sealed)
    if size > max_size:
        raise ContentError(f"{size} bytes where at most {max_size} may be")
    if sealed[:1] == RAW:
        return bytes(sealed[1:])
    try:
        with _openers.one() as context:
            plain = context.decompress(memoryview(sealed)[1:], max_output_size=max_size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ContentError(f"broken compressed bytes: {error}") from error
    if len(plain) != size:
        raise ContentError(f"{len(plain)} bytes where {size} were promised")
    return plain
