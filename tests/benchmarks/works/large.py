"""One large file is changed a little."""

import os
import time
from pathlib import Path

from tests.benchmarks.programs.base import Program
from tests.benchmarks.sizes import Size
from tests.benchmarks.trees import MEGABYTE
from tests.benchmarks.works.base import Figures, Work, settle, took

NAME = "large"


def _overwrite(program: Program, size: Size) -> Figures:
    there, middle = program.b / NAME, (program.a / NAME).stat().st_size // 2
    fresh = os.urandom(MEGABYTE)
    began = time.monotonic()
    with (program.a / NAME).open("r+b") as file:
        file.seek(middle)
        file.write(fresh)
    return {"took s": took(lambda: _part(there, middle, MEGABYTE) == fresh, "the change is there", began, 0.005)}


def _insert(program: Program, size: Size) -> Figures:
    """The file is written anew with one byte more at its start, and then takes its old name, as editors do."""
    here, there = program.a / NAME, program.b / NAME
    whole = here.stat().st_size + 1
    aside = program.a.parent / "aside"
    with here.open("rb") as old, aside.open("wb") as new:
        new.write(b"!")
        while block := old.read(16 * MEGABYTE):
            new.write(block)
    began = time.monotonic()
    aside.replace(here)
    return {"took s": took(lambda: _size(there) == whole, "the change is there", began, 0.005)}


def _size(path: Path) -> int:
    """-1 while it is being replaced."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _part(path: Path, start: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)
    except FileNotFoundError:
        return b""


def _calm(program: Program, _size: Size) -> None:
    settle(program)


overwrite = Work("overwrite", "1 MiB overwritten in the middle of 1 GiB", _overwrite, _calm)
insert = Work("insert", "one byte inserted at the start of 1 GiB", _insert, _calm)
