import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from ssyncd.errors import NetworkError
from ssyncd.network.http import HttpServer
from ssyncd.network.reach import Reach, _alternating
from tests.network.servers import Reply, fake_server
from tests.network.wires import DEADLINE, silence, wait_for

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture
def name(monkeypatch):
    """`name(addresses)` is what the name of the server leads to."""

    def name(addresses):
        found = [(V4, socket.SOCK_STREAM, 0, "", address) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    return name


def refusing():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([], []),
        ([V6, V6, V4], [V6, V4, V6]),
        ([V4, V6, V4, V4], [V4, V6, V4, V4]),
        ([V4, V4], [V4, V4]),
    ],
)
def test_the_kinds_of_addresses_take_turns(kinds, expected):
    addresses = [(kind, number) for number, kind in enumerate(kinds)]
    turns = list(_alternating(addresses))
    assert [kind for kind, _ in turns] == expected
    for kind in (V4, V6):
        assert [one for one in turns if one[0] == kind] == [one for one in addresses if one[0] == kind]


def test_an_address_that_does_not_answer_does_not_stand_before_one_that_does(name):
    with silence() as silent, socket.create_server(("127.0.0.1", 0)) as listening:
        name([silent, refusing(), silent, listening.getsockname()])
        with Reach("server.example", 1, DEADLINE).run() as opened:
            assert opened.getpeername() == listening.getsockname()


def test_nor_in_the_way_of_a_request(name):
    with silence() as silent, fake_server(lambda _: Reply(200, b"{}")) as fake:
        name([silent, ("127.0.0.1", int(fake.url.rpartition(":")[2]))])
        with closing(HttpServer("http://server.example")) as server:
            assert server.ask("GET", "/").data == b"{}"


def test_where_nobody_answers_the_time_is_over_some_day(name):
    with silence() as silent:
        name([silent, refusing(), silent])
        reach = Reach("server.example", 7, 0.6)
        with pytest.raises(TimeoutError) as caught:
            reach.run()
        assert reach.why(caught.value) == "server.example:7 did not answer in 0.6 seconds"


def test_where_everybody_refuses_that_is_said(name):
    name([refusing(), refusing()])
    reach = Reach("server.example", 7, DEADLINE)
    with pytest.raises(ConnectionRefusedError) as caught:
        reach.run()
    assert reach.why(caught.value) == "nothing listens at server.example:7"


def test_a_name_that_leads_nowhere_is_said(name):
    name([])
    with pytest.raises(OSError, match="no address"):
        Reach("server.example", 7, DEADLINE).run()


def test_a_look_up_is_not_waited_for_when_it_is_cancelled(monkeypatch):
    asked, gate = threading.Event(), threading.Event()

    def look_up(*_, **__):
        asked.set()
        assert gate.wait(DEADLINE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    reach = Reach("server.example", 7, 1000.0)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(reach.run)
        assert asked.wait(DEADLINE)
        reach.cancel()
        with pytest.raises(NetworkError, match="broken off"):
            running.result(DEADLINE)
        gate.set()


def test_a_server_that_does_not_answer_is_not_waited_for_when_requests_are_closed():
    with silence() as (host, port), ThreadPoolExecutor(1) as threads:
        server = HttpServer(f"http://{host}:{port}")
        running = threads.submit(server.ask, "GET", "/")
        wait_for(lambda: len(server._reaches))
        server.close()
        with pytest.raises(NetworkError):
            running.result(DEADLINE)
