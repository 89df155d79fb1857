"""The server under load: `python -m tests.benchmarks.server [--only NAME] [--quick] [--json FILE]`.

A server in a process of its own, on loopback, with the settings users get; the load comes from this process. `CPU s` are
seconds of the server's processor, which other programs on the machine disturb less than the clock.
"""

import argparse
import asyncio
import json
import resource
import tempfile
from pathlib import Path

from tests.benchmarks.server import chunks, works
from tests.benchmarks.server.works import Result, Work
from tests.benchmarks.sizes import Size

WORKS: dict[str, Work] = {
    "idle": works.idle,
    "folders": works.folders,
    "latency": works.latency,
    "bulk": works.bulk,
    "fan-out": works.fan_out,
    "slow-reader": works.slow_reader,
    "chunks": chunks.chunks,
    "small-chunks": chunks.small_chunks,
    "history": works.history,
}
DEADLINE = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.server", description=__doc__)
    parser.add_argument("--only", action="append", choices=WORKS, help="this work; may be given again")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    _allow_many_files()
    results: dict[str, Result] = {}
    for name in options.only or WORKS:
        with tempfile.TemporaryDirectory() as home:
            work = WORKS[name](Path(home), Size(10 if options.quick else 1))
            results[name] = asyncio.run(asyncio.wait_for(work, DEADLINE))
        print(f"{name}: {json.dumps(results[name])}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def _allow_many_files() -> None:
    """A connection is a descriptor here and one in the server, which inherits the limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
