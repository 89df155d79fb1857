"""A replica against a model of a server: what it shows, what it sends, and that everybody ends with the same."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssyncd.library.memory import Loaded, Memory, Writes
from ssyncd.library.replica import Change, Refusal, Replica
from ssyncd.protocol.channel import State
from ssyncd.protocol.messages import ChangeError, Changes, Init, ServerChange, parse_frame
from tests.protocol.model import ModelServer

_names = count()


class Program:
    """One replica and its wire, moved by hand. What was stored is what a restart finds."""

    def __init__(self, server, client):
        self.server = server
        self.client = client
        self.stored = Loaded()
        self.connection = None
        self.outcomes = []
        self._begin()

    def _begin(self):
        memory = Memory(self.stored)
        self.replica = Replica(Init("b", "t", "a", self.client), memory, lambda: f"c{next(_names)}")
        # What an application knows that keeps to `init`, its own edits and the updates.
        self.known = self.replica.entities()

    def store(self):
        writes = self.replica.memory.writes
        self.replica.memory.writes = Writes()
        loaded = self.stored
        loaded.meta |= writes.meta
        loaded.ghosts = {**loaded.ghosts, **writes.ghosts}
        sent = {one.ccid: one for one in loaded.sent} | writes.sent
        loaded.sent = [one for one in sent.values() if one is not None]
        edits = {**loaded.edits, **writes.edits}
        loaded.edits = {key: edit for key, edit in edits.items() if edit is not None}

    def restart(self):
        self.cut()
        self._begin()

    def connect(self):
        if self.connection is None:
            self.connection = self.server.connect()
            self.replica.channel.opened()
            self.flush()

    def cut(self):
        if self.connection is not None:
            self.server.connections.remove(self.connection)
            self.connection = None
            self.replica.channel.closed()

    def flush(self):
        self.hear(self.replica.submit())
        self.store()
        messages = self.replica.channel.outgoing()
        if self.connection is not None:
            for message in messages:
                self.server.hear(self.connection, message)

    def step(self):
        """Take in one message; whether there was one."""
        if self.connection is None or not self.connection.out:
            return False
        self.hear(self.receive(self.connection.out.pop(0)))
        self.flush()
        return True

    def receive(self, text):
        return self.replica.hear(self.replica.channel.receive(parse_frame(text)))

    def hear(self, outcomes):
        self.outcomes += outcomes
        for change in outcomes:
            if isinstance(change, Change):
                assert self.known.pop(change.key, None) == change.before
                if change.data is not None:
                    self.known[change.key] = change.data

    def settle(self):
        self.connect()
        while self.step():
            pass
        self.flush()

    def put(self, key, data, base=None):
        self.replica.put(key, data, base)
        self.known = self.replica.entities()
        self.flush()

    def view(self):
        return self.replica.entities()


def programs(number=2, **options):
    server = ModelServer(**options)
    return server, [Program(server, f"p{at}") for at in range(number)]


def settle(*all_of_them):
    for _ in range(60):
        for program in all_of_them:
            program.settle()
        if not any(program.replica.unsent() or program.connection.out for program in all_of_them):
            return
    raise AssertionError("they never come to rest")


def test_an_edit_is_seen_at_once_and_confirmed_later():
    _, (a, b) = programs()
    settle(a, b)
    a.outcomes.clear()
    a.put("k", {"n": 1})
    assert a.view() == {"k": {"n": 1}}
    settle(a, b)
    assert b.view() == {"k": {"n": 1}}
    assert [one for one in a.outcomes if isinstance(one, Change)] == [Change("k", 1, {"n": 1}, {"n": 1}, True)]
    assert [one for one in b.outcomes if isinstance(one, Change)] == [Change("k", 1, {"n": 1}, None, False)]


def test_edits_of_one_text_on_both_sides_stay_also_while_one_is_on_its_way():
    _, (a, b) = programs()
    a.put("k", {"t": "middle"})
    settle(a, b)
    a.put("k", {"t": "begin middle"})
    b.put("k", {"t": "middle end"})
    b.put("k", {"t": "middle end."})
    settle(a, b)
    assert a.view() == b.view() == {"k": {"t": "begin middle end."}}


def test_an_offline_edit_is_rebased_over_what_others_did():
    _, (a, b) = programs()
    a.put("k", {"t": "one\n", "n": 1})
    settle(a, b)
    b.cut()
    b.put("k", {"t": "one\nfrom b\n", "n": 1})
    a.put("k", {"t": "from a\none\n", "n": 2})
    settle(a)
    settle(a, b)
    assert a.view() == b.view() == {"k": {"t": "from a\none\nfrom b\n", "n": 2}}


def test_an_edit_that_was_not_sent_survives_a_restart():
    _, (a, b) = programs()
    a.put("k", {"n": 1})
    a.restart()
    assert a.view() == {"k": {"n": 1}}
    settle(a, b)
    assert b.view() == {"k": {"n": 1}}


def test_a_change_whose_answer_was_lost_is_not_made_twice():
    server, (a, b) = programs()
    a.put("k", {"t": "x"})
    settle(a, b)
    a.put("k", {"t": "xy"})
    a.restart()  # the server has it, the answer is gone
    a.put("k", {"t": "xyz"})
    settle(a, b)
    assert a.view() == b.view() == {"k": {"t": "xyz"}}
    assert len(server.versions["k"]) == 3


def test_also_when_only_an_index_tells_of_it():
    server, (a, b) = programs()
    a.put("k", {"t": "x"})
    settle(a, b)
    a.put("k", {"t": "xy"})
    a.restart()
    b.put("other", {"n": 1})
    settle(b)
    server.forget()
    server.epoch += 1
    settle(a, b)
    assert a.view() == b.view() == {"k": {"t": "xy"}, "other": {"n": 1}}


def test_an_edit_beats_a_deletion_that_did_not_know_it():
    _, (a, b) = programs()
    a.put("k", {"n": 1})
    settle(a, b)
    a.cut()
    b.put("k", None)
    settle(b)
    a.put("k", {"n": 2})
    settle(a, b)
    assert a.view() == b.view() == {"k": {"n": 2}}


def test_a_deletion_gives_way_to_an_edit_it_did_not_know():
    _, (a, b) = programs()
    a.put("k", {"n": 1})
    settle(a, b)
    a.cut()
    b.put("k", {"n": 2})
    settle(b)
    a.put("k", None)
    assert a.view() == {}
    settle(a, b)
    assert a.view() == b.view() == {"k": {"n": 2}}


def test_what_changed_since_the_base_of_an_edit_is_merged():
    _, (a, _) = programs()
    a.put("k", {"t": "one", "n": 1})
    a.put("k", {"t": "one two", "n": 1}, base={"t": "one", "n": 0})
    assert a.view() == {"k": {"t": "one two", "n": 1}}


def test_two_that_begin_with_the_same_edit_one_object_even_if_neither_knew_of_it():
    _, (a, b) = programs()
    first = {"x": 0, "y": 0, "t": ""}
    a.put("k", {**first, "x": 1}, base=first)
    b.put("k", {**first, "y": 2, "t": "b"}, base=first)
    assert a.view() == {"k": {**first, "x": 1}}
    settle(a, b)
    assert a.view() == b.view() == {"k": {"x": 1, "y": 2, "t": "b"}}


@pytest.mark.slow
@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["step", "step", "connect", "begin"])), max_size=40))
def test_however_programs_begin_with_one_object_what_each_changed_is_there(story):
    server, three = programs(3)
    first = {"title": "", "n": 0, "tasks": {}}
    begun = set()

    def begin(who):
        before = three[who].view().get("k") or first
        after = {**before, f"p{who}": who, "tasks": {**before["tasks"], f"t{who}": {"done": True}}}
        three[who].put("k", {**after, "title": "of 1"} if who == 1 else after, base=before)
        begun.add(who)

    for who, do in story:
        if do != "begin":
            getattr(three[who], do)()
        elif who not in begun:
            begin(who)
    for who in {0, 1, 2} - begun:
        begin(who)
    settle(*three)
    everything = {"p0": 0, "p1": 1, "p2": 2, "tasks": {f"t{at}": {"done": True} for at in range(3)}}
    assert server.live() == {"k": {"title": "of 1", "n": 0, **everything}}
    for program in three:
        assert program.view() == server.live()


def test_an_empty_object_whose_maker_is_gone_is_filled_by_the_next_one():
    _, (a, b) = programs()
    first = {"x": 0, "y": 0}
    a.connect()
    a.step()
    a.step()
    a.put("k", {"x": 1, "y": 0}, base=first)  # the empty object is made, the rest never comes
    a.cut()
    b.put("k", {"x": 0, "y": 2}, base=first)
    settle(b)
    assert b.view() == {"k": {"x": 0, "y": 2}}
    settle(a, b)
    assert a.view() == b.view() == {"k": {"x": 1, "y": 2}}


def test_who_comes_later_does_not_undo_what_others_did_to_the_object_it_begins_with():
    _, (a, b) = programs()
    first = {"x": 0, "y": 0}
    a.put("k", {"x": 5, "y": 0}, base=first)
    settle(a)
    b.put("k", {"x": 0, "y": 1}, base=first)
    settle(a, b)
    assert a.view() == b.view() == {"k": {"x": 5, "y": 1}}


def refuse(program, code):
    """Have the server answer what is in flight with an error."""
    (sent,) = program.replica.memory.sent()
    error = ChangeError("p0", sent.key, (sent.ccid,), code)
    program.outcomes += program.receive(Changes((error,)).text(0))


def unheard(program, key, data):
    """An edit that is on its way and never gets there."""
    program.replica.put(key, data)
    program.known = program.replica.entities()
    program.replica.submit()
    program.replica.channel.outgoing()


@pytest.mark.parametrize("code", [400, 401, 413])
def test_what_the_server_will_not_take_stays_and_is_told_once(code):
    _, (a, b) = programs()
    settle(a, b)
    unheard(a, "k", {"n": 1})
    refuse(a, code)
    assert [one for one in a.outcomes if isinstance(one, Refusal)] == [Refusal("k", code)]
    assert a.replica.refused() == {"k": code}
    assert a.view() == {"k": {"n": 1}}
    assert (a.replica.submit(), a.replica.channel.outgoing()) == ([], [])
    a.store()
    a.restart()
    assert a.replica.refused() == {"k": code}
    a.put("k", {"n": 2})
    settle(a, b)
    assert b.view() == {"k": {"n": 2}}
    assert a.replica.refused() == {}


def test_a_refused_edit_can_be_given_up():
    _, (a, _) = programs()
    a.put("k", {"n": 1})
    settle(a)
    unheard(a, "k", {"n": 2})
    refuse(a, 413)
    a.replica.discard("k")
    assert a.view() == {"k": {"n": 1}}
    assert (a.replica.refused(), a.replica.unsent()) == ({}, 0)


def test_what_is_refused_again_and_again_is_not_sent_for_ever():
    _, (a, _) = programs()
    a.put("k", {"n": 1})
    settle(a)
    for _ in range(20):
        unheard(a, "k", {"n": 2}) if not a.replica.memory.edited else a.replica.submit()
        if not a.replica.channel.outgoing() and not list(a.replica.memory.sent()):
            break
        refuse(a, 440)
    assert a.replica.refused() == {"k": 440}


def test_a_refusal_and_a_change_of_others_in_one_message_keep_both():
    _, (a, _) = programs()
    a.put("k", {"t": "x", "n": 1})
    settle(a)
    unheard(a, "k", {"t": "x", "n": 2})
    (sent,) = a.replica.memory.sent()
    theirs = ServerChange("p1", "k", "M", ("other",), {"t": {"o": "d", "v": "=1\t+y"}}, 1, 2, "cv")
    a.hear(a.receive(Changes((ChangeError("p0", "k", (sent.ccid,), 402), theirs)).text(0)))
    assert a.view() == {"k": {"t": "xy", "n": 2}}


def test_each_state_of_one_message_is_told_as_it_was():
    _, (a, _) = programs()
    settle(a)
    made = ServerChange("p1", "k", "M", ("c-1",), {"n": {"o": "+", "v": 1}}, None, 1, "cv1")
    changed = ServerChange("p1", "k", "M", ("c-2",), {"n": {"o": "r", "v": 2}}, 1, 2, "cv2")
    gone = ServerChange("p1", "k", "-", ("c-3",), None, None, 3, "cv3")
    assert a.receive(Changes((made, changed, gone)).text(0)) == [
        Change("k", 1, {"n": 1}, None, False),
        Change("k", 2, {"n": 2}, {"n": 1}, False),
        Change("k", 3, None, {"n": 2}, False),
    ]


def test_a_busy_server_gets_the_same_change_again():
    server, (a, b) = programs()
    settle(a, b)
    server.busy = True
    a.put("k", {"n": 1})
    a.settle()
    server.busy = False
    a.replica.channel.retry()
    settle(a, b)
    assert b.view() == {"k": {"n": 1}}


KEYS = st.sampled_from("kl")
TEXTS = st.text("ab\U0001f600", max_size=5)
DATA = st.fixed_dictionaries(
    {}, optional={"t": TEXTS, "n": st.integers(0, 5), "l": st.lists(st.integers(0, 3), max_size=3)}
)
OPERATIONS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.one_of(
            st.tuples(st.just("put"), KEYS, DATA),
            st.tuples(st.just("put"), KEYS, st.none()),
            st.tuples(st.just("put"), KEYS, DATA, st.just({"t": "", "n": 0})),
            st.tuples(st.sampled_from(["step", "step", "connect", "cut", "restart", "settle"])),
            st.tuples(st.sampled_from(["forget", "busy", "idle"])),
        ),
    ),
    max_size=40,
)


@pytest.mark.slow
@settings(max_examples=300)
@given(OPERATIONS, st.booleans())
def test_whatever_happens_all_end_with_what_the_server_has(operations, sloppy):
    server, three = programs(3)
    server.sloppy = sloppy
    for who, (what, *arguments) in operations:
        if what == "forget":
            server.forget()
        elif what in ("busy", "idle"):
            server.busy = what == "busy"
        else:
            getattr(three[who], what)(*arguments)
    server.busy = False
    for program in three:
        program.cut()
    settle(*three)
    assert [program.replica.channel.state for program in three] == [State.LIVE] * 3
    for program in three:
        assert program.view() == server.live()
        assert program.known == program.view()
        assert program.replica.refused() == {}
        assert not program.replica.memory.edited
