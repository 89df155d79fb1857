"""A question that is asked until it is answered."""

import threading

import pytest

from ssyncd.errors import NetworkError, SsyncdError
from ssyncd.folder.question import Question

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
