"""When what the kernel does not tell of is looked at."""

from types import SimpleNamespace
from typing import Any

from ssyncd.folder.agenda import Agenda
from ssyncd.folder.lookout import PERIOD, SHARED_PACE, SHARED_PERIOD, Lookout
from ssyncd.folder.settings import Clock


class Scene:
    def __init__(self, shared: bool, entries: int = 0) -> None:
        self.now = 1000.0
        self.unwatched: dict[str, str] = {}
        self.agenda = Agenda()
        watcher: Any = SimpleNamespace(unwatched=lambda: self.unwatched, retry=lambda: None)
        local: Any = SimpleNamespace(unwatched={}, record=SimpleNamespace(local=range(entries)))
        self.lookout = Lookout(watcher, local, self.agenda, Clock(monotonic=lambda: self.now), shared)

    def looks(self, seconds: float) -> list[tuple[float, list[str]]]:
        """When it is looked, counted from now, and where; as the control thread does it when nothing else happens."""
        found, end, begun = list[tuple[float, list[str]]](), self.now + seconds, self.now
        while (wait := self.lookout.go_on(None)) is not None and self.now + wait <= end:
            if self.agenda.below:
                found.append((self.now - begun, list(self.agenda.below)))
                self.agenda.below = {}
            self.now += wait
        return found


def test_where_the_kernel_tells_of_everything_nothing_is_looked_at() -> None:
    scene = Scene(shared=False)
    assert scene.lookout.go_on(None) is None
    assert scene.lookout.go_on(3.0) == 3.0
    scene.now += 3600
    assert scene.looks(3600) == []


def test_directories_that_are_not_watched_are_looked_at_until_they_are() -> None:
    scene = Scene(shared=False)
    scene.unwatched = {"d": "the limit is reached"}
    assert scene.looks(3 * PERIOD) == [(number * PERIOD, ["d"]) for number in range(4)]
    scene.unwatched = {}
    scene.now += PERIOD
    assert scene.looks(60) == []


def test_a_folder_that_others_may_change_is_looked_at_every_minute() -> None:
    assert [when for when, _ in Scene(shared=True).looks(190)] == [60.0, 120.0, 180.0]


def test_a_large_one_less_often() -> None:
    scene = Scene(shared=True, entries=int(300 * SHARED_PACE))
    assert scene.looks(700) == [(SHARED_PERIOD, [""]), (SHARED_PERIOD + 300.0, [""]), (SHARED_PERIOD + 600.0, [""])]
