import pytest

from ssyncd.server import hub
from ssyncd.server.echoes import CLIENTS, Echoes
from ssyncd.server.entries import Entry
from ssyncd.server.hub import Feed, Hub
from ssyncd.server.storage.memory import MemoryChanges
from tests.server.contract_storage import Writing


class Listener:
    def __init__(self, position: int = 0) -> None:
        self.position = position
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def entry(position: int, size: int = 10, bucket: int = 1) -> Entry:
    return Entry(position, bucket, "k", 1, "a", False, b"x" * size)


def test_a_reader_gets_what_is_after_its_position_up_to_a_size() -> None:
    feed = Feed(1, 5)
    for position in (7, 9, 12):
        assert feed.append(entry(position))
    assert [one.position for one in feed.after(5, 100) or ()] == [7, 9, 12]
    assert [one.position for one in feed.after(7, 100) or ()] == [9, 12]
    assert [one.position for one in feed.after(5, 20) or ()] == [7, 9]
    assert [one.position for one in feed.after(5, 1) or ()] == [7]
    assert feed.after(12, 100) == []
    assert feed.after(99, 100) == []
    assert feed.after(4, 100) is None


def test_what_was_in_the_database_at_the_beginning_is_not_told_again() -> None:
    feed = Feed(1, 5)
    assert not feed.append(entry(5))
    assert feed.append(entry(6))
    assert not feed.append(entry(6))
    assert feed.head == 6


def test_a_tail_that_grows_too_long_sends_slow_readers_to_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "TAIL_BYTES", 100)
    monkeypatch.setattr(hub, "SHORT_BYTES", 20)
    feed = Feed(1, 0)
    feed._look_at = 20
    feed.listeners.add(Listener(0))
    for position in range(1, 31):
        feed.append(entry(position))
    assert feed.after(0, 1000) is None
    rest = feed.after(feed.tail_from, 1000) or []
    assert [one.position for one in rest] == list(range(feed.tail_from + 1, 31))
    assert len(rest) <= 15


def test_a_tail_keeps_little_of_what_everyone_has_read() -> None:
    feed = Feed(1, 0)
    listener = Listener(0)
    feed.listeners.add(listener)
    for position in range(1, 1001):
        feed.append(entry(position, 1000))
        listener.position = position
    assert feed.size <= hub.SHORT_BYTES + 1000


def test_all_tails_together_stay_within_their_bound_and_the_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "HUB_BYTES", 16_000)
    center = Hub(MemoryChanges())
    slow = [Listener(0) for _ in range(3)]
    long, *short = [center.join(bucket, listener) for bucket, listener in enumerate(slow)]
    for position in range(1, 31):
        center.publish([entry(position, 1000, bucket=0)])
        if position <= 2:
            center.publish([entry(position, 1000, bucket=1), entry(position, 1000, bucket=2)])
        assert sum(feed.size for feed in (long, *short)) <= 16_000 + 16_000 // 8 + 1000
    assert long.after(0, 1) is None
    assert all(feed.after(0, 1) for feed in short)


def test_trimming_keeps_what_the_slowest_still_needs() -> None:
    feed = Feed(1, 0)
    for position in range(1, 6):
        feed.append(entry(position))
    feed.listeners.update({Listener(3), Listener(5)})
    feed.trim()
    assert feed.after(2, 100) is None
    assert [one.position for one in feed.after(3, 100) or ()] == [4, 5]


def test_only_listeners_of_the_bucket_are_woken_once_a_group() -> None:
    storage = MemoryChanges()
    writing = Writing(storage, 1)
    writing.put("a")
    center = Hub(storage)
    one, two, other = Listener(), Listener(), Listener()
    feed = center.join(1, one)
    assert center.join(1, two) is feed
    center.join(2, other)
    assert feed.head == 1
    center.publish([entry(1), entry(2), entry(3), entry(4, bucket=9)])
    assert (one.woken, two.woken, other.woken) == (1, 1, 0)
    center.leave(feed, one)
    center.publish([entry(5)])
    assert (one.woken, two.woken) == (1, 2)


def test_a_feed_nobody_reads_is_forgotten_unless_echoes_are_awaited() -> None:
    center = Hub(MemoryChanges())
    listener = Listener()
    feed = center.join(1, listener)
    feed.echoes.told("node", "k")
    center.leave(feed, listener)
    center.trim()
    assert center.join(1, listener) is feed
    assert feed.echoes.heard("node", "k")
    center.leave(feed, listener)
    center.trim()
    assert center.join(1, listener) is not feed


def test_an_echo_is_used_up_by_key_and_client() -> None:
    echoes = Echoes()
    echoes.told("a", "k")
    echoes.told("a", "k")
    assert not echoes.heard("b", "k")
    assert not echoes.heard("a", "other")
    assert [echoes.heard("a", "k") for _ in range(3)] == [True, True, False]
    assert not echoes


def test_echoes_of_clients_that_never_come_back_are_bounded() -> None:
    echoes = Echoes()
    for number in range(CLIENTS + 1):
        echoes.told(str(number), "k")
    assert not echoes.heard("0", "k")
    assert echoes.heard(str(CLIENTS), "k")
