"""The real server, as a child process on loopback."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading

import pytest
from msgspec.structs import replace

from ssyncd import places, serving
from ssyncd.embedded import EmbeddedServer, Housing
from ssyncd.errors import SsyncdError
from ssyncd.installation import Installation
from tests.programs import free_port


@pytest.fixture
def housing(tmp_path):
    return Housing(tmp_path / "data", tmp_path / "state", f"127.0.0.1:{free_port()}")


@pytest.fixture
def keeper(housing):
    """Makes keepers of the one server, as several daemons would have; stops them at the end."""
    made = []

    def make(of=housing):
        moved = Moved()
        server = EmbeddedServer(of, moved.to)
        made.append((server, moved))
        return server, moved

    yield make
    for server, _ in reversed(made):
        server.stop()


class Moved:
    def __init__(self):
        self.urls = []
        self.told = threading.Event()

    def to(self, url):
        self.urls.append(url)
        self.told.set()


def found(housing):
    with serving.election(housing.data):
        return serving.find(housing.data)


def wait_for(process_id):
    """Until a process that may not be our child has ended."""
    end = serving.end_of(process_id)
    if end is not None:
        poll = select.poll()
        poll.register(end, select.POLLIN)
        assert poll.poll(20_000), f"{process_id} does not end"
        os.close(end)


def another_server(housing, but):
    """The server that took over from process `but`."""
    moment = threading.Event()
    for _ in range(200):
        server = found(housing)
        if server is not None and server.pid != but and serving.healthy(server.url):
            return server
        moment.wait(0.1)
    raise AssertionError("nobody started it again")


def test_it_starts_listens_where_it_should_and_ends_with_its_keeper(housing, keeper):
    server, _ = keeper()
    url = server.start()
    assert url == f"http://{housing.listen}"
    assert server.owned
    assert serving.healthy(url)
    pid = found(housing).pid
    server.stop()
    wait_for(pid)
    assert found(housing) is None
    assert "Traceback" not in housing.stderr.read_text()


def test_a_second_keeper_finds_it_and_does_not_end_it(keeper):
    first, _ = keeper()
    second, _ = keeper()
    url = first.start()
    assert second.start() == url
    assert not second.owned
    second.stop()
    assert serving.healthy(url)


def test_starting_at_the_same_time_gives_one_server(keeper):
    keepers = [keeper()[0] for _ in range(3)]
    threads = [threading.Thread(target=one.start) for one in keepers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({one.url for one in keepers}) == 1
    assert [one.owned for one in keepers].count(True) == 1


@pytest.mark.slow
def test_a_killed_server_is_started_again_at_the_same_place(housing, keeper):
    server, moved = keeper()
    url = server.start()
    before = found(housing).pid
    os.kill(before, signal.SIGKILL)
    assert another_server(housing, before).url == url
    assert moved.urls == []


@pytest.mark.slow
def test_when_its_keeper_leaves_another_one_that_uses_it_starts_it_again(housing, keeper):
    first, _ = keeper()
    second, _ = keeper()
    url = first.start()
    second.start()
    before = found(housing).pid
    first.stop()
    assert another_server(housing, before).url == url
    assert second.owned or another_server(housing, before)


def test_it_ends_when_its_keeper_is_killed(housing):
    code = (
        "import sys, pathlib\nfrom ssyncd.embedded import *\n"
        "server = EmbeddedServer(Housing(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]))\n"
        "print(server.start(), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(housing.data), str(housing.state), housing.listen]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline().startswith(b"http://")
        pid = found(housing).pid
        owner.kill()
        owner.wait()
        wait_for(pid)
    assert found(housing) is None


@pytest.mark.slow
def test_a_taken_port_leads_to_another_one_that_is_remembered(housing, keeper):
    host, port = housing.listen.split(":")
    with socket.socket() as other:
        other.bind((host, int(port)))
        other.listen()
        server, _ = keeper()
        url = server.start()
        assert url != f"http://{housing.listen}"
        server.stop()
    again, _ = keeper()
    # The configured one is free now, but other machines may be signed in at this one.
    assert again.start() == url


@pytest.mark.slow
def test_the_remembered_port_is_forgotten_with_a_new_setting(housing, keeper):
    server, _ = keeper()
    server.start()
    server.stop()
    elsewhere = Housing(housing.data, housing.state, f"127.0.0.1:{free_port()}")
    again, _ = keeper(elsewhere)
    assert again.start() == f"http://{elsewhere.listen}"


@pytest.mark.slow
def test_its_users_are_told_when_it_comes_back_elsewhere(housing, keeper):
    server, moved = keeper()
    server.start()
    pid = found(housing).pid
    # Stopped, so that nothing is noticed while the setting changes.
    os.kill(pid, signal.SIGSTOP)
    elsewhere = f"127.0.0.1:{free_port()}"
    server._housing = Housing(housing.data, housing.state, elsewhere)
    os.kill(pid, signal.SIGKILL)
    assert moved.told.wait(30)
    assert moved.urls == [f"http://{elsewhere}"]


def test_a_server_that_cannot_start_says_why(housing, keeper):
    housing.data.mkdir(parents=True)
    (housing.data / "server.db").write_bytes(b"this is no database" * 100)
    server, _ = keeper()
    with pytest.raises(SsyncdError, match=r"did not start: .*server\.db") as caught:
        server.start()
    assert "Traceback" not in str(caught.value)
    assert not server.owned


@pytest.mark.slow
def test_a_server_run_by_hand_on_the_same_data_is_used(housing, keeper):
    command = [sys.executable, "-m", "ssyncd", "serve", "--data", str(housing.data), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as by_hand:
        line = by_hand.stdout.readline().decode()
        server, _ = keeper()
        assert server.start() in line
        assert not server.owned
        server.stop()
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 7
        assert str(by_hand.pid) in second.stderr
        by_hand.terminate()
        by_hand.wait(20)
    assert by_hand.returncode == 0


def test_it_reads_the_settings_file_that_its_keeper_has(housing, keeper, tmp_path):
    (tmp_path / "my.toml").write_text("[serve]\nversion_max = 0")
    server, _ = keeper(replace(housing, config=tmp_path / "my.toml"))
    with pytest.raises(SsyncdError, match=r"my\.toml: serve\.version_max: must be from 1"):
        server.start()


def test_stopping_what_never_started_is_harmless(keeper):
    keeper()


class TestAccount:
    """The account that the built-in server's users share."""

    @pytest.fixture
    def installation(self, tmp_path):
        (tmp_path / "config.toml").write_text('device = "laptop"')
        return Installation(
            places.Places(tmp_path / "config.toml", tmp_path / "state", tmp_path / "data", tmp_path / "run")
        )

    @pytest.fixture
    def url(self, installation, keeper, housing):
        server, _ = keeper(Housing(installation.places.data, installation.places.state, housing.listen))
        return server.start()

    def test_it_is_made_once_and_found_again(self, installation, url):
        account, fresh = installation.embedded_account(url)
        assert fresh
        assert (account.url, account.app) == (url, "ssyncd")
        assert installation.embedded_account(url) == (account, False)
        moved, _ = installation.embedded_account("http://127.0.0.1:9")
        assert (moved.url, moved.token) == ("http://127.0.0.1:9", account.token)

    @pytest.mark.slow
    def test_its_token_opens_the_server(self, installation, url):
        from ssyncd.network.login import devices

        account, _ = installation.embedded_account(url)
        assert [(device.name, device.current) for device in devices(account)] == [("laptop", True)]

    def test_lost_credentials_get_a_new_token_for_the_same_account(self, installation, url):
        account, _ = installation.embedded_account(url)
        installation.places.credentials.unlink()
        again, fresh = installation.embedded_account(url)
        assert fresh
        assert again.user_id == account.user_id
        assert again.token != account.token

    def test_the_only_account_of_the_data_is_taken(self, installation, url):
        from ssyncd.server.accounts import open_accounts

        with open_accounts(installation.places.data) as accounts:
            accounts.add("somebody else", "secret")
        assert installation.embedded_account(url)[0].user == "somebody else"

    def test_two_daemons_at_once_get_one_account(self, installation, url):
        got = []
        threads = [threading.Thread(target=lambda: got.append(installation.embedded_account(url)[0])) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len({account.token for account in got}) == 1
        assert len(got) == 4
