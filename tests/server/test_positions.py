import pytest

from ssyncd.server.positions import Positions

BEFORE = Positions([(0, "aaaaaaaa"), (11, "bbbbbbbb")])
# A backup of position 5 was restored, and went on from there.
AFTER = Positions([(0, "aaaaaaaa"), (6, "cccccccc")])


@pytest.mark.parametrize("position", [0, 1, 10, 11, 2**40])
def test_a_cv_is_read_as_it_was_written(position: int) -> None:
    cv = BEFORE.text(7, position)
    assert len(cv) == 28
    assert cv.isalnum()
    assert BEFORE.parse(7, cv) == position


def test_a_position_keeps_its_cv_when_later_runs_come() -> None:
    later = Positions([(0, "aaaaaaaa"), (11, "bbbbbbbb"), (20, "cccccccc")])
    assert [later.text(1, p) for p in (0, 10, 11, 19)] == [BEFORE.text(1, p) for p in (0, 10, 11, 19)]


def test_the_lost_future_of_a_restored_backup_is_unknown() -> None:
    assert [AFTER.parse(1, BEFORE.text(1, position)) for position in (5, 6, 11)] == [5, None, None]


@pytest.mark.parametrize(
    "cv", ["", "x" * 28, "aaaaaaaa00000001-0000000000a", "AAAAAAAA00000001000000000001", "aaaaaaaa000000010000000000 1"]
)
def test_what_is_no_cv_is_unknown(cv: str) -> None:
    assert BEFORE.parse(1, cv) is None


def test_a_cv_of_another_bucket_is_unknown() -> None:
    assert BEFORE.parse(2, BEFORE.text(1, 3)) is None
