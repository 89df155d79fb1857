import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import pytest

from ssyncd.errors import NetworkError, RemoteError, UntrustedError, UsageError
from ssyncd.network.http import LONGEST_WAIT, Answer, HttpServer, checked_url, explain, part, retry_after
from tests.network.servers import Reply, fake_server, offered, real_server
from tests.network.wires import RawServer, answer


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("99999999", LONGEST_WAIT),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        ("Fri, 99 Dec 9999 23:59:59 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    assert retry_after({"Retry-After": text}) == seconds


def test_retry_after_a_date_to_come():
    wait = retry_after({"Retry-After": formatdate(time.time() + 100, usegmt=True)})
    assert 90 < wait <= 101


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"msg": "no space", "code": 507}', "no space (507)"),
        (b'{"msg": 5}', '{"msg": 5} (507)'),
        (b"plain\n words ", "plain words (507)"),
        (b"", "status 507"),
        (
            b"<html>\r\n<head><TITLE>413 Too\n Large</TITLE></head>\r\n<body><h1>no</h1></body></html>",
            "413 Too Large (507)",
        ),
        (b"\xff\x00", "\ufffd\x00 (507)"),
    ],
)
def test_what_a_server_says_about_an_error_is_one_line(data, said):
    assert explain(Answer(507, data)) == said


def test_a_long_explanation_is_cut():
    assert len(explain(Answer(500, b"x" * 100_000))) < 400


def test_a_url_loses_its_last_slash():
    assert checked_url("https://example.org/sync/") == "https://example.org/sync"
    with pytest.raises(UsageError):
        checked_url("https://example.org:99999")


def test_a_part_of_a_path_cannot_leave_its_place():
    assert part("../a b?c#d%") == "..%2Fa%20b%3Fc%23d%25"


def test_requests_go_below_the_path_of_the_url_with_the_token():
    with fake_server(lambda _: Reply(200, b"{}")) as fake:
        server = HttpServer(f"{fake.url}/sync/", "secret")
        server.ask("POST", "/1/x", b"body", {"X-More": "1"})
        server.close()
        (request,) = fake.requests
    assert (request.method, request.path, request.body) == ("POST", "/sync/1/x", b"body")
    assert (request.headers["X-Simperium-Token"], request.headers["X-More"]) == ("secret", "1")


def test_connections_are_used_again():
    seen = set()
    with fake_server(lambda request: Reply(200, request.headers["Host"].encode())) as fake:
        server = HttpServer(fake.url)
        for _ in range(5):
            server.ask("GET", "/")
            seen.update(id(one) for one in server._sockets)
        server.close()
    assert len(seen) == 1


def test_an_answer_over_the_limit_is_refused_and_the_next_is_fine():
    with fake_server(lambda request: Reply(200, b"x" * (1000 if request.path == "/long" else 10))) as fake:
        server = HttpServer(fake.url)
        with pytest.raises(RemoteError, match="longer than 100"):
            server.ask("GET", "/long", limit=100)
        assert server.ask("GET", "/short", limit=100).data == b"x" * 10
        server.close()


LONG = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 4\r\n\r\nabcd"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"


@pytest.mark.parametrize("whole", [LONG, CHUNKED])
@pytest.mark.parametrize("left_out", range(6, 74, 5))
def test_an_answer_that_breaks_off_anywhere_is_no_empty_answer(whole, left_out):
    """An empty answer to "which chunks are missing" means that none is."""
    with RawServer(answer(whole[:-left_out])) as raw:
        server = HttpServer(f"http://127.0.0.1:{raw.port}")
        with pytest.raises(NetworkError):
            server.ask("POST", "/missing")
        server.close()


@pytest.mark.parametrize("whole", [LONG, CHUNKED])
def test_an_answer_may_tell_its_length_or_come_in_chunks(whole):
    with RawServer(answer(whole)) as raw:
        server = HttpServer(f"http://127.0.0.1:{raw.port}")
        assert server.ask("POST", "/missing").data == b"abcd"
        server.close()


def test_a_token_is_not_carried_to_another_server():
    with fake_server(lambda _: Reply()) as other:
        with fake_server(lambda _: Reply(307, b"", {"Location": other.url})) as fake:
            server = HttpServer(fake.url, "secret")
            with pytest.raises(RemoteError, match="elsewhere"):
                server.ask("GET", "/")
            server.close()
        assert not other.requests


def test_a_request_under_way_ends_when_its_connection_is_known_to_be_dead():
    asked = threading.Event()

    def serve(opened):
        while opened.recv(4096):
            asked.set()

    with RawServer(serve) as raw:
        server = HttpServer(f"http://127.0.0.1:{raw.port}")
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(server.ask, "GET", "/")
            assert asked.wait(10)
            server.renew()
            with pytest.raises(NetworkError):
                answer.result(10)
        server.close()


def test_a_closed_server_takes_no_requests():
    with fake_server(lambda _: Reply()) as fake:
        server = HttpServer(fake.url)
        server.ask("GET", "/")
        server.close()
        with pytest.raises(NetworkError, match="closed here"):
            server.ask("GET", "/")
        assert len(fake.requests) == 1


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes its certificate with openssl")
def test_only_a_trusted_certificate_is_good_enough(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-keyout", key, "-out", cert, *options, *names]
    subprocess.run(command, check=True, capture_output=True)
    with real_server(tmp_path / "data", tls_cert=cert, tls_key=key) as account:
        assert account.url.startswith("https://")
        assert offered(account.url, ca_file=cert).chunks
        with pytest.raises(UntrustedError, match=r"certificate is not trusted: self-signed certificate$"):
            offered(account.url)
