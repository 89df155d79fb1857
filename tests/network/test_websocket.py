import socket
import threading
import time

import pytest

from ssyncd.content.packed import HELLO, LEAST, pack
from ssyncd.errors import ProtocolError
from ssyncd.network import websocket
from ssyncd.network.base import Closed, Opened, Received
from ssyncd.network.sockets import round_trip
from ssyncd.network.websocket import Pace, WebSocketConnection
from tests.network.contract_connection import ConnectionContract, count, texts
from tests.network.wires import DEADLINE, QUICK, EchoServer, RawServer, connected, first_closed, upgraded, url, wait_for


class WebSocketPeer:
    def __init__(self, server, connection):
        self.server = server
        self.connection = connection
        self.happenings = []

    def until(self, condition):
        wait_for(condition)

    def say(self, messages):
        wait_for(lambda: self.server.sockets)
        self.server.say(messages)

    def cut(self):
        wait_for(lambda: self.server.sockets)
        self.server.cut()

    def heard(self):
        return self.server.heard


@pytest.fixture
def server():
    server = EchoServer()
    yield server
    server.stop()


@pytest.fixture
def peer(server):
    peer = WebSocketPeer(server, WebSocketConnection(url(server), pace=QUICK))
    yield peer
    peer.connection.stop()


class TestWebSocketConnection(ConnectionContract):
    pass


def test_its_headers_are_sent_and_the_name_of_the_host_is_looked_up(server):
    happenings = []
    with connected(f"ws://localhost:{server.port}/ws", happenings, headers=["X-Test: yes"]):
        wait_for(lambda: happenings == [Opened()])
    assert server.headers["X-Test"] == "yes"


def test_many_small_messages_come_in_batches(server):
    happenings = []
    with connected(url(server), happenings) as connection:
        wait_for(lambda: happenings)
        connection.send(["echo:0"])
        wait_for(lambda: texts(happenings) == ["0"])
        connection.send([f"echo:{number}" for number in range(1, 2000)])
        wait_for(lambda: len(texts(happenings)) == 2000)
    assert texts(happenings) == [str(number) for number in range(2000)]
    assert count(happenings, Received) < 1000


def test_a_message_near_the_limit_arrives_and_one_beyond_ends_the_connection(server):
    happenings = []
    pace = Pace(first_retry=0.01, last_retry=0.01, max_message=300_000)
    with connected(url(server), happenings, pace) as connection:
        wait_for(lambda: happenings)
        connection.send(["echo:" + "x" * 300_000])
        wait_for(lambda: texts(happenings))
        connection.send(["echo:" + "x" * 300_001])
        wait_for(lambda: count(happenings, Opened) == 2)
    (closed,) = [happening for happening in happenings if isinstance(happening, Closed)]
    assert "over 300000 bytes" in closed.reason


def test_a_text_that_is_no_utf8_cannot_be_sent(server):
    happenings = []
    with connected(url(server), happenings) as connection:
        wait_for(lambda: happenings)
        with pytest.raises(ProtocolError):
            connection.send(["echo:ok", "\ud83d"])
        connection.send(["echo:later"])
        wait_for(lambda: texts(happenings))
        assert texts(happenings) == ["later"]


def test_a_peer_that_does_not_answer_a_heartbeat_is_dropped(server):
    server.answer_beats = False
    happenings = []
    with connected(url(server), happenings, Pace(beat=0.02, answer=0.05, first_retry=0.01)):
        wait_for(lambda: count(happenings, Opened) >= 2)
    assert "silent" in happenings[1].reason
    assert happenings[1].lost


def test_who_sends_to_a_peer_that_is_not_there_any_more_notices_soon(server):
    server.answer_beats = False
    happenings = []
    with connected(url(server), happenings, Pace(probe=0.02, answer=0.1, first_retry=0.01)) as connection:
        wait_for(lambda: count(happenings, Opened) == 1)
        connection.send(["nobody answers this"])
        wait_for(lambda: count(happenings, Opened) == 2)
    assert "silent" in happenings[1].reason
    assert happenings[1].lost


@pytest.mark.slow
def test_a_message_that_gets_through_slowly_is_not_broken_off():
    """Nothing can be answered before its last byte is there."""
    size, taken = 8_000_000, []

    def serve(opened):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_000)
        upgraded()(opened)
        while sum(taken) < size and (piece := opened.recv(40_000)):
            taken.append(len(piece))
            time.sleep(0.01)

    happenings = []
    pace = Pace(probe=0.1, answer=0.4, silence=0.8)
    with RawServer(serve) as raw, connected(url(raw), happenings, pace) as connection:
        wait_for(lambda: count(happenings, Opened) == 1)
        connection.send(["x" * size])
        wait_for(lambda: sum(taken) >= size)
        assert happenings == [Opened()]


def test_a_peer_is_not_silent_while_the_owner_does_not_listen(server):
    happenings = []
    gate = threading.Event()

    def deliver(happening):
        happenings.append(happening)
        if texts([happening]) == ["wait"]:
            assert gate.wait(DEADLINE)

    connection = WebSocketConnection(url(server), pace=Pace(beat=0.02, silence=0.3, answer=0.3))
    connection.start(deliver)
    wait_for(lambda: happenings)
    connection.send(["echo:wait"])
    wait_for(lambda: texts(happenings) == ["wait"])
    beats = server.beats if hasattr(server, "beats") else ""
    # Beats go on for several times the silence that would end it.
    wait_for(lambda: int(getattr(server, "beats", "h:0")[2:]) > int(beats[2:] or 0) + 30)
    connection.send(["echo:after"])
    gate.set()
    wait_for(lambda: texts(happenings) == ["wait", "after"])
    connection.stop()
    assert count(happenings, Closed) == 0


def test_stop_takes_no_longer_than_a_second_while_deliver_is_blocked(server):
    entered, gate = threading.Event(), threading.Event()

    def deliver(_):
        entered.set()
        gate.wait(DEADLINE)

    connection = WebSocketConnection(url(server))
    connection.start(deliver)
    assert entered.wait(DEADLINE)
    started = time.monotonic()
    connection.stop()
    assert time.monotonic() - started < 1.5
    gate.set()


def test_stop_lets_go_what_was_queued_before(server):
    happenings = []
    with connected(url(server), happenings) as connection:
        wait_for(lambda: happenings)
        connection.send([f"note:{number}" for number in range(500)])
    wait_for(lambda: len(server.heard) == 500)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x81\x7f" + (2**62).to_bytes(8, "big"), "over"),
        (b"\x81\x02\xff\xfe", "UTF-8"),
        (b"\xf1\x00", "frame"),
        (b"\x83\x00", "frame"),
        (b"\x80\x00", "out of order"),
        (b"\x01\x01a\x81\x01b", "out of order"),
        (b"\x88\x02\x03\xe8", "closed the connection (1000)"),
        (b"\x88\x05\x03\xf4bye", "(1012 bye)"),
        (b"\x88\x00", "closed the connection"),
        (b"\x01\x00" + b"\x00\x00" * 200_000, "over"),
    ],
)
def test_frames_that_break_the_rules_end_the_connection(data, reason):
    pace = Pace(first_retry=0.01, last_retry=0.01, max_message=100_000)
    closed = first_closed(upgraded(data), pace)
    assert reason in closed.reason
    assert not closed.lost


def test_fragments_and_pings_in_pieces_are_put_together():
    happenings = []
    # A binary message, which the protocol has not, is passed over.
    frames = b"\x01\x02ab\x89\x01p\x00\x01c\x80\x02\xc3\xa4\x82\x01x\x81\x01z"
    with RawServer(upgraded(*(bytes([byte]) for byte in frames))) as raw, connected(url(raw), happenings):
        wait_for(lambda: texts(happenings) == ["abcä", "z"])


def test_packed_messages_are_unpacked_and_answered_in_kind(server, peer):
    TestWebSocketConnection().open(peer)
    peer.connection.send(["echo:" + "x" * LEAST])
    wait_for(lambda: len(texts(peer.happenings)) == 1)
    assert server.packed == 0, "nobody has said hello"
    peer.say([HELLO, pack([b"one", b"y" * LEAST]), "two"])
    wait_for(lambda: texts(peer.happenings)[1:] == ["one", "y" * LEAST, "two"])
    sent = [f"echo:{number}:{'ä' * number}" for number in range(300)]
    peer.connection.send(sent)
    wait_for(lambda: len(texts(peer.happenings)) == 304)
    assert texts(peer.happenings)[4:] == [text.removeprefix("echo:") for text in sent]
    assert 0 < server.packed < 300
    peer.cut()
    wait_for(lambda: server.connections == 2)
    before = server.packed
    wait_for(lambda: count(peer.happenings, Opened) == 2)
    peer.connection.send(["echo:" + "x" * LEAST])
    wait_for(lambda: len(texts(peer.happenings)) == 305)
    assert server.packed == before, "another connection, perhaps another server"


@pytest.mark.parametrize(("near", "slow", "far"), [(60.0, 60.0, False), (60.0, 0.0, True), (0.0, 60.0, True)])
def test_a_server_is_far_by_the_system_s_word_or_by_the_handshake(server, peer, monkeypatch, near, slow, far):
    monkeypatch.setattr(websocket, "NEAR", near)
    monkeypatch.setattr(websocket, "SLOW", slow)
    TestWebSocketConnection().open(peer)
    assert peer.connection.far is far


def test_the_round_trip_is_what_the_system_measured():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with socket.create_connection(listening.getsockname()) as opened:
            accepted, _ = listening.accept()
            with accepted:
                assert 0.0 <= round_trip(opened) < 1.0
        assert round_trip(opened) == 0.0


def test_what_cannot_be_unpacked_ends_the_connection(server, peer):
    TestWebSocketConnection().open(peer)
    peer.say([HELLO, b"\x01no zstd"])
    wait_for(lambda: count(peer.happenings, Closed))
    assert "unpacked" in next(one.reason for one in peer.happenings if isinstance(one, Closed))


def test_reconnect_does_not_wait_for_the_next_retry():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    happenings = []
    with connected(f"ws://127.0.0.1:{port}/ws", happenings, Pace(first_retry=1000.0, last_retry=1000.0)) as connection:
        wait_for(lambda: count(happenings, Closed) == 1)
        assert happenings[0].retry_in >= 500.0
        connection.reconnect()
        wait_for(lambda: count(happenings, Closed) == 2)


def test_short_connections_that_brought_what_was_wanted_do_not_make_the_next_try_later():
    happenings = []

    def deliver(happening):
        happenings.append(happening)
        if isinstance(happening, Received):
            connection.proved()

    with RawServer(upgraded(b"\x81\x01a", b"\x88\x00")) as raw:
        connection = WebSocketConnection(url(raw), pace=Pace(first_retry=0.004, last_retry=1000.0), chance=lambda: 0.0)
        connection.start(deliver)
        wait_for(lambda: count(happenings, Closed) == 12)
        connection.stop()
    assert {happening.retry_in for happening in happenings if isinstance(happening, Closed)} == {0.004}


def test_short_connections_that_brought_nothing_are_tried_later_and_later():
    happenings = []
    pace = Pace(first_retry=0.001, last_retry=1000.0)
    with RawServer(upgraded(b"\x88\x00")) as raw:
        connection = WebSocketConnection(url(raw), pace=pace, chance=lambda: 0.0)
        connection.start(happenings.append)
        wait_for(lambda: count(happenings, Closed) == 6)
        connection.stop()
    closed = [happening.retry_in for happening in happenings if isinstance(happening, Closed)]
    assert closed == pytest.approx([0.001 * 2**number for number in range(6)])


def test_a_dial_that_times_out_is_no_connection_that_stood():
    happenings = []
    pace = Pace(connect=0.05, settled=0.05, first_retry=0.001, last_retry=1000.0)
    with RawServer(lambda opened: None) as raw:
        connection = WebSocketConnection(url(raw), pace=pace, chance=lambda: 0.0)
        connection.start(happenings.append)
        wait_for(lambda: count(happenings, Closed) == 4)
        connection.stop()
    assert [happening.retry_in for happening in happenings[:4]] == pytest.approx([0.001, 0.002, 0.004, 0.008])


@pytest.mark.parametrize("name", ["ssyncd-connection-writer", "ssyncd-look-up"])
def test_where_no_thread_can_be_had_it_is_tried_again(server, refused_threads, name):
    happenings = []
    refused_threads[name] = 2
    with connected(f"ws://localhost:{server.port}/ws", happenings, QUICK) as connection:
        wait_for(lambda: Opened() in happenings)
        connection.send(["hello"])
        wait_for(lambda: server.heard == ["hello"])
    assert [name in happening.reason for happening in happenings if isinstance(happening, Closed)] == [True, True]
