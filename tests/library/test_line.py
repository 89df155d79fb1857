"""A channel on a connection, where the connection and the server are the test's (see also `protocol/test_client_conformance`)."""

import pytest

from ssyncd.errors import SignInError
from ssyncd.library.line import AGAIN, Line
from ssyncd.network.memory import MemoryLink
from ssyncd.protocol.channel import Channel
from ssyncd.protocol.events import CaughtUp, Indexed
from ssyncd.protocol.ghosts import MemoryGhosts
from ssyncd.protocol.messages import Authorized
from tests.protocol.client import INIT, opening

INDEX = '0:i:{"current":"cv","index":[]}'


class Owner:
    """Does nothing but listen."""

    def __init__(self):
        self.now = 100.0
        self.told = []
        self.link = MemoryLink()
        self.line = Line("notes", Channel(INIT, MemoryGhosts()), self.link.connection, lambda: self.now)
        self.link.connection.start(lambda happening: self.line.take(happening, self.told.append))

    def turn(self, *messages):
        """What it says to these."""
        self.link.send(messages)
        self.link.pump()
        self.line.due()
        self.line.send(self.line.outgoing())
        return self.link.take()

    def live(self):
        assert self.turn() == [opening()]
        self.turn("0:auth:me", INDEX)
        assert self.line.live
        return self


def test_it_is_live_when_everything_was_told():
    owner = Owner()
    assert (owner.line.connected, owner.line.live, owner.line.reason) == (None, False, "connecting")
    owner.turn()
    assert (owner.line.connected, owner.line.live) == (True, False)
    assert owner.turn("0:auth:me") == []
    assert not owner.line.live
    owner.turn(INDEX)
    assert owner.line.live
    assert owner.told == [[Authorized("me")], [Indexed(), CaughtUp()]]


def test_a_cut_is_known_and_its_reason_kept():
    owner = Owner().live()
    owner.link.cut("somebody stumbled")
    owner.link.reachable = False
    owner.turn()
    assert (owner.line.connected, owner.line.live) == (False, False)
    assert owner.line.trouble == "somebody stumbled"
    owner.link.reachable = True
    owner.turn()
    assert owner.turn() == []
    assert (owner.line.connected, owner.line.trouble) == (True, "")
    assert owner.line.reason == "somebody stumbled"


@pytest.mark.parametrize("nonsense", ["0:c:{", "0:c:5", "0:i:[]", "0:e:k", '0:c:[{"id":"k"}]'])
def test_nonsense_ends_the_connection_after_a_while_and_another_begins(nonsense):
    owner = Owner().live()
    assert owner.turn(nonsense, INDEX) == []
    assert "nonsense" in owner.line.trouble
    assert (owner.line.connected, owner.line.live) == (True, False)
    assert owner.line.next == owner.now + AGAIN
    generation = owner.link.generation
    owner.turn("0:auth:me", INDEX)
    assert (owner.link.generation, owner.line.live) == (generation, False), "nothing is taken of it any more"
    owner.now += AGAIN
    owner.turn()
    assert owner.line.next is None
    owner.turn()
    assert owner.turn() == [opening("cv:cv")]
    assert owner.link.generation == generation + 1


def test_what_cannot_be_stored_is_not_sent():
    owner = Owner().live()
    owner.line.channel.submit("k", {"n": {"o": "+", "v": 1}}, None, "c1")
    owner.line.break_off("the disk is full")
    assert not owner.line.outgoing()
    assert owner.line.reason == "the disk is full"


def test_a_token_revoked_later_ends_it():
    owner = Owner().live()
    with pytest.raises(SignInError, match=r"notes: .* Token invalid"):
        owner.turn('0:auth:{"msg":"Token invalid","code":401}')
