import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.content.body import (
    MAX_ROWS,
    ROW_SIZE,
    Body,
    chunked,
    inline,
    open_inline,
    pack_rows,
    parse_content,
    split_list,
    to_json,
    unpack_rows,
)
from ssyncd.content.chunks import MAX_CHUNK, Row, chunk_id
from ssyncd.errors import ContentError
from ssyncd.planner.tree import Content

HASH = "ab" * 32
ID = "cd" * 32
DATA = to_json(*inline(b"milk", 5, "laptop"))


def rows_of(count, size=10):
    return tuple(Row(chunk_id(b"%d" % n), size) for n in range(count))


@given(st.binary(max_size=40_000), st.integers(-(1 << 60), 1 << 60), st.text(max_size=20))
def test_small_content_survives_the_wire(plain, mtime, device):
    content, body = inline(plain, mtime, device)
    parsed = parse_content(json.loads(json.dumps(to_json(content, body))))
    assert parsed == (content, body)
    assert open_inline(*parsed) == plain


@pytest.mark.parametrize("count", [0, 1, 7, MAX_ROWS])
def test_chunk_rows_survive_the_wire(count):
    content = Content(HASH, 10 * count, 5, "laptop")
    body = chunked(rows_of(count), MAX_CHUNK)
    assert parse_content(json.loads(json.dumps(to_json(content, body)))) == (content, body)


def test_many_rows_become_a_list_of_chunks():
    rows = rows_of(MAX_ROWS + 1500)
    content = Content(HASH, 10 * len(rows), 5, "laptop")
    body = chunked(rows, MAX_CHUNK)
    value = json.loads(json.dumps(to_json(content, body)))
    assert "chunks" not in value
    pieces = split_list(rows, MAX_CHUNK)
    assert value["list"] == [[chunk_id(piece).hex(), len(piece)] for piece in pieces]
    assert parse_content(value) == (content, Body(list=body.list))
    assert unpack_rows(b"".join(pieces), content.size) == rows


def test_an_edit_of_a_long_file_renews_few_pieces_of_its_list():
    rows = list(rows_of(20_000))
    before = chunked(tuple(rows), MAX_CHUNK)
    rows[7000] = Row(chunk_id(b"new"), 10)
    after = chunked(tuple(rows), MAX_CHUNK)
    assert len(set(after.list) - set(before.list)) == 1


def test_no_piece_of_a_list_is_larger_than_the_store_takes():
    assert max(map(len, split_list(rows_of(3000), 4096))) <= 4096


@pytest.mark.parametrize(
    "change",
    [
        {"hash": None},
        {"hash": "AB" * 32},
        {"hash": "ab" * 31},
        {"hash": "ab" * 32 + "\n"},
        {"hash": 5},
        {"size": -1},
        {"size": True},
        {"size": 4.0},
        {"size": 1 << 60},
        {"mtime": "now"},
        {"mtime": 1 << 70},
        {"mtime": 1.5},
        {"by": None},
        {"by": "x" * 256},
        {"data": 5},
        {"data": "*"},
        {"data": "AAA"},
        {"data": "AA==\n"},
        {"data": "\u00e9"},
        {"data": ""},
        {"data": "A" * 5_000_000},
        {"data": None},
        {"data": None, "chunks": 5},
        {"data": None, "chunks": [5]},
        {"data": None, "chunks": [[ID]]},
        {"data": None, "chunks": [[ID, 4, 4]]},
        {"data": None, "chunks": [[ID, True], [ID, 3]]},
        {"data": None, "chunks": [[ID, "4"]]},
        {"data": None, "chunks": [[ID, 3]]},
        {"data": None, "chunks": [[ID, 5]]},
        {"data": None, "chunks": [[ID, -4], [ID, 8]]},
        {"data": None, "chunks": [[ID, 0], [ID, 4]]},
        {"data": None, "chunks": [[ID.upper(), 4]]},
        {"data": None, "chunks": [[None, 4]]},
        {"data": None, "chunks": [[ID, MAX_CHUNK + 1]], "size": MAX_CHUNK + 1},
        {"data": None, "list": []},
        {"data": None, "list": [[ID, 35]], "size": 10_000},
        {"data": None, "list": [[ID, ROW_SIZE * 100]], "size": 99},
        {"data": None, "list": {"0": 1}},
    ],
)
def test_hostile_content_is_a_content_error(change):
    with pytest.raises(ContentError):
        parse_content({**DATA, **change})


@pytest.mark.parametrize("value", [None, [], "text", 5, {}])
def test_what_is_no_content_is_a_content_error(value):
    with pytest.raises(ContentError):
        parse_content(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.sampled_from(["hash", "size", "mtime", "by", "data", "chunks", "list"]), JSON, JSON)
def test_any_json_parses_or_is_a_content_error(member, value, data):
    try:
        content, body = parse_content({**DATA, "data": data, member: value})
        if body.data is not None:
            open_inline(content, body)
    except ContentError:
        pass


@pytest.mark.parametrize(
    "content",
    [Content(HASH, 4, 5, "x"), Content(inline(b"milk", 0, "")[0].hash, 5, 5, "x"), Content(HASH, 3, 5, "x")],
)
def test_inline_bytes_are_verified_when_used(content):
    with pytest.raises(ContentError):
        open_inline(content, inline(b"milk", 0, "")[1])


def test_a_body_of_chunks_has_no_bytes_to_open():
    with pytest.raises(ContentError):
        open_inline(Content(HASH, 4, 5, "x"), Body(chunks=rows_of(1, 4)))


@pytest.mark.parametrize(
    "plain", [b"x" * 35, pack_rows([Row(b"x" * 32, 0)]), pack_rows([Row(b"x" * 32, MAX_CHUNK + 1)])]
)
def test_a_broken_list_is_a_content_error(plain):
    with pytest.raises(ContentError):
        unpack_rows(plain, 0)


def test_a_list_must_sum_up_to_the_file():
    with pytest.raises(ContentError):
        unpack_rows(pack_rows(rows_of(3)), 31)
    assert unpack_rows(pack_rows(rows_of(3)), 30) == rows_of(3)
