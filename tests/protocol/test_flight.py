import pytest

from ssyncd.errors import ProtocolError
from ssyncd.protocol.events import (
    CaughtUp,
    Delayed,
    Indexed,
    Refused,
    Reset,
    Settled,
    Unanswered,
    Updated,
)
from ssyncd.protocol.ghosts import Ghost
from ssyncd.protocol.messages import (
    ChangeError,
    Changes,
    IndexEntry,
    IndexPage,
    UnknownCv,
    VersionAnswer,
)
from tests.protocol.client import ADD, Client, change, opening

# 5 to 7, 11, 12, 16: our own


def test_a_change_that_is_no_json_is_not_in_flight():
    client = Client().live()
    with pytest.raises(ProtocolError):
        client.channel.submit("k", {"a": {"o": "+", "v": "\ud83d"}}, None, "c1")
    assert (client.said(), client.channel.in_flight, list(client.store.sent())) == ([], 0, [])


@pytest.mark.parametrize("code", [409, 412])
def test_duplicate_and_no_effect_settle_a_change(code):
    client = Client().live()
    client.channel.submit("k", ADD, None, "c1")
    (event,) = client.hear(Changes((ChangeError("client", "k", ("c1",), code),)))
    assert (event.sent.ccid, event.code) == ("c1", code)
    assert isinstance(event, Settled)
    assert not client.channel.busy("k")


@pytest.mark.parametrize("code", [400, 401, 404, 413, 440, 500, 503])
def test_an_error_ends_a_change_whose_payload_is_gone(code):
    client = Client().live()
    client.channel.submit("k", ADD, None, "c1", keep=False)
    client.said()
    (event,) = client.hear(Changes((ChangeError("client", "k", ("c1",), code),)))
    assert (type(event), event.code) == (Refused, code)
    assert (client.said(), client.channel.in_flight) == ([], 0)


@pytest.mark.parametrize("code", [404, 417, 440])
def test_what_does_not_fit_is_sent_once_more_with_the_whole_object(code):
    client = Client().live(IndexEntry("k", 1, {"a": "x", "b": 1}))
    client.channel.submit("k", {"a": {"o": "r", "v": "y"}}, 1, "c1")
    error = ChangeError("client", "k", ("c1",), code)
    client.said()
    assert client.hear(Changes((error,))) == []
    assert client.said() == [
        '0:c:{"id":"k","o":"M","ccid":"c1","v":{"a":{"o":"r","v":"y"}},"sv":1,"d":{"a":"y","b":1}}'
    ]
    (event,) = client.hear(Changes((error,)))
    assert (type(event), event.code) == (Refused, code)
    assert list(client.store.sent()) == []


def test_what_does_not_fit_a_ghost_that_moved_on_is_refused():
    client = Client().live(IndexEntry("k", 1, {"a": "x"}))
    client.channel.submit("k", {"a": {"o": "r", "v": "y"}}, 1, "c1")
    client.said()
    events = client.hear(Changes((change("k", 2, op="-"), ChangeError("client", "k", ("c1",), 404))))
    assert [type(event) for event in events] == [Updated, Refused]
    assert client.said() == []


def stale(client, *keys):
    """Changes of these, made from version 1, which the server says it is past."""
    for key in keys:
        client.channel.submit(key, {"a": {"o": "r", "v": "y"}}, 1, f"c-{key}", keep=False)
    client.said()
    return client.hear(Changes(tuple(ChangeError("client", key, (f"c-{key}",), 405) for key in keys)))


def test_what_was_made_from_another_version_is_refused_once_the_servers_is_here():
    client = Client().live(IndexEntry("k", 1, {"a": "x"}), IndexEntry("l", 1, {"a": "x"}))
    assert stale(client, "k", "l") == []
    assert client.said() == ["0:e:k.2", "0:e:l.2"]
    assert client.channel.busy("k")
    updated, refused = client.hear(VersionAnswer("l", 2, {"a": "z"}))
    assert (updated.after, updated.mine) == (Ghost(2, {"a": "z"}), None)
    assert (type(refused), refused.sent.key, refused.code) == (Refused, "l", 405)
    assert (client.channel.busy("k"), client.channel.busy("l")) == (True, False)
    # What comes by itself meanwhile is what was asked for.
    assert client.hear(Changes((change("k", 2, {"a": {"o": "r", "v": "z"}}, 1, "2"),))) == []
    events = client.hear(VersionAnswer("k", 2, {"a": "z"}))
    assert [type(event) for event in events] == [Updated, Refused]
    assert (client.store.cursor, list(client.store.sent())) == ("2", [])


def test_a_server_that_has_nothing_newer_is_indexed_once_for_all_that_it_says_is_stale():
    client = Client().live(IndexEntry("k", 5, {"a": "x"}), IndexEntry("l", 5, {"a": "x"}))
    for key in "kl":
        client.channel.submit(key, {"a": {"o": "r", "v": "y"}}, 5, f"c-{key}")
    client.hear(Changes(tuple(ChangeError("client", key, (f"c-{key}",), 405) for key in "kl")))
    client.said()
    events = client.hear(VersionAnswer("k", 6, None), VersionAnswer("l", 6, None))
    assert [type(event) for event in events] == [Reset, Refused, Refused]
    assert client.said() == ["0:i:1:::500"]
    events = client.hear(IndexPage((IndexEntry("k", 2, {"a": "old"}),), "cv"))
    assert [(event.key, event.after) for event in events if isinstance(event, Updated)] == [
        ("k", Ghost(2, {"a": "old"})),
        ("l", Ghost(0, None)),
    ]


def test_what_is_loaded_again_when_the_connection_breaks_is_sent_again_on_the_next():
    client = Client().live(IndexEntry("k", 1, {"a": "x"}))
    client.channel.submit("k", {"a": {"o": "r", "v": "y"}}, 1, "c1")
    (text,) = client.said()
    client.hear(Changes((ChangeError("client", "k", ("c1",), 405),)))
    client.channel.closed()
    client.back()
    assert client.said() == [text]
    assert client.channel.busy("k")


def test_a_busy_server_is_tried_again_when_the_owner_says_so():
    client = Client().live()
    client.channel.submit("k", ADD, None, "c1")
    (text,) = client.said()
    (event,) = client.hear(Changes((ChangeError("client", "k", ("c1",), 503),)))
    assert isinstance(event, Delayed)
    assert (client.channel.delayed, client.channel.busy("k"), client.said()) == (1, True, [])
    client.channel.retry()
    assert client.said() == [text]
    assert client.channel.delayed == 0
    client.channel.retry()
    assert client.said() == []


def test_a_delayed_change_that_was_done_after_all_is_not_tried_again():
    client = Client().live()
    client.channel.submit("k", ADD, None, "c1")
    client.said()
    client.hear(Changes((ChangeError("client", "k", ("c1",), 500), change("k", 1, ccids=("c1",)))))
    client.channel.retry()
    assert client.said() == []


def test_errors_of_others_are_nothing():
    client = Client().live()
    client.channel.submit("k", ADD, None, "c1")
    assert client.hear(Changes((ChangeError("x", "k", ("c9",), 400), ChangeError("x", "k", (), 400)))) == []
    assert client.channel.busy("k")


# Reconnecting


def test_an_acknowledgement_among_what_came_since_is_not_sent_again():
    client = Client().live()
    client.channel.submit("k", ADD, None, "c1")
    client.channel.submit("l", ADD, None, "c2", keep=False)
    client.said()
    client.channel.closed()
    events = client.back(change("k", 1, ccids=("c1",)), change("l", 1, ccids=("c2",)))
    assert [event.mine.ccid for event in events[:-1]] == ["c1", "c2"]
    assert client.said() == []
    assert client.channel.in_flight == 0


def test_a_change_without_its_payload_is_unanswered_and_still_known_when_it_comes_late():
    client = Client().live()
    client.channel.submit("k", ADD, None, "c1", keep=False)
    client.channel.closed()
    events = client.back()
    assert [type(event) for event in events] == [Unanswered, CaughtUp]
    assert not client.channel.busy("k")
    # The owner plans anew while the first one was only slow.
    client.channel.submit("k", ADD, None, "c2", keep=False)
    one, two = client.hear(
        Changes((change("k", 1, ccids=("c1",)), change("k", 2, {"b": {"o": "+", "v": 1}}, 1, ccids=("c2",))))
    )
    assert (one.mine.ccid, two.mine.ccid) == ("c1", "c2")
    assert list(client.store.sent()) == []


def test_what_was_given_up_is_still_ours_when_it_comes_after_a_later_one_of_the_key(monkeypatch):
    """The server reads a connection that we gave up after the next one."""
    monkeypatch.setattr("ssyncd.protocol.flight.MOST_LATE", 1)
    client = Client().live()
    client.channel.submit("k", ADD, None, "c1", keep=False)
    client.channel.closed()
    client.back()
    client.channel.submit("k", ADD, None, "c2", keep=False)
    assert [sent.ccid for sent in client.store.sent()] == ["c1", "c2"]
    client.hear(Changes((change("k", 1, ccids=("c2",)),)))
    assert [sent.ccid for sent in client.store.sent()] == ["c1"]
    (late,) = client.hear(Changes((change("k", 2, {"a": {"o": "r", "v": 5}}, 1, ccids=("c1",)),)))
    assert late.mine.ccid == "c1"
    assert list(client.store.sent()) == []


def test_of_what_was_given_up_and_never_came_only_the_latest_are_still_known(monkeypatch):
    monkeypatch.setattr("ssyncd.protocol.flight.MOST_LATE", 2)
    client = Client().live()
    for number in range(5):
        client.channel.submit(f"k{number}", ADD, None, f"lost{number}", keep=False)
        client.channel.closed()
        client.back()
        client.channel.submit(f"k{number}", ADD, None, f"sent{number}", keep=False)
        client.hear(Changes((change(f"k{number}", 1, ccids=(f"sent{number}",)),)))
    assert [sent.ccid for sent in client.store.sent()] == ["lost3", "lost4"]


def test_an_acknowledgement_that_is_held_is_waited_for():
    client = Client().live(IndexEntry("k", 1, {"a": "x"}))
    client.channel.submit("k", {"a": {"o": "r", "v": "y"}}, 1, "c1", keep=False)
    client.channel.closed()
    events = client.back(change("k", 3, {"a": {"o": "r", "v": "y"}}, 2, "3", ("c1",)))
    assert events == [CaughtUp()]
    assert client.channel.busy("k")
    (event,) = client.hear(VersionAnswer("k", 3, {"a": "y"}))
    assert (event.mine.ccid, event.after) == ("c1", Ghost(3, {"a": "y"}))


def test_what_waited_behind_a_held_key_is_taken_up_when_its_version_came():
    client = Client().live(IndexEntry("k", 1, {"a": "x"}))
    client.channel.submit("k", {"a": {"o": "r", "v": "y"}}, 1, "c1")
    (text,) = client.said()
    client.channel.closed()
    client.back(change("k", 3, source=2))
    assert client.said() == ["0:e:k.3"]
    client.hear(VersionAnswer("k", 3, {"a": "z"}))
    assert client.said() == [text]


def test_an_acknowledgement_inside_an_index_settles_the_change():
    client = Client().live()
    client.channel.submit("k", ADD, None, "c1")
    client.channel.closed()
    client.connect()
    client.hear(UnknownCv())
    client.hear(Changes((change("k", 1, ccids=("c1",)),)))
    events = client.hear(IndexPage((IndexEntry("k", 1, {"a": 1}),), "cv"))
    assert [type(event) for event in events] == [Updated, Settled, Indexed, CaughtUp]
    assert client.channel.in_flight == 0


def test_nothing_of_a_lost_connection_is_sent_on_the_next():
    client = Client().live()
    client.channel.ask_version("k", 1)
    client.channel.submit("l", ADD, None, "c1", keep=False)
    client.channel.closed()
    client.channel.opened()
    assert client.said() == [opening("cv:start")]


def test_an_acknowledgement_that_is_held_when_a_new_index_follows_settles_the_change():
    client = Client().live(IndexEntry("k", 1, {"a": "x"}), IndexEntry("l", 1, {"a": "x"}))
    for key, ccid in (("k", "c1"), ("l", "c2")):
        client.channel.submit(key, {"a": {"o": "r", "v": "y"}}, 1, ccid)
    client.hear(
        Changes((change("k", 3, source=2, ccids=("c1",)), change("l", 3, source=2), change("l", 4, ccids=("c2",))))
    )
    events = client.channel.reindex()
    assert [type(event) for event in events] == [Reset, Settled, Settled]
    assert client.channel.in_flight == 0


def test_an_acknowledgement_whose_version_is_pruned_settles_the_change():
    client = Client().live(IndexEntry("k", 1, {"a": "x"}))
    client.channel.submit("k", {"a": {"o": "r", "v": "y"}}, 1, "c1")
    client.hear(Changes((change("k", 3, source=2, ccids=("c1",)), change("k", 4, source=3))))
    (event,) = client.hear(VersionAnswer("k", 3, None))
    assert (type(event), event.sent.ccid) == (Settled, "c1")


def test_a_ghost_that_an_index_lacks_is_gone_even_while_our_creation_of_it_is_in_flight():
    client = Client().live()
    client.channel.submit("k", ADD, None, "c1")
    client.hear(Changes((change("k", 1, cv="1"),)))
    client.channel.closed()
    client.connect()
    events = client.hear(UnknownCv(), IndexPage((), "new"))
    assert Updated("k", Ghost(1, {"a": 1}), Ghost(0, None), None, "") in events
