"""What `test_surroundings` runs in a network namespace of its own, where ways can really change."""

import subprocess

import pytest

from ssyncd.network.base import Opened
from ssyncd.network.websocket import Pace
from tests.network.contract_connection import count
from tests.network.wires import EchoServer, connected, url, wait_for

PACE = Pace(beat=1000.0, silence=1000.0, probe=0.0, first_retry=0.01, last_retry=1000.0)


def ip(words):
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


@pytest.fixture
def server():
    ip("link set lo up")
    ip("addr replace 127.0.0.2/32 dev lo")
    ip("addr replace 127.0.0.3/32 dev lo")
    server = EchoServer()
    server.beats = ""
    yield server
    lead("127.0.0.2")
    server.stop()


def lead(start):
    """The way to the server starts at this address."""
    ip(f"route replace local 127.0.0.1 dev lo table local src {start}")


def lead_nowhere():
    ip("route replace unreachable 127.0.0.1 table local")


def test_another_network_and_none_and_the_same_again(server):
    lead("127.0.0.2")
    happenings = []
    with connected(url(server), happenings, PACE):
        wait_for(lambda: happenings == [Opened()])
        lead("127.0.0.3")
        wait_for(lambda: count(happenings, Opened) == 2)
        assert (happenings[1].reason, happenings[1].lost) == ("the network is another one now", True)
        before = server.beats
        lead_nowhere()
        lead("127.0.0.3")
        wait_for(lambda: server.beats != before)
    assert len(happenings) == 3


def test_no_network_and_then_another(server):
    lead_nowhere()
    happenings = []
    with connected(url(server), happenings, PACE):
        wait_for(lambda: happenings and happenings[-1].retry_in > 0.5)
        tried = len(happenings)
        ip("addr replace 127.0.0.4/32 dev lo")
        wait_for(lambda: len(happenings) > tried)
        assert happenings[tried].retry_in <= 0.01
        lead("127.0.0.2")
        wait_for(lambda: happenings[-1] == Opened())
