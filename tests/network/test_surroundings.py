import errno
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from ssyncd.errors import ShortageError
from ssyncd.network import surroundings, websocket
from ssyncd.network.base import Opened
from ssyncd.network.surroundings import Lull, start_of_way
from ssyncd.network.websocket import Pace, WebSocketConnection
from tests.network.contract_connection import count
from tests.network.wires import DEADLINE, EchoServer, connected, url, wait_for


class Told:
    """In place of the system: `tell` makes news."""

    def __init__(self):
        self.ends = []

    def subscribe(self):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.ends.append(theirs)
        return ours, theirs

    def tell(self):
        for end in self.ends:
            end.send(b"!")


@pytest.fixture
def told(monkeypatch):
    told = Told()
    monkeypatch.setattr(surroundings, "_subscribed", told.subscribe)
    return told


@pytest.fixture
def server():
    server = EchoServer()
    yield server
    server.stop()


def waiting(lull, seconds, soon, over):
    """The result of `wait` on a thread, once that has begun."""
    began = threading.Event()

    def ask():
        began.set()
        return over.is_set()

    threads = ThreadPoolExecutor(1)
    result = threads.submit(lull.wait, seconds, soon, ask)
    threads.shutdown(wait=False)
    assert began.wait(DEADLINE)
    return result


def test_a_lull_ends_by_itself(told):
    with closing(Lull()) as lull:
        assert lull.wait(0.01, 1000.0, lambda: False) is False


def test_a_lull_ends_when_it_is_over_and_not_by_waking_alone(told):
    over = threading.Event()
    with closing(Lull()) as lull:
        for _ in range(100_000):
            lull.wake()
        result = waiting(lull, 1000.0, 1000.0, over)
        lull.wake()
        assert not result.done()
        over.set()
        lull.wake()
        assert result.result(DEADLINE) is False


def test_a_lull_ends_soon_when_the_network_changes_meanwhile(told):
    with closing(Lull()) as lull:
        result = waiting(lull, 1000.0, 0.01, threading.Event())
        told.tell()
        assert result.result(DEADLINE) is True


def test_a_clock_that_was_set_is_news_as_the_end_of_a_sleep_sets_it(told, monkeypatch):
    end, other = os.pipe()
    os.set_blocking(end, False)
    monkeypatch.setattr(surroundings, "_timer", lambda: end)
    with closing(Lull()) as lull:
        result = waiting(lull, 1000.0, 0.01, threading.Event())
        os.write(other, b"12345678")
        assert result.result(DEADLINE) is True
        assert lull.news.take() is False
        told.tell()
        assert lull.news.take() is True
        with monkeypatch.context() as patch:
            patch.setattr(os, "read", cancelled)
            assert lull.news.take() is True
    os.close(other)


def cancelled(*_):
    raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


def test_where_nobody_sets_the_clock_nothing_is_heard_of_it():
    with closing(Lull()) as lull:
        assert lull.news._timer is not None
        assert lull.news._clock_was_set() is False


def test_a_lull_is_not_made_longer_by_news(told):
    with closing(Lull()) as lull:
        told.tell()
        assert lull.wait(0.01, 1000.0, lambda: False) is True


def test_after_news_the_next_tries_are_as_after_a_first_failure(told):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    happenings = []
    with connected(f"ws://127.0.0.1:{port}/ws", happenings, Pace(first_retry=0.01, last_retry=1000.0)):
        wait_for(lambda: happenings and happenings[-1].retry_in > 0.5)
        tried = len(happenings)
        told.tell()
        wait_for(lambda: len(happenings) > tried)
    assert happenings[tried].retry_in <= 0.01


def test_who_was_asked_to_come_later_does_not_come_sooner(told, server, monkeypatch):
    waits = []
    monkeypatch.setattr(Lull, "wait", lambda _, seconds, soon, over: waits.append((seconds, soon)) or over())
    pace = Pace(first_retry=0.001, last_retry=0.002)
    monkeypatch.setattr(websocket.WebSocketConnection, "_live_once", lambda *_: websocket._End("busy", 7.0))
    connection = WebSocketConnection(url(server), pace=pace)
    connection.start(lambda _: None)
    wait_for(lambda: len(waits) > 3)
    connection.stop()
    assert set(waits) == {(7.0, 7.0)}


def test_a_connection_is_given_up_when_its_way_starts_elsewhere_now(told, server, monkeypatch):
    happenings = []
    with connected(url(server), happenings, Pace(first_retry=0.01)):
        wait_for(lambda: happenings)
        monkeypatch.setattr(websocket, "start_of_way", lambda _: "192.0.2.7")
        told.tell()
        wait_for(lambda: count(happenings, Opened) == 2)
    assert "network" in happenings[1].reason
    assert happenings[1].lost


def test_a_connection_whose_way_is_as_before_is_asked_whether_it_stands(told, server):
    happenings = []
    server.beats = ""
    with connected(url(server), happenings, Pace(beat=1000.0, probe=0.0)):
        wait_for(lambda: happenings)
        told.tell()
        wait_for(lambda: server.beats)
    assert happenings == [Opened()]


def test_a_connection_that_has_no_way_just_now_is_left_alone(told, server, monkeypatch):
    happenings = []
    asked = threading.Event()
    server.beats = ""

    def gone(_):
        asked.set()
        return ""

    monkeypatch.setattr(websocket, "start_of_way", gone)
    with connected(url(server), happenings, Pace(beat=1000.0, probe=0.0)) as connection:
        wait_for(lambda: happenings)
        told.tell()
        assert asked.wait(DEADLINE)
        connection.send(["after"])
        wait_for(lambda: server.heard == ["after"])
    assert happenings == [Opened()]


def test_the_way_to_this_machine_starts_here_and_there_is_none_to_nobody():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with socket.create_connection(listening.getsockname()) as opened:
            assert start_of_way(opened) == "127.0.0.1"
        assert start_of_way(opened) == ""


def test_it_is_all_so_where_ways_really_change():
    alone = ["unshare", "--map-root-user", "--net"]
    possible = shutil.which("ip") and shutil.which("unshare") and subprocess.run([*alone, "true"], check=False)
    if not possible or possible.returncode != 0:
        pytest.skip("no network namespace can be made here")
    root = Path(__file__).parents[2]
    run = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "tests/network/in_namespace.py"]
    done = subprocess.run([*alone, *run], check=False, capture_output=True, text=True, cwd=root, timeout=200)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_where_the_system_does_not_tell_there_are_no_news(monkeypatch):
    """A sandbox that knows the sockets but not their groups."""

    class Sandboxed(socket.socket):
        def bind(self, address):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", Sandboxed)
        lull = Lull()
    with closing(lull):
        assert lull.wait(0.01, 1000.0, lambda: False) is False
        assert lull.wait(0.01, 1000.0, lambda: False) is False


@pytest.mark.parametrize("few", range(7))
def test_with_too_few_descriptors_none_is_left_open(few):
    def descriptors():
        return set(os.listdir("/proc/self/fd"))

    before, limits = descriptors(), resource.getrlimit(resource.RLIMIT_NOFILE)
    free = sorted(set(range(len(before) + 20)) - set(map(int, before)))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[few], limits[1]))
        with pytest.raises(ShortageError, match="ulimit -n") if few < 5 else nullcontext():
            Lull().close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert descriptors() == before
