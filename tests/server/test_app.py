"""The life of a server, and a process killed in the middle of it."""

import asyncio
import errno
import fcntl
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ssyncd import __version__
from ssyncd.content.packed import FORM
from ssyncd.errors import BusyError, StateError, UsageError
from ssyncd.server.accounts import open_accounts
from ssyncd.server.app import Server, ServerSettings, _note, serve
from tests.server.running import Running, Socket, run, running, sets, told


async def start(settings: ServerSettings) -> None:
    server = Server(settings)
    await server.start()
    await server.stop()


def starting(data: Path, **settings: object) -> None:
    run(start(ServerSettings(data, **({"listen": "127.0.0.1:0"} | settings))))  # type: ignore[arg-type]


def test_what_the_server_offers_can_be_asked_without_a_token(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        health = await server.call("GET", "/healthz")
        assert (health.status, health.json()) == (200, {"status": "ok", "version": __version__})
        for path in ("/1/ssyncd/", "/1/ssyncd"):
            assert (await server.call("GET", path)).json() == {
                "app": "ssyncd",
                "server": f"ssyncd/{__version__}",
                "chunks": 1,
                "devices": 1,
                "forget": 1,
                "gaps": 1,
                "lean": 1,
                "moments": 1,
                "notices": 1,
                "packed": FORM,
                "removed": 1,
                "limits": {"object": 524288, "chunk": 8388608, "request": 33554432, "window": 1000},
            }

    told(tmp_path, story)


PLAIN_HAS_NOT = [
    ("GET", ""),
    ("POST", "/logout/"),
    ("GET", "/devices/"),
    ("DELETE", "/devices/laptop"),
    ("POST", "/notes/chunks/missing"),
    ("POST", "/notes/chunks/put"),
    ("POST", "/notes/chunks/get"),
    ("PUT", f"/notes/chunks/{'0' * 64}"),
    ("GET", f"/notes/chunks/{'0' * 64}"),
]


def test_a_plain_server_offers_no_extension(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        answers = [await server.call(method, f"/1/ssyncd{path}") for method, path in PLAIN_HAS_NOT]
        assert [answer.status for answer in answers] == [404] * len(PLAIN_HAS_NOT)
        # Signed in as before, and what every Simperium server has is there.
        assert (await server.call("POST", "/1/ssyncd/notes/i/k", data='{"n":1}')).status == 200
        assert (await server.live()).token == server.token

    told(tmp_path, story, plain=True)


def test_a_client_that_leaves_in_the_middle_of_a_request_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "ssyncd")

    async def story(server: Running) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /1/ssyncd/notes/i/k HTTP/1.1\r\nHost: x\r\nX-Simperium-Token: {server.token}\r\n"
        writer.write(f'{head}Content-Length: 1000\r\n\r\n{{"n":'.encode())
        await writer.drain()
        # The server has begun to read it.
        assert (await server.call("GET", "/healthz")).status == 200
        writer.transport.abort()
        while not any("/1/ssyncd/notes/i/k" in record.message for record in caplog.records):
            assert (await server.call("GET", "/healthz")).status == 200
        assert (await server.call("GET", "/1/ssyncd/notes/i/k")).status == 404

    told(tmp_path, story)
    assert [record.message for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


def test_health_tells_of_a_storage_that_cannot_be_written(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        client = await server.live()
        real = server.server.core.storage.append
        server.server.core.storage.append = fail
        assert (await client.put("k", sets(n=1)))["error"] == 500
        health = await server.call("GET", "/healthz")
        assert (health.status, health.json()["code"]) == (503, 503)
        answer = await server.call("POST", "/1/ssyncd/notes/i/k", data="{}")
        assert (answer.status, "Retry-After" in answer.headers) == (503, True)
        server.server.core.storage.append = real
        assert (await client.put("k", sets(n=1)))["ev"] == 1
        assert (await server.call("GET", "/healthz")).status == 200

    def fail(*_: object) -> None:
        raise StateError("database or disk is full")

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/favicon.ico", 404),
        ("PUT", "/healthz", 405),
        ("GET", "/sock/1/ssyncd/websocket", 400),
    ],
)
def test_every_error_is_json(tmp_path: Path, method: str, path: str, status: int) -> None:
    async def story(server: Running) -> None:
        answer = await server.call(method, path)
        assert (answer.status, answer.json()["code"]) == (status, status)

    told(tmp_path, story)


def test_a_browser_may_ask_first(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        answer = await server.call("OPTIONS", "/1/ssyncd/authorize/")
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "X-Simperium-API-Key" in answer.headers["Access-Control-Allow-Headers"]

    told(tmp_path, story)


def test_a_busy_port_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BusyError, match=f"127.0.0.1:{port}: another program listens there"):
            starting(tmp_path, listen=f"127.0.0.1:{port}")
    starting(tmp_path)


@pytest.mark.parametrize("listen", ["", "8730", "host:", "host:x", "host:99999", "no.such.host.invalid:0"])
def test_an_address_that_is_none_says_so(tmp_path: Path, listen: str) -> None:
    with pytest.raises(UsageError, match="listen"):
        starting(tmp_path, listen=listen)


def test_a_disk_that_cannot_lock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StateError, match="cannot be locked: No locks available"):
        starting(tmp_path)


def test_one_data_directory_has_one_server(tmp_path: Path) -> None:
    async def story(_: Running) -> None:
        with pytest.raises(StateError, match="another server uses it"):
            await start(ServerSettings(tmp_path, listen="127.0.0.1:0"))

    told(tmp_path, story)
    starting(tmp_path)


def test_a_data_directory_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="file"):
        starting(tmp_path / "file" / "data")
    (tmp_path / "server.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StateError, match=r"server\.db: file is not a database"):
        starting(tmp_path)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"tls_cert": Path("none.pem")}, "none.pem cannot be used"),
        ({"tls_key": Path("none.key")}, "needs --tls-cert"),
        ({"database": "postgres://x"}, "not built"),
        ({"chunks": "s3://x"}, "not built"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, settings: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        starting(tmp_path, **settings)


def make_certificate(directory: Path, key: str = "key.pem") -> ssl.SSLContext:
    """cert.pem, and its key; what trusts just this one."""
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-keyout", directory / key, "-out", directory / "cert.pem"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl makes no certificate here")
    return ssl.create_default_context(cafile=directory / "cert.pem")


async def is_trusted(url: str, trust: ssl.SSLContext) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/healthz", ssl=trust) as answer:
            return answer.status == 200
    except aiohttp.ClientConnectorCertificateError:
        return False


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_with_a_certificate_speaks_tls_and_takes_a_new_one(tmp_path: Path, host: str) -> None:
    """Also for who names no server but an address; and while only half of it is there, the old one goes on."""
    old = make_certificate(tmp_path)

    async def story() -> None:
        files = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
        server = Server(ServerSettings(tmp_path, listen="127.0.0.1:0", **files))
        url = await server.start()
        assert url.startswith("https://127.0.0.1:")
        url = url.replace("127.0.0.1", host)
        assert await is_trusted(url, old)
        new = make_certificate(tmp_path, "new.pem")
        assert await is_trusted(url, old)
        assert not await is_trusted(url, new)
        (tmp_path / "new.pem").replace(tmp_path / "key.pem")
        assert await is_trusted(url, new)
        assert not await is_trusted(url, old)
        (tmp_path / "cert.pem").unlink()
        assert await is_trusted(url, new)
        await server.stop()

    run(story())


def test_the_process_says_when_it_is_ready_and_stops_on_a_signal(tmp_path: Path) -> None:
    urls: list[str] = []
    process = subprocess.Popen(
        [sys.executable, "-m", "ssyncd.server", "--data", tmp_path], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        urls.append(process.stdout.readline().strip())
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert urls[0].startswith("http://127.0.0.1:")


def test_a_bad_start_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ssyncd.server", "--data", tmp_path, "--listen", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert done.stderr.strip() == "--listen nonsense: HOST:PORT is needed"


def test_serve_outside_the_main_thread_leaves_signals_alone(tmp_path: Path) -> None:
    failed: list[Exception] = []

    def body() -> None:
        try:
            serve(ServerSettings(tmp_path, listen="nonsense"))
        except UsageError as error:
            failed.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(10)
    assert failed


# A process that is killed


@contextmanager
def process(data: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "ssyncd.server", "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running_process:
        try:
            assert running_process.stdout is not None
            yield running_process, running_process.stdout.readline().strip()
        finally:
            if running_process.poll() is None:
                running_process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 400, 1500])
def test_36_a_server_killed_under_load_loses_nothing_it_acknowledged(tmp_path: Path, after: int) -> None:
    with open_accounts(tmp_path) as accounts:
        accounts.add("bob", "secret")
        token = accounts.token("bob")
    acknowledged: dict[str, int] = {}
    cvs: list[str] = []

    async def load(url: str, kill: "subprocess.Popen[str]") -> None:
        async with aiohttp.ClientSession() as http:
            client = Socket(await http.ws_connect(f"{url}/sock/1/ssyncd/websocket", max_msg_size=0), token)
            await client.live()
            writing = asyncio.create_task(write(client))
            while len(acknowledged) < after:
                note(await client.changes())
            kill.send_signal(signal.SIGKILL)
            while (message := await client.socket.receive()).type is aiohttp.WSMsgType.TEXT:
                note(json.loads(message.data.partition(":c:")[2]))
            await asyncio.gather(writing, return_exceptions=True)

    async def write(client: Socket) -> None:
        for number in range(5000):
            await client.change(f"k{number}", sets(n=number), ccid=f"c{number}")

    def note(changes: list[dict[str, object]]) -> None:
        for change in changes:
            acknowledged[str(change["id"])] = int(str(change["ev"]))
            cvs.append(str(change["cv"]))

    with process(tmp_path) as (killed, url):
        run(load(url, killed))
    assert len(acknowledged) >= after

    async def look() -> None:
        async with running(tmp_path) as server:
            client = await server.socket(token)
            await client.init()
            await client.send(f"0:cv:{cvs[0]}")
            later = {change["cv"] for change in await client.changes()}
            client = await server.socket(token)
            await client.init()
            found: dict[str, int] = {}
            mark = ""
            while True:
                page = await client.index(0, f":{mark}::1000") if mark else await client.index(0, ":::1000")
                found |= {entry["id"]: entry["v"] for entry in page["index"]}
                if "mark" not in page:
                    break
                mark = page["mark"]
            assert acknowledged.items() <= found.items()
            assert later or after == 1
            # A change sent again under its ccid is known; a new one gets a cv never given before.
            assert (await client.put("k0", sets(n=0), ccid="c0"))["error"] == 409
            assert (await client.put("new", sets(n=0)))["cv"] not in cvs

    run(look())


def test_a_server_killed_while_it_stores_chunks_keeps_the_acknowledged_and_no_halves(tmp_path: Path) -> None:
    from tests.server.test_chunks_api import ids_of, record

    with open_accounts(tmp_path) as accounts:
        accounts.add("bob", "secret")
        token = accounts.token("bob")
    stored: list[bytes] = []
    sent: list[bytes] = []
    headers = {"X-Simperium-Token": token}

    async def load(url: str, kill: "subprocess.Popen[str]") -> None:
        async with aiohttp.ClientSession() as http:
            for number in range(50):
                plain = [os.urandom(20_000) for _ in range(20)]
                sent.extend(ids_of(*plain))
                if number == 5:
                    asyncio.get_running_loop().call_later(0.005, kill.send_signal, signal.SIGKILL)
                try:
                    body = b"".join(map(record, plain))
                    async with http.post(f"{url}/1/ssyncd/notes/chunks/put", data=body, headers=headers) as answer:
                        assert answer.status == 200
                except aiohttp.ClientError:
                    return
                stored.extend(ids_of(*plain))

    with process(tmp_path) as (killed, url):
        run(load(url, killed))
    assert len(stored) >= 100
    assert len(sent) > len(stored)

    async def look() -> None:
        async with running(tmp_path) as server:
            answer = await server.call("POST", "/1/ssyncd/notes/chunks/missing", token, data=b"".join(stored))
            assert answer.body == b""
            answer = await server.call("POST", "/1/ssyncd/notes/chunks/get", token, data=b"".join(sent))
            assert answer.status == 200

    run(look())


def test_a_connection_too_many_is_told_in_a_line_and_others_come_in_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept, refused = socket.socket._accept, list[int]()  # type: ignore[attr-defined]

    def once_too_many(listener: socket.socket) -> Any:
        if not refused:
            refused.append(1)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(listener)

    async def story(server: Running) -> None:
        asyncio.get_running_loop().set_exception_handler(_note)
        monkeypatch.setattr(socket.socket, "_accept", once_too_many)
        assert (await server.call("GET", "/healthz")).status == 200
        assert refused

    told(tmp_path, story)
    assert "Too many open files" in caplog.text
    assert "Traceback" not in caplog.text
