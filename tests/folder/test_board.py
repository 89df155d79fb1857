"""What waits for a folder's status is woken at once for news, and for counts now and then."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from ssyncd.folder import board
from ssyncd.folder.board import Board
from ssyncd.status import FolderStatus, Phase, Trouble

FIRST = FolderStatus("f", "/f", Phase.SYNCING, "https://server")
LONG = 20.0


@contextmanager
def waiting(told: Board, until: Callable[[FolderStatus], bool]) -> Iterator[list[FolderStatus]]:
    """A thread that waits, and what it has seen so far; it has looked once when this begins, and is through when it ends."""
    seen, looked = list[FolderStatus](), threading.Event()

    def look(status: FolderStatus) -> bool:
        seen.append(status)
        looked.set()
        return until(status)

    thread = threading.Thread(target=told.wait, args=(LONG, look), name="waits")
    thread.start()
    assert looked.wait(LONG)
    try:
        yield seen
    finally:
        thread.join()


@pytest.mark.parametrize(
    "news",
    [
        {"phase": Phase.IN_SYNC},
        {"online": True},
        {"conflicts": 1},
        {"troubles": (Trouble("a", "why"),)},
        {"last_error": "why"},
    ],
)
def test_news_wake_at_once(monkeypatch: pytest.MonkeyPatch, news: dict[str, object]) -> None:
    monkeypatch.setattr(board, "PACE", math.inf)
    told, after = Board(FIRST), replace(FIRST, **news)
    with waiting(told, lambda status: status == after):
        told.tell(after)
        assert told.pause(None) is None


def test_counts_wake_seldom_and_the_last_ones_are_seen() -> None:
    told, last = Board(FIRST), replace(FIRST, online=True, to_send=9_999)
    with waiting(told, lambda status: status == last) as seen:
        told.tell(replace(FIRST, online=True))
        for count in range(10_000):
            told.tell(replace(FIRST, online=True, to_send=count))
        while (pause := told.pause(None)) is not None:
            assert 0.0 <= pause <= board.PACE
            told.tell(last)
    assert seen[-1] == last
    assert len(seen) < 1_000


def test_what_was_kept_back_is_told_with_the_news(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "PACE", math.inf)
    told = Board(FIRST)
    told.tell(replace(FIRST, online=True))
    told.tell(replace(FIRST, online=True, to_send=1))
    assert (told.pause(3.0), told.read().to_send) == (3.0, 1)
    assert told.pause(None) == math.inf
    told.tell(replace(FIRST, phase=Phase.IN_SYNC, online=True, to_send=1))
    assert told.pause(None) is None


def test_who_waits_hears_of_the_end() -> None:
    told = Board(FIRST)
    with waiting(told, lambda _: False):
        told.tell(FIRST, ended=True)
