"""How fast is it, beside the others: `python -m tests.benchmarks [--rounds N] [--only WORK] [--quick] [--json FILE]`.

A server and two machines, real processes on loopback, with the settings users get; Syncthing and Unison where they are
installed (`tests/benchmarks/install_peers`), on the same trees, in turns. Durations are those of a user: from the change on one
machine until the same bytes are on the other. A run after which the folders are not equal byte by byte does not count, and makes
the exit code 1. `--chart FILE` draws what `--json FILE` has, and measures nothing.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks import wire
from tests.benchmarks.chart import draw
from tests.benchmarks.runner import PROGRAMS, Run, installed, run_scene, spread
from tests.benchmarks.sizes import Size
from tests.benchmarks.summary import machine, summarize, table
from tests.benchmarks.works.base import Scene
from tests.benchmarks.works.table import SCENES, WORKS
from tests.caches import keep_bytecode


def main() -> int:
    options = _options()
    if options.chart is not None:
        options.chart.write_text(draw(json.loads(options.json.read_text("utf-8"))), "utf-8")
        return 0
    keep_bytecode()
    apart = wire.isolate()
    if not apart:
        print("wire: counted on the loopback of the whole machine, since a network of one's own is not allowed here")
    programs = installed(options.programs or PROGRAMS)
    if missing := [name for name in options.programs or PROGRAMS if name not in programs]:
        print(f"not installed, so left out: {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="ssyncd-benchmark-") as directory:
        spread(Path(directory))
        scenes = partial(
            run_scene, wanted=set(options.only or WORKS), size=Size(options.part), directory=Path(directory)
        )
        runs = _measure(programs, options.rounds, scenes)
    works = summarize(runs)
    print(table(works))
    if options.json is not None:
        settings = {"rounds": options.rounds, "part": options.part, "own network": apart}
        result: dict[str, Any] = {
            "machine": machine(),
            **settings,
            "works": works,
            "runs": [run.value() for run in runs],
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return 1 if any(run.refused for run in runs) else 0


def _measure(programs: list[str], rounds: int, run_one: Callable[[Scene, str], Iterator[Run]]) -> list[Run]:
    """Round by round, scene by scene, the programs in turns, so that what disturbs the machine disturbs them all."""
    runs: list[Run] = []
    for number in range(rounds):
        for scene in SCENES:
            # Whoever comes first finds the disk as the one before left it: not always the same.
            turn = programs[number % len(programs) :] + programs[: number % len(programs)]
            for program in turn:
                for run in run_one(scene, program):
                    _report(number, run)
                    runs.append(run)
    return runs


def _report(number: int, run: Run) -> None:
    said = f"refused: {run.refused}" if run.refused else f"{run.figures} CPU s {run.cpu} wire {run.wire}"
    print(f"round {number + 1}, {run.work}, {run.program}: {said}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=WORKS, help="this work; may be given again")
    parser.add_argument("--programs", action="append", choices=PROGRAMS, help="this program; may be given again")
    parser.add_argument(
        "--quick", dest="part", action="store_const", const=20, default=1, help="a twentieth of everything"
    )
    parser.add_argument("--json", type=Path, help="where the result goes, or with --chart comes from")
    parser.add_argument("--chart", type=Path, help="draw an SVG instead")
    options = parser.parse_args()
    if options.chart is not None and options.json is None:
        parser.error("--chart needs --json FILE to draw")
    return options


if __name__ == "__main__":
    sys.exit(main())
