import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.content.compression import seal
from ssyncd.content.packed import HELLO, LEAST, MOST, pack, unpack
from ssyncd.errors import ContentError

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@given(st.lists(TEXT, max_size=20))
def test_what_is_packed_is_unpacked(texts):
    texts = [*texts, "x" * LEAST]
    packed = pack([text.encode() for text in texts])
    assert packed is not None
    assert unpack(packed) == texts
    assert len(packed) < sum(len(text.encode()) + 4 for text in texts)


@pytest.mark.parametrize("messages", [[], [b""], [b"x" * (LEAST - 5)], [b"x" * MOST], [b"x" * (MOST // 2)] * 2])
def test_what_is_short_or_long_is_not_packed(messages):
    assert pack(messages) is None


def test_the_limits_are_inside():
    for size in (LEAST, MOST):
        assert unpack(pack([b"x" * (size - 4)])) == ["x" * (size - 4)]


def test_hello_holds_nothing():
    assert unpack(HELLO) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02",
        b"\x01no zstd",
        seal(b"\0\0\0"),
        seal(b"\0\0\0\x05four"),
        seal(b"\xff\xff\xff\xff" + b"x" * 2000),
        seal(b"\0\0\0\x01\xff"),
        seal(b"\0" * (MOST + 4)),
        seal(b"\0\0\0\x01x\0"),
    ],
)
def test_what_makes_no_sense_is_refused(data):
    with pytest.raises(ContentError):
        unpack(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_unpacked_or_refused(data):
    for sealed in (data, seal(data)):
        with contextlib.suppress(ContentError):
            assert all(isinstance(text, str) for text in unpack(sealed))
