import errno
import os
import time
from pathlib import Path

import pytest

from ssyncd.errors import NoSpaceError, StateError, UnreadableError, UsageError
from ssyncd.server.blobs import directory
from ssyncd.server.blobs.base import Blobs, Scope
from ssyncd.server.blobs.directory import DirectoryBlobs
from ssyncd.server.blobs.opening import open_blobs
from tests.server.contract_blobs import HERE, Age, BlobsContract, a_chunk, in_pieces, put

LIMIT = 1024 * 1024


class OldFiles(Age):
    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, _blobs: Blobs, _scope: Scope, ids: list[bytes]) -> float:
        now = time.time()
        for chunk in ids:
            os.utime(file_of(self.root, chunk), (now - 86_400, now - 86_400))
        return now - 3600


def file_of(root: Path, chunk: bytes) -> Path:
    return root / HERE.user / HERE.bucket / chunk.hex()[:2] / chunk.hex()[2:]


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path, LIMIT)


class TestDirectoryBlobs(BlobsContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> DirectoryBlobs:
        return DirectoryBlobs(tmp_path, LIMIT)

    @pytest.fixture
    def age(self, tmp_path: Path) -> OldFiles:
        return OldFiles(tmp_path)


@pytest.mark.parametrize("count", [1, 100])
def test_a_request_is_flushed_once_before_anything_is_in_its_place(
    tmp_path: Path, blobs: DirectoryBlobs, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    flushed = []

    def flush(folder: Path, names: list[str]) -> None:
        assert sorted(os.listdir(folder)) == sorted(names)
        assert blobs.scopes() == []
        flushed.append(len(names))

    monkeypatch.setattr(directory, "flush", flush)
    put(blobs, HERE, *(b"%d" % number for number in range(count)))
    assert flushed == [count]
    assert os.listdir(tmp_path / "incoming") == []


def test_few_and_many_files_are_really_flushed(blobs: DirectoryBlobs) -> None:
    assert put(blobs, HERE, b"one")
    assert len(put(blobs, HERE, *(b"%d" % number for number in range(50)))) == 50


def test_after_a_crash_between_flush_and_rename_opening_finishes_the_work(
    tmp_path: Path, blobs: DirectoryBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(*_: Path) -> None:
        raise OSError(errno.EIO, "the power is gone")

    monkeypatch.setattr(blobs, "place", power_cut)
    with pytest.raises(UnreadableError):
        put(blobs, HERE, b"x", b"y")
    again = DirectoryBlobs(tmp_path, LIMIT)
    assert again.missing(HERE, [a_chunk(b"x")[0], a_chunk(b"y")[0]]) == []
    assert os.listdir(tmp_path / "incoming") == []


@pytest.mark.parametrize("content", [b"", b"\x00half", b"\x01\x28\xb5"])
def test_after_a_crash_an_unfinished_chunk_is_gone(tmp_path: Path, blobs: DirectoryBlobs, content: bytes) -> None:
    chunk = a_chunk(b"half a chunk")[0]
    (blobs.incoming / f"{HERE.user},notes,{chunk.hex()},1-1").write_bytes(content)
    (blobs.incoming / "no chunk at all").write_bytes(content)
    again = DirectoryBlobs(tmp_path, LIMIT)
    assert again.missing(HERE, [chunk]) == [chunk]
    assert os.listdir(tmp_path / "incoming") == []


def test_a_full_disk_is_named_and_leaves_nothing_behind(
    tmp_path: Path, blobs: DirectoryBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    upload = blobs.upload(HERE)
    upload.add([in_pieces(b"x")])
    monkeypatch.setattr(directory, "_write", full)
    with pytest.raises(NoSpaceError, match="No space left"):
        upload.add([in_pieces(b"y")])
    upload.abort()
    assert os.listdir(tmp_path / "incoming") == []


def test_a_directory_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnreadableError, match="file"):
        DirectoryBlobs(tmp_path / "file", LIMIT)


def test_a_server_whose_chunk_directory_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "chunks").write_bytes(b"")
    with pytest.raises(StateError, match="chunks"):
        open_blobs(tmp_path, None, LIMIT)


def test_foreign_files_in_the_store_are_no_chunks(tmp_path: Path, blobs: DirectoryBlobs) -> None:
    ids = put(blobs, HERE, b"x")
    (file_of(tmp_path, ids[0]).parent / ".directory").write_bytes(b"")
    assert list(blobs.ids(HERE)) == ids


@pytest.mark.parametrize(("url", "text"), [("s3://bucket", "not built yet"), ("what://ever", "neither")])
def test_a_store_that_is_not_built_is_refused(tmp_path: Path, url: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        open_blobs(tmp_path, url, LIMIT)


def test_another_directory_can_be_named(tmp_path: Path) -> None:
    put(open_blobs(tmp_path, f"file:{tmp_path}/elsewhere", LIMIT), HERE, b"x")
    assert (tmp_path / "elsewhere" / HERE.user).is_dir()
