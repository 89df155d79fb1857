"""What a lean channel makes of acknowledgements without a diff, and how it asks for an index."""

import pytest
from msgspec.structs import replace

from ssyncd.protocol.channel import Channel
from ssyncd.protocol.ghosts import Ghost
from ssyncd.protocol.lean import LONG, lean, lean_diff
from ssyncd.protocol.messages import Authorized, Changes, IndexPage, VersionAnswer
from tests.protocol.client import ADD, INIT, Client, change, opening

WHOLE = frozenset({"content"})


def client_of_a_lean_server(**options):
    client = Client(**options)
    client.channel = Channel(replace(INIT, lean=True), client.store, whole=WHOLE)
    return client


def bare(key, version, source=None, ccid="c1"):
    return Changes((change(key, version, source=source, ccids=(ccid,))._replace(diff=None),))


@pytest.mark.parametrize("kept", [True, False])
def test_the_ghost_is_what_was_sent_but_for_what_is_large(kept):
    client = client_of_a_lean_server().live()
    content = {"hash": "h", "data": "x" * 2000}
    client.channel.submit("k", {"content": {"o": "+", "v": content}} | ADD, None, "c1", keep=kept)
    (event,) = client.hear(bare("k", 1))
    assert event.mine.ccid == "c1"
    assert event.after == client.store.get("k") == Ghost(1, {"content": {"hash": "h"}, "a": 1})
    client.channel.submit("k", {"a": {"o": "r", "v": 2}}, 1, "c2", keep=kept)
    client.hear(bare("k", 2, 1, "c2"))
    assert client.store.get("k") == Ghost(2, {"content": {"hash": "h"}, "a": 2})


def test_what_was_sent_from_another_version_or_by_an_earlier_run_is_asked_for():
    client = client_of_a_lean_server().live()
    assert client.hear(bare("k", 1)) == []
    assert client.said() == ["0:e:k.1"]
    client.hear(VersionAnswer("k", 1, {"a": 5}))
    client.channel.submit("k", {"a": {"o": "r", "v": 2}}, 1, "c2")
    client.hear(Changes((change("k", 2, {"a": {"o": "r", "v": 7}}, 1),)))
    client.said()
    assert client.hear(bare("k", 4, 3, "c2")) == []
    assert client.said() == ["0:e:k.4"]


@pytest.mark.parametrize("much", [True, False])
def test_a_lean_index_is_asked_for_by_who_knows_much(much):
    client = client_of_a_lean_server()
    client.channel.knows_much = lambda: much
    data = "lean" if much else "1"
    client.channel.opened()
    assert f'"cmd":"i:{data}:::500"' in client.said()[0]
    client.hear(Authorized("me"))
    client.hear(IndexPage((), "cv", "mark"))
    assert client.said() == [f"0:i:{data}:mark::500"]


def test_a_plain_channel_never_asks_for_it():
    client = Client()
    client.channel.knows_much = lambda: True
    client.channel.opened()
    assert client.said() == [opening()]


def test_only_what_is_large_and_not_at_the_top_is_left_out():
    long, short = "x" * (LONG + 1), "x" * LONG
    assert lean({"a": long, "b": [1], "c": {"d": long, "e": short, "f": [1], "g": {"h": long}}}) == {
        "a": long,
        "b": [1],
        "c": {"e": short, "g": {"h": long}},
    }
    diff = {"c": {"o": "r", "v": {"d": long, "e": 1}}, "k": {"o": "+", "v": {"d": long}}, "x": {"o": "-"}}
    assert lean_diff(diff, {"c", "x"}) == diff | {"c": {"o": "r", "v": {"e": 1}}}
