"""The client's conformance list (section 8 of the protocol notes), statement by statement: `test_N_...` shows statement N.

Below the channel alone (`Client`), above it a program whose server is the test (`Program`), where the statement needs both.
"""

import itertools
import json
import socket

import pytest
from hypothesis import given

from ssyncd.errors import SignInError
from ssyncd.library.line import AGAIN, Line
from ssyncd.library.memory import Memory
from ssyncd.library.replica import Change, Refusal, Replica
from ssyncd.network.base import Opened
from ssyncd.network.memory import MemoryLink
from ssyncd.network.websocket import Pace, WebSocketConnection
from ssyncd.planner.tree import Kind, birth_key
from ssyncd.protocol import jsondiff
from ssyncd.protocol.events import CaughtUp, Indexed, Settled, Unanswered, Updated, VersionArrived
from ssyncd.protocol.ghosts import Ghost
from ssyncd.protocol.messages import (
    Authorized,
    ChangeError,
    Changes,
    Denied,
    IndexEntry,
    IndexPage,
    UnknownCv,
    VersionAnswer,
    valid_key,
)
from tests.network import wires
from tests.network.contract_connection import count
from tests.network.wires import connected, url, wait_for
from tests.protocol.client import ADD, INIT, Client, change, opening
from tests.protocol.test_jsondiff import objects


class Program:
    """A program's objects on a line to a server that is the test itself; time stands still unless the test moves it."""

    def __init__(self):
        self.now = 0.0
        self.outcomes = []
        self.link = MemoryLink()
        names = itertools.count(1)
        self.replica = Replica(INIT, Memory(), lambda: f"c{next(names)}")
        self.line = Line("notes", self.replica.channel, self.link.connection, lambda: self.now)
        self.link.connection.start(self._take)

    def _take(self, happening):
        self.line.take(happening, lambda told: self.outcomes.extend(self.replica.hear(told)))

    def turn(self):
        """What it has to say now."""
        self.link.pump()
        self.line.due()
        self.outcomes += self.replica.submit()
        self.line.send(self.line.outgoing())
        return self.link.take()

    def hear(self, *messages):
        """What it says to that."""
        self.link.send([message if isinstance(message, str) else message.text(0) for message in messages])
        return self.turn()

    def edit(self, key, data):
        self.replica.put(key, data)
        return self.turn()

    def refused(self, ccid, code, key="k"):
        return self.hear(Changes((ChangeError("client", key, (ccid,), code),)))

    def later(self):
        self.now += AGAIN
        return self.turn()

    def live(self, **data):
        """Connected, with these objects at version 1."""
        self.turn()
        self.hear(Authorized("me"))
        assert self.hear(IndexPage(tuple(IndexEntry(key, 1, one) for key, one in data.items()), "start")) == []
        assert self.line.live
        self.outcomes.clear()
        return self

    def back(self, *changes):
        """Cut, and back again with what came since; what it says then."""
        self.link.cut()
        self.turn()
        assert self.turn() == [opening(f"cv:{self.replica.memory.cursor}")]
        self.hear(Authorized("me"))
        return self.hear(Changes(changes))

    def view(self):
        return self.replica.entities()


def sent(said):
    """The one change among what was said."""
    (text,) = said
    assert text.startswith("0:c:")
    return json.loads(text.removeprefix("0:c:"))


def test_1_init_comes_first_and_nothing_else_before_auth():
    client = Client()
    client.channel.opened()
    assert client.said() == [opening()]
    assert client.hear(Authorized("me")) == [Authorized("me")]
    assert client.said() == []


def test_1_a_denied_channel_is_silent_until_the_next_connection():
    client = Client()
    client.channel.opened()
    assert client.hear(Denied(401, "no")) == [Denied(401, "no")]
    client.said()
    assert client.hear(Authorized("me"), Changes((change("k", 1),))) == []
    assert client.said() == []
    client.channel.opened()
    assert client.said() == [opening()]


@pytest.mark.parametrize("code", [400, 401])
def test_1_a_token_that_is_not_good_ends_it(code):
    program = Program()
    program.turn()
    with pytest.raises(SignInError, match="no good"):
        program.hear(Denied(code, "no good"))
    assert program.later() == []


@pytest.mark.parametrize("code", [500, 503, 999])
def test_1_any_other_failure_is_tried_again_after_a_while(code):
    program = Program()
    assert program.turn() == [opening()]
    assert program.hear(Denied(code, "the database is away")) == []
    assert "the database is away" in program.line.trouble
    assert program.turn() == []
    program.later()
    assert program.turn() == []  # the broken connection's end
    assert program.turn() == [opening()]
    assert program.hear(Authorized("me")) == []


def test_2_without_a_cursor_it_asks_for_the_index_first():
    client = Client()
    client.channel.opened()
    assert client.said() == [opening("i:1:::500")]
    client.hear(Authorized("me"))
    assert client.channel.room() == 0


def test_2_with_a_cursor_it_asks_for_what_came_since():
    client = Client()
    client.store.cursor = "cv-7"
    client.channel.opened()
    assert client.said() == [opening("cv:cv-7")]
    client.hear(Authorized("me"))
    assert client.hear(Changes(())) == [CaughtUp()]
    assert client.store.cursor == "cv-7"


def test_2_an_unknown_cv_means_a_new_index_and_no_unsent_edit_is_lost():
    program = Program().live(k={"t": "x", "n": 1}, gone={"t": "y"})
    program.link.cut()
    program.turn()
    program.replica.put("k", {"t": "x and mine", "n": 1})
    program.replica.put("gone", {"t": "y and mine"})
    program.replica.put("new", {"t": "mine"})
    assert program.turn() == [opening("cv:start")]
    program.hear(Authorized("me"))
    assert program.hear(UnknownCv()) == ["0:i:1:::500"]
    said = program.hear(IndexPage((IndexEntry("k", 7, {"t": "theirs, x", "n": 2}),), "fresh"))
    assert program.view() == {
        "k": {"t": "theirs, x and mine", "n": 2},
        "gone": {"t": "y and mine"},
        "new": {"t": "mine"},
    }
    assert sorted(sent([text])["id"] for text in said) == ["gone", "k", "new"]


def test_3_pages_are_followed_until_there_is_no_mark_and_only_then_is_the_cursor_stored():
    client = Client(page=2).connect()
    one, two, three = (IndexEntry(key, 1, {"k": key}) for key in "abc")
    first = client.hear(IndexPage((one, two), "cv1", "m1"))
    assert [event.key for event in first] == ["a", "b"]
    assert client.said() == ["0:i:1:m1::2"]
    assert client.store.cursor == ""
    last = client.hear(IndexPage((three,), "cv1"))
    assert last == [Updated("c", None, Ghost(1, {"k": "c"}), None, ""), Indexed(), CaughtUp()]
    assert client.store.cursor == "cv1"


def test_4_the_last_dot_counts_in_answers_and_a_version_may_be_unknown():
    client = Client().live()
    client.channel.ask_version("a.key", 3)
    client.channel.ask_version("a.key", 3)
    assert client.said() == ["0:e:a.key.3"]
    assert client.hear('0:e:a.key.3\n{"data":{"a":1}}') == [VersionArrived("a.key", 3, {"a": 1})]
    assert client.hear(VersionAnswer("a.key", 3, {"a": 1})) == []
    client.channel.ask_version("k", 9)
    assert client.hear("0:e:k.9\n?") == [VersionArrived("k", 9, None)]
    assert client.store.get("a.key") is None


def test_5_16_only_one_change_of_a_key_is_in_flight_and_no_more_than_the_window():
    client = Client(window=2)
    assert client.channel.room() == 0
    client.live()
    client.channel.submit("a", ADD, None, "c1")
    for key, ccid in (("a", "c2"), ("no key", "c3"), ("", "c4")):
        with pytest.raises(ValueError, match="cannot be submitted"):
            client.channel.submit(key, ADD, None, ccid)
    client.channel.submit("b", ADD, None, "c5")
    assert (client.channel.room(), client.channel.in_flight) == (0, 2)
    with pytest.raises(ValueError, match="no room"):
        client.channel.submit("c", ADD, None, "c6")


def test_5_later_edits_become_one_change_when_the_first_is_acknowledged():
    program = Program().live(k={"t": "x"})
    first = sent(program.edit("k", {"t": "xa"}))
    for text in ("xab", "xabc", "xabcd"):
        assert program.edit("k", {"t": text}) == []
    told = program.hear(Changes((change("k", 2, first["v"], 1, ccids=(first["ccid"],)),)))
    second = sent(told)
    assert (second["sv"], second["v"]) == (2, {"t": {"o": "d", "v": "=2\t+bcd"}})
    assert second["ccid"] != first["ccid"]
    program.hear(Changes((change("k", 3, second["v"], 2, ccids=(second["ccid"],)),)))
    assert program.replica.unsent() == 0


def test_6_a_sent_change_is_sent_again_after_what_came_since():
    client = Client().live()
    client.channel.submit("k", ADD, None, "c1")
    (text,) = client.said()
    client.channel.closed()
    client.connect()
    assert client.said() == []
    assert client.hear(Changes((change("other", 1),)))[-1] == CaughtUp()
    assert client.said() == [text]


def test_6_a_restart_takes_up_what_the_store_holds():
    client = Client().live()
    client.channel.submit("k", ADD, None, "c1")
    client.channel.submit("l", ADD, None, "c2", keep=False)
    kept = client.said()[0]
    again = Client(client.store)
    assert again.channel.busy("k")
    events = again.back()
    assert [type(event) for event in events] == [Unanswered, CaughtUp]
    assert events[0].sent.key == "l"
    assert again.said() == [kept]
    (duplicate,) = again.hear(Changes((ChangeError("client", "k", ("c1",), 409),)))
    assert isinstance(duplicate, Settled)


def test_7_11_a_change_of_ours_is_sent_and_acknowledged_by_its_ccid():
    client = Client().live()
    client.channel.submit("k", ADD, None, "c1")
    assert client.said() == ['0:c:{"id":"k","o":"M","ccid":"c1","v":{"a":{"o":"+","v":1}}}']
    assert client.channel.busy("k")
    (event,) = client.hear(Changes((change("k", 1, ccids=("x", "c1")),)))
    assert event.mine.ccid == "c1"
    assert not client.channel.busy("k")
    assert list(client.store.sent()) == []
    client.channel.submit("k", None, 1, "c2")
    assert client.said() == ['0:c:{"id":"k","o":"-","ccid":"c2","sv":1}']


def test_7_a_transformed_acknowledgement_is_what_the_ghost_becomes():
    client = Client().live(IndexEntry("k", 1, {"t": "AC"}))
    client.channel.submit("k", {"t": {"o": "d", "v": "=2\t+D"}}, 1, "c1")
    foreign = change("k", 2, {"t": {"o": "d", "v": "=1\t+B\t=1"}}, 1)
    ours = change("k", 3, {"t": {"o": "d", "v": "=3\t+D"}}, 2, ccids=("c1",))
    one, two = client.hear(Changes((foreign, ours)))
    assert (one.mine, two.mine.ccid) == (None, "c1")
    assert client.store.get("k") == Ghost(3, {"t": "ABCD"})


def test_8_a_foreign_change_moves_the_ghost_and_every_member_of_a_local_edit_is_rebased():
    """The official client transforms only the first member that both changed, and forgets the edit if there is none."""
    program = Program().live(k={"a": "one", "b": "two", "c": 3, "mine": 0, "theirs": 0})
    first = sent(program.edit("k", {"a": "one", "b": "two", "c": 3, "mine": 1, "theirs": 0}))
    program.edit("k", {"a": "one mine", "b": "two mine", "c": 4, "mine": 2, "theirs": 0})
    theirs = {
        "a": {"o": "d", "v": "+their \t=3"},
        "b": {"o": "d", "v": "+their \t=3"},
        "theirs": {"o": "r", "v": 5},
    }
    assert program.hear(Changes((change("k", 2, theirs, 1),))) == []
    wanted = {"a": "their one mine", "b": "their two mine", "c": 4, "mine": 2, "theirs": 5}
    assert program.replica.memory.get("k") == Ghost(
        2, {"a": "their one", "b": "their two", "c": 3, "mine": 0, "theirs": 5}
    )
    assert program.view() == {"k": wanted}
    rest = sent(program.hear(Changes((change("k", 3, first["v"], 2, ccids=(first["ccid"],)),))))
    program.hear(Changes((change("k", 4, rest["v"], 3, ccids=(rest["ccid"],)),)))
    assert program.replica.memory.get("k") == Ghost(4, wanted)


def test_9_a_change_told_twice_only_moves_the_cursor():
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
def test_9_10_what_does_not_lead_on_from_the_ghost_is_fetched_and_the_cursor_waits(odd):
    client = Client(whole=frozenset({"body"})).live(IndexEntry("k", 1, {"a": "x", "body": {}}))
    assert client.hear(Changes((odd,))) == []
    assert client.said() == [f"0:e:{odd.key}.{odd.version}"]
    (other,) = client.hear(Changes((change("other", 1, cv="later"),)))
    assert other.key == "other"
    assert client.store.cursor == "start"
    (event,) = client.hear(VersionAnswer(odd.key, odd.version, {"a": "fetched"}))
    assert (event.key, event.after, event.cv) == (odd.key, Ghost(odd.version, {"a": "fetched"}), odd.cv)
    assert client.store.cursor == "later"


def test_10_changes_before_the_cursor_was_told_are_not_taken():
    client = Client()
    client.store.cursor = "cv-7"
    client.channel.opened()
    assert client.hear(Changes((change("k", 1, cv="cv-9"),))) == []
    assert client.store.cursor == "cv-7"


def test_10_foreign_changes_advance_ghosts_and_cursor():
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


def test_10_the_cursor_is_stored_with_the_change_it_stands_for():
    program = Program().live()
    before = len(program.replica.memory.writes.ghosts)
    program.hear(Changes((change("k", 1, cv="one"),)))
    writes = program.replica.memory.writes
    assert (writes.meta["cursor"], len(writes.ghosts)) == ("one", before + 1)


def test_11_a_new_object_has_no_source_and_one_made_again_neither():
    client = Client().live()
    client.store.put("again", Ghost(7, None))
    program = Program().live(k={"n": 1})
    program.hear(Changes((change("k", 2, op="-"),)))
    assert "sv" not in sent(program.edit("k", {"n": 2}))
    assert "sv" not in sent(program.edit("new", {"n": 2}))


# Statement 12, by the last column of the table in section 4. Each row: what the server says to our change c1 of an object at
# version 1 (`t` from "x" to "xy"), step by step, with what we say to that; then what the program shows.

AGAIN_WHOLE = {"ccid": "c1", "sv": 1, "v": {"t": {"o": "d", "v": "=1\t+y"}}, "d": {"t": "xy"}}
AGAIN_SAME = {"ccid": "c1", "sv": 1, "v": {"t": {"o": "d", "v": "=1\t+y"}}}
THEIRS = {"t": {"o": "d", "v": "+their \t=1"}}
ACCEPTED = Changes((change("k", 2, AGAIN_SAME["v"], 1, "later", ("c1",)),))
TABLE = {
    "400 is dropped and told": (400, [], Refusal("k", 400), {"t": "xy"}),
    "401 stops the key and is told": (401, [], Refusal("k", 401), {"t": "xy"}),
    "404 of what we think is there is sent with the whole object": (
        404,
        [(None, AGAIN_WHOLE), (ACCEPTED, None)],
        Change("k", 2, {"t": "xy"}, {"t": "xy"}, True),
        {"t": "xy"},
    ),
    "404 of what was removed is made anew": (
        (change("k", 2, op="-"), 404),
        [(None, {"ccid": "c2", "v": {"t": {"o": "+", "v": "xy"}}})],
        Change("k", 2, {"t": "xy"}, {"t": "xy"}, False),
        {"t": "xy"},
    ),
    "405 loads what the server has, rebases and sends that": (
        405,
        [
            (None, "0:e:k.2"),
            (VersionAnswer("k", 2, {"t": "their x"}), {"ccid": "c2", "sv": 2, "v": {"t": {"o": "d", "v": "=7\t+y"}}}),
        ],
        Change("k", 2, {"t": "their xy"}, {"t": "xy"}, False),
        {"t": "their xy"},
    ),
    "405 when the version came by itself": (
        (change("k", 2, THEIRS, 1), 405),
        [(None, {"ccid": "c2", "sv": 2, "v": {"t": {"o": "d", "v": "=7\t+y"}}})],
        Change("k", 2, {"t": "their xy"}, {"t": "xy"}, False),
        {"t": "their xy"},
    ),
    "405 by a server that is at none we could guess indexes": (
        405,
        [
            (None, "0:e:k.2"),
            (VersionAnswer("k", 2, None), "0:i:1:::500"),
            (
                IndexPage((IndexEntry("k", 80, {"t": "their x"}),), "cv"),
                {"ccid": "c2", "sv": 80, "v": {"t": {"o": "d", "v": "=7\t+y"}}},
            ),
        ],
        Change("k", 80, {"t": "their xy"}, {"t": "xy"}, False),
        {"t": "their xy"},
    ),
    "409 waits for the version": (
        409,
        [(ACCEPTED, None)],
        Change("k", 2, {"t": "xy"}, {"t": "x"}, True),
        {"t": "xy"},
    ),
    "409 of what is in the ghost already is done": (
        (change("k", 2, AGAIN_SAME["v"], 1, "later", ("c1",)), 409),
        [],
        Change("k", 2, {"t": "xy"}, {"t": "xy"}, True),
        {"t": "xy"},
    ),
    "412 is done": (412, [], Change("k", 1, {"t": "x"}, {"t": "xy"}, False), {"t": "x"}),
    "413 is kept here and told": (413, [], Refusal("k", 413), {"t": "xy"}),
    "417 is sent with the whole object": (417, [(None, AGAIN_WHOLE), (ACCEPTED, None)], None, {"t": "xy"}),
    "440 is sent with the whole object": (440, [(None, AGAIN_WHOLE), (ACCEPTED, None)], None, {"t": "xy"}),
    "503 waits and sends the same": (503, [("later", AGAIN_SAME), (ACCEPTED, None)], None, {"t": "xy"}),
    "500 waits and sends the same": (500, [("later", AGAIN_SAME), (ACCEPTED, None)], None, {"t": "xy"}),
}


@pytest.mark.parametrize(("answer", "steps", "outcome", "shown"), TABLE.values(), ids=TABLE.keys())
def test_12_every_error_is_acted_on_as_the_table_says(answer, steps, outcome, shown):
    program = Program().live(k={"t": "x"})
    assert sent(program.edit("k", {"t": "xy"})) == {"id": "k", "o": "M", **AGAIN_SAME}
    entries = answer if isinstance(answer, tuple) else (answer,)
    said = program.hear(
        Changes(tuple(ChangeError("client", "k", ("c1",), one) if isinstance(one, int) else one for one in entries))
    )
    for event, expected in steps:
        if event == "later":
            assert said == []
            said = program.later()
        elif event is not None:
            said = program.hear(event)
        if isinstance(expected, dict):
            assert sent(said) == {"id": "k", "o": "M", **expected}
            said = []
        else:
            assert said == ([] if expected is None else [expected])
            said = []
    assert said == []
    if outcome is not None:
        assert outcome in program.outcomes
    assert program.view() == {"k": shown}
    final = isinstance(outcome, Refusal)
    assert program.replica.refused() == ({"k": outcome.code} if final else {})
    waits = any(isinstance(expected, dict) and expected["ccid"] == "c2" for _, expected in steps)
    assert program.replica.unsent() == int(waits)
    if not waits:
        # Nothing is left that would be sent again, now or on the next connection.
        assert (program.later(), program.back()) == ([], [])


@pytest.mark.parametrize("code", [402, 404, 405, 417, 440])
def test_12_whatever_is_refused_again_and_again_is_given_up_and_told(code):
    program = Program().live(k={"t": "x"})
    said = program.edit("k", {"t": "xy"})
    for _ in range(20):
        if not said:
            break
        (text,) = said
        if text.startswith("0:e:"):
            said = program.hear(VersionAnswer("k", 2, None))
        elif text.startswith("0:i:"):
            said = program.hear(IndexPage((IndexEntry("k", 1, {"t": "x"}),), "cv"))
        else:
            said = program.refused(sent(said)["ccid"], code)
    assert program.replica.refused() == {"k": code}
    assert program.view() == {"k": {"t": "xy"}}


@pytest.fixture
def server():
    server = wires.EchoServer()
    yield server
    server.stop()


def test_13_an_idle_connection_beats_its_heart_and_stands(server):
    happenings = []
    with connected(url(server), happenings, Pace(beat=0.02, answer=2.0, silence=4.0)):
        wait_for(lambda: getattr(server, "beats", "h:0") not in ("h:0", "h:1", "h:2"))
    assert happenings == [Opened()]
    # The count goes on from the server's.
    assert int(server.beats[2:]) % 2 == 1


def test_13_the_heart_beats_at_least_every_twenty_seconds():
    assert Pace().beat <= 20.0
    assert Pace().silence <= 90.0


def test_13_a_silent_peer_is_dropped(server):
    server.answer_beats = False
    happenings = []
    with connected(url(server), happenings, Pace(beat=0.05, silence=0.15, first_retry=0.01)):
        wait_for(lambda: count(happenings, Opened) >= 2)
    assert "silent" in happenings[1].reason


def test_13_retries_come_later_and_later_and_chance_shortens_them():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    happenings = []
    chances = iter([0.0, 1.0, 0.0, 0.5] + [0.0] * 1000)
    pace = Pace(first_retry=0.004, last_retry=0.02)
    connection = WebSocketConnection(f"ws://127.0.0.1:{port}/", pace=pace, chance=lambda: next(chances))
    connection.start(happenings.append)
    wait_for(lambda: len(happenings) >= 6)
    connection.stop()
    assert [happening.retry_in for happening in happenings[:6]] == pytest.approx(
        [0.004, 0.004, 0.016, 0.015, 0.02, 0.02]
    )


@given(objects, objects)
def test_14_only_what_every_client_understands_is_made(before, after):
    def ops(change):
        for operation in change.values():
            yield operation["o"]
            if operation["o"] == "O":
                yield from ops(operation["v"])

    assert set(ops(jsondiff.diff(before, after))) <= {"+", "-", "r", "O", "d"}


def test_14_what_is_no_key_is_never_sent_and_a_folder_s_keys_have_no_dots():
    client = Client().live()
    for key in ("", "a b", "a/b", "\u00e4", "x" * 257):
        with pytest.raises(ValueError, match="cannot be submitted"):
            client.channel.submit(key, ADD, None, "c1")
    assert client.said() == []
    for name in ("report.txt", "\u00e4 b", "x" * 255):
        key = birth_key(Kind.FILE, "", name)
        assert valid_key(key)
        assert "." not in key


def test_15_numbers_may_be_strings_and_strings_numbers():
    client = Client().connect()
    client.hear('0:i:{"current":5,"mark":6,"index":[{"id":"k","v":"3","d":{"a":1}}]}')
    assert client.said() == ["0:i:1:6::500"]
    client.hear('0:i:{"current":"5","index":[{"id":"l","v":1,"d":{}}]}')
    assert (client.store.cursor, client.store.get("k")) == ("5", Ghost(3, {"a": 1}))
    client.hear('0:c:[{"clientid":"x","id":"k","o":"M","v":{},"sv":"3","ev":"4","cv":7,"ccids":["y"]}]')
    assert (client.store.cursor, client.store.get("k")) == ("7", Ghost(4, {"a": 1}))
    client.channel.submit("k", ADD, 4, "c1")
    client.hear('0:c:[{"clientid":"x","id":"k","error":"412","ccids":["c1"]}]')
    assert not client.channel.busy("k")


def test_16_no_more_than_a_hundred_changes_are_in_flight():
    program = Program().live()
    for number in range(150):
        program.replica.put(f"k{number}", {"n": number})
    said = program.turn()
    assert len(said) == 100
    first = sent(said[:1])
    assert len(program.hear(Changes((change(first["id"], 1, first["v"], ccids=(first["ccid"],)),)))) == 1


def test_16_a_busy_server_is_left_alone_for_a_while():
    program = Program().live()
    ccid = sent(program.edit("k", {"n": 1}))["ccid"]
    assert program.refused(ccid, 503) == []
    assert program.line.next == AGAIN
    program.now += AGAIN / 2
    assert program.turn() == []
    assert sent(program.later())["ccid"] == ccid
