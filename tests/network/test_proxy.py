"""Reaching a server through an HTTP proxy that the environment names."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from ssyncd.errors import NetworkError
from ssyncd.network.base import Opened, Received
from ssyncd.network.http import HttpServer
from ssyncd.network.proxy import Proxy, proxy_for
from ssyncd.network.reach import Reach
from tests.network.proxies import proxy
from tests.network.servers import Reply, fake_server
from tests.network.wires import DEADLINE, EchoServer, connected, wait_for


def test_a_request_goes_through_the_proxy(monkeypatch):
    with fake_server(lambda _: Reply(200, b"{}")) as fake, proxy(urlsplit(fake.url).port) as between:
        monkeypatch.setenv("http_proxy", f"http://an%6ea:s%40cret@127.0.0.1:{between.port}")
        with closing(HttpServer("http://server.example:8730")) as server:
            assert server.ask("GET", "/").data == b"{}"
    [question] = between.asked
    assert question.startswith("CONNECT server.example:8730 HTTP/1.1\r\nHost: server.example:8730\r\n")
    assert "Proxy-Authorization: Basic YW5uYTpzQGNyZXQ=\r\n" in question


def test_a_websocket_does_too(monkeypatch):
    server = EchoServer()
    happenings = []
    try:
        with proxy(server.port) as between:
            monkeypatch.setenv("ALL_PROXY", f"127.0.0.1:{between.port}")
            with connected("ws://server.example/ws", happenings) as connection:
                wait_for(lambda: happenings)
                connection.send(["echo:hello"])
                wait_for(lambda: Received(("hello",)) in happenings)
    finally:
        server.stop()
    assert happenings[0] == Opened()
    assert [question.partition("\r\n")[0] for question in between.asked] == ["CONNECT server.example:80 HTTP/1.1"]


@pytest.mark.parametrize(
    ("url", "variables", "expected"),
    [
        ("http://server.example", {}, None),
        ("http://server.example", {"http_proxy": "http://p:1"}, Proxy("p", 1)),
        ("ws://server.example", {"HTTP_PROXY": "p:1"}, Proxy("p", 1)),
        ("https://server.example", {"http_proxy": "http://p:1"}, None),
        ("wss://server.example", {"https_proxy": "http://p", "all_proxy": "http://q"}, Proxy("p", 80)),
        ("wss://server.example", {"all_proxy": "http://[::1]:2/"}, Proxy("::1", 2)),
        ("http://server.example", {"http_proxy": "http://p:1", "no_proxy": "other.example, .example"}, None),
        ("http://server.example", {"http_proxy": "http://p:1", "no_proxy": "server.example:81"}, Proxy("p", 1)),
        ("http://server.example", {"http_proxy": "http://p:1", "NO_PROXY": "*"}, None),
        ("http://server.example", {"http_proxy": ""}, None),
        ("http://127.0.0.1:8730", {"all_proxy": "http://p:1"}, None),
        ("ws://[::1]:8730", {"all_proxy": "http://p:1"}, None),
        ("http://localhost", {"all_proxy": "http://p:1"}, None),
    ],
)
def test_the_environment_says_which(monkeypatch, url, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(urlsplit(url), urlsplit(url).port or 80) == expected


@pytest.mark.parametrize(
    "value",
    [
        "socks5://name:secret@p:1",
        "https://name:secret@p:1",
        "http://name:secret@",
        "http://name:secret@p:x",
        "://name:secret",
        "http://name:secret@[p",
    ],
)
def test_one_of_no_use_is_told_without_its_password(monkeypatch, value):
    monkeypatch.setenv("https_proxy", value)
    with pytest.raises(NetworkError, match="not of the form http") as told:
        proxy_for(urlsplit("https://server.example"), 443)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "wants a name and a password"),
        (b"HTTP/1.1 403 Forbidden\r\nX: y\r\n\r\n", "gives no way to the server: 403 Forbidden"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "gives no way to the server"),
        (b"", "did not answer in"),
        (b"HTTP/1.1 200", "does not answer as one"),
        (b"x" * 100_000, "does not answer as one"),
    ],
)
def test_a_proxy_that_gives_no_way_is_named(refusal, told):
    with proxy(1, refusal) as between:
        reach = Reach("server.example", 7, DEADLINE if refusal else 0.5, Proxy("127.0.0.1", between.port))
        with pytest.raises((NetworkError, TimeoutError)) as caught:
            reach.run()
    error = caught.value
    assert told in (reach.why(error) if isinstance(error, OSError) else str(error))


def test_a_proxy_that_is_not_there_is_named(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    with closing(HttpServer("http://server.example")) as server, pytest.raises(NetworkError) as told:
        server.ask("GET", "/")
    assert str(told.value) == f"http://server.example: nothing listens at the proxy 127.0.0.1:{port}"


def test_waiting_for_a_proxy_is_given_up():
    with proxy(1, b"") as between, ThreadPoolExecutor(1) as threads:
        reach = Reach("server.example", 7, 1000.0, Proxy("127.0.0.1", between.port))
        ended = threads.submit(reach.run)
        wait_for(lambda: between.asked)
        reach.cancel()
        assert isinstance(ended.exception(DEADLINE), NetworkError)
