import os
import socket

import pytest

from ssyncd.notify import Notifier


@pytest.fixture
def systemd(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(10)
        yield end, str(tmp_path / "notify")


def test_what_is_told_is_what_systemd_reads(systemd):
    end, address = systemd
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready("all is\nwell")
    assert end.recv(4096) == b"READY=1\nSTATUS=all is well"
    notifier.status("näher")
    assert end.recv(4096).decode() == "STATUS=näher"
    notifier.stopping()
    assert end.recv(4096).startswith(b"STOPPING=1\n")
    notifier.reloading()
    assert end.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")


def test_an_abstract_address_works():
    name = f"ssyncd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(f"\0{name}")
        end.settimeout(10)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).status("x")
        assert end.recv(4096) == b"STATUS=x"


def test_without_systemd_nothing_happens():
    notifier = Notifier({})
    notifier.ready("x")
    assert notifier.alive() is None
    assert notifier.interval is None


def test_a_socket_that_is_gone_is_no_error(tmp_path):
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}).ready("x")


def test_the_watchdog_hears_at_half_its_time_and_not_more_often(systemd):
    end, address = systemd
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"})
    assert notifier.interval == 30.0
    assert 29.0 < notifier.alive() <= 30.0
    assert end.recv(4096) == b"WATCHDOG=1"
    assert notifier.alive() <= 30.0
    end.setblocking(False)
    with pytest.raises(BlockingIOError):
        end.recv(4096)


@pytest.mark.parametrize("usec", ["", "0", "x", "-5"])
def test_a_watchdog_time_that_is_none_is_none(usec):
    assert Notifier({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": usec}).interval is None


def test_a_watchdog_for_another_process_is_not_ours():
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid() + 1)}
    assert Notifier(environment).interval is None


def test_children_do_not_inherit_the_socket():
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/h"}
    Notifier(environment)
    assert environment == {"HOME": "/h"}
