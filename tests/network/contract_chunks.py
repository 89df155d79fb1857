"""What every chunk store must keep to. A test class for one gives the fixture `store`, empty and closed afterwards, and
`spoil` and `lose`, which do that to a chunk on the server."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from ssyncd.content.chunks import chunk_id
from ssyncd.errors import ChunkMissingError, ContentError, NetworkError, RefusedError, SsyncdError

NOISE = random.Random(5).randbytes(1 << 20)
TEXT = b"a line of text\n" * 10_000


def named(*plains):
    return [(chunk_id(plain), plain) for plain in plains]


def put(store, chunks):
    return list(store.put(chunks))


class ChunkStoreContract:
    def test_what_was_put_comes_back_in_the_order_asked_for(self, store):
        chunks = named(b"milk", TEXT, NOISE[: store.max_chunk // 2], b"x")
        assert put(store, chunks) == [id for id, _ in chunks]
        ids = [id for id, _ in reversed(chunks)]
        assert list(store.get(ids)) == list(reversed(chunks))

    def test_it_goes_on_another_way(self, store):
        (chunk,) = named(b"milk")
        put(store, [chunk])
        store.renew()
        assert list(store.get([chunk[0]])) == [chunk]

    def test_one_chunk_can_be_asked_for_twice(self, store):
        (chunk,) = named(b"milk")
        put(store, [chunk])
        assert list(store.get([chunk[0], chunk[0]])) == [chunk, chunk]

    def test_nothing_asked_is_nothing_answered(self, store):
        assert store.missing([]) == set()
        assert list(store.get([])) == []
        assert put(store, []) == []

    def test_each_is_told_of_once_it_is_there(self, store):
        chunks = named(*(NOISE[n : n + store.max_chunk // 2] for n in range(4)))
        for id in store.put(chunks):
            assert store.missing([id]) == set()

    def test_missing_names_just_those_that_are_not_there(self, store):
        here, gone = named(b"here", b"gone")
        assert store.missing([here[0], gone[0]]) == {here[0], gone[0]}
        put(store, [here])
        assert store.missing([here[0], gone[0]]) == {gone[0]}

    def test_checking_names_those_that_are_not_there(self, store):
        here, gone = named(NOISE[:5000], b"gone")
        put(store, [here])
        assert store.check([here[0], gone[0], here[0]]) == {gone[0]}
        assert store.check([]) == set()

    def test_what_was_spoiled_is_found_by_checking_and_mended_by_putting_it_again(self, store, spoil):
        chunks = named(NOISE[:5000], TEXT, b"sound")
        put(store, chunks)
        spoil(chunks[0][0])
        spoil(chunks[1][0])
        with pytest.raises(ContentError):
            list(store.get([chunks[0][0]]))
        assert store.check([id for id, _ in chunks]) == {chunks[0][0], chunks[1][0]}
        assert next(store.get([chunks[2][0]])) == chunks[2]
        put(store, chunks[:2])
        assert store.check([id for id, _ in chunks]) == set()
        assert list(store.get([id for id, _ in chunks])) == chunks

    def test_what_was_lost_is_mended_by_putting_it_again(self, store, lose):
        chunks = named(NOISE[:5000], TEXT)
        put(store, chunks)
        lose(chunks[0][0])
        assert store.check([id for id, _ in chunks]) == {chunks[0][0]}
        put(store, chunks)
        assert list(store.get([id for id, _ in chunks])) == chunks

    def test_many_ids_can_be_asked_for(self, store):
        ids = [chunk_id(b"%d" % n) for n in range(10_500)]
        assert store.missing(ids) == set(ids)

    def test_putting_again_is_harmless(self, store):
        chunks = named(b"milk", TEXT)
        put(store, chunks)
        put(store, chunks)
        assert list(store.get([id for id, _ in chunks])) == chunks

    def test_a_missing_chunk_is_told_after_those_before_it(self, store):
        here, gone, later = named(b"here", b"gone", b"later")
        put(store, [here, later])
        answer = store.get([here[0], gone[0], later[0]])
        assert next(answer) == here
        with pytest.raises(ChunkMissingError) as caught:
            next(answer)
        assert caught.value.chunk_id == gone[0]

    def test_a_full_sized_chunk_is_taken(self, store):
        whole = random.Random(6).randbytes(store.max_chunk)
        put(store, named(whole))
        assert [plain for _, plain in store.get([chunk_id(whole)])] == [whole]

    def test_a_chunk_over_the_limit_is_refused(self, store):
        with pytest.raises(SsyncdError):
            put(store, named(random.Random(7).randbytes(store.max_chunk * 5)))

    def test_views_of_bytes_can_be_put(self, store):
        view = memoryview(TEXT)[5:5000]
        put(store, [(chunk_id(view), view)])
        assert [plain for _, plain in store.get([chunk_id(view)])] == [bytes(view)]

    def test_an_answer_can_be_left_half_read(self, store):
        chunks = named(b"milk", NOISE[: store.max_chunk // 2], TEXT)
        put(store, chunks)
        for _ in range(5):
            answer = store.get([id for id, _ in chunks])
            assert next(answer) == chunks[0]
            answer.close()
        assert list(store.get([chunks[1][0]])) == [chunks[1]]

    def test_many_threads_can_use_it(self, store):
        plains = [NOISE[n * 1000 : n * 1000 + 5000] for n in range(40)]

        def carry(plain):
            (chunk,) = named(plain)
            put(store, [chunk])
            assert store.missing([chunk[0]]) == set()
            return list(store.get([chunk[0]])) == [chunk]

        with ThreadPoolExecutor(6) as threads:
            assert all(threads.map(carry, plains))

    def test_a_closed_store_says_so(self, store):
        store.close()
        with pytest.raises(NetworkError):
            store.missing([chunk_id(b"milk")])
        store.close()


class VerifyingContract:
    """For stores behind which somebody checks what comes."""

    def test_bytes_of_another_chunk_are_refused(self, store):
        with pytest.raises(RefusedError):
            put(store, [(chunk_id(b"milk"), b"honey")])
        assert store.missing([chunk_id(b"milk")]) == {chunk_id(b"milk")}
