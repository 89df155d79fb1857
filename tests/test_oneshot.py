import threading
from pathlib import Path

import pytest

from ssyncd.errors import BusyError, Exit, NetworkError, SignInError
from ssyncd.oneshot import outcome, run_once
from ssyncd.status import FolderStatus, Phase
from tests.runners import FakeRunner, FakeSettings, Shown

SETTINGS = FakeSettings(Path("/data/a"), "A")


def run(runner, timeout, play):
    """run_once, while another thread plays the folder."""
    player = threading.Thread(target=lambda: (runner.started.wait(10), play()))
    player.start()
    try:
        return run_once(runner, timeout, Shown())
    finally:
        player.join(10)


@pytest.mark.parametrize(
    ("phase", "code"), [(Phase.IN_SYNC, Exit.OK), (Phase.HELD, Exit.HELD), (Phase.FAILED, Exit.FAILED)]
)
def test_it_ends_when_there_is_an_outcome(phase, code):
    runner = FakeRunner(SETTINGS)
    assert outcome(run(runner, None, lambda: runner.become(phase))) is code
    assert runner.stopped.is_set()


def test_time_ends_it_too():
    runner = FakeRunner(SETTINGS)
    status = run(runner, 0.05, lambda: runner.become(Phase.SYNCING))
    assert outcome(status) is Exit.NOT_IN_SYNC
    assert runner.stopped.is_set()


def test_a_server_that_is_not_there_ends_it_at_once():
    runner = FakeRunner(SETTINGS)
    with pytest.raises(NetworkError, match="refused"):
        run(runner, None, lambda: runner.become(Phase.OFFLINE, last_error="refused"))
    assert runner.stopped.is_set()


def test_with_a_timeout_the_server_may_come_back():
    runner = FakeRunner(SETTINGS)

    def play():
        runner.become(Phase.OFFLINE, last_error="refused")
        runner.become(Phase.IN_SYNC)

    assert outcome(run(runner, 10, play)) is Exit.OK


def test_with_a_timeout_it_ends_as_unreachable_if_it_does_not():
    runner = FakeRunner(SETTINGS)
    with pytest.raises(NetworkError, match="refused"):
        run(runner, 0.2, lambda: runner.become(Phase.OFFLINE, last_error="refused"))


def test_its_own_failure_is_raised():
    runner = FakeRunner(SETTINGS)
    with pytest.raises(SignInError):
        run(runner, None, lambda: runner.fail(SignInError("revoked")))
    assert runner.stopped.is_set()


def test_a_folder_that_cannot_start_is_raised():
    with pytest.raises(BusyError):
        run_once(FakeRunner(SETTINGS, BusyError("taken")), None, Shown())


def test_every_change_is_shown():
    runner, shown = FakeRunner(SETTINGS), Shown()
    runner.become(Phase.IN_SYNC)
    run_once(runner, None, shown)
    assert shown.phases == [("A", Phase.IN_SYNC)]


def test_starting_is_no_outcome():
    assert outcome(FolderStatus("A", "/a", Phase.STARTING)) is Exit.NOT_IN_SYNC
