import json
import threading

import pytest
import zstandard
from pybase64 import b64encode

from ssyncd.content.chunks import MAX_CHUNK, chunk_id
from ssyncd.content.compression import seal
from ssyncd.errors import ChunkMissingError, ContentError, NetworkError, RefusedError, RemoteError, SignInError
from ssyncd.network.chunks import HttpChunks, ObjectChunks, Patience, RetryingChunks, open_store
from ssyncd.network.http import HttpServer, refuse
from ssyncd.network.login import Account, Extensions
from ssyncd.network.memory_chunks import MemoryChunks
from tests.network.contract_chunks import NOISE, ChunkStoreContract, VerifyingContract, named, put
from tests.network.servers import Reply, fake_server, offered, real_server

PATIENCE = Patience()
MILK = chunk_id(b"milk")
OURS = Extensions(chunks=True, chunk_limit=MAX_CHUNK, request_limit=32 << 20)
HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.fixture
def ours(tmp_path):
    with real_server(tmp_path) as account:
        yield account


@pytest.fixture
def plain(tmp_path):
    with real_server(tmp_path, plain=True) as account:
        yield account


def flipped(sealed):
    return bytes([*sealed[:-1], sealed[-1] ^ 1])


class InMemory:
    @pytest.fixture
    def stored(self):
        return {}

    @pytest.fixture
    def spoil(self, stored):
        return lambda id: stored.update({id: flipped(stored[id])})

    @pytest.fixture
    def lose(self, stored):
        return stored.pop


class TestMemoryChunks(InMemory, ChunkStoreContract, VerifyingContract):
    @pytest.fixture
    def store(self, stored):
        return MemoryChunks(stored, max_chunk=1 << 20)


class TestRetryingChunks(InMemory, ChunkStoreContract):
    @pytest.fixture
    def store(self, stored):
        """Every other request breaks off."""
        count = iter(range(1_000_000))

        def stumble(name):
            if inner.closing or next(count) % 2 == 0:
                raise NetworkError(f"{name} broke off")

        inner = MemoryChunks(stored, max_chunk=1 << 20, before=stumble)
        inner.closing = False
        return RetryingChunks(inner, lambda _: False, lambda: 0.5, Patience(tries=50))


class TestHttpChunks(ChunkStoreContract, VerifyingContract):
    @pytest.fixture
    def file(self, store, tmp_path):
        """Where a chunk lies on the server."""
        return lambda id: next((tmp_path / "chunks").rglob(f"{id.hex()[:2]}/{id.hex()[2:]}"))

    @pytest.fixture
    def spoil(self, file):
        return lambda id: file(id).write_bytes(flipped(file(id).read_bytes()))

    @pytest.fixture
    def lose(self, file):
        return lambda id: file(id).unlink()

    @pytest.fixture
    def store(self, ours, request):
        store = open_store(ours, request.node.name, offered(ours.url))
        assert isinstance(store, HttpChunks)
        yield store
        store.close()


class TestObjectChunks(ChunkStoreContract):
    @pytest.fixture
    def spoil(self, store):
        """Another client of the account writes something else there."""
        value = json.dumps({"data": b64encode(seal(b"something else")).decode()}).encode()
        path = lambda id: f"{store._path}i/{id.hex()}?replace=1"  # noqa: E731
        return lambda id: refuse(store._server.ask("POST", path(id), value, {"Content-Type": "application/json"}))

    @pytest.fixture
    def lose(self, store):
        return lambda id: refuse(store._server.ask("DELETE", f"{store._path}i/{id.hex()}"))

    @pytest.fixture
    def store(self, plain, request):
        store = open_store(plain, request.node.name, offered(plain.url))
        assert isinstance(store, ObjectChunks)
        yield store
        store.close()

    def test_the_listing_is_read_page_by_page(self, store, plain, request, monkeypatch):
        monkeypatch.setattr("ssyncd.network.chunks.INDEX_PAGE", 3)
        chunks = named(*(b"%d" % n for n in range(10)))
        put(store, chunks)
        other = open_store(plain, request.node.name, Extensions())
        assert other.missing([id for id, _ in chunks] + [MILK]) == {MILK}
        other.close()


def http_store(server, extensions=OURS):
    return HttpChunks(HttpServer(server.url, "token"), "ssyncd", "notes", extensions)


def object_store(server):
    return ObjectChunks(HttpServer(server.url, "token"), "ssyncd", "notes.chunks", 512 * 1024)


def record(id, sealed, length=None):
    return id + (len(sealed) if length is None else length).to_bytes(4, "big") + sealed


@pytest.fixture
def answering():
    """Runs a question to a store, made by `make`, against a server that always gives one reply."""

    def ask(reply, make, question):
        with fake_server(lambda _: reply) as server:
            store = make(server)
            try:
                return question(store)
            finally:
                store.close()

    return ask


QUESTIONS = {
    "missing": lambda store: store.missing([MILK]),
    "check": lambda store: store.check([MILK]),
    "put": lambda store: put(store, [(MILK, b"milk")]),
    "get": lambda store: list(store.get([MILK])),
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("make", [http_store, object_store])
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(401, b'{"msg": "Token invalid", "code": 401}'), SignInError),
        (Reply(403, b'{"msg": "no", "code": 403}'), RefusedError),
        (Reply(507, b'{"msg": "no space", "code": 507}'), RefusedError),
        (Reply(429, b"{}", {"Retry-After": "7"}), NetworkError),
        (Reply(503, b"later"), NetworkError),
        (Reply(502, b"<html>Bad Gateway</html>", HTML), NetworkError),
        (Reply(200, b"<html>Welcome to our hotel</html>", HTML), RemoteError),
        (Reply(302, b"", {"Location": "http://127.0.0.1:1/"}), RemoteError),
        (Reply(200, b"{", promised=500), NetworkError),
    ],
)
def test_what_the_server_says_becomes_an_error_of_ours(answering, question, make, reply, error):
    with pytest.raises(error) as caught:
        answering(reply, make, question)
    assert type(caught.value) is error
    if "Retry-After" in reply.headers:
        assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (record(MILK, seal(b"honey")), ContentError),
        (record(MILK, b"\x01broken"), ContentError),
        (record(MILK, b""), ContentError),
        (record(MILK, b"\x01" + zstandard.compress(bytes(100_000_000))), ContentError),
        (record(MILK, b"", 0xFFFFFFFF), ChunkMissingError),
        (record(chunk_id(b"honey"), seal(b"honey")), RemoteError),
        (record(MILK, b"", 0xFFFFFFFE), RemoteError),
        (record(MILK, seal(b"milk")) + b"more", RemoteError),
        (b"", NetworkError),
        (MILK[:7], NetworkError),
        (record(MILK, seal(b"milk"))[:-1], NetworkError),
    ],
)
def test_records_are_verified(answering, body, error):
    with pytest.raises(error) as caught:
        answering(Reply(200, body), http_store, QUESTIONS["get"])
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{}", ContentError),
        (b"[]", ContentError),
        (b'{"data": 5}', ContentError),
        (b'{"data": "*"}', ContentError),
        (b'{"data": "AAAA"}', ContentError),
        (b"no json", RemoteError),
        (b"[" * 100_000, RemoteError),
        (b'"' + b"x" * 2_000_000 + b'"', RemoteError),
    ],
)
def test_objects_are_verified(answering, body, error):
    with pytest.raises(error) as caught:
        answering(Reply(200, body), object_store, QUESTIONS["get"])
    assert type(caught.value) is error


@pytest.mark.parametrize("body", [b"x" * 31, chunk_id(b"honey"), MILK * 20_000])
def test_an_odd_list_of_missing_chunks_is_refused(answering, body):
    with pytest.raises(RemoteError):
        answering(Reply(200, body), http_store, QUESTIONS["missing"])


@pytest.mark.parametrize(
    "page",
    [
        {"index": 5},
        {},
        {"index": [], "mark": "again"},
        {"index": [{"id": MILK.hex(), "v": 1}], "mark": "again"},
    ],
)
def test_an_odd_or_endless_listing_is_refused(answering, page):
    with pytest.raises(RemoteError):
        answering(Reply(200, json.dumps(page).encode()), object_store, QUESTIONS["missing"])


def test_foreign_names_in_the_listing_are_passed_over(answering):
    page = {"index": [{"id": "readme"}, {"id": 5}, 7, {"id": "ab"}, {"id": MILK.hex()}]}
    assert answering(Reply(200, json.dumps(page).encode()), object_store, QUESTIONS["missing"]) == set()


@pytest.mark.parametrize("status", [409, 412])
def test_an_object_that_is_there_already_is_as_good_as_put(status):
    there = json.dumps({"data": b64encode(seal(b"milk")).decode()}).encode()
    with fake_server(lambda asked: Reply(200, there) if asked.method == "GET" else Reply(status)) as server:
        store = object_store(server)
        assert QUESTIONS["put"](store) == [MILK]
        store.close()
        assert len([request for request in server.requests if request.method == "POST"]) == 1


def test_requests_stay_below_the_servers_limit():
    with fake_server(lambda _: Reply(200, b"{}")) as server:
        store = http_store(server, Extensions(True, chunk_limit=100_000, request_limit=200_000))
        put(store, named(*(NOISE[n * 60_000 : (n + 1) * 60_000] for n in range(10))))
        store.close()
        assert 3 < len(server.requests) < 6
        assert max(len(request.body) for request in server.requests) <= 200_000
        assert all(request.headers["X-Simperium-Token"] == "token" for request in server.requests)


def test_a_server_that_is_not_there_is_a_network_error():
    with fake_server(lambda _: Reply()) as server:
        pass
    store = http_store(server)
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1"):
        store.missing([MILK])
    store.close()


def test_closing_ends_a_request_that_waits_for_its_answer():
    arrived, leave = threading.Event(), threading.Event()

    def stall(_):
        arrived.set()
        leave.wait(20)
        return Reply()

    with fake_server(stall) as server:
        store = http_store(server)
        caught = []

        def ask():
            try:
                store.missing([MILK])
            except NetworkError as error:
                caught.append(error)

        asking = threading.Thread(target=ask, name="test-asking")
        asking.start()
        assert arrived.wait(10)
        store.close()
        asking.join(10)
        leave.set()
        assert caught
        assert not asking.is_alive()


class Pauses:
    def __init__(self, give_up_after=100):
        self.waited = []
        self.give_up_after = give_up_after

    def __call__(self, seconds):
        self.waited.append(seconds)
        return len(self.waited) >= self.give_up_after


def retrying(failures, pauses, patience=PATIENCE, retry_after=None):
    left = list(range(failures))

    def stumble(_):
        if left:
            left.pop()
            raise NetworkError("broken off", retry_after)

    inner = MemoryChunks(before=stumble)
    return RetryingChunks(inner, pauses, lambda: 1.0, patience), inner


def test_waiting_grows_and_has_a_limit():
    pauses = Pauses()
    store, _ = retrying(6, pauses, Patience(tries=10, first=1.0, longest=8.0))
    assert store.missing([MILK]) == {MILK}
    assert pauses.waited == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_the_server_can_ask_for_more_time():
    pauses = Pauses()
    store, _ = retrying(2, pauses, retry_after=33.0)
    store.missing([MILK])
    assert pauses.waited == [33.0, 33.0]


def test_patience_ends():
    pauses = Pauses()
    store, inner = retrying(100, pauses, Patience(tries=3))
    with pytest.raises(NetworkError):
        put(store, [(MILK, b"milk")])
    assert len(inner.requests) == 3
    assert len(pauses.waited) == 2


def test_on_a_connection_that_carries_little_at_a_time_everything_arrives_in_the_end():
    sizes = []

    class Breaking(MemoryChunks):
        def put(self, chunks):
            chunks = list(chunks)
            sizes.append(sum(len(plain) for _, plain in chunks))
            if sizes[-1] > 300_000:
                raise NetworkError("broken off")
            yield from super().put(chunks)

    chunks = named(*(b"%d" % number * 50_000 for number in range(10, 90)))
    inner = Breaking()
    store = RetryingChunks(inner, lambda _: False, lambda: 0.0, Patience(tries=6))
    put(store, chunks)
    assert inner.missing([id for id, _ in chunks]) == set()
    assert sizes[:3] == [1_000_000, 500_000, 200_000]
    assert sum(sizes) < 2 * 8_000_000


class Slow(MemoryChunks):
    """So many bytes a second get through."""

    def __init__(self, speed):
        super().__init__()
        self.speed, self.time, self.took = speed, 0.0, []

    def put(self, chunks):
        chunks = list(chunks)
        self.took.append(sum(len(plain) for _, plain in chunks) / self.speed)
        self.time += self.took[-1]
        yield from super().put(chunks)


@pytest.mark.parametrize("speed", [30_000, 125_000, 1_000_000])
def test_on_a_slow_connection_no_request_takes_long(speed):
    inner = Slow(speed)
    store = RetryingChunks(inner, Pauses(), lambda: 0.0, now=lambda: inner.time)
    for first in (10, 100, 190):
        chunks = named(*(b"%03d" % number * 10_000 for number in range(first, first + 90)))
        put(store, chunks)
        assert inner.missing([id for id, _ in chunks]) == set()
    assert max(inner.took[1:]) < 3.5
    assert inner.time / len(inner.took) > 1


def test_on_a_fast_one_much_goes_at_once():
    inner = Slow(1e9)
    store = RetryingChunks(inner, Pauses(), lambda: 0.0, now=lambda: inner.time)
    for first in (100, 300, 500):
        put(store, named(*(b"%03d" % number * 30_000 for number in range(first, first + 180))))
    assert max(inner.took) * 1e9 > 8_000_000


def test_what_was_stored_before_it_broke_off_does_not_go_again():
    class Breaking(MemoryChunks):
        def put(self, chunks):
            for number, chunk in enumerate(chunks):
                if number == 2:
                    raise NetworkError("broken off")
                yield from super().put([chunk])

    chunks = named(*(b"%d" % n for n in range(7)))
    inner = Breaking()
    pauses = Pauses()
    store = RetryingChunks(inner, pauses, lambda: 0.0, Patience(tries=2))
    assert put(store, chunks) == [id for id, _ in chunks]
    assert [count for name, count in inner.requests if name == "put"] == [1] * 7
    assert len(pauses.waited) == 3


class Proxied(MemoryChunks):
    """Behind a proxy that takes no more than a million bytes at once."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def put(self, chunks):
        chunks = list(chunks)
        self.sizes.append(sum(len(plain) for _, plain in chunks))
        if self.sizes[-1] > 1_000_000:
            raise RefusedError("413 Request Entity Too Large (413)", 413)
        yield from super().put(chunks)


def test_behind_a_proxy_that_takes_little_at_once_everything_arrives_without_waiting():
    pauses, inner = Pauses(), Proxied()
    store = RetryingChunks(inner, pauses, lambda: 0.0)
    for first in (10, 100, 190):
        chunks = named(*(b"%03d" % number * 30_000 for number in range(first, first + 90)))
        put(store, chunks)
        assert inner.missing([id for id, _ in chunks]) == set()
    # And what it takes is not asked again and again.
    assert [size for size in inner.sizes if size > 1_000_000] == [1_260_000]
    assert not pauses.waited


def test_a_chunk_that_a_proxy_does_not_take_at_all_is_named_as_that():
    inner = Proxied()
    store = RetryingChunks(inner, Pauses(), lambda: 0.0)
    with pytest.raises(RefusedError, match="1100000 bytes at once are too many for the server or a proxy before it"):
        put(store, named(b"x" * 1_100_000, b"milk"))


def test_a_cancelled_pause_ends_the_request():
    pauses = Pauses(give_up_after=1)
    store, inner = retrying(100, pauses)
    with pytest.raises(NetworkError):
        list(store.get([MILK]))
    assert len(inner.requests) == 1


def test_closing_ends_a_pause():
    store, inner = retrying(100, None, Patience(first=1000.0, longest=1000.0))
    paused = threading.Event()
    inner.before = lambda _: stall()

    def stall():
        paused.set()
        raise NetworkError("broken off")

    caught = []

    def ask():
        try:
            store.missing([MILK])
        except NetworkError as error:
            caught.append(error)

    asking = threading.Thread(target=ask, name="test-asking")
    asking.start()
    assert paused.wait(10)
    store.close()
    asking.join(10)
    assert not asking.is_alive()
    assert caught


def test_a_refusal_is_not_tried_again():
    store, inner = retrying(0, Pauses())
    with pytest.raises(RefusedError):
        put(store, [(MILK, b"honey")])
    with pytest.raises(ChunkMissingError):
        list(store.get([MILK]))
    assert len(inner.requests) == 2


def test_an_answer_that_breaks_off_goes_on_where_it_was():
    class Breaking(MemoryChunks):
        def get(self, ids, wait=0.0):
            for number, found in enumerate(super().get(ids, wait)):
                if number == 2:
                    raise NetworkError("broken off")
                yield found

    chunks = named(*(b"%d" % n for n in range(7)))
    inner = Breaking()
    put(inner, chunks)
    store = RetryingChunks(inner, lambda _: False, lambda: 0.0, Patience(tries=2))
    assert list(store.get([id for id, _ in chunks])) == chunks
    assert [count for name, count in inner.requests if name == "get"] == [7, 5, 3, 1]


def test_a_chunk_that_is_on_its_way_can_be_waited_for(tmp_path):
    with real_server(tmp_path) as account:
        store, other = (open_store(account, "notes", OURS) for _ in range(2))
        chunks = named(b"milk", NOISE)
        put(store, chunks[:1])
        coming = RetryingChunks(other, lambda _: False, lambda: 0.0).get([id for id, _ in chunks], 30.0)
        assert next(coming) == chunks[0]
        putting = threading.Thread(target=put, args=(store, chunks[1:]))
        putting.start()
        assert list(coming) == chunks[1:]
        putting.join()
        for one in (store, other):
            one.close()


def test_a_strangers_chunks_are_not_there(tmp_path):
    with real_server(tmp_path) as account:
        mine = open_store(account, "notes", OURS)
        mine.put([(MILK, b"milk")])
        other = open_store(account, "photos", OURS)
        assert other.missing([MILK]) == {MILK}
        liar = open_store(Account(account.url, "ssyncd", "anna", "", "0" * 40), "notes", OURS)
        with pytest.raises(SignInError):
            liar.missing([MILK])
        for store in (mine, other, liar):
            store.close()
