import io
import random

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.content.chunks import GIB, KIB, MAX_CHUNK, MIB, WINDOW, FileHash, average, chunk_id, cut, hash_bytes


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def pieces(data, size=None, max_chunk=MAX_CHUNK):
    return [bytes(piece) for piece in cut(io.BytesIO(data).read, size or len(data), max_chunk)]


class Dripping:
    """A stream whose reads are as short as it likes."""

    def __init__(self, data, seed):
        self.stream = io.BytesIO(data)
        self.random = random.Random(seed)

    def read(self, size):
        return self.stream.read(min(size, self.random.choice((1, 7, 4096, 65_537, 1 << 20))))


def test_an_empty_stream_has_no_chunks():
    assert pieces(b"") == []


@pytest.mark.parametrize("size", [1, 2, 63, 32 * KIB, 64 * KIB, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 3 * MIB])
def test_pieces_join_to_the_stream(size):
    data = noise(size)
    assert b"".join(pieces(data)) == data


def test_cuts_do_not_depend_on_how_the_stream_is_fed():
    data = noise(WINDOW + 2 * MIB + 17)
    expected = pieces(data)
    for seed in range(3):
        assert [bytes(piece) for piece in cut(Dripping(data, seed).read, len(data), MAX_CHUNK)] == expected


def test_cuts_across_windows_are_those_of_one_buffer():
    """Windows and their joints must not show: the same bytes behind another beginning meet the same cuts again."""
    data = noise(3 * WINDOW)
    plain = {chunk_id(piece) for piece in pieces(data)}
    shifted = pieces(noise(1000, 2) + data)
    assert sum(chunk_id(piece) in plain for piece in shifted) >= len(shifted) - 3


@pytest.mark.slow
@given(st.integers(0, 6 * MIB), st.binary(min_size=1, max_size=20_000))
def test_an_edit_renews_few_chunks(at, edit):
    data = DATA[:at] + edit + DATA[at + len(edit) :]
    fresh = [piece for piece in pieces(data, len(DATA)) if chunk_id(piece) not in KNOWN]
    assert len(fresh) <= 6


DATA = noise(6 * MIB, 3)
KNOWN = {chunk_id(piece) for piece in pieces(DATA)}


@pytest.mark.parametrize("max_chunk", [4 * KIB, 100_000, 389_120, MAX_CHUNK])
def test_no_chunk_is_larger_than_the_store_takes(max_chunk):
    assert max(map(len, pieces(noise(2 * MIB), 3 * GIB, max_chunk))) <= max_chunk
    assert max(map(len, pieces(bytes(2 * MIB), 3 * GIB, max_chunk))) <= max_chunk


def test_a_store_of_tiny_chunks_is_refused():
    with pytest.raises(ValueError, match="too small"):
        average(1, 4095)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, 64 * KIB),
        (16 * MIB, 64 * KIB),
        (16 * MIB + 1, 256 * KIB),
        (GIB, 256 * KIB),
        (5 * GIB, MIB),
        (99 * GIB, 4 * MIB),
    ],
)
def test_chunks_grow_with_the_file(size, expected):
    assert average(size, MAX_CHUNK) == expected


def test_pieces_stay_valid_when_the_cutting_goes_on():
    data = noise(WINDOW + MIB)
    kept = list(cut(io.BytesIO(data).read, len(data), MAX_CHUNK))
    assert b"".join(kept) == data


def test_hashes_are_blake3():
    assert chunk_id(b"milk") == blake3(b"milk").digest()
    assert hash_bytes(b"milk") == blake3(b"milk").hexdigest()
    whole = FileHash()
    whole.update(b"mi")
    whole.update(memoryview(b"lk"))
    assert (whole.hexdigest(), whole.size) == (hash_bytes(b"milk"), 4)
