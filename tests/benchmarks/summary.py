"""From single runs to a table: medians, spreads, and ratios to the other programs."""

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from ssyncd import __version__
from tests.benchmarks.runner import Run
from tests.benchmarks.works.table import WORKS

OURS = "ssyncd"


def summarize(runs: Sequence[Run]) -> dict[str, Any]:
    """By work, by program: `figures` and `wire` as median, least and most; medians of `cpu` and `peak`; `ratio` to the others."""
    works: dict[str, Any] = {}
    for name in dict.fromkeys(run.work for run in runs):
        good = [run for run in runs if run.work == name and not run.refused]
        programs = {one: _program([run for run in good if run.program == one]) for one in _names(good)}
        works[name] = {"title": WORKS[name].title, "programs": programs, "ratio": _ratios(programs)}
    return works


def _names(runs: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run.program for run in runs))


def _program(runs: list[Run]) -> dict[str, Any]:
    return {
        "rounds": len(runs),
        "figures": {name: _spread([run.figures[name] for run in runs]) for name in runs[0].figures},
        "cpu": _medians([run.cpu for run in runs]),
        "peak": _medians([run.peak for run in runs]),
        "wire": _spread([run.wire for run in runs]),
    }


def _spread(values: list[Any]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 4), "least": min(values), "most": max(values)}


def _medians(values: list[dict[str, Any]]) -> dict[str, float]:
    return {name: round(statistics.median([one[name] for one in values if name in one]), 2) for name in values[0]}


def _ratios(programs: dict[str, Any]) -> dict[str, float]:
    """Our first figure by theirs: under 1 we are ahead."""
    if OURS not in programs:
        return {}
    ours = main_figure(programs[OURS])[1]
    theirs = {name: main_figure(one)[1] for name, one in programs.items() if name != OURS}
    return {name: round(ours / value, 3) for name, value in theirs.items() if value}


def main_figure(program: dict[str, Any]) -> tuple[str, float]:
    """Name and median of the figure that tells most."""
    name, spread = next(iter(program["figures"].items()))
    return name, spread["median"]


def table(works: dict[str, Any]) -> str:
    lines: list[str] = []
    for name, work in works.items():
        lines.append(f"{name}: {work['title']}")
        for program, one in work["programs"].items():
            lines.append(f"  {program:18} {_row(one)}{_ratio(work['ratio'].get(program))}")
    return "\n".join(lines)


def _row(one: dict[str, Any]) -> str:
    figures = [
        f"{name} {each['median']:g} ({each['least']:g}-{each['most']:g})" for name, each in one["figures"].items()
    ]
    cpu = " ".join(f"{name} {value:.2f}" for name, value in one["cpu"].items())
    peak = " ".join(f"{name} {value / 1e6:.0f}" for name, value in one["peak"].items())
    return f"{', '.join(figures)}; CPU s {cpu}; peak MB {peak}; wire {one['wire']['median'] / 1e6:.2f} MB"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"; ssyncd takes {value:g} of it"


def machine() -> dict[str, Any]:
    """What the figures were taken on and with."""
    with open("/proc/meminfo") as file:
        memory = int(next(line for line in file if line.startswith("MemTotal")).split()[1]) * 1024
    # With who built it and when: one that was built without a profile is slower.
    versions = {"ssyncd": __version__, "python": " ".join(sys.version.split())}
    for name, option in (("syncthing", "--version"), ("unison", "-version")):
        if (version := _version(name, option)) is not None:
            versions[name] = version
    return {"cores": os.cpu_count(), "memory": memory, "kernel": platform.release(), "versions": versions}


def _version(name: str, option: str) -> str | None:
    try:
        return subprocess.run([name, option], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except OSError:
        return None
