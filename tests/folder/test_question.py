"""A question that is asked until it is answered."""

import threading
from collections.abc import Callable

import pytest

from ssyncd.errors import NetworkError, SsyncdError
from ssyncd.folder.question import Question
from ssyncd.network.surroundings import Lull

DEADLINE = 20.0


def test_a_question_is_asked_again_until_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssyncd.folder.question.FIRST_RETRY", 0.001)
    failures: list[SsyncdError] = []
    done = threading.Event()

    def ask() -> int:
        if len(failures) < 3:
            raise NetworkError("not now")
        return 42

    question = Question(ask, lambda _: done.set(), failures.append, lambda: None)
    assert done.wait(DEADLINE)
    question.stop()
    assert (question.answer, len(failures)) == (42, 3)


def test_a_question_that_waits_for_the_server_can_be_given_up() -> None:
    asked, closed = threading.Event(), threading.Event()

    def ask() -> int:
        asked.set()
        assert closed.wait(DEADLINE)
        raise NetworkError("closed here")

    answers: list[Question[int]] = []
    question = Question(ask, answers.append, lambda _: None, closed.set)
    assert asked.wait(DEADLINE)
    question.stop()
    assert not answers


def test_a_question_is_asked_again_when_the_network_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssyncd.folder.question.FIRST_RETRY", 0.001)
    waits: list[float] = []

    def wait(lull: Lull, seconds: float, soon: float, over: Callable[[], bool]) -> bool:
        waits.append(seconds)
        assert soon == 0.001
        return len(waits) == 3

    monkeypatch.setattr(Lull, "wait", wait)
    done = threading.Event()

    def ask() -> None:
        if len(waits) < 5:
            raise NetworkError("not now")

    question = Question(ask, lambda _: done.set(), lambda _: None, lambda: None)
    assert done.wait(DEADLINE)
    question.stop()
    assert waits == [0.001, 0.002, 0.004, 0.001, 0.002]
