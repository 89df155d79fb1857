import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.wording import duration, many, moment, shown, size


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (123_456, "123 KB"), (5_000_000_000, "5.0 GB"), (2e15, "2000.0 TB")],
)
def test_sizes_are_short(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (89, "89 s"), (100, "2 min"), (5000, "83 min"), (9000, "2.5 h"), (300_000, "3 days")],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


@given(st.text(st.characters(exclude_categories=()), max_size=50))
def test_whatever_a_name_holds_a_terminal_can_take_it(text):
    told = shown(text)
    assert told.isprintable()
    told.encode("utf-8")


def test_names_that_are_fine_stay_as_they_are():
    assert shown("Größe 1 – 漢字.txt") == "Größe 1 – 漢字.txt"
    assert shown("a\nb\x1b\udcff") == r"a\nb\x1b\udcff"


def test_one_is_not_many():
    assert (many(1, "entry", "entries"), many(2, "entry", "entries"), many(0, "path")) == (
        "1 entry",
        "2 entries",
        "0 paths",
    )


@pytest.mark.parametrize(("seconds", "text"), [(0, "never"), (1e300, "unknown")])
def test_times_that_are_none_are_said_in_words(seconds, text):
    assert moment(seconds) == text


def test_a_time_is_local():
    assert moment(1_700_000_000).startswith("2023-11-1")
