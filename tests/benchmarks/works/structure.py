"""Directories of many files are renamed and deleted."""

import shutil
import time

from tests.benchmarks.programs.base import Program
from tests.benchmarks.sizes import Size
from tests.benchmarks.trees import Arrival
from tests.benchmarks.works.base import Figures, Work, settle, took


def _rename(program: Program, size: Size) -> Figures:
    began = time.monotonic()
    (program.a / "tree").rename(program.a / "moved")
    arrival = Arrival(program.a, program.b)
    return {"took s": took(lambda: arrival.here() and not (program.b / "tree").exists(), "it has its new name", began)}


def _more_stays(program: Program, size: Size) -> None:
    """So many other files that deleting the tree is not most of the folder, which ssyncd would ask about."""
    stays = program.a / "stays"
    for index in range(size.of(11_000)):
        directory = stays / str(index // 1000)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / str(index)).write_bytes(b"")
    arrival = Arrival(program.a, program.b)
    took(arrival.here, "what stays is there", time.monotonic(), 0.05)
    settle(program)


def _delete(program: Program, size: Size) -> Figures:
    [tree] = [program.a / name for name in ("tree", "moved") if (program.a / name).exists()]
    there = program.b / tree.name
    shutil.rmtree(tree)
    began = time.monotonic()
    return {"took s": took(lambda: not there.exists(), "all of it is gone", began)}


rename = Work("rename", "a directory of 10,000 files renamed", _rename, lambda program, _size: settle(program))
delete = Work("delete", "10,000 files deleted", _delete, _more_stays)
