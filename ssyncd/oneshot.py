"""`pull` and `sync` without a daemon: one folder, until it is in sync."""

from ssyncd.daemon import Runner, Watcher
from ssyncd.errors import Exit, NetworkError
from ssyncd.status import FolderStatus, Phase


def run_once(runner: Runner, timeout: float | None, watcher: Watcher) -> FolderStatus:
    """Start, wait, stop; the last status. Without a timeout an unreachable server ends it at once, else only time does. The
    folder's own failure and NetworkError are raised."""

    def done(status: FolderStatus) -> bool:
        watcher.show(status)
        if status.phase is Phase.OFFLINE:
            return timeout is None and bool(status.last_error)
        return status.in_sync or status.phase in (Phase.HELD, Phase.FAILED)

    runner.start()
    try:
        runner.wait(timeout, done)
        status = runner.status()
    finally:
        runner.stop()
    if runner.failure is not None:
        raise runner.failure
    if status.phase is Phase.OFFLINE:
        raise NetworkError(f"{status.server}: {status.last_error or 'not reached in time'}")
    return status


def outcome(status: FolderStatus) -> Exit:
    match status.phase:
        case Phase.IN_SYNC:
            return Exit.OK
        case Phase.HELD:
            return Exit.HELD
        case Phase.FAILED:
            return Exit.FAILED
        case _:
            return Exit.NOT_IN_SYNC
