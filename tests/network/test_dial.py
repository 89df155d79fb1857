import hashlib
import socket
import ssl
import subprocess
import threading
import time

import pytest

from ssyncd.network.base import Closed, Opened
from ssyncd.network.dial import Trust
from ssyncd.network.websocket import Pace, WebSocketConnection
from tests.network.contract_connection import count, texts
from tests.network.wires import (
    DEADLINE,
    EchoServer,
    RawServer,
    answer,
    connected,
    first_closed,
    read_request,
    silence,
    url,
    wait_for,
)

PAGE = b"<html>" + b"x" * 5000


@pytest.mark.parametrize(
    ("raw", "reason", "at_least"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5006\r\n\r\n" + PAGE, "web page", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + PAGE, "web page", 0),
        (b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\n\r\n", "too busy", 7),
        (b"HTTP/1.1 503 No\r\nRetry-After: Fri, 31 Dec 2999 23:59:59 GMT\r\n\r\n", "too busy", 3600),
        (b"HTTP/1.1 503 No\r\nRetry-After: soon\r\n\r\n", "too busy", 0),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "refuses", 0),
        (b"HTTP/1.1 302 Found\r\nLocation: http://else/\r\n\r\n", "sends elsewhere: http://else/", 0),
        (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "does not answer as a websocket", 0),
        (
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n",
            "not answer",
            0,
        ),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "does not answer as a websocket", 0),
        (b"\xff\xfe\r\n\r\n", "does not answer as a websocket", 0),
        (b"HTTP/1.1 abc\r\n\r\n", "does not answer as a websocket", 0),
        (b"", "does not answer as a websocket", 0),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 60_000, "does not answer as a websocket", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 300_000, "does not answer as a websocket", 0),
    ],
)
def test_what_is_no_websocket_server_is_told_as_it_is(raw, reason, at_least):
    closed = first_closed(answer(raw))
    assert reason in closed.reason
    assert "127.0.0.1" in closed.reason
    assert closed.retry_in >= at_least


def test_nobody_listening_is_told_and_tried_again():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    happenings = []
    with connected(f"ws://127.0.0.1:{port}/ws", happenings):
        wait_for(lambda: count(happenings, Closed) >= 3)
    assert happenings[0].reason == f"nothing listens at 127.0.0.1:{port}"


@pytest.mark.parametrize("bad", ["http://host/", "ws://", "ws://host:99999/", "ws://[::1/", "nonsense"])
def test_an_address_that_is_none_is_told(bad):
    happenings = []
    with connected(bad, happenings):
        wait_for(lambda: happenings)
    assert "no address of a server" in happenings[0].reason


def test_a_server_that_never_answers_is_given_up():
    closed = first_closed(read_request, Pace(connect=0.1, first_retry=0.01))
    assert "did not answer in 0.1 seconds" in closed.reason


def test_a_server_that_drips_is_given_up():
    def drip(opened):
        while True:
            opened.sendall(b"H")
            threading.Event().wait(0.02)

    closed = first_closed(drip, Pace(connect=0.2, first_retry=0.01))
    assert "did not answer" in closed.reason


def test_stop_breaks_off_a_dial_at_once():
    asked = threading.Event()

    def serve(opened):
        read_request(opened)
        asked.set()

    with RawServer(serve) as raw:
        connection = WebSocketConnection(url(raw), pace=Pace(connect=60.0))
        connection.start(lambda _: None)
        assert asked.wait(DEADLINE)
        started = time.monotonic()
        connection.stop()
        assert time.monotonic() - started < 0.9


def test_stop_breaks_off_a_connect_at_once():
    with silence() as (host, port):
        connection = WebSocketConnection(f"ws://{host}:{port}/", pace=Pace(connect=60.0))
        connection.start(lambda _: None)
        wait_for(lambda: any(thread.name == "ssyncd-connection" for thread in threading.enumerate()))
        started = time.monotonic()
        connection.stop()
        assert time.monotonic() - started < 0.9


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl to make a certificate with")
    return key, cert


@pytest.fixture
def secure(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1], certificate[0])
    server = EchoServer(context)
    yield server
    server.stop()


def fingerprint(certificate):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate[1].read_text())).hexdigest()


def test_a_certificate_of_an_authority_in_a_file_is_accepted(secure, certificate):
    happenings = []
    with connected(url(secure, "wss"), happenings, trust=Trust(ca_file=certificate[1])) as connection:
        wait_for(lambda: happenings == [Opened()])
        sent = [f"echo:{number}:{'x' * 5000}" for number in range(400)]
        # Both directions at once, to and fro in one TLS connection.
        connection.send(sent)
        wait_for(lambda: len(texts(happenings)) == 400)
    assert texts(happenings) == [text.removeprefix("echo:") for text in sent]


def test_a_pinned_certificate_is_accepted_and_no_other(secure, certificate):
    happenings, refused = [], []
    pin = fingerprint(certificate).upper()
    with connected(url(secure, "wss"), happenings, trust=Trust(fingerprint=pin)):
        wait_for(lambda: happenings == [Opened()])
    with connected(url(secure, "wss"), refused, trust=Trust(fingerprint="00" * 32)):
        wait_for(lambda: refused)
    assert "another certificate" in refused[0].reason


def test_a_certificate_nobody_vouches_for_is_refused(secure):
    happenings = []
    with connected(url(secure, "wss"), happenings):
        wait_for(lambda: happenings)
    assert "not trusted" in happenings[0].reason


def test_a_server_without_tls_is_told():
    closed = first_closed(lambda opened: opened.sendall(b"HTTP/1.1 400 Bad\r\n\r\n"), Pace(connect=2.0), "wss")
    assert "no connection to 127.0.0.1" in closed.reason


def test_an_unreadable_file_of_authorities_is_told(tmp_path):
    happenings = []
    (tmp_path / "ca.pem").write_text("nonsense")
    for path in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        happenings.clear()
        with RawServer(answer(b"")) as raw, connected(url(raw, "wss"), happenings, trust=Trust(ca_file=path)):
            wait_for(lambda: happenings)
        assert "cannot be read" in happenings[0].reason
