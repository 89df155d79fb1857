"""What can wait waits until all is quiet, and is then done in slices."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ssyncd.errors import DiskError
from ssyncd.folder import quiet
from ssyncd.folder.quiet import QUIET, RESTED, Quiet


class Known:
    """As much of a Record as is tidied up."""

    def __init__(self, stirred: int = 0, written: bool = False) -> None:
        self.stirred = dict.fromkeys(range(stirred))
        self.written = written
        self.shrunk = 0
        self.database = SimpleNamespace(is_settled=lambda: not self.written, settle=self._settle)

    def _settle(self) -> None:
        self.written = False

    def shrink(self) -> None:
        self.shrunk += 1

    def let_rest(self, most: int) -> bool:
        for key in list(self.stirred)[:most]:
            del self.stirred[key]
        return bool(self.stirred)


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    times: list[bool] = []
    monkeypatch.setattr(quiet, "give_memory_back", lambda: times.append(True))
    return times


def tidying(known: Any) -> Quiet:
    return Quiet(known, cast("Any", Staged(untidy=False)))


class Staged:
    """As much of a Supply as is tidied up."""

    def __init__(self, untidy: bool = True) -> None:
        self.untidy = untidy
        self.fails = False
        self.times = 0

    def sweep(self) -> None:
        self.times += 1
        self.untidy = False
        if self.fails:
            raise DiskError("", "no luck")


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_staged_for_nobody_is_swept_away(fails: bool) -> None:
    staged = Staged()
    staged.fails = fails
    quiet = Quiet(cast("Any", Known()), cast("Any", staged))
    assert quiet.tidy_up(False, 1.0) is None
    assert quiet.tidy_up(True, 2.0) == 2.0 + QUIET
    assert not staged.times
    for now in (2.0 + QUIET, 3.0 + QUIET, 9.0):
        assert quiet.tidy_up(True, now) is None
    assert staged.times == 1


def test_where_nothing_was_done_there_is_nothing_to_come_back_for() -> None:
    assert tidying(Known()).tidy_up(True, 5.0) is None
    assert tidying(Known(written=True)).tidy_up(False, 5.0) is None


def test_what_was_done_is_tidied_up_after_a_while_without_anything_to_do(given_back: list[bool]) -> None:
    known = Known(written=True)
    tidy = tidying(known)
    assert tidy.tidy_up(True, 5.0) == 5.0 + QUIET
    assert tidy.tidy_up(False, 5.1) is None
    assert tidy.tidy_up(True, 5.2) == 5.2 + QUIET
    assert tidy.tidy_up(True, 5.3) == 5.2 + QUIET
    assert known.written
    assert tidy.tidy_up(True, 5.2 + QUIET) is None
    assert not known.written
    assert not given_back


def test_many_are_let_rest_in_slices_and_then_memory_is_given_back(given_back: list[bool]) -> None:
    known = Known(stirred=RESTED + 1)
    tidy = tidying(known)
    assert tidy.tidy_up(True, 0.0) == QUIET
    assert tidy.tidy_up(True, 1.0) == 1.0
    assert len(known.stirred) == 1
    assert not given_back
    assert tidy.tidy_up(True, 1.0) is None
    assert not known.stirred
    assert given_back == [True]
    assert known.shrunk == 1
    assert tidy.tidy_up(True, 9.0) is None
