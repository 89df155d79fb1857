from ssyncd.folder.agenda import FIRST_DELAY, LONGEST_DELAY, LOUD, Agenda


def test_keys_come_in_the_order_they_were_touched_and_the_root_never() -> None:
    agenda = Agenda()
    agenda.touch("b", "", "a")
    agenda.touch_all(["c", "a"])
    assert agenda.take(2) == ["b", "a"]
    assert agenda.take(9) == ["c"]
    assert agenda.empty


def test_what_is_put_off_comes_when_it_is_due() -> None:
    agenda = Agenda()
    agenda.at(5.0, "key")
    agenda.at(3.0, "some/path", is_path=True)
    agenda.due(2.9)
    assert agenda.empty
    assert agenda.next == 3.0
    agenda.due(4.0)
    assert list(agenda.paths) == ["some/path"]
    agenda.due(5.0)
    assert agenda.take(9) == ["key"]
    assert agenda.next is None


def test_failures_wait_longer_each_time_and_are_named_when_they_do_not_stop() -> None:
    agenda, now, delays = Agenda(), 0.0, []
    for number in range(20):
        assert ("key" in agenda.troubles()) == (number >= LOUD)
        agenda.failed("key", "why", now)
        assert agenda.next is not None
        delays.append(round(agenda.next - now, 6))
        now = agenda.next
        agenda.due(now)
        assert agenda.take(9) == ["key"]
    assert delays == sorted(delays)
    assert delays[0] <= 4 * FIRST_DELAY
    assert delays[-1] == LONGEST_DELAY
    agenda.succeeded("key")
    assert agenda.troubles() == {}


def test_everything_put_off_can_be_tried_at_once() -> None:
    agenda = Agenda()
    agenda.failed("key", "why", 0.0, least=300.0)
    agenda.at(1000.0, "path", is_path=True)
    agenda.retry_all()
    assert agenda.take(9) == ["key"]
    assert list(agenda.paths) == ["path"]
