"""What a work is: something a user does on one machine, and the moment when it is done on the other."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.processes import until
from tests.benchmarks.programs.base import Program
from tests.benchmarks.sizes import Size

Figures = dict[str, float]


@dataclass(frozen=True)
class Work:
    """`measure` returns figures, the most telling one first; None if the program cannot do this. `prepare` is not measured.

    The names of figures end in their unit: s, ms, bytes or %.
    """

    name: str
    title: str
    measure: Callable[[Program, Size], Figures | None]
    prepare: Callable[[Program, Size], None] = lambda _program, _size: None


@dataclass(frozen=True)
class Scene:
    """Works on one tree, done one after the other. `make` fills the folder of machine A before anything runs; the first work
    starts the program and brings the tree to B. `linked`: over a long, narrow line."""

    make: Callable[[Path, Size], None]
    works: tuple[Work, ...]
    linked: bool = False


def took(done: Callable[[], bool], what: str, began: float, pause: float = 0.002) -> float:
    """Seconds from `began` (of time.monotonic) until a condition holds."""
    until(done, what, pause)
    return round(time.monotonic() - began, 4)


def settle(program: Program) -> None:
    """Until the program has nothing more to do."""
    until(program.in_sync, f"{program.name} is in sync", 0.1)
