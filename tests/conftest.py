"""What every test must keep to: no thread is left behind. Warnings are errors by pyproject.toml. And their order."""

import os
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.caches import keep_bytecode

keep_bytecode()

# Whatever the servers of the tests are called, they are on this machine.
for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[variable]

# How long an example takes says something about the machine, not about the code.
settings.register_profile("ssyncd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ssyncd")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each of xdist's workers begins with its part of the list, and goes on with what is last in the others' parts: with the slow
    tests first in every part, nobody has to wait for one in the end."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    slow = [item for item in items if item.get_closest_marker("slow")]
    others = [item for item in items if not item.get_closest_marker("slow")]
    items[:] = [
        item
        for number in range(workers)
        for some in (slow, others)
        for item in some[len(some) * number // workers : len(some) * (number + 1) // workers]
    ]


_DEADLINE = 5.0  # seconds for threads that are about to end


@pytest.fixture(autouse=True)
def no_thread_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + _DEADLINE
    left = [thread for thread in threading.enumerate() if thread not in before and not _of_a_loop(thread)]
    for thread in left:
        thread.join(max(0.0, deadline - time.monotonic()))
    names = [thread.name for thread in left if thread.is_alive()]
    if names:
        pytest.fail(f"{request.node.nodeid} left threads: {', '.join(names)}")


def _of_a_loop(thread: threading.Thread) -> bool:
    """The default executor of an event loop that a module's fixture keeps: it grows in any test, and ends with the loop."""
    return thread.name.startswith("asyncio_")


@pytest.fixture
def refused_threads(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many more threads of a name the system refuses."""
    refused: dict[str, int] = {}
    start = threading.Thread.start

    def start_or_not(thread: threading.Thread) -> None:
        if refused.get(thread.name, 0) > 0:
            refused[thread.name] -= 1
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_not)
    return refused
