from pathlib import Path
from typing import Any

import orjson
import pytest

from ssyncd.server.blobs.base import Scope
from ssyncd.server.blobs.memory import MemoryBlobs
from ssyncd.server.collector import collect
from ssyncd.server.storage.memory import MemoryChanges
from tests.server.contract_blobs import HERE, put
from tests.server.contract_storage import Writing

OLD = 2000.0


class Server:
    """Storage and chunks that are all old, unless asked for."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.blobs = MemoryBlobs(lambda: self.now)
        self.storage = MemoryChanges()
        bucket = self.storage.bucket(*HERE)
        self.writing = Writing(self.storage, bucket)

    def version(self, key: str, content: Any) -> None:
        row = self.writing.row(key)
        self.storage.append([row._replace(data=orjson.dumps({"content": content}))], [])

    def left(self, *ids: bytes) -> list[bool]:
        return [self.blobs.get(HERE, chunk) is not None for chunk in ids]


@pytest.fixture
def server() -> Server:
    return Server()


def rows(*ids: bytes) -> list[list[Any]]:
    return [[chunk.hex(), 1] for chunk in ids]


def test_what_no_version_names_goes(server: Server) -> None:
    kept, lost = put(server.blobs, HERE, b"kept", b"lost")
    server.version("a", {"chunks": rows(kept)})
    assert collect(server.storage, server.blobs, OLD) == 1
    assert server.left(kept, lost) == [True, False]


def test_what_an_older_or_removed_version_names_stays(server: Server) -> None:
    first, second = put(server.blobs, HERE, b"1", b"2")
    server.version("a", {"chunks": rows(first)})
    server.version("a", {"chunks": rows(second)})
    server.writing.put("a", live=False)
    assert collect(server.storage, server.blobs, OLD) == 0
    assert server.left(first, second) == [True, True]


def test_a_list_is_read_although_its_rows_run_on_from_chunk_to_chunk(server: Server) -> None:
    ids = put(server.blobs, HERE, *(b"%d" % number for number in range(10)))
    plain = b"".join(chunk + (1).to_bytes(4, "big") for chunk in ids)
    parts = put(server.blobs, HERE, plain[:50], plain[50:101], plain[101:])
    (lost,) = put(server.blobs, HERE, b"lost")
    server.version("a", {"list": rows(*parts)})
    assert collect(server.storage, server.blobs, OLD) == 1
    assert server.left(lost, *parts, *ids) == [False] + [True] * 13


def test_nothing_goes_from_a_bucket_whose_list_cannot_be_read(server: Server) -> None:
    lost, part = put(server.blobs, HERE, b"lost", b"part")
    server.version("a", {"list": rows(part, bytes(32))})
    assert collect(server.storage, server.blobs, OLD) == 0
    assert server.left(lost, part) == [True, True]


def test_what_is_young_or_was_asked_for_stays(server: Server) -> None:
    asked, lost = put(server.blobs, HERE, b"asked", b"lost")
    server.now = OLD
    (young,) = put(server.blobs, HERE, b"young")
    server.blobs.missing(HERE, [asked])
    assert collect(server.storage, server.blobs, OLD) == 1
    assert server.left(asked, young, lost) == [True, True, False]


def test_chunks_of_a_bucket_that_is_gone_go(server: Server) -> None:
    elsewhere = Scope("f" * 32, "ssyncd", "notes")
    ids = put(server.blobs, elsewhere, b"x")
    assert collect(server.storage, server.blobs, OLD) == 1
    assert server.blobs.missing(elsewhere, ids) == ids


def test_another_bucket_s_versions_keep_nothing(server: Server) -> None:
    tags = HERE._replace(bucket="tags")
    server.storage.bucket(*tags)
    (chunk,) = put(server.blobs, tags, b"x")
    server.version("a", {"chunks": rows(chunk)})
    assert collect(server.storage, server.blobs, OLD) == 1


@pytest.mark.parametrize(
    "content",
    [None, 1, "x", [], {"chunks": 1}, {"chunks": [1, None, [], ["zz", 1], [1, 1], [None]]}, {"list": {}}, {"list": ["a"]}],
)  # fmt: skip
def test_objects_of_other_applications_name_nothing_and_hurt_nothing(server: Server, content: Any) -> None:
    (chunk,) = put(server.blobs, HERE, b"x")
    server.version("a", content)
    assert collect(server.storage, server.blobs, OLD) == 1
    assert server.left(chunk) == [False]


def test_it_works_on_the_real_stores(tmp_path: Path) -> None:
    from ssyncd.server.blobs.directory import DirectoryBlobs
    from ssyncd.server.storage.opening import open_database
    from ssyncd.server.storage.sqlite import SqliteChanges

    blobs, storage = DirectoryBlobs(tmp_path / "chunks", 1000), SqliteChanges(open_database(tmp_path, None))
    kept, lost = put(blobs, HERE, b"kept", b"lost")
    writing = Writing(storage, storage.bucket(*HERE))
    storage.append([writing.row("a")._replace(data=orjson.dumps({"content": {"chunks": rows(kept)}}))], [])
    assert collect(storage, blobs, 2.0**40) == 1
    assert list(blobs.ids(HERE)) == [kept]
    assert blobs.missing(HERE, [lost]) == [lost]
    storage.close()
