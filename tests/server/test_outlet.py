"""Chunks that go from their files straight to the connection."""

import asyncio
import errno
import io
import logging
import os
import struct
from pathlib import Path

import aiohttp
import pytest

from ssyncd.server import outlet
from ssyncd.server.blobs import directory
from tests.server.running import Running, told
from tests.server.test_chunks_api import call, ids_of, record, until

PLAIN = [os.urandom(size) for size in (1, 300_000, 20, 2_000_000, 900_000, 5)]


def count_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of files that are sent, from now on."""
    sent: list[str] = []
    real = outlet.Outlet.send

    async def send(self: outlet.Outlet, parts: list[outlet.Part]) -> None:
        sent.extend(part.path for part in parts)
        await real(self, parts)

    monkeypatch.setattr(outlet.Outlet, "send", send)
    return sent


async def put(server: Running, plain: list[bytes]) -> None:
    assert (await call(server, "put", io.BytesIO(b"".join(map(record, plain))))).status == 200


def unfit(*_: object) -> int:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


@pytest.mark.parametrize("way", ["at once", "not in memory", "no sendfile"])
def test_what_was_put_a_short_while_ago_is_sent_as_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "not in memory":
        monkeypatch.setattr(outlet, "_is_in_memory", lambda *_: False)
    if way == "no sendfile":
        monkeypatch.setattr(outlet.os, "sendfile", unfit)
    sent = count_files(monkeypatch)

    async def story(server: Running) -> None:
        await put(server, PLAIN)
        absent = ids_of(b"absent")[0]
        answer = await call(server, "get", b"".join([*ids_of(*PLAIN), absent]))
        assert answer.body == b"".join(map(record, PLAIN)) + absent + b"\xff" * 4

    told(tmp_path, story)
    assert len(sent) == len(PLAIN)


def test_what_was_put_long_ago_is_read_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "RECENT", 2)
    sent = count_files(monkeypatch)

    async def story(server: Running) -> None:
        await put(server, PLAIN)
        answer = await call(server, "get", b"".join(ids_of(*PLAIN)))
        assert answer.body == b"".join(map(record, PLAIN))

    told(tmp_path, story)
    assert len(sent) <= 2


def test_a_client_of_http_1_0_gets_no_chunked_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = count_files(monkeypatch)

    async def story(server: Running) -> None:
        await put(server, PLAIN)
        reader, writer = await asked(server, "HTTP/1.0", *ids_of(*PLAIN))
        assert (await reader.read()).partition(b"\r\n\r\n")[2] == b"".join(map(record, PLAIN))
        writer.close()

    told(tmp_path, story)
    assert sent == []


async def asked(server: Running, version: str, *ids: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that has asked for chunks and reads nothing by itself."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1000)
    head = f"POST /1/ssyncd/notes/chunks/get {version}\r\nHost: x\r\nX-Simperium-Token: {server.token}\r\n"
    writer.write(f"{head}Content-Length: {32 * len(ids)}\r\n\r\n".encode() + b"".join(ids))
    return reader, writer


def test_who_reads_slowly_gets_all_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    plain = [os.urandom(1_000_000) for _ in range(30)]

    async def story(server: Running) -> None:
        for at in range(0, 30, 5):
            await put(server, plain[at : at + 5])
        reader, writer = await asked(server, "HTTP/1.1", *ids_of(*plain))
        await reader.readuntil(b"\r\n\r\n")
        assert (await call(server, "get", ids_of(plain[3])[0])).body == record(plain[3])
        got = bytearray()
        while size := int(await reader.readline(), 16):
            got += await reader.readexactly(size)
            assert await reader.readexactly(2) == b"\r\n"
        assert got == b"".join(map(record, plain))
        writer.close()

    told(tmp_path, story)


def test_a_client_that_goes_away_leaves_no_descriptor_open(tmp_path: Path) -> None:
    plain = [os.urandom(1_000_000) for _ in range(20)]

    async def story(server: Running) -> None:
        for at in range(0, 20, 5):
            await put(server, plain[at : at + 5])
        before = descriptors()
        for _ in range(3):
            reader, writer = await asked(server, "HTTP/1.1", *ids_of(*plain))
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
        await until(lambda: descriptors() <= before)

    told(tmp_path, story)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("left", [None, 10], ids=["gone", "short"])
def test_a_file_that_somebody_has_harmed_is_told_of_as_it_is(tmp_path: Path, left: int | None) -> None:
    async def story(server: Running) -> None:
        await put(server, PLAIN)
        ids = ids_of(*PLAIN)
        path = file_of(tmp_path, ids[1])
        stored = path.read_bytes()
        path.unlink()
        if left is not None:
            path.write_bytes(stored[:left])
        mark = b"\xff" * 4 if left is None else struct.pack(">I", left) + stored[:left]
        answer = await call(server, "get", b"".join(ids))
        assert answer.body == record(PLAIN[0]) + ids[1] + mark + b"".join(map(record, PLAIN[2:]))

    told(tmp_path, story)


def file_of(root: Path, id: bytes) -> Path:
    [path] = [path for path in root.rglob(id.hex()[2:]) if path.parent.name == id.hex()[:2]]
    return path


def test_a_file_that_becomes_shorter_in_that_moment_breaks_the_answer_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(server: Running) -> None:
        await put(server, PLAIN)
        harmed = file_of(tmp_path, ids_of(PLAIN[1])[0])
        before = harmed.stat().st_size
        monkeypatch.setattr(directory, "_size", lambda path: before if path == str(harmed) else os.stat(path).st_size)
        os.truncate(harmed, 10)
        with pytest.raises(aiohttp.ClientError):
            await call(server, "get", b"".join(ids_of(*PLAIN)))
        assert (await call(server, "get", ids_of(PLAIN[3])[0])).body == record(PLAIN[3])

    told(tmp_path, story)
    [warning] = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert "shorter" in warning


@pytest.mark.parametrize("error", [errno.EHOSTUNREACH, errno.EIO])
def test_what_cannot_be_sent_breaks_the_answer_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def fail(*_: object) -> int:
        raise OSError(error, os.strerror(error))

    async def story(server: Running) -> None:
        await put(server, PLAIN)
        with monkeypatch.context() as patch:
            patch.setattr(outlet.os, "sendfile", fail)
            with pytest.raises(aiohttp.ClientError):
                await call(server, "get", b"".join(ids_of(*PLAIN)))
        assert (await call(server, "get", ids_of(PLAIN[3])[0])).body == record(PLAIN[3])

    told(tmp_path, story)


def test_nothing_goes_past_encryption() -> None:
    class Transport:
        def get_extra_info(self, name: str) -> object:
            assert name == "sslcontext"
            return object()

    class Request:
        transport = Transport()
        version = aiohttp.HttpVersion11

    with outlet.outlet(Request(), None) as way:  # type: ignore[arg-type]
        assert way is None
