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


def test_foreign_changes_advance_ghosts_and_cursor():
    client = Client().live()
    events = client.hear(
        Changes(
            (change("k", 1, cv="1"), change("k", 2, {"b": {"o": "+", "v": 2}}, 1, "2"), change("k", 3, op="-", cv="3"))
        )
    )
    assert [(event.before, event.after) for event in events] == [
        (None, Ghost(1, {"a": 1})),
        (Ghost(1, {"a": 1}), Ghost(2, {"a": 1, "b": 2})),
        (Ghost(2, {"a": 1, "b": 2}), Ghost(3, None)),
    ]
    assert [event.cv for event in events] == ["1", "2", "3"]
    assert client.store.cursor == "3"
    (again,) = client.hear(Changes((change("k", 4, cv="4"),)))
    assert again.after == Ghost(4, {"a": 1})


def test_a_change_told_twice_only_moves_the_cursor():
    client = Client().live(IndexEntry("k", 3, {"a": "abc"}))
    assert client.hear(Changes((change("k", 3, {"a": {"o": "d", "v": "=2\t+c"}}, 2, "cv9"),))) == []
    assert client.store.get("k").data == {"a": "abc"}
    assert client.store.cursor == "cv9"


@pytest.mark.parametrize(
    "odd",
    [
        change("k", 4, source=3),
        change("k", 2, {"a": {"o": "d", "v": "=9"}}, 1),
        change("k", 2, {"a": {"o": "?"}}, 1),
        change("k", 2, source=None),
        change("k", 2, op="MERGE"),
        change("k", 2, {"body": {"o": "O", "v": {}}}, 1),
        change("k", 2, {"body": 5}, 1),
        change("new", 2, source=1),
    ],
    ids=repr,
)
def test_what_does_not_lead_on_from_the_ghost_is_fetched_and_the_cursor_waits(odd):
    client = Client(whole=frozenset({"body"})).live(IndexEntry("k", 1, {"a": "x", "body": {}}))
    assert client.hear(Changes((odd,))) == []
    assert client.said() == [f"0:e:{odd.key}.{odd.version}"]
    (other,) = client.hear(Changes((change("other", 1, cv="later"),)))
    assert other.key == "other"
    assert client.store.cursor == "start"
    (event,) = client.hear(VersionAnswer(odd.key, odd.version, {"a": "fetched"}))
    assert (event.key, event.after, event.cv) == (odd.key, Ghost(odd.version, {"a": "fetched"}), odd.cv)
    assert client.store.cursor == "later"


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
