"""python -m tests.end_to_end.every_fault: each call of every kind fails, in a life of its own, in the daemon and in the server.

Goes on after a failure, and says in the end how many lives there were and what went wrong. `--kinds`, `--victims`, `--from` and
`--step` take a part of it; `--plain` is for the other kind of server.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.children import Fault, Nursery, nursery
from tests.end_to_end.conftest import Site
from tests.end_to_end.couple import Couple
from tests.end_to_end.faults import KINDS, VICTIMS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.every_fault")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--victims", nargs="*", default=list(VICTIMS))
    parser.add_argument("--from", type=int, default=1, dest="first")
    parser.add_argument("--step", type=int, default=1, help="only every so-manyth call")
    parser.add_argument("--plain", action="store_true", help="a server without extensions")
    options = parser.parse_args()
    wrong = 0
    with nursery() as forks:
        for victim, kind in itertools.product(options.victims, options.kinds):
            began = time.monotonic()
            done, failures = every(forks, victim, kind, options.first, options.step, options.plain)
            wrong += len(failures)
            print(
                f"{victim} {kind}: {done} lives, {time.monotonic() - began:.0f} s, {len(failures)} failed", flush=True
            )
    return 1 if wrong else 0


def every(forks: Nursery, victim: str, kind: str, first: int, step: int, plain: bool) -> tuple[int, list[str]]:
    """From the first number to the one that no call has any more; after a failure with machines that know nothing of it."""
    failures: list[str] = []
    lives = 0
    numbers = itertools.count(first, step)
    while True:
        with fresh(forks, plain) as couple:
            for number in numbers:
                lives += 1
                try:
                    if not couple.strike(victim, Fault(kind, number, KINDS[kind].error(number))):
                        return lives, failures
                except AssertionError as error:
                    print(f"== {victim} {error}", flush=True)
                    failures.append(str(error))
                    break


@contextmanager
def fresh(forks: Nursery, plain: bool) -> Iterator[Couple]:
    with tempfile.TemporaryDirectory() as directory:
        site = Site(Path(directory), plain=plain)
        couple = Couple(site, forks)
        try:
            yield couple
        finally:
            couple.end()


if __name__ == "__main__":
    sys.exit(main())
