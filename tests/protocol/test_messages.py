import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.errors import ProtocolError
from ssyncd.protocol import messages
from ssyncd.protocol.messages import (
    Authorized,
    ChangeError,
    Changes,
    ClientChange,
    Denied,
    Frame,
    Heartbeat,
    IndexEntry,
    IndexPage,
    IndexRequest,
    Init,
    Log,
    Notice,
    ServerChange,
    Since,
    StateRequest,
    UnknownCv,
    VersionAnswer,
    VersionRequest,
    parse_client,
    parse_frame,
    parse_server,
)


def from_client(text):
    return parse_client(parse_frame(text))


def from_server(text):
    return parse_server(parse_frame(text))


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("0:i::::50", Frame(0, "i", ":::50")),
        ('12:c:{"a":1}', Frame(12, "c", '{"a":1}')),
        ('0:e:k.1\n{"data":{}}', Frame(0, "e", 'k.1\n{"data":{}}')),
        ("0:index", Frame(0, "index")),
        ("h:5", Frame(None, "h", "5")),
        ("h", Frame(None, "h")),
        ('log:{"log":"a:b"}', Frame(None, "log", '{"log":"a:b"}')),
        ("?", Frame(None, "?")),
        ("", Frame(None, "")),
        (":", Frame(None, "")),
        ("-1:c:x", Frame(None, "-1", "c:x")),
        ("٣:c:x", Frame(None, "٣", "c:x")),
        ("9999999999:c:x", Frame(None, "9999999999", "c:x")),
    ],
)
def test_a_message_is_cut_at_its_first_colons_only(text, frame):
    assert parse_frame(text) == frame


FROM_CLIENT = [
    Init("bucket", "token", "app", "client", version="1", command="i::::50"),
    Init("bucket", "token", "app", "client", lean=True, notices=True, packed=True, gaps=True),
    IndexRequest(True, "mark", 10),
    IndexRequest(),
    VersionRequest("a.key", 3),
    Since("cv"),
    ClientChange("k", "M", "c-1", 3, {"a": {"o": "d", "v": "=3\t+!"}}),
    ClientChange("k", "M", "c-1", 3, {"a": {"o": "-"}}, {"b": 1}),
    ClientChange("k", "M", "c-1", None, None, {"b": 1}),
    ClientChange("k", "-", "c-1"),
    ClientChange("bucket", "EMPTY", "c-1"),
    Notice("k", {"a": {"b": 1}}),
]
FROM_SERVER = [
    Authorized("me@example.com"),
    Denied(401, "Token invalid"),
    IndexPage((IndexEntry("k", 1, {"a": "b"}), IndexEntry("l", 2)), "cv", "mark"),
    IndexPage((), ""),
    VersionAnswer("a.key", 3, {"a": 1}),
    VersionAnswer("a.key", 3, None),
    UnknownCv(),
    Changes(
        (
            ServerChange("c", "k", "M", ("1",), {"a": {"o": "+", "v": 1}}, None, 1, "cv1"),
            ServerChange("c", "k", "M", ("1", "2"), {"a": {"o": "+", "v": 1}}, 1, 2, "cv2"),
            ServerChange("c", "k", "-", ("3",), None, None, 3, "cv3"),
            ChangeError("c", "k", ("4",), 440),
        )
    ),
    Changes(()),
    Notice("k", {"a": {"b": 1}}),
]


@pytest.mark.parametrize("message", FROM_CLIENT, ids=repr)
def test_what_a_client_says_is_what_a_server_hears(message):
    assert from_client(message.text(7)) == message


@pytest.mark.parametrize("message", FROM_SERVER, ids=repr)
def test_what_a_server_says_is_what_a_client_hears(message):
    text = message.text(7)
    assert text.startswith("7:")
    assert from_server(text) == message


def test_the_heartbeat_has_no_channel():
    assert Heartbeat(4).text() == "h:4"
    assert from_client("h:4") == from_server("h:4") == Heartbeat(4)
    assert from_client("h:x") == Heartbeat(0)
    assert from_client("h:" + "9" * 5000) == Heartbeat(0)
    assert from_client("0:h:4") is None


def test_a_change_is_written_as_the_documents_say():
    text = ClientChange("key", "M", "6b9e", 3, {"title": {"o": "d", "v": "=3\t+!"}}).text(0)
    assert text == '0:c:{"id":"key","o":"M","ccid":"6b9e","v":{"title":{"o":"d","v":"=3\\t+!"}},"sv":3}'
    assert "sv" not in ClientChange("key", "M", "6b9e", None, {}).text(0)
    created = messages.encode_change(ServerChange("node-1f", "key", "M", ("6b9e",), {}, None, 1, "51"))
    assert created == '{"clientid":"node-1f","id":"key","ccids":["6b9e"],"o":"M","v":{},"ev":1,"cv":"51"}'
    assert messages.changes_message(2, [created, created]) == f"2:c:[{created},{created}]"


def test_encoded_index_entries_make_the_same_page():
    page = IndexPage((IndexEntry("k", 1, {"a": 1}), IndexEntry("l", 2)), "cv", "m")
    rows = ['{"id":"k","v":1,"d":{"a":1}}', '{"id":"l","v":2}']
    assert from_server(messages.index_message(0, rows, "cv", "m")) == page
    assert from_server(messages.index_message(0, [], "cv")) == IndexPage((), "cv")


@pytest.mark.parametrize("user", ["12345", "true", '"bob"', "null", "{}", "[1]", "-1.5", "NaN", '{"code":401}'])
def test_no_name_of_a_user_reads_as_a_failure(user):
    text = Authorized(user).text(0)
    assert isinstance(from_server(text), Authorized)
    with pytest.raises(ProtocolError):
        messages.loads(text.partition("auth:")[2])


def test_failures_of_every_age_are_understood():
    assert from_server('0:auth:{"msg":"x","code":"401"}') == Denied(401, "x")
    assert from_server('0:auth:{"msg":"x"}') == Denied(500, "x")
    assert from_server('0:auth:{"code":1e400}') == Denied(500, "")
    assert from_server("0:auth:expired") is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ('"clientid":"c","api":"1.1","library":"node-simperium","version":"0.0.1"', ("c", "1.1", False)),
        ('"clientid":"c","api":"1.1","library":"android","version":0,"cmd":"i::::50"', ("c", "1.1", False)),
        ('"clientid":"c","api":1.100000023841858,"username":"","library":"ios"', ("c", "1.1", False)),
        ('"clientid":"sjs-1","build":5', ("sjs-1", "", True)),
        ('"clientid":"g","api":1,"library_version":3', ("g", "1", True)),
        ('"client_id":"doc","api":"1.1"', ("doc", "1.1", False)),
        ('"clientid":"c","api":null,"extra":{"a":[1]}', ("c", "", True)),
    ],
)
def test_init_of_every_known_client_is_read(fields, expected):
    init = from_client('0:init:{"app_id":"a","token":"t","name":"b",' + fields + "}")
    assert (init.client, init.api, init.old_api) == expected
    assert (init.app, init.token, init.bucket) == ("a", "t", "b")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("1:mark::10", IndexRequest(True, "mark", 10)),
        (":::", IndexRequest()),
        ("", IndexRequest()),
        ("1", IndexRequest(True)),
        ("1:::0", IndexRequest(True)),
        ("1:::-5", IndexRequest(True)),
        ("1:::ten", IndexRequest(True)),
        ("0:m:o:7", IndexRequest(False, "m", 7, "o")),
    ],
)
def test_index_requests_of_every_shape_are_read(argument, expected):
    assert from_client(f"0:i:{argument}") == expected


@pytest.mark.parametrize("sv", ['"3"', "3", "3.0"])
def test_a_source_is_a_number_however_it_is_written(sv):
    assert from_client('0:c:{"id":"k","o":"M","ccid":"c","v":{},"sv":' + sv + "}").source == 3


@pytest.mark.parametrize("sv", ["null", "0", '"0"', '""'])
def test_no_source_is_no_source_however_it_is_written(sv):
    assert from_client('0:c:{"id":"k","o":"M","ccid":"c","v":{},"sv":' + sv + "}").source is None


@pytest.mark.parametrize(
    "fields",
    [
        '"o":"M","v":{},"sv":-1',
        '"o":"M","v":{},"sv":1.5',
        '"o":"M","v":{},"sv":true',
        '"o":"M","v":{},"sv":[1]',
        '"o":"M","v":{},"sv":99999999999999999999',
        '"o":"M"',
        '"o":"M","v":[]',
        '"o":"M","d":"x"',
        '"o":"DROP"',
        '"o":{}',
        '"v":{}',
    ],
)
def test_a_malformed_change_that_can_be_answered_is_a_bad_change(fields):
    bad = from_client('0:c:{"id":"k","ccid":"c",' + fields + "}")
    assert (bad.key, bad.ccid, bad.code) == ("k", "c", 400)


def test_keys_and_ccids_outside_the_allowed_set_are_bad():
    for key, ccid in (
        ("a b", "c"),
        ("a/b", "c"),
        ("ä", "c"),
        ("k" * 257, "c"),
        ("k", "c c"),
        ("k", "c" * 257),
        ("k\n", "c"),
    ):
        bad = messages.parse_client_change({"id": key, "o": "-", "ccid": ccid})
        assert isinstance(bad, messages.BadChange), (key, ccid)
    assert messages.valid_bucket("a-b_c.d%20")
    assert not messages.valid_bucket("")
    assert not messages.valid_bucket("a" * 65)
    assert not messages.valid_key("a/b")


@pytest.mark.parametrize(
    "text",
    [
        "0:init:nope",
        "0:init:[]",
        '0:init:{"name":5}',
        "0:e:key",
        "0:e:.3",
        "0:e:key.x",
        "0:e:key.-1",
        "0:e:key." + "9" * 5000,
        "0:c:",
        "0:c:[]",
        "0:c:{}",
        '0:c:{"id":5,"ccid":"c"}',
        '0:c:{"id":"k"}',
        '0:c:{"id":"k","ccid":7}',
    ],
)
def test_nonsense_of_a_client_is_a_protocol_error(text):
    with pytest.raises(ProtocolError):
        from_client(text)


@pytest.mark.parametrize(
    "text",
    [
        "0:i:{}",
        "0:i:[]",
        '0:i:{"index":[5]}',
        '0:i:{"index":[{"id":"k"}]}',
        '0:i:{"index":[{"id":"k","v":0}]}',
        '0:i:{"index":[{"id":"k","v":1,"d":5}]}',
        '0:i:{"index":[{"v":1}]}',
        '0:e:k.1\n{"data":5}',
        "0:e:k.1\nnope",
        "0:e:k\n?",
        "0:c:nope",
        "0:c:5",
        "0:c:[5]",
        '0:c:[{"o":"M"}]',
        '0:c:[{"id":"k","o":"M","v":1,"ev":1,"cv":"c"}]',
        '0:c:[{"id":"k","o":"M","v":{},"cv":"c"}]',
        '0:c:[{"id":"k","o":"M","v":{},"ev":1}]',
        '0:c:[{"id":"k","o":"M","v":{},"ev":0,"cv":"c"}]',
        '0:c:[{"id":"k","o":"M","v":{},"ev":1,"cv":"c","sv":"x"}]',
        '0:c:[{"id":"k","o":"-","ev":1,"cv":"c","ccids":5}]',
        '0:c:[{"id":"k","o":"-","ev":1,"cv":["c"]}]',
    ],
)
def test_nonsense_of_a_server_is_a_protocol_error(text):
    with pytest.raises(ProtocolError):
        from_server(text)


def test_variations_of_servers_are_understood():
    change = '{"id":"k","o":"M","v":{},"ev":"2","sv":"1","cv":7,"ccid":"x","clientid":null}'
    expected = ServerChange("", "k", "M", ("x",), {}, 1, 2, "7")
    assert from_server(f"0:c:[{change}]") == Changes((expected,))
    assert from_server(f"0:c:{change}") == Changes((expected,))
    assert from_server("0:c:?") == from_server("0:cv:?") == from_server("0:cv:") == UnknownCv()
    assert from_server('0:c:[{"id":"k","error":"412","ccids":["x"]}]') == Changes((ChangeError("", "k", ("x",), 412),))
    assert from_server('0:i:{"current":5,"mark":9,"index":[]}') == IndexPage((), "5", "9")
    assert from_server('0:i:{"mark":null,"index":[]}') == IndexPage((), "")
    assert from_server("0:e:k.1\n") == VersionAnswer("k", 1, None)
    assert from_server("0:index") == StateRequest()
    assert from_server("log:1") == Log("1")


def test_a_kind_of_change_nobody_knows_keeps_what_it_says():
    text = '0:c:[{"id":"b","o":"EMPTY"},{"id":"k","o":"MERGE","ev":4,"cv":"c"}]'
    empty, other = from_server(text).changes
    assert (empty.op, empty.version, empty.cv) == ("EMPTY", 0, "")
    assert (other.op, other.version, other.cv, other.diff) == ("MERGE", 4, "c", None)


def test_unknown_commands_are_nothing():
    for text in ("0:o:{}", "0:zzz:1", "?", "", "zzz", "auth:x", "0:?"):
        assert from_client(text) is None
        assert from_server(text) is None


def test_lone_surrogates_are_taken_and_not_sent():
    received = from_server('0:e:k.1\n{"data":{"a":"\\ud83d"}}')
    assert received.data == {"a": "\ud83d"}
    with pytest.raises(ProtocolError):
        received.text(0)
    with pytest.raises(ProtocolError):
        ClientChange("k", "M", "c", None, {"a": {"o": "+", "v": "\ud83d"}}).text(0)


def test_a_modification_that_says_nothing_cannot_be_built():
    with pytest.raises(ProtocolError):
        ClientChange("k", "M", "c")


@given(
    st.text(max_size=60)
    | st.builds(
        "{}:{}:{}".format,
        st.integers(0, 3),
        st.sampled_from(["init", "i", "e", "cv", "c", "auth", "o", "h"]),
        st.text('{}[]":,0123456789abcdiosvckexn.\n-?', max_size=40),
    )
)
def test_junk_is_a_message_nothing_or_a_protocol_error(text):
    for parse in (from_client, from_server):
        with contextlib.suppress(ProtocolError):
            parse(text)
