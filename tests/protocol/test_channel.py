import pytest
from msgspec.structs import replace

from ssyncd.errors import ProtocolError
from ssyncd.protocol.channel import Channel, State
from ssyncd.protocol.events import (
    CaughtUp,
    Indexed,
    Reset,
    Updated,
)
from ssyncd.protocol.ghosts import Ghost, MemoryGhosts
from ssyncd.protocol.messages import (
    Changes,
    Denied,
    IndexEntry,
    IndexPage,
    UnknownCv,
    VersionAnswer,
)
from tests.protocol.client import ADD, INIT, Client, change, opening

# 1 and 2: opening


def test_its_number_is_on_every_message():
    client = Client(number=3)
    client.live()
    client.channel.submit("k", ADD, None, "c1")
    client.channel.ask_version("k", 1)
    assert all(text.startswith("3:") for text in client.said())


@pytest.mark.parametrize(("offered", "far"), [(False, True), (True, False), (True, True)])
def test_messages_are_packed_where_the_server_can_and_is_far(offered, far):
    channel = Channel(replace(INIT, packed=offered), MemoryGhosts())
    channel.opened(far)
    assert channel.outgoing() == [opening(init=replace(INIT, packed=offered and far))]


def test_a_token_revoked_later_denies_a_live_channel():
    client = Client().live()
    assert client.hear('0:auth:{"msg":"Token invalid","code":401}') == [Denied(401, "Token invalid")]
    assert client.channel.room() == 0


# 3: the index


def test_what_is_known_at_that_version_is_not_told_again():
    client = Client(whole=frozenset({"body"}))
    client.store.put("same", Ghost(4, {"a": 1, "body": {"hash": 1}}))
    client.store.put("newer", Ghost(4, {"a": 1}))
    client.store.put("again", Ghost(4, {"a": 1}))
    client.connect()
    events = client.hear(
        IndexPage(
            (
                IndexEntry("same", 4, {"a": 1, "body": {"hash": 1, "data": "x"}}),
                IndexEntry("newer", 5, {"a": 1}),
                # A server that lost everything counts from 1 again, and may reach 4 with something else.
                IndexEntry("again", 4, {"a": 2}),
            ),
            "cv",
        )
    )
    assert [event.key for event in events if isinstance(event, Updated)] == ["newer", "again"]


def test_what_a_complete_index_lacks_becomes_a_tombstone():
    client = Client()
    client.store.put("gone", Ghost(4, {"a": 1}))
    client.store.put("dead", Ghost(4, None))
    client.connect()
    client.hear(IndexPage((IndexEntry("k", 1, {}),), "cv", "m"))
    assert client.store.get("gone").data is not None
    events = client.hear(IndexPage((IndexEntry("l", 1, {}),), "cv"))
    assert Updated("gone", Ghost(4, {"a": 1}), Ghost(0, None), None, "") in events
    assert client.store.get("dead") == Ghost(0, None)


def test_a_wiped_server_may_count_a_key_from_one_again():
    client = Client()
    client.store.put("k", Ghost(9, {"a": 1}))
    client.connect()
    client.hear(IndexPage((), "cv"))
    client.channel.submit("k", ADD, None, "c1")
    (event,) = client.hear(Changes((change("k", 1, ccids=("c1",)),)))
    assert event.mine.ccid == "c1"
    assert client.store.get("k") == Ghost(1, {"a": 1})


def test_what_was_deleted_may_be_made_again_with_a_version_it_had_before():
    """By another client of a server that was put back from a backup of before all that."""
    client = Client()
    client.store.put("k", Ghost(2, None))
    client.connect()
    client.hear(IndexPage((), "cv"))
    client.hear(Changes((change("k", 1, ADD),)))
    assert client.store.get("k").data == {"a": 1}


def test_changes_during_the_index_are_taken_after_it():
    client = Client()
    client.store.put("moved", Ghost(1, {"a": 0}))
    client.connect()
    client.hear(IndexPage((), "cv1", "m"))
    moved = change("moved", 2, {"a": {"o": "r", "v": 5}}, 1, "cv2")
    assert client.hear(Changes((moved,))) == []
    events = client.hear(IndexPage((), "cv1"))
    # It is in no page, for it jumped to one read already; it is not taken for deleted.
    assert events == [
        Updated("moved", Ghost(1, {"a": 0}), Ghost(2, {"a": 5}), None, "cv2"),
        Indexed(),
        CaughtUp(),
    ]
    assert client.store.cursor == "cv2"


def test_an_index_of_several_moments_is_made_good_from_the_first():
    client = Client()
    for key in ("gone", "changed"):
        client.store.put(key, Ghost(1, {"a": 0}))
    client.connect()
    client.hear(IndexPage((), "cv1", "m"))
    client.said()
    assert client.hear(IndexPage((), "cv2")) == []
    assert client.said() == ["0:cv:cv1"]
    assert client.store.cursor == ""
    events = client.hear(Changes((change("changed", 2, {"a": {"o": "r", "v": 5}}, 1, "cv2"),)))
    assert [getattr(event, "key", event) for event in events] == ["changed", "gone", Indexed(), CaughtUp()]
    assert client.store.get("gone").data is None
    assert client.store.cursor == "cv2"


def test_an_entry_without_data_is_fetched_and_the_cursor_waits():
    client = Client().connect()
    client.hear(IndexPage((IndexEntry("k", 3),), "cv"))
    assert "0:e:k.3" in client.said()
    assert client.store.cursor == ""
    assert client.hear(VersionAnswer("k", 3, {"a": 1})) == [Updated("k", None, Ghost(3, {"a": 1}), None, "")]
    assert client.store.cursor == "cv"


def test_an_entry_that_can_neither_be_listed_nor_fetched_is_left_out():
    client = Client().connect()
    client.hear(IndexPage((IndexEntry("k", 3),), "cv"))
    assert client.hear(VersionAnswer("k", 3, None)) == []
    assert client.store.cursor == "cv"
    assert client.store.get("k") is None


def test_a_mark_that_repeats_is_a_protocol_error():
    client = Client().connect()
    client.hear(IndexPage((), "cv", "m"))
    with pytest.raises(ProtocolError):
        client.hear(IndexPage((), "cv", "m"))


def test_an_unknown_cv_starts_a_new_index():
    client = Client()
    client.store.cursor = "old"
    client.connect()
    assert client.hear(UnknownCv()) == [Reset()]
    assert client.said() == ["0:i:1:::500"]
    # A crash from here on must not take the old cursor for good.
    assert client.store.cursor == ""
    assert client.hear(IndexPage((), "new")) == [Indexed(), CaughtUp()]
    assert client.store.cursor == "new"


def test_a_server_that_never_knows_its_own_cv_is_given_up():
    client = Client().connect()
    for _ in range(20):
        client.hear(IndexPage((), "a", "m"), IndexPage((), "b"), UnknownCv())
    assert client.channel.state is State.DENIED
    client.channel.opened()
    assert client.said() == [opening()]


def test_an_index_can_be_asked_for_at_any_time():
    client = Client().live(IndexEntry("k", 1, {"a": 1}))
    assert client.channel.reindex() == [Reset()]
    assert client.said() == ["0:i:1:::500"]
    assert client.channel.room() == 0
    assert client.hear(IndexPage((IndexEntry("k", 1, {"a": 1}),), "cv")) == [Indexed(), CaughtUp()]


# 4: versions


def test_a_version_asked_for_is_asked_again_after_a_cut():
    client = Client()
    client.channel.ask_version("k", 3)
    client.live()
    client.channel.closed()
    client.back()
    assert client.said() == ["0:e:k.3"]
