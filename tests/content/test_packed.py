import contextlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.content.compression import seal
from ssyncd.content.packed import HELLO, LEAST, MANY, MOST, pack, unpack
from ssyncd.errors import ContentError

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\1"), max_size=40)
BASE64 = st.binary(max_size=300).map(lambda content: b64encode(content).decode())
# As the protocol has it, or nearly so: what is no base64, or not as we would write it, or does not end.
DATA = st.builds(
    lambda before, text, after: f'{before}"data":"{text}{after}', TEXT, BASE64 | TEXT, st.sampled_from(('"', "", '="'))
)


def packed_form(texts: bytes, *contents: bytes) -> bytes:
    """A packed message with these parts, whether they make sense or not."""
    first = seal(texts)
    return len(first).to_bytes(4) + first + b"".join(contents)


@given(st.lists(TEXT | DATA, max_size=20))
def test_what_is_packed_is_unpacked(texts):
    texts = [*texts, "x" * LEAST]
    packed = pack([text.encode() for text in texts])
    assert packed is not None
    assert unpack(packed) == texts
    assert len(packed) < sum(len(text.encode()) + 1 for text in texts)


def test_contents_travel_as_bytes():
    contents = [bytes(range(256)) * 12, b"", b"short", bytes(3000)]
    messages = [f'0:c:{{"v":{{"data":"{b64encode(content).decode()}","n":1}}}}' for content in contents]
    packed = pack([message.encode() for message in messages])
    assert packed is not None
    assert unpack(packed) == messages
    assert packed.endswith(contents[0] + contents[3])


@pytest.mark.parametrize("text", ["A" * 101, "A" * 98 + "==", "A" * 99 + "B=", "A" * 50 + "\\n" + "A" * 50, "Ä" * 100])
def test_what_is_not_the_base64_of_something_stays_a_text(text):
    message = f'"data":"{text}"' + " " * LEAST
    assert unpack(pack([message.encode()])) == [message]


@pytest.mark.parametrize("messages", [[], [b""], [b"x" * (LEAST - 2)], [b"x" * MOST], [b"x" * (MOST // 2)] * 2])
def test_what_is_short_or_long_is_not_packed(messages):
    assert pack(messages) is None


@pytest.mark.parametrize("byte", [b"\0", b"\1"])
def test_what_looks_like_a_mark_is_not_packed(byte):
    assert pack([b"x" * LEAST + byte]) is None


def test_the_limits_are_inside():
    for size in (LEAST, MOST):
        assert unpack(pack([b"x" * (size - 1)])) == ["x" * (size - 1)]


def test_there_are_not_too_many_messages():
    assert len(unpack(pack([b"x"] * MANY))) == MANY
    assert pack([b"x"] * (MANY + 1)) is None
    with pytest.raises(ContentError):
        unpack(packed_form(b"x\1" * (MANY + 1)))


def test_contents_that_are_long_only_as_texts_are_refused():
    content = bytes(MOST // 4 * 3)
    assert len(unpack(packed_form(b"\0%d\0\1" % (len(content) - 3), content[3:]))) == 1
    with pytest.raises(ContentError):
        unpack(packed_form(b"\0%d\0\1" % len(content), content))


def test_hello_holds_nothing():
    assert unpack(HELLO) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0",
        b"\0\0\0\0",
        b"\0\0\0\x01\x02",
        b"\0\0\0\x02\0",
        b"\0\0\0\x08\x01no zstd",
        b"\xff\xff\xff\xff\0",
        packed_form(b"no end"),
        packed_form(b"x\1no end"),
        packed_form(b"\xff\1"),
        packed_form(b"x" * MOST + b"\1"),
        packed_form(b"x\1", b"more"),
        packed_form(b"\x005\0\1", b"four"),
        packed_form(b"\x003\0\1", b"four"),
        packed_form(b"\x004\1", b"four"),
        packed_form(b"\0-4\0\1", b"four"),
        packed_form(b"\0\0\1"),
        packed_form(b"\0" + b"9" * 5000 + b"\0\1"),
    ],
)
def test_what_makes_no_sense_is_refused(data):
    with pytest.raises(ContentError):
        unpack(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_unpacked_or_refused(data):
    for sealed in (data, packed_form(data), packed_form(data, data)):
        with contextlib.suppress(ContentError):
            assert all(isinstance(text, str) for text in unpack(sealed))
