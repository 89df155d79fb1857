import threading
from concurrent.futures import ThreadPoolExecutor

from ssyncd.folder.inbox import ROOM, Inbox


def test_items_come_in_order_and_all_at_once() -> None:
    inbox = Inbox()
    inbox.put(1)
    inbox.put_bulky(2)
    inbox.put_list([3, 4])
    assert inbox.take(0) == [1, 2, [3, 4]]
    assert inbox.take(0) == []


def test_too_many_bulky_items_make_their_sender_wait_until_some_are_taken() -> None:
    inbox = Inbox()
    for number in range(ROOM):
        inbox.put_bulky(number)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(inbox.put_bulky, "late")
        inbox.put("small")  # does not wait
        assert not late.done()
        assert inbox.take(10)[:ROOM] == list(range(ROOM))
        late.result(10)
    assert inbox.take(10) == ["late"]


def test_closing_lets_whoever_waits_go_on() -> None:
    inbox = Inbox()
    for number in range(ROOM):
        inbox.put_bulky(number)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(inbox.put_bulky, "late")
        inbox.close()
        late.result(10)


def test_what_comes_after_the_end_is_not_taken() -> None:
    inbox = Inbox()
    assert inbox.put("before")
    inbox.close()
    assert not inbox.put("after")
    assert inbox.take(None) == ["before"]


def test_what_is_not_wanted_any_more_makes_room() -> None:
    inbox = Inbox()
    inbox.put("kept")
    for number in range(ROOM):
        inbox.put_bulky(number)
    inbox.open_wide()
    inbox.put_bulky("new")
    assert inbox.take(0) == ["kept", "new"]


def test_take_wakes_as_soon_as_something_comes() -> None:
    inbox = Inbox()
    taken: list[object] = []
    thread = threading.Thread(target=lambda: taken.extend(inbox.take(None)), name="taker")
    thread.start()
    inbox.put("x")
    thread.join(10)
    assert taken == ["x"]
