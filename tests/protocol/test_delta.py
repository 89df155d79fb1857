import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ssyncd.errors import ApplyError
from ssyncd.protocol import delta

# The characters that make trouble: pairs that share a half, combining marks, what encodeURI escapes or leaves alone.
texts = st.text(alphabet="ab 🅰🅱😀😁🙋🙌👍🏽é%+#\t\n\"<'中\x00", max_size=30)


# Each was produced by the official Node client.
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("Ted", "Red", "-1\t+R\t=2"),
        ("👿", "👿#", "=2\t+#"),
        ("a😀b", "a😀b🎉", "=4\t+%F0%9F%8E%89"),
        ("🅰", "🅱", "-2\t+%F0%9F%85%B1"),
        ("🙋🙋", "🙋🙌🙋", "=2\t+%F0%9F%99%8C\t=2"),
        ("x😀y", "x😁y", "=1\t-2\t+%F0%9F%98%81\t=1"),
        ("👍", "👍🏽", "=2\t+%F0%9F%8F%BD"),
        ("x", "x\ty\n", "=1\t+%09y%0A"),
        ("100% [ok] #1", "100% {ok} #2 ~é <x>", "=5\t-7\t+%7Bok%7D #2 ~%C3%A9 %3Cx%3E"),
    ],
)
def test_deltas_are_those_of_the_official_clients(before, after, expected):
    assert delta.make(before, after) == expected
    assert delta.apply(expected, before) == after


@given(texts, texts)
@example("🅰🅰", "🅱🅰")
@example("😀", "😀😀")
@example("😁😀", "😀")
def test_a_delta_makes_the_one_text_of_the_other(before, after):
    made = delta.make(before, after)
    assert delta.apply(made, before) == after


@given(texts, texts)
def test_no_delta_of_ours_cuts_a_pair_or_has_an_empty_token(before, after):
    raw = before.encode("utf-16-le")
    at = 0
    for token in delta.make(before, after).split("\t"):
        if not token:
            assert before == after == ""
        elif token[0] == "+":
            assert len(token) > 1
            assert not any(half in token for half in ("%ED%A0", "%ED%AF", "%ED%B0", "%ED%BF"))
        else:
            size = int(token[1:])
            assert size > 0
            raw[at : at + 2 * size].decode("utf-16-le")
            at += 2 * size
    assert at == len(raw)


@given(st.text(st.characters(min_codepoint=0xD000, max_codepoint=0x10FFFF, categories=("Cs", "So")), max_size=8), texts)
def test_lone_surrogates_survive(before, after):
    # Python tells a pair from its two halves side by side, UTF-16 does not.
    whole = before.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    assert delta.apply(delta.make(whole, after), whole) == after
    assert delta.apply(delta.make(after, whole), after) == whole


def test_halves_of_a_pair_sent_by_old_clients_are_accepted():
    # U+1F170 and U+1F171 share the first half.
    assert delta.apply("=1\t-1\t+%ED%B5%B1", "🅰") == "🅱"
    assert delta.apply("-1\t+%ED%A0%BC\t=1", "🅰") == "🅰"


def test_blank_tokens_and_keeping_nothing_are_accepted():
    assert delta.apply("=3\t", "abc") == "abc"
    assert delta.apply("=0\t=3\t-0\t+d", "abc") == "abcd"
    assert delta.apply("", "") == ""


def test_a_plus_is_a_plus_and_an_escaped_sign_is_that_sign():
    assert delta.apply("+a+b%2Bc%23", "") == "a+b+c#"


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "=2",
        "=4",
        "-99",
        "x3",
        "=",
        "=+3",
        "= 3",
        "=1_0",
        "=-3",
        "=٣",
        "=3\t+%FF",
        "=3\t+%E4%B8",
        "=" + "9" * 5000,
        "3",
    ],
)
def test_a_delta_that_does_not_fit_is_an_apply_error(hostile):
    with pytest.raises(ApplyError):
        delta.apply(hostile, "abc")


def test_two_edits_of_different_places_both_stay():
    ours, theirs = delta.make("one two three", "ONE two three"), delta.make("one two three", "one two THREE")
    moved = delta.transform(ours, theirs, "one two three")
    assert moved is not None
    assert delta.apply(moved, "one two THREE") == "ONE two THREE"


def test_the_crossed_edits_of_the_official_client_meet_as_there():
    # AC: =1 +B =1 and =2 +D; the second becomes =3 +D.
    assert delta.transform("=2\t+D", "=1\t+B\t=1", "AC") == "=3\t+D"


def test_equal_insertions_are_both_kept():
    moved = delta.transform("=1\t+b", "=1\t+b", "a")
    assert moved is not None
    assert delta.apply(moved, "ab") == "abb"


def test_nothing_is_left_of_a_change_that_finds_no_place():
    assert delta.transform("=5\t-5\t=5", "-15", "aaaaabbbbbccccc") is None


@given(texts, texts, texts)
def test_a_transformed_delta_fits_and_leaves_no_half_of_a_pair(source, one, other):
    ours, theirs = delta.make(source, one), delta.make(source, other)
    moved = delta.transform(ours, theirs, source)
    if moved is not None:
        delta.apply(moved, other).encode()


@given(texts, texts)
def test_a_change_over_none_is_itself(source, after):
    made = delta.make(source, after)
    moved = delta.transform(made, delta.make(source, source), source)
    assert (source if moved is None else delta.apply(moved, source)) == after
