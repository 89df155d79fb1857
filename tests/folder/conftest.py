"""What most tests of a folder stand on."""

from collections.abc import Iterator

import pytest

from tests.simulation.world import World


@pytest.fixture
def world() -> Iterator[World]:
    """Two machines that know their server, with nothing in their folders."""
    made = World(2)
    made.settle()
    yield made
    made.close()
