import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ssyncd import serving
from ssyncd.errors import BusyError, SsyncdError


@pytest.fixture
def health():
    """A server whose /healthz says what the test wants: (status, body)."""
    answer = [200, b'{"status": "ok"}']

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(answer[0])
            self.end_headers()
            self.wfile.write(answer[1])

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answer
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_is_found_while_it_holds_the_data_and_no_longer(tmp_path):
    with serving.hold(tmp_path) as announce:
        assert serving.find(tmp_path) is None
        announce("http://127.0.0.1:1234")
        assert serving.find(tmp_path) == serving.Serving("http://127.0.0.1:1234", os.getpid())
    # The file is still there, as after a crash; somebody else may have the port by now.
    assert (tmp_path / "serving.json").exists()
    assert serving.find(tmp_path) is None


def test_a_second_server_is_told_who_has_the_data(tmp_path):
    with serving.hold(tmp_path) as announce:
        announce("http://127.0.0.1:1")
        with pytest.raises(BusyError, match=str(os.getpid())), serving.hold(tmp_path):
            pass


def test_a_killed_server_leaves_nothing_in_the_way_and_is_waited_for(tmp_path):
    code = (
        "import sys, pathlib\nfrom ssyncd import serving\n"
        "with serving.hold(pathlib.Path(sys.argv[1])) as announce:\n"
        "    announce('http://127.0.0.1:1'); print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"ready\n"
        assert serving.find(tmp_path).pid == other.pid
        killer = threading.Timer(0.1, other.kill)
        killer.start()
        with serving.hold(tmp_path, patience=20.0):
            killer.join()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": "x"}', '{"url": "x", "pid": "y"}', "\xff"])
def test_a_damaged_announcement_is_nobody(tmp_path, text):
    with serving.hold(tmp_path):
        (tmp_path / "serving.json").write_text(text)
        assert serving.find(tmp_path) is None


@pytest.mark.parametrize(
    ("status", "body", "well"),
    [
        (200, b'{"status": "ok"}', True),
        (503, b'{"status": "ok"}', False),
        (200, b'{"status": "broken"}', False),
        (200, b"<html>hello</html>", False),
        (200, b"[]", False),
        (200, b"", False),
    ],
)
def test_only_a_server_that_says_so_is_healthy(health, status, body, well):
    url, answer = health
    answer[:] = [status, body]
    assert serving.healthy(url) is well


def test_nobody_there_is_not_healthy():
    assert not serving.healthy("http://127.0.0.1:1")
    assert not serving.healthy("nonsense")


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://0.0.0.0:8730", "http://127.0.0.1:8730"),
        ("https://[::]:8730", "https://[::1]:8730"),
        ("http://127.0.0.1:8730", "http://127.0.0.1:8730"),
        ("http://192.168.1.2:8730", "http://192.168.1.2:8730"),
    ],
)
def test_a_server_on_all_addresses_is_reached_on_this_machine(tmp_path, url, here):
    with serving.hold(tmp_path) as announce:
        announce(url)
        assert json.loads((tmp_path / "serving.json").read_text())["url"] == here


def test_a_disk_that_cannot_lock_is_named(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(SsyncdError, match="cannot be locked: No locks available"), serving.hold(tmp_path, elected=True):
        pass
