"""python -m tests.planner --examples N --seed S: random histories for the planner alone; the first failures are shown, shortened.

Example number n of seed S is one for ever: a failure is repeated with --seed S --from n --examples 1.
"""

import argparse
import sys
import time

from tests.planner.examples import draw, failure, shrink


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.planner")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--most", type=int, default=3, help="failures after which it ends")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long in any case")
    options = parser.parse_args()
    began, failed, done = time.monotonic(), 0, 0
    while done < options.examples and time.monotonic() - began < options.seconds and failed < options.most:
        number = options.first + done
        done += 1
        case = draw(options.seed, number)
        if reason := failure(case):
            failed += 1
            print(f"seed {options.seed}, example {number}: {reason}\n  shortest: {shrink(case)}", flush=True)
    took = time.monotonic() - began
    print(f"seed {options.seed}: {done} examples in {took:.0f} s, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
