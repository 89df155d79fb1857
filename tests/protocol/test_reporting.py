"""What a client tells of itself to a server that asks."""

import json

import pytest

from ssyncd.protocol import reporting
from ssyncd.protocol.ghosts import Ghost
from ssyncd.protocol.messages import ChangeError, Changes, Denied, IndexEntry, UnknownCv
from tests.protocol.client import ADD, Client, change


def dump(client):
    assert client.hear("0:index") == []
    (text,) = client.said()
    assert text.startswith("0:index:")
    return json.loads(text.removeprefix("0:index:"))


def lines(client):
    said = [json.loads(text.removeprefix("log:")) for text in client.said() if text.startswith("log:")]
    assert all(line["bucket"] == "bucket" for line in said)
    return [line["log"] for line in said]


def test_the_state_is_told_when_the_server_asks_for_it():
    client = Client().live(IndexEntry("a", 3, {"secret": "x"}), IndexEntry("b", 1, {}))
    client.store.put("gone", Ghost(4, None))
    client.channel.submit("a", {"secret": {"o": "r", "v": "y"}}, 3, "c1", keep=False)
    client.channel.submit("new", ADD, None, "c2")
    client.said()
    assert dump(client) == {
        "current": "start",
        "index": [{"id": "a", "v": 3}, {"id": "b", "v": 1}],
        "pending": [{"id": "a", "ccid": "c1", "sv": 3}, {"id": "new", "ccid": "c2"}],
        "extra": {"state": "live", "objects": 2},
    }


def test_the_number_of_the_channel_is_on_it():
    client = Client(number=4).live()
    client.hear("4:index")
    (text,) = client.said()
    assert text.startswith("4:index:{")


def test_it_is_told_also_while_the_index_is_on_its_way():
    assert dump(Client().connect()) == {
        "current": "",
        "index": [],
        "pending": [],
        "extra": {"state": "indexing", "objects": 0},
    }


def test_a_state_is_of_a_size_that_every_server_takes_and_told_only_so_often(monkeypatch):
    monkeypatch.setattr(reporting, "MOST_LISTED", 2)
    client = Client().live(*(IndexEntry(f"k{number}", 1, {}) for number in range(5)))
    told = dump(client)
    assert (len(told["index"]), told["extra"]["objects"]) == (2, 5)
    for _ in range(100):
        client.hear("0:index")
    assert len(client.said()) == reporting.MOST_DUMPS - 1
    client.channel.closed()
    client.back()
    dump(client)


def test_nothing_is_logged_unless_the_server_wants_it():
    client = Client().live()
    client.hear(Changes((change("k", 1),)), UnknownCv())
    assert lines(client) == []


def test_what_matters_is_logged_at_the_first_level():
    client = Client().live(IndexEntry("k", 1, {"a": 1}))
    client.hear("log:1")
    client.channel.submit("k", {"a": {"o": "r", "v": 2}}, 1, "c1")
    client.hear(Changes((change("other", 1), ChangeError("client", "k", ("c1",), 413))))
    assert lines(client) == ["k: c1 was answered by 413"]
    client.channel.reindex()
    assert lines(client) == ["indexes anew"]


def test_everything_is_logged_at_the_second_but_what_is_in_an_object():
    client = Client().live(IndexEntry("k", 1, {"a": "secret"}))
    client.hear("log:2")
    client.channel.submit("k", {"a": {"o": "r", "v": "secret too"}}, 1, "c1")
    client.hear(Changes((change("k", 2, {"a": {"o": "r", "v": "secret too"}}, 1, ccids=("c1",)), change("l", 1))))
    assert lines(client) == ["k: sent c1, made from version 1", "k: version 2, which is c1", "l: version 1"]


@pytest.mark.parametrize("off", ["log:0", "log:", "log:-1", "log:all"])
def test_it_is_silent_again_when_the_server_says_so(off):
    client = Client().live()
    client.hear("log:2", off)
    client.hear(Changes((change("k", 1),)))
    assert lines(client) == []


def test_the_next_connection_begins_silent_and_a_denied_one_says_nothing():
    client = Client().live()
    client.hear("log:2")
    client.channel.closed()
    client.back(change("k", 1))
    assert lines(client) == []
    client.hear("log:2", Denied(401, "no"), "0:index", "log:2")
    assert client.said() == []
