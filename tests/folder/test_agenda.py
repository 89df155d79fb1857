from ssyncd.folder.agenda import FIRST_DELAY, LONGEST_DELAY, LOUD, Agenda


def test_keys_come_in_the_order_they_were_touched_and_the_root_never() -> None:
    agenda = Agenda()
    agenda.touch_all(["b", "", "a"])
    agenda.touch("")
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


def test_of_several_times_for_one_thing_the_first_counts() -> None:
    agenda = Agenda()
    for when in (60.0, 1.0, 30.0):
        agenda.at(when, "key")
    assert agenda.next == 1.0
    agenda.due(1.0)
    assert agenda.take(9) == ["key"]
    assert agenda.next is None
    agenda.due(100.0)
    assert agenda.empty


def test_what_is_planned_before_its_time_is_not_planned_again() -> None:
    agenda = Agenda()
    agenda.failed("key", "why", 0.0, least=5.0)
    agenda.at(5.0, "key", is_path=True)
    agenda.touch("key")
    assert agenda.take(9) == ["key"]
    assert list(agenda.waiting) == [("key", True)]
    agenda.due(100.0)
    assert (agenda.take(9), list(agenda.paths)) == ([], ["key"])


def test_paths_follow_a_directory_that_was_moved() -> None:
    agenda = Agenda()
    agenda.look("d/x")
    agenda.look("dx")
    agenda.look_below("d", "why")
    agenda.at(1.0, "d/later", is_path=True)
    agenda.at(1.0, "d/key")
    agenda.moved("d", "e")
    agenda.due(1.0)
    assert {"e/x", "dx", "e/later"} <= set(agenda.paths)
    assert "ex" not in agenda.paths
    assert agenda.below["e"] == "why"
    assert agenda.take(9) == ["d/key"]
