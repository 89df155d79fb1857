import os
import signal
import threading
import time

import pytest

from ssyncd.mailbox import Mailbox


def test_what_is_put_comes_out_in_order_also_when_it_was_put_before():
    box = Mailbox()
    box.put(1)
    with box.opened():
        box.put(2)
        assert [box.get(None), box.get(None)] == [1, 2]


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_nothing_comes(timeout):
    box = Mailbox()
    with box.opened():
        assert box.get(timeout) is None


def test_a_put_wakes_who_waits():
    box = Mailbox()
    got = []

    def sleep():
        with box.opened():
            while (thing := box.get(None)) is None:
                pass
            got.append(thing)

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    box.put("up")
    sleeper.join(10)
    assert got == ["up"]


def test_a_signal_that_another_thread_takes_wakes_who_waits():
    """As one does that comes just before the wait: the system call of the main thread is not interrupted."""
    box = Mailbox()
    before = signal.signal(signal.SIGUSR1, lambda _number, _frame: box.put("heard"))
    asleep = threading.Event()

    def send():
        assert asleep.wait(10)
        os.kill(os.getpid(), signal.SIGUSR1)

    sender = threading.Thread(target=send)
    sender.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        with box.opened():
            until = time.monotonic() + 10
            heard = None
            asleep.set()
            while heard is None and time.monotonic() < until:
                heard = box.get(until - time.monotonic())
            assert heard == "heard"
            assert time.monotonic() < until
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGUSR1, before)
        sender.join(10)


def test_nobody_is_woken_when_it_is_closed_and_nothing_is_lost():
    box = Mailbox()
    with box.opened():
        pass
    box.put(1)
    with box.opened():
        assert box.get(None) == 1


def test_a_full_socket_stops_nobody():
    box = Mailbox()
    with box.opened():
        for number in range(5000):
            box.put(number)
        assert [box.get(None) for _ in range(5000)] == list(range(5000))


def test_the_wakeup_descriptor_is_put_back():
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with Mailbox().opened():
        assert signal.set_wakeup_fd(before) != before
    assert signal.set_wakeup_fd(before) == before
