"""The first, second, third, ... system call of each kind fails in a running daemon, until there are no more of it."""

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator

import pytest
from blake3 import blake3

from ssyncd.errors import SsyncdError
from ssyncd.status import Phase
from tests.end_to_end.conftest import Site
from tests.end_to_end.faults import failing, reason_not_to
from tests.end_to_end.machine import Machine, Server, agree, start, until
from tests.end_to_end.pictures import Picture, files
from tests.end_to_end.users import hashes

pytestmark = [pytest.mark.slow]
MOST = int(os.environ.get("SSYNCD_FAULTS", "2"))
"""So many calls of a kind fail in turn; more where the variable says so."""
PATIENCE = 60.0
MEANWHILE = 0.8
"""Seconds that the daemon has for its work while calls fail."""

ERRORS = {
    "openat": ("EIO", "EACCES", "ENOSPC", "EMFILE"),
    "newfstatat": ("EIO", "EACCES"),
    "getdents64": ("EIO",),
    "pread64": ("EIO",),
    "write": ("ENOSPC", "EIO"),
    "pwrite64": ("ENOSPC", "EIO"),
    "renameat2": ("EIO", "EACCES", "ENOSPC"),
    "unlinkat": ("EIO", "EACCES"),
    "mkdirat": ("ENOSPC", "EACCES"),
    "utimensat": ("EIO", "EACCES"),
    "fchmod": ("EIO", "EACCES"),
    "syncfs": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO",),
    "ftruncate": ("EIO",),
    "readlinkat": ("EIO",),
    "inotify_add_watch": ("ENOSPC", "EACCES"),
    # Not ECONNRESET or EPIPE: urllib3 then waits for an answer, which on a connection that is really gone ends at once.
    "sendto": ("ENETDOWN", "EHOSTUNREACH"),
    "recvfrom": ("ECONNRESET", "ETIMEDOUT"),
    "connect": ("ENETUNREACH", "ECONNREFUSED"),
}


class Couple:
    """Two machines, one of which has calls that fail; what their users wrote and neither replaced nor deleted."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.sick, self.well = site.pair("hold_least = 1000000\n")
        start(self.sick, self.well)
        self.wanted: dict[str, str] = {}
        self.round = 0

    def write(self, machine: Machine, inside: str, size: int = 0) -> None:
        data = f"{machine.name} {self.round} {inside}\n".encode() + random.Random(self.round).randbytes(size)
        machine.write(inside, data)
        self.wanted[blake3(data).hexdigest()] = f"{machine.name} {inside}"

    def before(self) -> None:
        """What is there, on both, before anything fails."""
        self.round += 1
        self.wanted.clear()
        for name in ("edited here", "edited there", "moved here", "moved there", "gone here", "gone there", "d/inside"):
            self.write(self.sick, f"r{self.round}/{name}")
        self.agree()

    def agree(self) -> Picture:
        """A root that could not be looked at is held, and looked at again after some seconds: that is waited for."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return agree(self.sick, self.well, timeout=PATIENCE)
            except AssertionError:
                if self.sick.status().phase is not Phase.HELD or time.monotonic() > deadline:
                    raise
                until(lambda: self.sick.status().phase is not Phase.HELD, "the hold ends by itself")

    def work(self) -> None:
        """Something of every kind, on both sides."""
        here, there = self.sick.path(f"r{self.round}"), self.well.path(f"r{self.round}")
        for machine, path, side in ((self.well, there, "there"), (self.sick, here, "here")):
            self._doom(path / f"edited {side}", path / f"gone {side}")
            self.write(machine, f"r{self.round}/edited {side}")
            self.write(machine, f"r{self.round}/new {side}/deep/file")
            self.write(machine, f"r{self.round}/large {side}", 200_000)
            (path / f"gone {side}").unlink()
            (path / f"moved {side}").rename(path / f"new {side}" / "moved")
            (path / f"link {side}").symlink_to(f"edited {side}")
            (path / f"edited {side}").chmod(0o755)

    def _doom(self, *paths: os.PathLike[str]) -> None:
        for path in paths:
            with open(path, "rb") as file:
                del self.wanted[blake3(file.read()).hexdigest()]

    def after(self, where: str) -> None:
        """All is well again; by itself, or once the daemon was started again if it has ended in order."""
        assert self.sick.running is not None
        if self.sick.running.alive:
            with contextlib.suppress(SsyncdError):  # while it is held
                self.sick.ask("rescan")
        else:
            self.sick.running = None
            self.sick.start(wait=False)
        shown = self.agree()
        here = hashes(self.sick)
        kept = {version.hash for version in self.site.server.versions(self.sick.bucket)}
        lost = [what for hash, what in self.wanted.items() if hash not in here and hash not in kept]
        assert not lost, f"{where}: lost: {lost}"
        mine = [path for path in shown if path.startswith(f"r{self.round}/")]
        assert not [path for path in mine if "gone " in path], f"{where}: what was deleted is back: {mine}"
        assert not [path for path in mine if "(conflict" in path], f"{where}: nobody edited the same: {mine}"
        assert len(files({path: shown[path] for path in mine})) == 9, f"{where}: {mine}"


@pytest.fixture(scope="module")
def couple(tmp_path_factory: pytest.TempPathFactory, module_server: Callable[[bool], Server]) -> Iterator[Couple]:
    if reason := reason_not_to():
        pytest.skip(reason)
    site = Site(tmp_path_factory.mktemp("faults"), lambda: module_server(False))
    yield Couple(site)
    wrong = site.end()
    report = site.report()
    assert not wrong, f"{wrong}\n{report}"
    assert "Traceback" not in report, report


@pytest.mark.parametrize("call", ERRORS)
def test_the_nth_system_call_that_fails_loses_nothing_and_is_made_up_for(couple: Couple, call: str) -> None:
    for number in range(1, MOST + 1):
        error = ERRORS[call][number % len(ERRORS[call])]
        where = f"{call} number {number}: {error}"
        couple.before()
        assert couple.sick.running is not None
        with failing(couple.sick.running.pid, call, error, number) as injection:
            couple.work()
            with contextlib.suppress(AssertionError):  # it may well be that it cannot, for now
                until(lambda: couple.sick.picture() == couple.well.picture(), "", MEANWHILE)
        hits = injection.hits
        couple.after(where)
        said = couple.sick.report()
        assert "Traceback" not in said, f"{where}:\n{said[-6000:]}"
        if not hits:
            return
