"""A tree that is on machine A only comes to machine B."""

import time

from tests.benchmarks.programs.base import Program
from tests.benchmarks.sizes import Size
from tests.benchmarks.trees import Arrival
from tests.benchmarks.works.base import Figures, Work, took


def first_sync(program: Program, size: Size) -> Figures:
    arrival = Arrival(program.a, program.b)
    began = time.monotonic()
    program.start()
    return {"took s": took(arrival.here, "everything is there", began)}


def work(name: str, title: str) -> Work:
    return Work(name, title, first_sync)
