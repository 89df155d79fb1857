import contextlib
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.content.compression import open_sealed, seal, sealed_size
from ssyncd.errors import ContentError

TEXT = b"".join(b"line %d of a text that can be compressed\n" % n for n in range(5000))
NOISE = random.Random(1).randbytes(200_000)


@given(st.binary(max_size=5000), st.integers(1, 40))
def test_what_is_sealed_opens_to_the_same_bytes(data, times):
    sealed = seal(data * times)
    assert open_sealed(sealed, len(data) * times) == data * times
    assert sealed_size(sealed) == len(data) * times
    assert len(sealed) <= len(data) * times + 1


@pytest.mark.parametrize("data", [TEXT, TEXT[:1000], memoryview(TEXT)[7:]])
def test_text_is_compressed(data):
    assert seal(data)[:1] == b"\x01"
    assert len(seal(data)) < len(data)
    assert open_sealed(seal(data), len(data)) == data


@pytest.mark.parametrize("data", [b"", b"x", NOISE, NOISE[:100], memoryview(NOISE)])
def test_what_does_not_shrink_stays_as_it_is(data):
    assert seal(data) == b"\x00" + bytes(data)


def test_a_packed_beginning_does_not_hide_compressible_bytes():
    mixed = NOISE[:60_000] + TEXT
    assert len(seal(mixed)) < len(mixed) - len(TEXT) // 2


def test_a_bomb_is_refused_by_its_promise():
    bomb = b"\x01" + zstandard.compress(bytes(100_000_000))
    assert len(bomb) < 20_000
    with pytest.raises(ContentError, match="at most 1000"):
        open_sealed(bomb, 1000)


def test_a_bomb_that_lies_about_its_size_is_refused():
    frame = zstandard.compress(bytes(100_000))
    assert frame[5:9] == (100_000).to_bytes(4, "little")
    with pytest.raises(ContentError):
        open_sealed(b"\x01" + frame[:5] + (10).to_bytes(4, "little") + frame[9:], 1000)


@pytest.mark.parametrize(
    "sealed",
    [
        b"",
        b"\x02milk",
        b"\x01",
        b"\x01not zstd at all",
        b"\x01" + zstandard.compress(TEXT)[:-9],
        b"\x01" + zstandard.compress(TEXT) + b"more",
        b"\x01" + zstandard.compress(TEXT) + zstandard.compress(TEXT),
        b"\x01" + zstandard.ZstdCompressor(write_content_size=False).compress(TEXT),
        b"\x01" + b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd",
    ],
)
def test_broken_stored_forms_are_content_errors(sealed):
    with pytest.raises(ContentError):
        open_sealed(sealed, 1_000_000)


@given(st.binary(max_size=300))
def test_any_bytes_open_or_are_content_errors(data):
    for sealed in (data, b"\x01" + data, b"\x01\x28\xb5\x2f\xfd" + data):
        with contextlib.suppress(ContentError):
            assert len(open_sealed(sealed, 500)) <= 500


def test_threads_can_seal_and_open_at_once():
    texts = [TEXT[n * 500 :] for n in range(40)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda text: open_sealed(seal(text), len(text)), texts)) == texts
