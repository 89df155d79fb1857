import errno
import json
import os
import pathlib
import socket
import stat
import threading
import time

import pytest

from ssyncd import control
from ssyncd.control import ControlSocket, ask, daemons
from ssyncd.errors import AnsweredError, BusyError, Exit, NetworkError, SsyncdError


@pytest.fixture
def runtime(tmp_path):
    return tmp_path / "runtime"


@pytest.fixture
def serve(runtime):
    """Starts a control socket with an answer function; stops it at the end."""
    started = []

    def start(answer, directory=runtime):
        one = ControlSocket(directory, answer)
        one.start()
        started.append(one)
        return one

    yield start
    for one in started:
        if one.path.exists():
            one.stop()


def echo(request, _gone):
    return {"asked": request}


def raw(path, data):
    """Send bytes and read what comes back."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer = b""
        try:
            while more := connection.recv(65536):
                answer += more
        except ConnectionResetError:
            # It hung up on what it had not read; that is an answer too, if one may send that much.
            assert len(data) > control.LIMIT
            return {"ok": False, "code": Exit.USAGE}
    return json.loads(answer)


def test_a_request_is_answered(serve):
    assert ask(serve(echo).path, {"command": "x", "n": 1}) == {"asked": {"command": "x", "n": 1}}


def test_an_answer_may_be_long(serve):
    one = serve(lambda _request, _gone: {"text": "x" * 5_000_000})
    assert len(ask(one.path, {})["text"]) == 5_000_000


def test_an_error_keeps_its_text_and_its_exit_code(serve):
    def refuse(_request, _gone):
        raise BusyError("somebody has it")

    with pytest.raises(AnsweredError, match="somebody has it") as caught:
        ask(serve(refuse).path, {})
    assert caught.value.exit_code is Exit.BUSY


def test_a_fault_in_an_answer_does_not_end_the_daemon(serve):
    def fault(request, _gone):
        if request:
            raise ZeroDivisionError
        return {}

    one = serve(fault)
    with pytest.raises(AnsweredError, match="internal error"):
        ask(one.path, {"a": 1})
    assert ask(one.path, {}) == {}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{",
        b"{}",
        b"[]\n",
        b"3\n",
        b"\xff\xfe\n",
        b"[" * 60_000 + b"\n",
        b"x" * (control.LIMIT + 70_000),
        b'{"a": "' + b"x" * control.LIMIT + b'"}\n',
    ],
)
def test_a_hostile_request_gets_a_usage_error(serve, data):
    one = serve(echo)
    answer = raw(one.path, data)
    assert (answer["ok"], answer["code"]) == (False, Exit.USAGE)
    assert ask(one.path, {"still": "there"})


def test_a_client_that_says_nothing_is_hung_up_on(serve, monkeypatch):
    monkeypatch.setattr(control, "READ_SECONDS", 0.05)
    one = serve(echo)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(one.path))
        assert b"in time" in connection.recv(65536)


def test_too_many_connections_are_refused_and_others_served_later(serve, monkeypatch):
    monkeypatch.setattr(control, "CONNECTIONS", 2)
    inside, release = threading.Semaphore(0), threading.Event()

    def hold(request, _gone):
        if request.get("hold"):
            inside.release()
            release.wait(10)
        return {}

    one = serve(hold)
    holders = [threading.Thread(target=ask, args=(one.path, {"hold": 1})) for _ in range(2)]
    for holder in holders:
        holder.start()
    for _ in holders:
        assert inside.acquire(timeout=10)
    with pytest.raises(NetworkError, match=r"hung up|does not answer"):
        ask(one.path, {})
    release.set()
    for holder in holders:
        holder.join()
    deadline = time.monotonic() + 10
    while True:
        try:
            assert ask(one.path, {}) == {}
            break
        except NetworkError:
            assert time.monotonic() < deadline


def test_an_answer_can_tell_that_the_asker_is_gone(serve):
    told, asked, left, ended = [], threading.Event(), threading.Event(), threading.Event()

    def watch(_request, gone):
        told.append(gone())
        asked.set()
        left.wait(10)
        told.append(gone())
        ended.set()
        return {}

    one = serve(watch)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(one.path))
        connection.sendall(b"{}\n")
        assert asked.wait(10)
    left.set()
    assert ended.wait(10)
    assert told == [False, True]


def test_nobody_else_can_reach_the_socket(serve, runtime):
    before = os.umask(0)
    try:
        one = serve(echo)
    finally:
        os.umask(before)
    assert stat.S_IMODE(one.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700


def test_a_directory_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(SsyncdError, match="not a directory of this user"):
        ControlSocket(tmp_path / "link", echo).start()


def test_stopping_ends_a_waiting_answer_and_removes_the_socket(serve, runtime):
    waiting = threading.Event()

    def wait(_request, gone):
        waiting.set()
        while not gone():
            pass
        return {}

    one = serve(wait)
    errors = []

    def client():
        try:
            ask(one.path, {})
        except NetworkError as error:
            errors.append(error)

    asker = threading.Thread(target=client)
    asker.start()
    assert waiting.wait(10)
    one.stop()
    asker.join(10)
    assert len(errors) == 1
    assert list(runtime.iterdir()) == []


def test_daemons_are_found_and_dead_ones_cleaned_away(serve, runtime):
    one = serve(echo)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime / "999999.sock"))
    (runtime / "note.txt").write_text("not ours")
    assert daemons(runtime) == [one.path]
    assert sorted(file.name for file in runtime.iterdir()) == [one.path.name, "note.txt"]


def test_a_socket_that_cannot_be_removed_does_not_keep_the_daemon_from_ending(serve, runtime, monkeypatch):
    one = serve(echo)

    def failing(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "unlink", failing)
        one.stop()
    assert daemons(runtime) == []
    assert list(runtime.iterdir()) == []


def test_without_a_runtime_directory_there_are_no_daemons(runtime):
    assert daemons(runtime) == []


def test_a_socket_left_by_a_process_with_our_id_is_replaced(serve, runtime):
    runtime.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime / f"{os.getpid()}.sock"))
    assert ask(serve(echo).path, {}) == {"asked": {}}


def test_a_path_longer_than_a_socket_name_may_be_works(serve, tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    one = serve(echo, deep)
    assert daemons(deep) == [one.path]
    assert ask(one.path, {"a": 1}) == {"asked": {"a": 1}}


def test_asking_nobody_is_a_network_error(tmp_path):
    with pytest.raises(NetworkError, match="does not answer"):
        ask(tmp_path / "1.sock", {})


def test_asking_somebody_who_never_answers_ends_in_time(serve):
    release = threading.Event()
    one = serve(lambda _request, _gone: {"r": release.wait(10)})
    with pytest.raises(NetworkError, match=r"no whole message in time|does not answer|hung up"):
        ask(one.path, {}, timeout=0.05)
    release.set()


def test_where_no_thread_can_be_had_the_next_request_is_answered(serve, refused_threads, caplog):
    one = serve(echo)
    refused_threads["control-answer"] = 1
    with pytest.raises(NetworkError, match=r"hung up|does not answer"):
        ask(one.path, {})
    assert ask(one.path, {"a": 1}) == {"asked": {"a": 1}}
    assert "no thread for control-answer" in caplog.text
