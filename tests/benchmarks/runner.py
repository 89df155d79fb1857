"""Runs works with programs, one after the other, and takes down what each cost."""

import fcntl
import os
import shutil
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks import wire
from tests.benchmarks.processes import Cost, cost, family
from tests.benchmarks.programs.base import Program
from tests.benchmarks.programs.ssyncd import Ssyncd
from tests.benchmarks.programs.syncthing import Syncthing
from tests.benchmarks.programs.unison import Unison
from tests.benchmarks.sizes import Size
from tests.benchmarks.trees import difference
from tests.benchmarks.works.base import Figures, Scene, Work, settle

_NOTHING = Cost(0.0, 0, 0)
# linux/fs.h
_GET_FLAGS, _SET_FLAGS, _TOP_DIRECTORY = 0x80086601, 0x40086602, 0x00020000
Make = Callable[[Path, bool], Program]

# The command that must be installed, and how its pair is made.
PROGRAMS: dict[str, tuple[str, Make]] = {
    "ssyncd": ("", lambda home, linked: Ssyncd(home, linked=linked)),
    "unison": ("unison", lambda home, linked: Unison(home, linked=linked)),
    "syncthing": ("syncthing", lambda home, linked: Syncthing(home, linked=linked)),
    "syncthing-default": ("syncthing", lambda home, linked: Syncthing(home, linked=linked, delay=10)),
}


@dataclass(frozen=True)
class Run:
    """One work, done once by one program. `refused`: why its figures do not count.

    `cpu` (seconds) and `peak` (bytes) are of each process of the program; `wire` is bytes with the heads of packets, on all the
    way from A to B: through a server they are carried twice.
    """

    work: str
    program: str
    figures: Figures = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    wire: int = 0
    refused: str = ""

    def value(self) -> dict[str, Any]:
        return asdict(self)


def spread(directory: Path) -> None:
    """What is made in this directory lies apart on the disk, if that is ext4 (ioctl_iflags(2), FS_TOPDIR_FL).

    It does not soon take an inode that was deleted, and for each new file looks at all of those in reach again: with many deleted
    nearby, a run takes twice the time.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):
            flags = array("l", [0])
            fcntl.ioctl(descriptor, _GET_FLAGS, flags)
            flags[0] |= _TOP_DIRECTORY
            fcntl.ioctl(descriptor, _SET_FLAGS, flags)
    finally:
        os.close(descriptor)


def installed(names: Iterable[str]) -> list[str]:
    """Those whose program is on this machine."""
    return [name for name in names if not PROGRAMS[name][0] or shutil.which(PROGRAMS[name][0])]


def run_scene(scene: Scene, program_name: str, wanted: set[str], size: Size, directory: Path) -> Iterator[Run]:
    """The wanted works of a scene, on a tree of its own; the first work is always done, since the others need it."""
    works = [work for work in scene.works if work.name in wanted]
    if not works:
        return
    with (
        tempfile.TemporaryDirectory(dir=directory) as home,
        closing(PROGRAMS[program_name][1](Path(home), scene.linked)) as program,
    ):
        scene.make(program.a, size)
        for work in dict.fromkeys((scene.works[0], *works)):
            run = _run(work, program, program_name, size, 2 if scene.linked else 1)
            if run is None:
                continue
            if work in works or run.refused:
                yield run
            if run.refused:
                return


def _run(work: Work, program: Program, name: str, size: Size, passes: int) -> Run | None:
    """`passes`: how often a byte goes over the loopback on one way; twice if there is a proxy on it."""
    try:
        work.prepare(program, size)
        os.sync()  # what was written before, and by whom, is not for this work to wait for
        before, carried = _costs(program), wire.carried()
        figures = work.measure(program, size)
        if figures is None:
            return None
        after, carried = _costs(program), wire.carried() - carried
        settle(program)
    except (TimeoutError, RuntimeError) as error:
        return Run(work.name, name, refused=str(error))
    if path := difference(program.a, program.b):
        return Run(work.name, name, refused=f"the folders are not equal: {path}")
    # A process that was started meanwhile began at nothing.
    cpu = {key: round(one.cpu - before.get(key, _NOTHING).cpu, 2) for key, one in after.items()}
    peak = {key[0]: one.peak for key, one in after.items()}
    return Run(work.name, name, figures, {key[0]: spent for key, spent in cpu.items()}, peak, carried // passes)


def _costs(program: Program) -> dict[tuple[str, int], Cost]:
    """By what a process is, and its id."""
    return {(name, pid): _whole(pid) for name, pid in program.pids().items()}


def _whole(pid: int) -> Cost:
    """A process with its children."""
    costs = [cost(one) for one in family(pid)]
    return Cost(sum(one.cpu for one in costs), sum(one.peak for one in costs), sum(one.resident for one in costs))
