"""What every Connection promises. A test module gives a `peer` fixture: the connection, and a server's end to command."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ssyncd.network.base import Closed, Connection, Happening, Opened, Received


class Peer(Protocol):
    """`happenings` is what was delivered so far. The server answers "echo:X" by "X" and nothing else."""

    connection: Connection
    happenings: list[Happening]

    def until(self, condition: Callable[[], Any]) -> None:
        """Let time pass until the condition holds; fails after some seconds."""

    def say(self, messages: Sequence[str]) -> None:
        """From the server, on the standing connection."""

    def cut(self) -> None:
        """Break the standing connection."""

    def heard(self) -> list[str]:
        """All that the server got so far, on any connection."""


def texts(happenings: Sequence[Happening]) -> list[str]:
    return [message for happening in happenings if isinstance(happening, Received) for message in happening.messages]


def count(happenings: Sequence[Happening], kind: type) -> int:
    return sum(isinstance(happening, kind) for happening in happenings)


class ConnectionContract:
    def open(self, peer: Peer) -> Peer:
        peer.connection.start(peer.happenings.append)
        peer.until(lambda: peer.happenings)
        return peer

    def test_it_opens_by_itself(self, peer: Peer) -> None:
        assert self.open(peer).happenings == [Opened()]

    def test_messages_go_and_come_whole_and_in_order(self, peer: Peer) -> None:
        self.open(peer)
        sent = [f"echo:{number}:ä😀\n{'x' * number}" for number in range(300)]
        peer.connection.send(sent[:100])
        for text in sent[100:]:
            peer.connection.send([text])
        peer.until(lambda: len(texts(peer.happenings)) == 300)
        assert texts(peer.happenings) == [text.removeprefix("echo:") for text in sent]
        assert peer.heard() == sent

    def test_what_the_server_says_by_itself_is_delivered(self, peer: Peer) -> None:
        self.open(peer)
        peer.say(["one", "two"])
        peer.until(lambda: texts(peer.happenings) == ["one", "two"])

    def test_answers_to_heartbeats_are_nobody_elses_business(self, peer: Peer) -> None:
        self.open(peer)
        peer.say(["h:2", "one", "h:x", "h:"])
        peer.say(["two"])
        peer.until(lambda: texts(peer.happenings) == ["one", "two"])

    def test_it_comes_back_after_a_cut(self, peer: Peer) -> None:
        self.open(peer)
        peer.cut()
        peer.until(lambda: count(peer.happenings, Opened) == 2)
        opened, closed, again = peer.happenings
        assert (opened, again) == (Opened(), Opened())
        assert isinstance(closed, Closed)
        assert closed.reason
        assert closed.retry_in >= 0
        peer.connection.send(["echo:again"])
        peer.until(lambda: texts(peer.happenings) == ["again"])

    def test_reconnect_drops_the_connection_and_dials_again(self, peer: Peer) -> None:
        self.open(peer)
        peer.connection.reconnect()
        peer.until(lambda: count(peer.happenings, Opened) == 2)
        assert count(peer.happenings, Closed) == 1
        peer.connection.send(["echo:again"])
        peer.until(lambda: texts(peer.happenings) == ["again"])

    def test_what_is_sent_while_nothing_stands_is_dropped(self, peer: Peer) -> None:
        peer.connection.send(["echo:early"])
        self.open(peer)
        peer.connection.send(["echo:later"])
        peer.until(lambda: texts(peer.happenings))
        assert texts(peer.happenings) == ["later"]

    def test_nothing_is_delivered_after_stop(self, peer: Peer) -> None:
        self.open(peer)
        peer.connection.stop()
        peer.connection.send(["echo:late"])
        peer.connection.reconnect()
        peer.connection.proved()
        assert peer.happenings == [Opened()]

    def test_it_can_be_stopped_twice_and_before_it_started(self, peer: Peer) -> None:
        peer.connection.stop()
        peer.connection.stop()
        assert peer.happenings == []

    def test_it_can_be_stopped_from_deliver(self, peer: Peer) -> None:
        def deliver(happening: Happening) -> None:
            peer.happenings.append(happening)
            peer.connection.stop()

        peer.connection.start(deliver)
        peer.until(lambda: peer.happenings)
        assert peer.happenings == [Opened()]
