import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssyncd.planner.names import MAX_NAME, conflict_name, is_conflict_name, shorten, valid_name

WHEN = 1_795_356_245_123_456  # 2026-11-22 14:04:05 UTC
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=300)


def copy_of(name, when=WHEN, device="laptop", taken=()):
    return conflict_name(name, when, device, lambda found: found in taken)


@pytest.mark.parametrize(
    "name", ["a", "...", ".ssyncd", " ", "a\nb", "日本", "x" * 255, "é" * 127, "CON", "a\\b", ".git"]
)
def test_these_are_names(name):
    assert valid_name(name) is None


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0b", "x" * 256, "é" * 128, "\udc80", "a\ud800"])
def test_these_are_no_names(name):
    assert valid_name(name)


@pytest.mark.parametrize("name", [".ssyncd", ".SSyncD"])
def test_our_own_name_is_ours_at_the_top_only(name):
    assert valid_name(name, top=True)
    assert valid_name(name) is None
    assert valid_name(".ssyncdignore", top=True) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.txt", "report (conflict 2026-11-22 14-04-05 laptop).txt"),
        ("report", "report (conflict 2026-11-22 14-04-05 laptop)"),
        ("a.tar.gz", "a (conflict 2026-11-22 14-04-05 laptop).tar.gz"),
        ("a.gz", "a (conflict 2026-11-22 14-04-05 laptop).gz"),
        (".bashrc", ".bashrc (conflict 2026-11-22 14-04-05 laptop)"),
        (".config.json", ".config (conflict 2026-11-22 14-04-05 laptop).json"),
        ("...", "... (conflict 2026-11-22 14-04-05 laptop)"),
        ("a.", "a. (conflict 2026-11-22 14-04-05 laptop)"),
        ("see chapter 1. Introduction", "see chapter 1. Introduction (conflict 2026-11-22 14-04-05 laptop)"),
        ("a.averyveryverylongextension", "a.averyveryverylongextension (conflict 2026-11-22 14-04-05 laptop)"),
    ],
)
def test_the_mark_goes_before_the_extension(name, expected):
    assert copy_of(name) == expected


def test_an_entry_without_a_time_gets_a_mark_without_one():
    assert copy_of("photos", when=None) == "photos (conflict laptop)"


def test_a_number_is_added_while_the_name_is_taken():
    first = copy_of("a.txt")
    second = copy_of("a.txt", taken={first})
    assert second == "a (conflict 2026-11-22 14-04-05 laptop 2).txt"
    assert copy_of("a.txt", taken={first, second}) == "a (conflict 2026-11-22 14-04-05 laptop 3).txt"


def test_a_copy_of_a_copy_does_not_grow():
    assert copy_of(copy_of("a.txt", device="tower")) == copy_of("a.txt")


@pytest.mark.parametrize(
    ("device", "shown"),
    [
        ("My PC/home", "My-PC-home"),
        ("../..", "unknown"),
        ("", "unknown"),
        ("\udc80", "unknown"),
        ("a) b.exe", "a-b.exe"),
    ],
)
def test_a_device_name_is_made_fit(device, shown):
    assert copy_of("a", device=device) == f"a (conflict 2026-11-22 14-04-05 {shown})"


@pytest.mark.parametrize("when", [-(10**30), 10**30, -62_135_596_800_000_000])
def test_any_time_gives_a_name(when):
    assert is_conflict_name(copy_of("a.txt", when=when))


@given(NAMES, st.integers() | st.none(), st.text(max_size=80), st.integers(0, 12))
def test_a_conflict_name_is_always_a_valid_new_name(name, when, device, tries):
    taken = {name}
    for _ in range(tries):
        found = conflict_name(name, when, device, taken.__contains__)
        assert found not in taken
        taken.add(found)
        assert valid_name(found) is None
        assert is_conflict_name(found)


@pytest.mark.parametrize("name", ["report.txt", "a (conflict).txt", "conflict 2026-11-22 14-04-05 x", "a(conflict x)"])
def test_these_are_no_conflict_names(name):
    assert not is_conflict_name(name)


@given(st.text(), st.integers(0, MAX_NAME))
def test_shortening_keeps_whole_characters(text, size):
    text = text.encode(errors="ignore").decode()
    short = shorten(text, size)
    assert text.startswith(short)
    assert len(short.encode()) <= size
    assert len(text.encode()) <= size or len(short.encode()) > size - 4
