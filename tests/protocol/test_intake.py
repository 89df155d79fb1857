import pytest

from ssyncd.errors import ProtocolError
from ssyncd.protocol.events import (
    Reset,
)
from ssyncd.protocol.ghosts import Ghost
from ssyncd.protocol.messages import (
    Changes,
    IndexEntry,
    VersionAnswer,
)
from tests.protocol.client import Client, change

# 8 to 10: changes


def test_a_member_known_in_part_may_be_replaced_and_removed():
    client = Client(whole=frozenset({"body"})).live(IndexEntry("k", 1, {"body": {}}))
    client.hear(Changes((change("k", 2, {"body": {"o": "r", "v": 5}}, 1), change("k", 3, {"body": {"o": "-"}}, 2))))
    assert client.store.get("k") == Ghost(3, {})
    assert client.said() == []


def test_later_changes_of_a_key_wait_for_its_version():
    client = Client().live(IndexEntry("k", 1, {"a": 1}))
    later = change("k", 5, {"b": {"o": "+", "v": 1}}, 4, "5")
    assert client.hear(Changes((change("k", 4, source=3, cv="4"), later))) == []
    events = client.hear(VersionAnswer("k", 4, {"a": 4}))
    assert [event.after for event in events] == [Ghost(4, {"a": 4}), Ghost(5, {"a": 4, "b": 1})]
    assert client.store.cursor == "5"


def test_a_pruned_version_leads_to_the_next_one():
    client = Client().live(IndexEntry("k", 1, {"a": 1}))
    client.hear(Changes((change("k", 4, source=3), change("k", 5, source=4, cv="5"))))
    client.said()
    assert client.hear(VersionAnswer("k", 4, None)) == []
    assert client.said() == ["0:e:k.5"]
    (event,) = client.hear(VersionAnswer("k", 5, {"a": 5}))
    assert event.after == Ghost(5, {"a": 5})
    assert client.store.cursor == "5"


def test_a_pruned_version_before_a_removal_needs_no_asking():
    client = Client().live(IndexEntry("k", 1, {"a": 1}))
    client.hear(Changes((change("k", 4, source=3), change("k", 5, op="-", cv="5"))))
    (event,) = client.hear(VersionAnswer("k", 4, None))
    assert event.after == Ghost(5, None)
    assert client.store.cursor == "5"


def test_a_version_that_nobody_has_leads_to_a_new_index():
    client = Client().live(IndexEntry("k", 1, {"a": 1}))
    client.hear(Changes((change("k", 4, source=3),)))
    client.said()
    assert client.hear(VersionAnswer("k", 4, None)) == [Reset()]
    assert client.said() == ["0:i:1:::500"]


def test_what_is_held_comes_again_after_a_cut():
    client = Client().live(IndexEntry("k", 1, {"a": 1}))
    client.hear(Changes((change("k", 4, source=3, cv="4"),)))
    client.channel.closed()
    assert client.store.cursor == "start"
    client.back(change("k", 4, source=3, cv="4"))
    assert client.said() == ["0:e:k.4"]


def test_an_unknown_kind_of_change_without_a_version_is_passed_over():
    client = Client().live()
    assert client.hear('0:c:[{"id":"bucket","o":"EMPTY","cv":"9","ccids":["x"]}]') == []
    assert client.store.cursor == "9"
    assert client.said() == []


def test_a_malformed_message_changes_nothing():
    client = Client().live()
    with pytest.raises(ProtocolError):
        client.hear('0:c:[{"id":"k","o":"M","v":{},"ev":1,"cv":"1","ccids":[]},{"id":"k"}]')
    assert client.store.get("k") is None
    assert client.store.cursor == "start"
