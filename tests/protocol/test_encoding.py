import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.errors import ProtocolError
from ssyncd.protocol.encoding import dumps, dumps_stored, loads

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(values)
def test_a_value_survives_the_way_out_and_back(value):
    assert loads(dumps(value)) == value


def test_a_lone_surrogate_is_read_and_stored_but_not_sent():
    value = loads('{"a":"\\ud83d"}')
    assert value == {"a": "\ud83d"}
    with pytest.raises(ProtocolError):
        dumps(value)
    assert loads(dumps_stored(value)) == value


def test_a_long_integer_is_stored_but_not_sent():
    value = {"a": 2**70}
    with pytest.raises(ProtocolError):
        dumps(value)
    assert loads(dumps_stored(value))["a"] == pytest.approx(2**70)


@pytest.mark.parametrize(
    "text", ["", "{", "nope", "NaN", "[Infinity]", '{"a":-Infinity}', "[" * 100_000, b"\xff", '"\x00']
)
def test_what_is_no_json_is_a_protocol_error(text):
    with pytest.raises(ProtocolError):
        loads(text)


def test_what_cannot_be_json_is_a_protocol_error():
    deep: list = []
    for _ in range(200_000):
        deep = [deep]
    for value in ({1: 2}, {"a": {1, 2}}, deep):
        with pytest.raises(ProtocolError):
            dumps(value)
    for value in ({"a": {1, 2}}, deep, ["\ud83d", float("nan")]):
        with pytest.raises(ProtocolError):
            dumps_stored(value)
