import threading

import pytest

from ssyncd.errors import NetworkError
from ssyncd.network.http import HttpServer
from ssyncd.network.throttle import LONGEST_SLICE, SHORTEST_SLICE, UNLIMITED, Limits, Throttle, limits
from tests.network.servers import Reply, fake_server

DEADLINE = 10.0


class Time:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Noting(Throttle):
    """Knows what was reserved, and has nobody wait, or for very long."""

    def __init__(self, wait=0.0):
        super().__init__(10**6)
        self.sizes = []
        self.wait = wait
        self.asked = threading.Event()

    def reserve(self, size):
        self.sizes.append(size)
        self.asked.set()
        return self.wait


def test_all_that_share_it_get_so_much_a_second_together():
    time = Time()
    throttle = Throttle(1000, time)
    assert [throttle.reserve(500) for _ in range(4)] == [0.0, 0.5, 1.0, 1.5]
    time.now += 1.75
    assert throttle.reserve(100) == pytest.approx(0.25)


def test_what_is_not_used_is_not_saved_up():
    time = Time()
    throttle = Throttle(1000, time)
    throttle.reserve(100)
    time.now += 3600
    assert [throttle.reserve(1000) for _ in range(3)] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(("rate", "slice"), [(1, SHORTEST_SLICE), (80_000, 10_000), (10**9, LONGEST_SLICE)])
def test_a_slow_way_is_taken_in_smaller_slices(rate, slice):
    assert Throttle(rate).slice == slice


def test_who_asks_for_the_same_limits_shares_them():
    assert limits(5, 7) is limits(5, 7)
    assert limits(0, 0) == UNLIMITED
    assert limits(5, 0).down is None


def test_what_is_sent_and_received_counts():
    up, down, body = Noting(), Noting(), b"0123456789" * 20_000
    with fake_server(lambda request: Reply(200, request.body[:70_000])) as fake:
        server = HttpServer(fake.url, limits=Limits(up, down))
        assert server.ask("POST", "/", body).data == body[:70_000]
        server.close()
    assert sum(up.sizes) == len(body)
    assert max(up.sizes) == up.slice
    assert sum(down.sizes) == 70_000


@pytest.mark.parametrize("way", ["up", "down"])
def test_closing_ends_the_wait(way):
    slow, caught = Noting(1000.0), []
    with fake_server(lambda _: Reply(200, b"x" * 1000)) as fake:
        server = HttpServer(fake.url, limits=Limits(**{way: slow}))

        def ask():
            try:
                server.ask("POST", "/", b"x" * 10**6)
            except NetworkError as error:
                caught.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        assert slow.asked.wait(DEADLINE)
        server.close()
        asking.join(DEADLINE)
        assert not asking.is_alive()
    assert bool(caught) == (way == "up")
