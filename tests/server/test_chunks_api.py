"""Chunks over HTTP, as the client uses them."""

import asyncio
import errno
import io
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard
from blake3 import blake3

from ssyncd.content.compression import seal
from ssyncd.errors import NoSpaceError
from ssyncd.server.blobs import directory
from tests.server.running import Answer, Running, told

LIMITS = {"chunk_limit": 10_000, "request_limit": 100_000}


def ids_of(*plain: bytes) -> list[bytes]:
    return [blake3(one).digest() for one in plain]


def record(plain: bytes, *, chunk: bytes | None = None, sealed: bytes | None = None) -> bytes:
    sealed = seal(plain) if sealed is None else sealed
    return (chunk or blake3(plain).digest()) + struct.pack(">I", len(sealed)) + sealed


async def call(server: Running, path: str, body: Any, method: str = "POST", **fields: Any) -> Answer:
    return await server.call(method, f"/1/ssyncd/notes/chunks/{path}", data=body, **fields)


async def missing(server: Running, ids: Iterable[bytes], **fields: Any) -> list[bytes]:
    answer = await call(server, "missing", b"".join(ids), **fields)
    assert answer.status == 200
    body = answer.body
    return [body[at : at + 32] for at in range(0, len(body), 32)]


def test_chunks_go_up_and_down_one_by_one(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        for plain in (b"", b"x", b"text" * 1000, os.urandom(9000)):
            chunk = blake3(plain).hexdigest()
            assert (await call(server, chunk, None, "GET")).status == 404
            for _ in range(2):
                assert (await call(server, chunk, seal(plain), "PUT")).status == 200
            answer = await call(server, chunk, None, "GET")
            assert (answer.content_type, answer.body) == ("application/octet-stream", seal(plain))

    told(tmp_path, story, **LIMITS)


def test_many_chunks_go_up_and_down_in_one_request_in_the_order_asked_for(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        plain = [os.urandom(size) for size in (1, 100, 9000)] + [b"%d" % number for number in range(500)]
        ids = ids_of(*plain)
        absent = ids_of(b"absent")[0]
        assert await missing(server, ids) == ids
        assert (await call(server, "put", b"".join(map(record, plain)))).status == 200
        assert await missing(server, [ids[3], absent, ids[0]]) == [absent]
        wanted = [*reversed(list(zip(ids, plain, strict=True)))]
        answer = await call(server, "get", b"".join(chunk for chunk, _ in wanted) + absent + ids[0])
        expected = b"".join(record(one) for _, one in wanted)
        assert answer.body == expected + absent + b"\xff" * 4 + record(plain[0])

    told(tmp_path, story, **LIMITS)


def test_a_chunk_that_is_on_its_way_can_be_waited_for(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        plain = [os.urandom(9000) for _ in range(4)]
        ids = ids_of(*plain)
        await call(server, "put", record(plain[0]))
        getting = asyncio.ensure_future(call(server, "get?wait=20", b"".join(ids)))
        for one in plain[1:]:
            await until(lambda: bool(server.server.core.arrivals._waiting))
            assert not getting.done()
            assert (await call(server, "put", record(one))).status == 200
        assert (await getting).body == b"".join(map(record, plain))
        assert not server.server.core.arrivals._waiting

    told(tmp_path, story, **LIMITS)


def test_what_another_process_stored_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssyncd.server.chunks_api.LOOK", 0.02)

    async def story(server: Running) -> None:
        core = server.server.core
        getting = asyncio.ensure_future(call(server, "get?wait=20", ids_of(b"x")[0]))
        await until(lambda: bool(core.arrivals._waiting))
        (scope,) = core.arrivals._waiting
        upload = core.blobs.upload(scope)
        upload.add([(ids_of(b"x")[0], [seal(b"x")])])
        upload.commit()
        assert (await getting).body == record(b"x")

    told(tmp_path, story, **LIMITS)


def test_a_chunk_is_not_waited_for_longer_than_asked(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        here, absent = ids_of(b"here", b"absent")
        await call(server, "put", record(b"here"))
        answer = await call(server, "get?wait=0.05", here + absent + here)
        assert answer.body == record(b"here") + absent + b"\xff" * 4 + record(b"here")
        assert (await call(server, "get?wait=30", b"")).body == b""
        for wait in ("x", "-1", "31", "nan", "inf"):
            assert (await call(server, f"get?wait={wait}", here)).status == 400

    told(tmp_path, story, **LIMITS)


def test_a_server_that_stops_waits_for_nothing(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        getting = asyncio.ensure_future(call(server, "get?wait=30", ids_of(b"x")[0]))
        await until(lambda: bool(server.server.core.arrivals._waiting))
        server.server.core.hub.wake_all()
        assert (await getting).body == ids_of(b"x")[0] + b"\xff" * 4

    told(tmp_path, story, **LIMITS)


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.001)


def test_the_server_sees_for_itself_which_chunks_are_sound(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        plain = [b"sound", os.urandom(9000), b"text" * 1000, b"cut short" * 500]
        sound, flipped, lost, short = ids = ids_of(*plain)
        await call(server, "put", b"".join(map(record, plain)))
        files = {chunk: next(tmp_path.rglob(f"{chunk.hex()[:2]}/{chunk.hex()[2:]}")) for chunk in ids}
        sealed = files[flipped].read_bytes()
        files[flipped].write_bytes(bytes([*sealed[:-1], sealed[-1] ^ 1]))
        files[lost].unlink()
        files[short].write_bytes(files[short].read_bytes()[:-3])
        assert await missing(server, ids) == [lost], "nobody has read them yet"
        for _ in range(2):
            answer = await call(server, "check", b"".join(ids) + sound)
            assert {answer.body[at : at + 32] for at in range(0, len(answer.body), 32)} == {flipped, lost, short}
        assert await missing(server, ids) == [flipped, lost, short]
        await call(server, "put", b"".join(map(record, plain)))
        assert (await call(server, "check", b"".join(ids))).body == b""

    told(tmp_path, story, **LIMITS)


def test_checking_costs_the_server_little_and_reaches_no_other_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssyncd.server.api.CHECKS_PER_MINUTE", 3)

    async def story(server: Running) -> None:
        (chunk,) = ids_of(b"x")
        await call(server, "put", record(b"x"))
        assert (await call(server, "check", chunk, token="f" * 32)).status == 401
        assert (await call(server, "check", chunk * 1001)).status == 413
        answers = [await call(server, "check", chunk) for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
        assert await missing(server, [chunk]) == []

    told(tmp_path, story, **LIMITS)


def test_an_answer_of_many_megabytes_is_whole(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        plain = [os.urandom(700_000) for _ in range(12)]
        for part in (plain[:6], plain[6:]):
            assert (await call(server, "put", io.BytesIO(b"".join(map(record, part))))).status == 200
        answer = await call(server, "get", b"".join(ids_of(*plain)))
        assert answer.body == b"".join(map(record, plain))

    told(tmp_path, story)


def test_a_body_may_trickle_in_by_odd_pieces(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        body = record(b"one" * 500) + record(b"two")

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(body), 13):
                yield body[at : at + 13]

        assert (await call(server, "put", pieces())).status == 200
        assert await missing(server, ids_of(b"one" * 500, b"two")) == []

    told(tmp_path, story)


BOMB = b"\x01" + zstandard.ZstdCompressor().compress(bytes(50_000_000))
UNSIZED = b"\x01" + zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 1000)
LIAR = ids_of(b"x")[0]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (record(b"good") + record(b"y", chunk=LIAR), 400),
        (record(b"x", sealed=b""), 400),
        (record(b"x", sealed=b"\x07x"), 400),
        (record(b"x", sealed=b"\x01junk"), 400),
        (record(b"x" * 1000, sealed=UNSIZED), 400),
        (record(b"x" * 1000, sealed=seal(b"x" * 1000) + b"more"), 400),
        (record(b"x" * 1000, sealed=seal(b"x" * 1000)[:-3]), 400),
        (record(b"x", sealed=BOMB), 413),
        (record(os.urandom(10_001)), 413),
        (record(os.urandom(20_000)), 413),
        (record(b"good") + record(b"cut")[:-1], 400),
        (record(b"good") + b"x" * 35, 400),
        (b"x" * 32 + b"\xff" * 4, 413),
        (b"".join(record(os.urandom(9000)) for _ in range(12)), 413),
    ],
    ids=[
        "another hash",
        "nothing",
        "an unknown form",
        "junk",
        "an unknown size",
        "more than a frame",
        "a cut frame",
        "a bomb",
        "too large",
        "much too large",
        "a cut record",
        "a cut head",
        "an endless length",
        "too many",
    ],
)
def test_a_bad_request_is_refused_whole(tmp_path: Path, body: bytes, status: int) -> None:
    async def story(server: Running) -> None:
        answer = await call(server, "put", body)
        assert answer.status == status
        assert answer.json()["code"] == status
        assert len(await missing(server, ids_of(b"good", b"x", b"y"))) == 3
        assert os.listdir(tmp_path / "chunks" / "incoming") == []

    told(tmp_path, story, **LIMITS)


def test_the_answer_names_the_bad_chunk(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        answer = await call(server, "put", record(b"good") + record(b"y", chunk=LIAR))
        assert LIAR.hex() in answer.json()["msg"]
        answer = await call(server, LIAR.hex(), seal(b"y"), "PUT")
        assert (answer.status, LIAR.hex() in answer.json()["msg"]) == (400, True)

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "missing", b"x" * 33, 400),
        ("POST", "missing", b"x" * 32 * 10_001, 413),
        ("POST", "get", b"x" * 31, 400),
        ("PUT", "nothex", b"\x00", 400),
        ("PUT", "ab", b"\x00", 400),
        ("GET", "z" * 64, None, 400),
        ("PUT", "0" * 64, b"\x00" + bytes(20_000), 413),
        ("PUT", blake3(bytes(10_001)).hexdigest(), b"\x00" + bytes(10_001), 413),
        ("DELETE", "0" * 64, None, 405),
    ],
)
def test_nonsense_is_a_json_refusal(tmp_path: Path, method: str, path: str, body: Any, status: int) -> None:
    async def story(server: Running) -> None:
        answer = await call(server, path, body, method)
        assert (answer.status, answer.json()["code"]) == (status, status)

    told(tmp_path, story, **LIMITS)


def test_knowing_a_hash_gives_nothing_to_a_stranger(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        ids = ids_of(b"secret")
        await call(server, "put", record(b"secret"))
        server.accounts.add("eve", "secret")
        eve = server.accounts.token("eve")
        assert await missing(server, ids, token=eve) == ids
        assert (await call(server, ids[0].hex(), None, "GET", token=eve)).status == 404
        assert (await server.call("GET", f"/1/ssyncd/tags/chunks/{ids[0].hex()}")).status == 404
        assert (await call(server, ids[0].hex(), None, "GET", token="x" * 40)).status == 401

    told(tmp_path, story)


@pytest.mark.parametrize("bucket", ["%2E%2E", "%2e", "a%2Fb", "x" * 65])
def test_no_name_of_a_bucket_leads_out_of_the_store(tmp_path: Path, bucket: str) -> None:
    async def story(server: Running) -> None:
        path = f"/1/ssyncd/{bucket}/chunks/put"
        await server.call("POST", path, data=record(b"x"))
        outside = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.parent == tmp_path / "chunks"]
        assert outside == []
        assert {path.name for path in tmp_path.iterdir()} <= {
            "chunks",
            "collected",
            "lock",
            "server.db",
            "server.db-wal",
            "server.db-shm",
        }

    told(tmp_path, story)


def test_a_full_disk_is_507_and_the_server_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(server: Running) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(directory, "_write", full)
            answer = await call(server, "put", record(b"x"))
            assert (answer.status, "No space left" in answer.json()["msg"]) == (507, True)
        assert (await call(server, "put", record(b"x"))).status == 200

    def full(path: str, *_: object) -> None:
        raise NoSpaceError(path, "No space left on device")

    told(tmp_path, story)


def test_a_quota_is_of_the_account_and_counts_what_is_there(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        first, second = os.urandom(600), os.urandom(600)
        assert (await call(server, "put", record(first))).status == 200
        answer = await call(server, "put", record(second))
        assert (answer.status, "1000" in answer.json()["msg"]) == (507, True)
        assert await missing(server, ids_of(first, second)) == ids_of(second)
        server.accounts.add("eve", "secret")
        assert (await call(server, "put", record(second), token=server.accounts.token("eve"))).status == 200

    told(tmp_path, story, storage_quota=1000)


def test_uploads_at_once_share_the_server(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        plain = [os.urandom(100_000) for _ in range(24)]
        bodies = [b"".join(map(record, plain[at : at + 8])) for at in range(0, 24, 4)]
        answers = await asyncio.gather(*(call(server, "put", body) for body in bodies))
        assert {answer.status for answer in answers} == {200}
        assert await missing(server, ids_of(*plain)) == []

    told(tmp_path, story)


def test_an_upload_broken_off_leaves_nothing(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        big = record(os.urandom(2_000_000))
        head = f"POST /1/ssyncd/notes/chunks/put HTTP/1.1\r\nHost: x\r\nX-Simperium-Token: {server.token}\r\n"
        writer.write(f"{head}Content-Length: {2 * len(big)}\r\n\r\n".encode() + big + big[:1000])
        await writer.drain()
        incoming = tmp_path / "chunks" / "incoming"
        while not os.listdir(incoming):
            await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()
        while os.listdir(incoming):
            await asyncio.sleep(0)

    told(tmp_path, story)


def test_a_plain_server_has_no_chunks_and_tells_nobody(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        assert (await server.call("GET", "/1/ssyncd/")).status == 404
        assert (await call(server, "missing", b"")).status == 404
        assert (await call(server, "put", record(b"x"))).status == 404
        socket = await server.live()
        assert (await socket.put("k", {}))["ev"] == 1

    told(tmp_path, story, plain=True)


@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("chunks/put", "Content-Length: 5000"),
        ("chunks/" + "0" * 64, "Content-Length: 5000"),
        ("i/key", "Content-Length: 5000"),
        ("chunks/put", "Transfer-Encoding: chunked"),
    ],
)
@pytest.mark.parametrize("how", ["closed", "reset", "timed out"])
def test_a_client_that_is_gone_in_the_midst_of_its_request_is_no_fault_of_ours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, head: str, how: str
) -> None:
    async def story(server: Running) -> None:
        _, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
        method = "POST" if path in ("chunks/put", "i/key") else "PUT"
        request = (
            f"{method} /1/ssyncd/notes/{path} HTTP/1.1\r\nHost: x\r\nX-Simperium-Token: {server.token}\r\n{head}\r\n"
        )
        writer.write(request.encode() + b"\r\n" + (b"80\r\n" if "chunked" in head else b"") + b"x" * 20)
        await writer.drain()
        await asyncio.sleep(0.05)  # until it reads the body: nothing tells us
        if how == "timed out":
            with no_longer_heard(writer.get_extra_info("sockname")) as lost:
                writer.write(b"x")
                await asyncio.wait_for(lost.wait(), 10)
        if how == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        else:
            writer.close()
        assert (await server.call("GET", "/1/ssyncd/")).status == 200

    told(tmp_path, story, **LIMITS)
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []


@contextmanager
def no_longer_heard(client: tuple[str, int]) -> Iterator[asyncio.Event]:
    """The kernel gives up on what this client sends next; the event tells that it did."""
    lost = asyncio.Event()
    real = socket.socket.recv

    def recv(self: socket.socket, *args: int) -> bytes:
        if self.getpeername() != client:
            return real(self, *args)
        lost.set()
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "recv", recv)
        yield lost


def test_a_client_that_is_gone_in_the_midst_of_the_answer_is_no_fault_of_ours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(server: Running) -> None:
        plain = [os.urandom(9000) for _ in range(600)]
        for start in range(0, len(plain), 10):
            body = b"".join(map(record, plain[start : start + 10]))
            assert (await call(server, "put", body)).status == 200
        body = b"".join(ids_of(*plain))
        reader, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
        head = f"POST /1/ssyncd/notes/chunks/get HTTP/1.1\r\nHost: x\r\nX-Simperium-Token: {server.token}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await reader.readexactly(1000)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        assert (await server.call("GET", "/1/ssyncd/")).status == 200

    told(tmp_path, story, **LIMITS)
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []
