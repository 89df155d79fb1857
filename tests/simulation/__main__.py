"""python -m tests.simulation --seeds N --from S: run histories, and show the first failures, shortened.

The order of sets is part of a history: PYTHONHASHSEED is 0, if it is not set, so that a seed fails again.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

from tests.simulation.history import HOLDS, KINDS, PURGES, RULES, Script, draw, run, small_steps
from tests.simulation.shrink import shrink

KINDS_OF = {"all": KINDS, "purges": PURGES, "holds": HOLDS, "rules": RULES}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--small-steps", action="store_true", help="with more rounds, in which less is done")
    parser.add_argument("--long", action="store_true", help="histories in which more happens, to more machines")
    parser.add_argument("--kind", choices=KINDS_OF, default="all", help="what goes on in them")
    parser.add_argument("--most", type=int, default=3, help="failures to shorten and show")
    options = parser.parse_args()
    began, failed = time.monotonic(), 0
    for seed in range(options.first, options.first + options.seeds):
        with small_steps(seed) if options.small_steps else nullcontext():
            result = run(draw(seed, KINDS_OF[options.kind], options.long))
            if result.failure:
                failed += 1
                print(f"seed {seed}: {result.failure}")
                if failed <= options.most:
                    tell(shrink(result.script, _fails_like(result.failure)))
    took = time.monotonic() - began
    print(f"{options.seeds} histories in {took:.1f} s, {60 * options.seeds / took:.0f} a minute, {failed} failed")
    return 1 if failed else 0


def _fails_like(failure: str) -> Callable[[Script], bool]:
    """In the same way, with other names and machines."""
    return lambda script: _kind(run(script).failure) == _kind(failure)


def _kind(failure: str) -> str:
    return (
        re.sub(r"'.*'|b'.*'|m\d|\d+", "", failure).split(":")[0][:60]
        + re.sub(r"'.*'|m\d|\d+|\[.*|\{.*", "", failure)[:60]
    )


def tell(script: Script) -> None:
    result = run(script)
    print(f"  shortest script: {script}")
    print(f"  {result.failure}")
    print("  " + result.trees.replace("\n", "\n  "))
    if "(AssertionError)" not in result.details and "oracles.py" not in result.details:
        print(result.details)


if __name__ == "__main__":
    if "PYTHONHASHSEED" not in os.environ:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
