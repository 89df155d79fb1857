"""What every chunk storage promises. A suite gives `blobs` and `clock` fixtures."""

import os
from pathlib import Path

import pytest
from blake3 import blake3

from ssyncd.content.compression import seal
from ssyncd.server.blobs.base import Blobs, Scope

HERE = Scope("0" * 32, "ssyncd", "notes")
FUTURE = 2.0**40


def a_chunk(plain: bytes) -> tuple[bytes, bytes]:
    return blake3(plain).digest(), seal(plain)


def in_pieces(plain: bytes, size: int = 1000) -> tuple[bytes, list[memoryview]]:
    """As it comes from the network."""
    chunk, sealed = a_chunk(plain)
    return chunk, [memoryview(sealed)[at : at + size] for at in range(0, len(sealed), size)]


def put(blobs: Blobs, scope: Scope, *plain: bytes) -> list[bytes]:
    chunks = [in_pieces(one) for one in plain]
    upload = blobs.upload(scope)
    upload.add(chunks)
    upload.commit()
    return [chunk for chunk, _ in chunks]


class BlobsContract:
    def test_what_was_put_comes_back(self, blobs: Blobs) -> None:
        plain = [b"", b"x", b"text " * 1000, os.urandom(100_000)]
        ids = put(blobs, HERE, *plain)
        assert [blobs.get(HERE, chunk) for chunk in ids] == [seal(one) for one in plain]

    def test_more_pieces_than_a_system_call_takes_come_back(self, blobs: Blobs) -> None:
        plain = os.urandom(5000)
        upload = blobs.upload(HERE)
        upload.add([in_pieces(plain, 1)])
        upload.commit()
        assert blobs.get(HERE, a_chunk(plain)[0]) == seal(plain)

    def test_recent_ones_are_files_that_hold_nothing_else(self, blobs: Blobs) -> None:
        plain = [os.urandom(1000 + number) for number in range(5)]
        ids = put(blobs, HERE, *plain)
        found = list(blobs.recent(HERE, [*ids[:3], a_chunk(b"absent")[0], ids[4]]))
        assert found == [] or len(found) == 3
        for (path, size), one in zip(found, plain, strict=False):
            assert Path(path).read_bytes() == seal(one)
            assert size == len(seal(one))
        elsewhere = Scope(HERE.user, HERE.app, "other")
        assert list(blobs.recent(elsewhere, ids)) == []
        blobs.remove(HERE, ids[0], FUTURE)
        blobs.discard(HERE, ids[1], seal(plain[1]))
        assert list(blobs.recent(HERE, ids[:1])) == list(blobs.recent(HERE, ids[1:2])) == []
        assert len(list(blobs.recent(HERE, ids[2:]))) == len(found)

    def test_nothing_is_there_before_commit_or_after_abort(self, blobs: Blobs) -> None:
        chunk = a_chunk(b"x")[0]
        upload = blobs.upload(HERE)
        upload.add([in_pieces(b"x")])
        assert blobs.get(HERE, chunk) is None
        assert blobs.missing(HERE, [chunk]) == [chunk]
        upload.abort()
        upload.commit()
        assert blobs.get(HERE, chunk) is None

    def test_abort_after_commit_is_harmless(self, blobs: Blobs) -> None:
        upload = blobs.upload(HERE)
        upload.add([in_pieces(b"x")])
        upload.commit()
        upload.abort()
        assert blobs.missing(HERE, [a_chunk(b"x")[0]]) == []

    def test_putting_again_is_harmless_within_a_request_and_across(self, blobs: Blobs) -> None:
        put(blobs, HERE, b"x", b"x", b"y")
        ids = put(blobs, HERE, b"y", b"x")
        assert blobs.missing(HERE, ids) == []
        assert sorted(blobs.ids(HERE)) == sorted(ids)

    def test_only_what_is_stored_like_that_is_discarded(self, blobs: Blobs) -> None:
        x, y = put(blobs, HERE, b"x", b"y")
        blobs.discard(HERE, x, seal(b"what somebody has just put over it"))
        blobs.discard(HERE, y, seal(b"y"))
        blobs.discard(HERE, y, seal(b"y"))
        assert blobs.get(HERE, x) == seal(b"x")
        assert blobs.missing(HERE, [x, y]) == [y]

    def test_two_uploads_of_one_chunk_at_once_both_succeed(self, blobs: Blobs) -> None:
        first, second = blobs.upload(HERE), blobs.upload(HERE)
        first.add([in_pieces(b"x")])
        second.add([in_pieces(b"x")])
        first.commit()
        second.commit()
        assert blobs.get(HERE, a_chunk(b"x")[0]) == a_chunk(b"x")[1]

    def test_missing_keeps_the_order_and_names_twice_what_is_asked_twice(self, blobs: Blobs) -> None:
        there = put(blobs, HERE, *(b"%d" % number for number in range(1200)))
        absent = [blake3(b"absent %d" % number).digest() for number in range(3)]
        asked = [absent[1], *there, absent[0], absent[1], absent[2]]
        assert blobs.missing(HERE, asked) == [absent[1], absent[0], absent[1], absent[2]]
        assert blobs.missing(HERE, []) == []

    @pytest.mark.parametrize(
        "other",
        [HERE._replace(user="1" * 32), HERE._replace(app="other"), HERE._replace(bucket="tags"), HERE._replace(bucket="NOTES")],
    )  # fmt: skip
    def test_a_stranger_with_the_hash_gets_nothing(self, blobs: Blobs, other: Scope) -> None:
        ids = put(blobs, HERE, b"secret")
        assert blobs.get(other, ids[0]) is None
        assert blobs.missing(other, ids) == ids

    @pytest.mark.parametrize("bucket", [".", "..", "...", ".hidden", "a%2Fb", "%2E%2E", "x" * 64, "-"])
    def test_any_name_of_a_bucket_will_do(self, blobs: Blobs, bucket: str) -> None:
        scope = HERE._replace(bucket=bucket)
        ids = put(blobs, scope, b"x")
        assert blobs.missing(scope, ids) == []
        assert blobs.scopes() == [scope]
        assert list(blobs.ids(scope)) == ids

    def test_usage_is_of_one_account_in_all_its_apps(self, blobs: Blobs) -> None:
        put(blobs, HERE, os.urandom(1000))
        put(blobs, HERE._replace(app="other"), os.urandom(500))
        put(blobs, HERE._replace(user="1" * 32), os.urandom(200))
        assert blobs.usage(HERE.user) == 1001 + 501
        assert blobs.usage("2" * 32) == 0

    def test_only_what_is_old_is_removed(self, blobs: Blobs) -> None:
        (chunk,) = put(blobs, HERE, b"x")
        assert not blobs.remove(HERE, chunk, 1.0)
        assert blobs.get(HERE, chunk)
        assert blobs.remove(HERE, chunk, FUTURE)
        assert not blobs.remove(HERE, chunk, FUTURE)
        assert blobs.get(HERE, chunk) is None

    def test_what_was_said_to_be_there_is_young_again(self, blobs: Blobs, age: "Age") -> None:
        asked, other = put(blobs, HERE, b"asked", b"other")
        before = age(blobs, HERE, [asked, other])
        assert blobs.missing(HERE, [asked]) == []
        assert not blobs.remove(HERE, asked, before)
        assert blobs.remove(HERE, other, before)

    def test_an_unknown_scope_is_empty(self, blobs: Blobs) -> None:
        assert list(blobs.ids(HERE)) == []
        assert blobs.scopes() == []


class Age:
    """Makes chunks a day old; a time that is later than theirs."""

    def __call__(self, _blobs: Blobs, _scope: Scope, _ids: list[bytes]) -> float:
        raise NotImplementedError
