import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ssyncd.content.packed import FORM
from ssyncd.errors import ConfigError, NetworkError, RefusedError, RemoteError, SignInError, UsageError
from ssyncd.network.login import (
    Account,
    Extensions,
    Service,
    bucket_name,
    devices,
    folder_names,
    is_exposed,
    logout,
    remove_folder,
    revoke,
    sign_in,
    websocket_url,
)
from tests.network.servers import PASSWORD, Reply, fake_server, offered, real_server

GOOD = {"username": "anna", "access_token": "a" * 32, "userid": "b" * 32}


def as_json(value, status=200):
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def answered(reply, question):
    """What a question comes to at a server that always gives this reply, and the requests it got."""
    with fake_server(lambda _: reply) as server:
        return question(server.url), server.requests


def test_a_name_and_a_password_become_an_account():
    question = lambda url: sign_in(f"{url}/", "anna", "milk", "laptop", Service("app id", "key"))  # noqa: E731
    account, (request,) = answered(as_json(GOOD), question)
    assert (account.app, account.user, account.user_id, account.token) == ("app id", "anna", "b" * 32, "a" * 32)
    assert not account.url.endswith("/")
    assert (request.method, request.path) == ("POST", "/1/app%20id/authorize/")
    assert request.headers["X-Simperium-Api-Key"] == "key"
    assert json.loads(request.body) == {"username": "anna", "password": "milk", "device": "laptop"}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (as_json({"msg": "wrong", "code": 401}, 401), SignInError),
        (Reply(401, b"compromised password"), SignInError),
        (Reply(403, b"verification required"), SignInError),
        (Reply(400, b"rate limited"), SignInError),
        (Reply(429, b"", {"Retry-After": "60"}), NetworkError),
        (Reply(500, b"oops"), NetworkError),
        (Reply(404, b"not here"), RemoteError),
        (Reply(200, b"<html>", {"Content-Type": "text/html"}), RemoteError),
        (Reply(200, b"<html>"), RemoteError),
        (Reply(301, b"", {"Location": "https://example.org/"}), RemoteError),
        (as_json([]), RemoteError),
        (as_json({}), RemoteError),
        (as_json({**GOOD, "access_token": 5}), RemoteError),
        (as_json({**GOOD, "access_token": ""}), RemoteError),
        (as_json({**GOOD, "access_token": "a\r\nX-Evil: 1"}), RemoteError),
        (Reply(200, b"x" * 2_000_000), RemoteError),
        (Reply(200, b"{", promised=99), NetworkError),
    ],
)
def test_a_sign_in_that_fails_says_how(reply, error):
    with pytest.raises(error) as caught:
        answered(reply, lambda url: sign_in(url, "anna", "milk", "laptop"))
    assert type(caught.value) is error
    assert "milk" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://example.org",
        "http://",
        "http://host:port",
        "http://a:b@host",
        "http://host?x=1",
        "http://[::1",
    ],
)
def test_what_is_no_url_of_a_server_is_a_usage_error(url):
    with pytest.raises(UsageError):
        sign_in(url, "anna", "milk", "laptop")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://127.0.0.1:1"])
def test_an_unreachable_server_is_a_network_error(url):
    with pytest.raises(NetworkError):
        offered(url)


def test_a_certificate_file_must_be_one(tmp_path):
    with pytest.raises(ConfigError, match="nothing"):
        offered("https://127.0.0.1:1", ca_file=tmp_path / "nothing")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(404, b""), Extensions()),
        (Reply(401, b""), Extensions()),
        (as_json({}), Extensions()),
        (as_json({"server": "other/1", "chunks": 1, "limits": {}}), Extensions()),
        (as_json({"server": "ssyncd/9", "chunks": 1, "limits": 5}), Extensions()),
        (as_json({"server": "ssyncd/9", "chunks": 2, "limits": {}}), Extensions()),
        (
            as_json(
                {"server": "ssyncd/9", "chunks": 1, "limits": {"object": 9, "chunk": 8, "request": 7, "window": 6}}
            ),
            Extensions(True, 9, 8, 7, 6),
        ),
        (
            as_json(
                {
                    "server": "ssyncd/9",
                    "chunks": 1,
                    "limits": {"object": -9, "chunk": "8", "request": True, "window": 1e9},
                }
            ),
            Extensions(True),
        ),
    ],
)
def test_only_what_a_server_says_it_has_is_used(reply, expected):
    extensions, (request,) = answered(reply, offered)
    assert extensions == expected
    assert request.path == "/1/ssyncd/"


@pytest.mark.parametrize(("form", "packed"), [(FORM, True), (FORM - 1, False), (FORM + 1, False)])
def test_messages_are_packed_only_in_the_form_we_know(form, packed):
    offer = as_json({"server": "ssyncd/9", "packed": form, "limits": {}})
    extensions, requests = answered(offer, offered)
    assert extensions.packed is packed
    assert [request.path for request in requests] == ["/1/ssyncd/"]


@pytest.mark.parametrize(
    "reply", [Reply(200, b"<html>", {"Content-Type": "text/html"}), Reply(200, b"hello"), as_json([])]
)
def test_a_web_page_is_no_server(reply):
    with pytest.raises(RemoteError):
        answered(reply, offered)


@pytest.mark.parametrize("reply", [as_json({}), as_json([5])])
def test_an_odd_list_of_devices_is_refused(reply):
    offers = as_json({"server": "ssyncd/9", "devices": 1, "packed": FORM, "limits": {}})
    with fake_server(lambda request: reply if "devices" in request.path else offers) as server:
        with pytest.raises(RemoteError, match="list of devices"):
            devices(Account(server.url, "ssyncd", "anna", "", "t"))
        assert [request.path for request in server.requests] == ["/1/ssyncd/", "/1/ssyncd/devices/"]


@pytest.mark.parametrize(
    ("buckets", "names"),
    [
        ([], []),
        (["b", "a%20b", "a%20b.chunks"], ["a b", "b"]),
        (["lone.chunks", "%FF"], ["lone.chunks", "\udcff"]),
        ([bucket_name("x" * 99)], [bucket_name("x" * 99)]),
    ],
)
def test_the_folders_of_an_account_are_its_buckets(buckets, names):
    with fake_server(lambda _: as_json({"buckets": [{"name": name} for name in buckets]})) as server:
        assert folder_names(Account(server.url, "ssyncd", "anna", "", "t")) == names
        assert [request.path for request in server.requests] == ["/1/ssyncd/buckets"]


@pytest.mark.parametrize("value", [[], {}, {"buckets": 5}, {"buckets": [5]}, {"buckets": [{"name": ""}]}])
def test_an_odd_list_of_folders_is_refused(value):
    with fake_server(lambda _: as_json(value)) as server, pytest.raises(RemoteError, match="list of folders"):
        folder_names(Account(server.url, "ssyncd", "anna", "", "t"))


@pytest.mark.parametrize(
    "question",
    [devices, logout, lambda account: revoke(account, "laptop"), lambda one: remove_folder(one, "x")],
)
@pytest.mark.parametrize("reply", [Reply(404, b""), Reply(401, b""), as_json({"server": "ssyncd/9", "limits": {}})])
def test_a_server_without_devices_is_not_asked_for_them(question, reply):
    with fake_server(lambda _: reply) as server:
        with pytest.raises(RefusedError, match="lists and ends no access tokens"):
            question(Account(server.url, "ssyncd", "anna", "", "t"))
        assert [request.path for request in server.requests] == ["/1/ssyncd/"]


def test_signing_in_and_the_socket_can_be_elsewhere(tmp_path):
    service = Service("app id", "key", auth_url="", websocket_url="wss://live.example/x")
    with fake_server(lambda _: as_json(GOOD)) as there:
        service = replace(service, auth_url=f"{there.url}/below/")
        account = sign_in("https://api.example/", "anna", "milk", "laptop", service)
        assert [request.path for request in there.requests] == ["/below/1/app%20id/authorize/"]
    assert (account.url, account.socket) == ("https://api.example", "wss://live.example/x")
    assert replace(account, websocket_url="").socket == "wss://api.example/sock/1/app%20id/websocket"


@pytest.mark.parametrize("url", ["https://live.example", "wss://", "live.example", "ws://h:port/", "ws://[::1"])
def test_what_is_no_url_of_a_websocket_is_a_usage_error(url):
    with pytest.raises(UsageError, match="websocket"):
        sign_in("http://127.0.0.1:1", "anna", "milk", "laptop", Service(websocket_url=url))


def test_the_limit_that_a_plain_server_does_not_tell_is_the_one_given():
    assert answered(Reply(404), lambda url: offered(url, object_limit=200_000))[0] == Extensions(object_limit=200_000)
    told = as_json({"server": "ssyncd/9", "limits": {"object": 300_000}})
    assert answered(told, lambda url: offered(url, object_limit=200_000))[0].object_limit == 300_000


def test_devices_come_and_go_on_a_real_server(tmp_path):
    with real_server(tmp_path) as first:
        assert offered(first.url).chunks
        second = sign_in(first.url, "anna", PASSWORD, "tower")
        assert {(device.name, device.current) for device in devices(second)} == {("laptop", False), ("tower", True)}
        assert revoke(second, "nobody") is False
        assert revoke(second, "laptop") is True
        with pytest.raises(SignInError):
            devices(first)
        assert logout(second) is True
        assert logout(second) is False
        with pytest.raises(SignInError):
            sign_in(first.url, "anna", "wrong", "laptop")


SAFE = re.compile(r"[A-Za-z0-9._%-]{1,57}")
FOLDERS = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=120)


@pytest.mark.parametrize(
    ("folder", "bucket"),
    [("notes", "notes"), ("My Documents", "My%20Documents"), ("é~", "%C3%A9%7E"), ("a.b-c_d", "a.b-c_d")],
)
def test_a_folder_has_a_readable_bucket(folder, bucket):
    assert bucket_name(folder) == bucket


@given(FOLDERS, FOLDERS)
def test_every_folder_has_a_bucket_of_its_own(one, other):
    one, other = (folder.encode(errors="surrogatepass").decode(errors="replace") for folder in (one, other))
    assert SAFE.fullmatch(bucket_name(one))
    assert (bucket_name(one) == bucket_name(other)) == (one == other)


def test_long_names_that_begin_alike_differ():
    assert bucket_name("x" * 100) != bucket_name("x" * 101)


def test_a_folder_without_a_name_has_no_bucket():
    with pytest.raises(ValueError, match="name"):
        bucket_name("")


@pytest.mark.parametrize(
    ("url", "socket"),
    [
        ("http://127.0.0.1:8730", "ws://127.0.0.1:8730/sock/1/ssyncd/websocket"),
        ("https://example.org/", "wss://example.org/sock/1/ssyncd/websocket"),
        ("https://example.org/sync", "wss://example.org/sync/sock/1/ssyncd/websocket"),
    ],
)
def test_the_socket_is_beside_the_rest(url, socket):
    assert websocket_url(url) == socket


@pytest.mark.parametrize(
    ("url", "exposed"),
    [
        ("http://127.0.0.1:8730", False),
        ("http://[::1]:8730", False),
        ("http://localhost", False),
        ("https://example.org", False),
        ("http://example.org", True),
        ("http://192.168.1.5:8730", True),
        ("http://localhost.example.org", True),
    ],
)
def test_an_open_line_to_another_machine_is_told(url, exposed):
    assert is_exposed(url) is exposed
    assert Account(url, "ssyncd", "anna", "", "t").exposed is exposed
