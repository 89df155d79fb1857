import pytest

from ssyncd.network.base import Closed, Opened
from ssyncd.network.memory import MemoryLink
from tests.network.contract_connection import ConnectionContract, texts


class MemoryPeer:
    def __init__(self):
        self.link = MemoryLink()
        self.connection = self.link.connection
        self.happenings = []
        self._heard = []

    def until(self, condition):
        for _ in range(10):
            if condition():
                return
            self.link.pump()
            new = self.link.take()
            self._heard += new
            for text in new:
                if text.startswith("echo:"):
                    self.link.send([text.removeprefix("echo:")])
        assert condition()

    def say(self, messages):
        self.link.send(messages)

    def cut(self):
        self.link.cut()

    def heard(self):
        return self._heard


@pytest.fixture
def peer():
    return MemoryPeer()


class TestMemoryConnection(ConnectionContract):
    pass


def test_nothing_happens_without_a_pump(peer):
    peer.connection.start(peer.happenings.append)
    peer.connection.send(["lost"])
    assert peer.happenings == []
    assert peer.link.take() == []
    assert peer.link.pump()
    peer.link.send(["one"])
    assert peer.happenings == [Opened()]
    assert peer.link.pump()
    assert not peer.link.pump()
    assert texts(peer.happenings) == ["one"]


def test_a_pump_can_stop_between_two_happenings(peer):
    peer.connection.start(peer.happenings.append)
    peer.link.pump()
    peer.link.send(["one"])
    peer.link.send(["two"])
    peer.link.pump(1)
    assert texts(peer.happenings) == ["one"]
    assert not peer.link.pump(0)


def test_a_cut_loses_what_is_under_way_in_both_directions(peer):
    peer.connection.start(peer.happenings.append)
    peer.link.pump()
    peer.connection.send(["up"])
    peer.link.send(["down"])
    peer.link.cut("snapped")
    assert peer.link.take() == []
    peer.link.pump()
    assert peer.happenings == [Opened(), Closed("snapped", 1.0)]
    assert not peer.link.standing


def test_an_unreachable_server_is_told_at_every_try(peer):
    peer.link.reachable = False
    peer.connection.start(peer.happenings.append)
    peer.link.pump()
    peer.link.pump()
    assert [type(happening) for happening in peer.happenings] == [Closed, Closed]
    peer.link.reachable = True
    peer.link.pump()
    assert peer.happenings[-1] == Opened()
    assert peer.link.generation == 1
