"""The table of watches against a real folder whose directories change while their events are on the way."""

import os
import random
import select
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ssyncd.disk import inotify
from ssyncd.disk.base import Hint
from ssyncd.disk.inotify import Event, Inotify
from ssyncd.disk.watcher import DiskWatcher


class Hand:
    """A watcher whose events are handed in by the test, as few at a time as it likes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hints: list[Hint] = []
        self.queue: list[Event] = []
        self.watcher = DiskWatcher(root)
        self.watcher.start(self.hints.extend)

    def read(self) -> None:
        reader = self.watcher._inotify
        assert reader is not None
        while reader._has_events(0):
            self.queue.extend(reader._parse_event_buffer(reader._read_event_buffer(65536)))

    def hand(self, count: int) -> None:
        """A rename's two ends are read together (`Inotify._read`)."""
        batch, self.queue = self.queue[:count], self.queue[count:]
        while self.queue and batch and batch[-1][1] & inotify.MOVED_FROM and self.queue[0][2] == batch[-1][2]:
            batch.append(self.queue.pop(0))
        if batch:
            self.watcher._handle_batch(batch)

    def hand_all(self) -> None:
        self.read()
        while self.queue:
            self.hand(len(self.queue))
            self.read()

    def watched(self) -> set[str]:
        watches = self.watcher._watches
        assert watches is not None
        paths = [directory.path(watches.root) for directory in watches.by_wd.values()]
        assert None not in paths
        return {path for path in paths if path}


@contextmanager
def handed(root: Path) -> Iterator[Hand]:
    hand = Hand(root)
    try:
        yield hand
    finally:
        reader = hand.watcher._inotify
        assert reader is not None
        reader.abandon()
        hand.watcher._inotify = None
        hand.watcher.stop()


@pytest.fixture(autouse=True)
def without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inotify, "start", lambda self: None)


def directories(root: Path) -> list[str]:
    found = [os.path.relpath(Path(head, name), root) for head, names, _ in os.walk(root) for name in names]
    return sorted(path for path in found if not path.startswith(".ssyncd"))


def test_a_mount_while_the_other_end_of_a_rename_is_waited_for_is_told_and_holds_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    reader = Inotify(lambda _: None, lambda _: None, lambda: told.append("mounted"))
    source, buffers = (1, inotify.MOVED_FROM, 7, b"name"), [b""]

    class Poller:
        def poll(self, timeout: int | None) -> list[tuple[int, int]]:
            assert timeout is not None
            return [(reader._mounts, select.POLLPRI)]

    with monkeypatch.context() as patch:
        patch.setattr(reader, "_poller", Poller())
        patch.setattr(reader, "_parse_event_buffer", lambda buffer: [source])
        patch.setattr(reader, "_read_event_buffer", lambda size: buffers.pop())  # a second one would wait
        assert reader._read() == [source]
    reader.abandon()
    assert told == ["mounted"]


def test_a_directory_renamed_before_the_one_above_it_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "x/d/in").mkdir(parents=True)
    with handed(tmp_path) as hand:
        (tmp_path / "x/d").rename(tmp_path / "x/e")
        hand.read()
        (tmp_path / "x").rename(tmp_path / "y")
        hand.hand(2)
        hand.hand_all()
        assert hand.watched() == {"y", "y/e", "y/e/in"}
        assert "y/e" in {hint.path for hint in hand.hints}


def test_a_directory_made_before_the_one_above_it_was_renamed_is_found(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with handed(tmp_path) as hand:
        (tmp_path / "x/new/in").mkdir(parents=True)
        hand.read()
        (tmp_path / "x").rename(tmp_path / "y")
        hand.hand(1)
        hand.hand_all()
        assert hand.watched() == {"y", "y/new", "y/new/in"}


def operate(root: Path, chance: random.Random) -> None:
    kind = chance.random()
    there = directories(root)
    name = chance.choice("abcd")
    target = os.path.join(root, chance.choice(["", *there]), name)
    try:
        if kind < 0.4 or not there:
            os.mkdir(target)
        elif kind < 0.9:
            os.rename(os.path.join(root, chance.choice(there)), target)
        else:
            shutil.rmtree(os.path.join(root, chance.choice(there)))
    except OSError:
        pass


@pytest.mark.parametrize("seed", range(150))
def test_every_directory_is_watched_in_the_end(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(10):
        operate(tmp_path, chance)
    with handed(tmp_path) as hand:
        for _ in range(chance.randrange(1, 40)):
            operate(tmp_path, chance)
            if chance.random() < 0.5:
                hand.read()
                hand.hand(chance.randrange(1, 4))
        hand.hand_all()
        assert hand.watched() == set(directories(tmp_path))
