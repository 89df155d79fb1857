"""Heartbeats, and when a silent peer is given up; the seconds are made up."""

import pytest

from ssyncd.network.vigil import Pace, Vigil

PACE = Pace(beat=20.0, probe=4.0, answer=12.0, silence=60.0)


def listening(now: float = 0.0) -> Vigil:
    vigil = Vigil(PACE, now)
    vigil.listening(now)
    return vigil


def say(vigil: Vigil, now: float) -> None:
    vigil.said(now)
    vigil.sent(now)


def beat(vigil: Vigil, now: float) -> None:
    vigil.beats(now)
    vigil.sent(now)


def hear(vigil: Vigil, now: float) -> None:
    vigil.delivering(now)
    vigil.listening(now)


def given_up(vigil: Vigil, now: float, end: float = 1000.0, step: float = 0.25) -> float | None:
    """Nothing comes any more: when that is noticed."""
    while now < end:
        due, gone = vigil.times(now)
        if now >= gone:
            return now
        if now >= due:
            beat(vigil, now)
        now += step
    return None


def test_an_idle_connection_beats_rarely() -> None:
    vigil = listening()
    for minute in range(10):
        now = minute * 20.0
        assert vigil.times(now) == (now + 20.0, now + 60.0)
        beat(vigil, now + 20.0)
        hear(vigil, now + 20.0)


def test_an_idle_connection_that_died_is_given_up_after_a_heartbeat() -> None:
    assert given_up(listening(), 0.0) == 32.0


def test_in_doubt_a_heartbeat_goes_out_at_once_but_not_again_and_again() -> None:
    vigil = listening()
    vigil.doubt()
    assert vigil.times(7.0) == (4.0, 60.0)
    beat(vigil, 7.0)
    assert vigil.times(7.0) == (27.0, 19.0)
    vigil.doubt()
    assert vigil.times(7.5) == (11.0, 19.0)
    hear(vigil, 8.0)
    beat(vigil, 11.0)
    hear(vigil, 11.5)
    assert vigil.times(11.5) == (31.0, 71.5)


def test_what_died_in_doubt_is_given_up_after_its_heartbeat() -> None:
    vigil = listening()
    vigil.doubt()
    assert given_up(vigil, 10.0) == 22.0


def test_who_has_said_something_notices_sooner() -> None:
    vigil = listening()
    say(vigil, 5.0)
    assert vigil.times(5.0) == (9.0, 17.0)
    assert given_up(vigil, 5.0) == 17.0


@pytest.mark.parametrize("every", [0.5, 3.0, 10.0])
def test_saying_more_does_not_put_it_off(every: float) -> None:
    vigil, now = listening(), 0.25
    while now < vigil.times(now)[1]:
        say(vigil, now)
        due, _ = vigil.times(now)
        if now >= due:
            beat(vigil, now)
        now += every
    assert now <= 12.0 + every


def test_anything_that_comes_counts() -> None:
    vigil = listening()
    say(vigil, 0.5)
    for second in range(1, 100):
        hear(vigil, float(second))
        say(vigil, second + 0.5)
        assert vigil.times(second + 0.5)[1] == second + 12.5


def test_a_server_that_is_slow_to_answer_a_change_but_beats_stays() -> None:
    vigil = listening()
    say(vigil, 1.0)
    assert vigil.times(4.0)[0] == 5.0
    beat(vigil, 5.0)
    hear(vigil, 5.25)
    assert vigil.times(6.0) == (25.0, 65.25)


def test_what_gets_through_slowly_puts_it_off() -> None:
    vigil = listening()
    say(vigil, 1.0)
    for now in (13.0, 25.0, 100.0, 500.0):
        vigil.alive(now)
        assert now < vigil.times(now)[1] <= now + 12.0
    assert given_up(vigil, 500.0) == 512.0


def test_nobody_is_silent_while_the_owner_does_not_listen() -> None:
    vigil = listening()
    say(vigil, 0.5)
    vigil.delivering(1.0)
    assert given_up(vigil, 1.0) is None
    vigil.listening(1000.0)
    assert vigil.times(1000.0)[1] == 1060.0
