"""One call of a daemon's or a server's life fails: of the daemon the first of each kind, of both others, chosen anew in each run.

`python -m tests.end_to_end.every_fault` does all of them.
"""

import os
import random
from collections.abc import Iterator

import pytest

from tests.end_to_end.children import Fault, nursery, reason_not_to
from tests.end_to_end.conftest import Site
from tests.end_to_end.couple import Couple
from tests.end_to_end.faults import KINDS

FAULTS = int(os.environ.get("SSYNCD_FAULTS", "1"))
"""So many calls of each kind, beside the first one, of the daemon; and nine times as many of the server in all."""
SEED = os.environ.get("SSYNCD_SEED") or str(random.SystemRandom().randrange(1 << 30))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + 60 * FAULTS)]


@pytest.fixture(scope="module")
def couple(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Couple]:
    """With a plain server in one run of two."""
    if reason := reason_not_to():
        pytest.skip(reason)
    site = Site(tmp_path_factory.mktemp("faults"), plain=random.Random(SEED).random() < 0.5)
    with nursery() as forks:
        couple = Couple(site, forks)
        yield couple
        couple.end()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].one])
def test_a_call_of_the_daemon_that_fails_loses_nothing_and_is_made_up_for(couple: Couple, kind: str) -> None:
    print(f"seed {SEED}")
    chance = random.Random(f"{SEED} {kind}")
    for number in (1, *(chance.randint(1, KINDS[kind].one) for _ in range(FAULTS))):
        couple.strike("one", Fault(kind, number, KINDS[kind].error(number)))


@pytest.mark.parametrize("part", range(3))
def test_a_call_of_the_server_that_fails_loses_nothing_and_is_made_up_for(couple: Couple, part: int) -> None:
    print(f"seed {SEED}")
    chance = random.Random(f"{SEED} server {part}")
    kinds = [kind for kind in KINDS if KINDS[kind].server]
    for kind in chance.choices(kinds, k=3 * FAULTS):
        number = chance.randint(1, KINDS[kind].server)
        couple.strike("server", Fault(kind, number, KINDS[kind].error(number)))
