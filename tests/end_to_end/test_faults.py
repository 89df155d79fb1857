"""One call of a daemon's or a server's life fails: the first of each kind, and others that are chosen anew in each run.

`python -m tests.end_to_end.every_fault` does all of them.
"""

import os
import random
from collections.abc import Iterator

import pytest

from tests.end_to_end.children import Fault, nursery, reason_not_to
from tests.end_to_end.conftest import Site
from tests.end_to_end.couple import Couple
from tests.end_to_end.faults import KINDS, VICTIMS

FAULTS = int(os.environ.get("SSYNCD_FAULTS", "1"))
"""So many calls of each kind, beside the first one of the daemon."""
SEED = os.environ.get("SSYNCD_SEED") or str(random.SystemRandom().randrange(1 << 30))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + 60 * FAULTS)]


@pytest.fixture(scope="module")
def couple(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Couple]:
    if reason := reason_not_to():
        pytest.skip(reason)
    site = Site(tmp_path_factory.mktemp("faults"))
    with nursery() as forks:
        couple = Couple(site, forks)
        yield couple
        couple.end()


def numbers(victim: str, kind: str) -> list[int]:
    chance = random.Random(f"{SEED} {victim} {kind}")
    chosen = [chance.randint(1, KINDS[kind].calls(victim)) for _ in range(FAULTS)]
    return [1, *chosen] if victim == "one" else chosen


@pytest.mark.parametrize(
    ("victim", "kind"), [(victim, kind) for victim in VICTIMS for kind in KINDS if KINDS[kind].calls(victim)]
)
def test_a_call_that_fails_loses_nothing_and_is_made_up_for(couple: Couple, victim: str, kind: str) -> None:
    print(f"seed {SEED}")
    for number in numbers(victim, kind):
        couple.strike(victim, Fault(kind, number, KINDS[kind].error(number)))
