"""Chunks that go to the server while the file is still read."""

import pytest

from ssyncd.errors import NetworkError
from ssyncd.transfer import ReadJob, Uploaded, UploadJob, early, workers
from tests.transfer.desk import KEYS, MAX_CHUNK, Desk, noise
from tests.transfer.test_workers import DEADLINE, Gate, Inbox

SIZE = 2_000_000


@pytest.fixture
def site(monkeypatch):
    """A file that is long as things are here, and transfers with threads that may send."""
    monkeypatch.setattr(workers, "BATCH", 200_000)
    monkeypatch.setattr(early, "EARLY_BATCH", 100_000)
    made = Site()
    yield made
    made.transfers.stop()


class Site:
    def __init__(self):
        self.desk = Desk()
        self.inbox = Inbox()
        self.transfers = workers.Transfers(self.desk.disk, self.desk.store, "laptop", self.inbox)
        self.transfers.early_uploads.may_send = lambda: True
        self.stat = self.desk.disk.user.write("a", noise(SIZE))

    def read(self, key=KEYS[0], early=True):
        self.transfers.submit([ReadJob(key, "a", self.stat, early)])
        (done,) = self.inbox.wait(1)
        return done

    def upload(self, done):
        self.transfers.submit([UploadJob(done.key, "a", self.stat, done.content, done.body)])


def test_reading_does_not_wait_and_nothing_is_sent_twice(site):
    gate = site.desk.before = Gate("put")
    done = site.read()
    for _ in range(early.AT_ONCE):
        assert gate.waiting.acquire(timeout=DEADLINE)
    assert not gate.waiting.acquire(blocking=False)
    site.upload(done)
    gate.opened.set()
    (sent,) = site.inbox.wait(1)
    assert isinstance(sent, Uploaded)
    assert set(site.desk.store.stored) >= {row.id for row in done.body.chunks}
    assert sum(site.desk.asked("put")) == len(site.desk.store.stored)
    assert 0 < sent.sent < SIZE
    assert site.transfers.progress().read == 2 * SIZE - (SIZE - sent.sent)


def test_what_the_server_has_is_not_sent(site):
    site.upload(site.read())
    site.inbox.wait(1)
    before = sum(site.desk.asked("put"))
    site.read(KEYS[1])
    assert sum(site.desk.asked("put")) == before


def test_nothing_goes_early_where_nothing_may_be_sent(site):
    site.transfers.early_uploads.may_send = lambda: False
    done = site.read()
    assert site.desk.store.requests == []
    site.upload(done)
    (sent,) = site.inbox.wait(1)
    assert sent.sent == SIZE


def test_nothing_goes_early_of_what_the_server_knows(site):
    site.read(early=False)
    assert site.desk.store.requests == []


def test_nothing_goes_early_of_a_short_file(site):
    site.stat = site.desk.disk.user.write("a", noise(MAX_CHUNK))
    site.read()
    assert site.desk.store.requests == []


def test_what_failed_early_is_sent_later(site):
    gate = site.desk.before = Gate("put")
    gate.error = NetworkError("gone")
    gate.opened.set()
    done = site.read()
    site.transfers.wait_early(KEYS[0])
    asked = len(site.desk.asked("put"))
    assert 0 < asked <= early.AT_ONCE
    gate.error = None
    site.upload(done)
    (sent,) = site.inbox.wait(1)
    assert sent.sent == SIZE


def test_an_end_breaks_off_what_is_under_way(site):
    gate = site.desk.before = Gate("put")
    gate.error = NetworkError("closed")
    site.upload(site.read())
    assert gate.waiting.acquire(timeout=DEADLINE)
    close = site.desk.store.close
    site.desk.store.close = lambda: (gate.opened.set(), close())
    site.transfers.stop()
    assert site.inbox.results == []
