"""How fast is it: `python -m tests.benchmarks [--files N] [--edits N] [--json FILE]`. A server and two machines, real processes.

The durations are those of a user: from the change on one machine until the same bytes are on the other.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.machines import Machine, process_cost, until, world

FILE_SIZE = 4096
PER_DIRECTORY = 100


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--large", type=int, default=1 << 30, help="bytes of the large file; 0 leaves it out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, world(Path(home), "a", "b") as (server, (a, b)):
        results = measure(options, server, a, b)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def measure(options: argparse.Namespace, server: int, a: Machine, b: Machine) -> dict[str, Any]:
    results: dict[str, Any] = {}

    def report(name: str, value: Any) -> None:
        results[name] = value
        print(f"{name}: {value}", flush=True)

    make_files(a.folder, options.files)
    began = time.monotonic()
    a.start()
    b.start()
    a.wait()
    until(lambda: count(b.folder) == options.files, "all files are there", 0.02)
    b.wait()
    report("first sync, s", round(time.monotonic() - began, 2))
    report("equal", same(a.folder, b.folder))
    report("cost", {"a": a.cost(), "b": b.cost(), "server": process_cost(server)})
    report("small edit, ms", edits(a, b, options.edits))
    report("rename of a directory, s", round(rename(a, b), 3))
    report("restart until in sync, s", round(restart(a), 2))
    if options.large:
        report("large file, s", round(large(a, b, options.large), 2))
        report("1 MiB in it overwritten, s", round(overwrite(a, b, options.large), 2))
        report("cost, large", {"a": a.cost(), "b": b.cost(), "server": process_cost(server)})
    report("all deleted, s", round(delete(a, b), 2))
    return results


def make_files(folder: Path, number: int) -> None:
    chance = random.Random(number)
    directory = folder
    for index in range(number):
        if index % PER_DIRECTORY == 0:
            directory = folder / "tree" / f"d{index // PER_DIRECTORY}"
            directory.mkdir(parents=True)
        (directory / f"f{index}").write_bytes(chance.randbytes(FILE_SIZE))


def count(folder: Path) -> int:
    return sum(len(files) for place, _, files in os.walk(folder) if ".ssyncd" not in place)


def same(one: Path, other: Path) -> bool:
    for place, directories, files in os.walk(one):
        if ".ssyncd" in directories:
            directories.remove(".ssyncd")
        there = other / Path(place).relative_to(one)
        if any((Path(place) / name).read_bytes() != (there / name).read_bytes() for name in files):
            return False
    return count(one) == count(other)


def edits(a: Machine, b: Machine, number: int) -> dict[str, float]:
    took = []
    here, there = a.folder / "edited", b.folder / "edited"
    for index in range(number):
        text = f"edit {index}".encode()
        began = time.monotonic()
        here.write_bytes(text)
        until(lambda text=text: there.exists() and there.read_bytes() == text, "the edit is there", 0.0003)
        took.append((time.monotonic() - began) * 1000)
        time.sleep(0.02)
    took.sort()
    return {"median": round(statistics.median(took), 1), "99 %": round(took[int(len(took) * 0.99) - 1], 1)}


def rename(a: Machine, b: Machine) -> float:
    began = time.monotonic()
    (a.folder / "tree").rename(a.folder / "moved")
    until(lambda: (b.folder / "moved").exists(), "the directory is there")
    took = time.monotonic() - began
    b.wait()
    return took


def restart(a: Machine) -> float:
    a.stop()
    began = time.monotonic()
    a.start()
    a.wait()
    return time.monotonic() - began


def large(a: Machine, b: Machine, size: int) -> float:
    began = time.monotonic()
    with (a.folder / "large").open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    written = time.monotonic()
    there = b.folder / "large"
    until(lambda: there.exists() and there.stat().st_size == size, "the large file is there", 0.01)
    print(f"  (written in {written - began:.2f} s)")
    return time.monotonic() - written


def overwrite(a: Machine, b: Machine, size: int) -> float:
    there = b.folder / "large"
    before = there.stat().st_ino
    began = time.monotonic()
    with (a.folder / "large").open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(1 << 20))
    until(lambda: there.stat().st_ino != before, "the change is there", 0.01)
    return time.monotonic() - began


def delete(a: Machine, b: Machine) -> float:
    began = time.monotonic()
    for path in a.folder.iterdir():
        if path.name == ".ssyncd":
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    until(lambda: a.status().get("phase") == "held" or len(list(b.folder.iterdir())) == 1, "it is held or gone", 0.02)
    a.run("approve")
    until(lambda: b.status().get("phase") == "held" or len(list(b.folder.iterdir())) == 1, "it is held or gone", 0.02)
    if b.status().get("phase") == "held":
        b.run("approve")
    until(lambda: len(list(b.folder.iterdir())) == 1, "all is gone", 0.01)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
