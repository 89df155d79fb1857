"""Small files are edited: one now and then, and many in a row."""

import statistics
import time
from pathlib import Path

from tests.benchmarks.programs.base import Program
from tests.benchmarks.sizes import Size
from tests.benchmarks.works.base import Figures, Work, settle, took

PAUSE = 0.0003
# A slow program gets no more time than this for its edits, but does ten of them.
BUDGET = 20.0
LEAST = 10
STREAM_FILES = 20


def one_by_one(program: Program, size: Size) -> Figures:
    """Each edit is made when the one before has been on B for a moment."""
    here, there = program.a / "edited", program.b / "edited"
    waits: list[float] = []
    end = time.monotonic() + BUDGET
    for index in range(size.of(200)):
        text = _text(index)
        began = time.monotonic()
        here.write_bytes(text)
        waits.append(took(lambda text=text: _holds(there, text), "the edit is there", began, PAUSE) * 1000)
        if len(waits) >= LEAST and time.monotonic() > end:
            break
        time.sleep(0.02)
    waits.sort()
    late = waits[min(len(waits) - 1, int(len(waits) * 0.99))]
    return {"median ms": round(statistics.median(waits), 1), "p99 ms": round(late, 1), "edits": len(waits)}


def in_a_row(program: Program, size: Size) -> Figures:
    """200 edits a second for 30 s, of 20 files in turn: from the last edit until B has the last of each."""
    count = size.of(6000)
    places = [f"row{index}" for index in range(STREAM_FILES)]
    began = time.monotonic()
    for index in range(count):
        time.sleep(max(0.0, began + index / 200 - time.monotonic()))
        (program.a / places[index % STREAM_FILES]).write_bytes(_text(index))
    last = time.monotonic()
    texts = {place: (program.a / place).read_bytes() for place in places[:count]}

    def all_there() -> bool:
        return all(_holds(program.b / place, text) for place, text in texts.items())

    return {"lag ms": took(all_there, "the last edits are there", last) * 1000, "edits": count}


def _text(index: int) -> bytes:
    """Of another length than the ones before: Unison takes a file for unchanged if only its bytes changed within a second."""
    return f"edit {index} {'.' * (index % 97)}".encode()


def _calm(program: Program, _size: Size) -> None:
    settle(program)


def _holds(path: Path, text: bytes) -> bool:
    try:
        return path.read_bytes() == text
    except FileNotFoundError:
        return False


edit = Work("edit", "one small edit, until it is on B", one_by_one, _calm)
stream = Work("stream", "200 edits a second for 30 s, lag of the last", in_a_row, _calm)
