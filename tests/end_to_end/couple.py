"""Two machines and a server that live again and again, with something failing in one of them, and what must hold all the same."""

import os
import random
import shutil
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from ssyncd.errors import SsyncdError
from tests.end_to_end.children import Fault, ForkedMachine, ForkedServer, Nursery
from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import LOOK, Machine, agree
from tests.end_to_end.pictures import Picture, files
from tests.end_to_end.users import hashes

PATIENCE = float(os.environ.get("SSYNCD_PATIENCE", "60"))
"""Seconds for all to be well again."""
SHORT = 2.0
UNCLEAR = ("Traceback", "internal error")
SETTINGS = "hold_least = 1000000\n"


class Couple:
    """`one` and `other` with their `server`; what their users wrote and neither replaced nor deleted."""

    def __init__(self, site: Site, nursery: Nursery) -> None:
        self.server = ForkedServer(site.directory / "server", nursery, site.plain)
        self.one = ForkedMachine(site.directory / "alpha", nursery, "faults", SETTINGS)
        self.other = ForkedMachine(site.directory / "beta", nursery, "faults", SETTINGS)
        site.places += [self.one, self.other, self.server]
        self.server.add_user()
        self.server.start()
        self.wanted: dict[str, str] = {}
        self.round = 0
        for machine in (self.one, self.other):
            machine.sign_in(self.server.account())
            machine.start(wait=False)
        self._prepare()

    def end(self) -> None:
        for place in (self.one, self.other, self.server):
            if place.running is not None and place.running.alive:
                place.running.end(signal.SIGKILL)

    def strike(self, victim: str, fault: Fault) -> str:
        """A whole life of a process with this fault in it; what failed, "" if nothing did."""
        sick: ForkedMachine | ForkedServer = getattr(self, victim)
        first = len(sick.logs)
        try:
            return self._life(sick, fault)
        except (AssertionError, SsyncdError) as error:
            said = "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in sick.logs[first:])
            raise AssertionError(f"{fault}: {sick.struck()}: {error}\n{said}") from error

    def _life(self, sick: ForkedMachine | ForkedServer, fault: Fault) -> str:
        first = len(sick.logs)
        sick.stop()
        self._work_apart()
        sick.fault = fault
        self._start(sick)
        with suppress(AssertionError, SsyncdError):  # it may well be that it cannot, for now
            agree(self.one, self.other, timeout=SHORT)
        self._work()
        self._check(self._agree())
        self._prepare()
        # Its end is a part of its life.
        self._ended(sick, sick.stop())
        self._start(sick)
        for log in sick.logs[first:]:
            said = log.read_text()
            assert not any(word in said for word in UNCLEAR), "it does not say what happened, but where"
        return sick.struck()

    # The users.

    def _write(self, machine: Machine, name: str, size: int = 0) -> None:
        inside = f"r{self.round}/{name}"
        data = f"{machine.name} {inside} {len(self.wanted)}\n".encode() + random.Random(self.round).randbytes(size)
        if machine.path(inside).exists():
            self._doom(machine.path(inside))
        machine.write(inside, data)
        self.wanted[blake3(data).hexdigest()] = f"{machine.name} {inside}"

    def _doom(self, path: Path) -> None:
        self.wanted.pop(blake3(path.read_bytes()).hexdigest(), None)

    def _prepare(self) -> None:
        """What is there, on both, before anything fails."""
        for name in self.other.names():
            shutil.rmtree(self.other.path(name))
        self.round += 1
        self.wanted.clear()
        for side in ("here", "there"):
            for name in ("edited", "moved", "gone", "apart"):
                self._write(self.other, f"{name} {side}")
        self._agree()

    def _work_apart(self) -> None:
        """While they cannot hear of each other."""
        self._write(self.one, "apart here")
        self._write(self.other, "apart there")

    def _work(self) -> None:
        """Something of every kind, on both sides."""
        for machine, side in ((self.other, "there"), (self.one, "here")):
            at = machine.path(f"r{self.round}")
            self._write(machine, f"edited {side}")
            self._write(machine, f"new {side}/deep/file")
            self._write(machine, f"large {side}", 150_000)
            self._doom(at / f"gone {side}")
            (at / f"gone {side}").unlink()
            (at / f"moved {side}").rename(at / f"new {side}" / "moved")
            (at / f"link {side}").symlink_to(f"edited {side}")
            (at / f"edited {side}").chmod(0o755)

    # The processes.

    def _start(self, place: ForkedMachine | ForkedServer) -> None:
        """Whether it lives on is seen later."""
        if isinstance(place, ForkedMachine):
            place.start(wait=False)
            return
        with suppress(AssertionError):
            place.start()
        for machine in (self.one, self.other):
            with suppress(AssertionError, SsyncdError):
                machine.ask("rescan")  # who waits before it dials again dials now

    def _revive(self) -> None:
        """Who has ended in order is started again, without a fault."""
        for place in (self.server, self.one, self.other):
            if place.running is not None and not place.running.alive:
                code = place.running.process.wait()
                self._ended(place, code)
                place.running = None
                self._start(place)

    def _ended(self, place: ForkedMachine | ForkedServer, code: int) -> None:
        assert code >= 0, f"{place.name} was ended by signal {-code}"
        said = place.logs[-1].read_text()
        assert code == 0 or "ssyncd: " in said, f"{place.name} ended with {code} without a word: {said}"

    def _agree(self) -> Picture:
        """All is well again by itself; those who have ended are started again."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self._revive()
            try:
                return agree(self.one, self.other, timeout=SHORT)
            except (AssertionError, SsyncdError):
                if time.monotonic() > deadline:
                    raise
                threading.Event().wait(LOOK)

    def _check(self, shown: Picture) -> None:
        here = hashes(self.one)
        lost = [what for hash, what in self.wanted.items() if hash not in here]
        assert not lost, f"lost: {lost}"
        mine = {path: held for path, held in shown.items() if path.startswith(f"r{self.round}/")}
        assert not [path for path in mine if "gone " in path], f"what was deleted is back: {list(mine)}"
        assert not [path for path in mine if "(conflict" in path], f"nobody edited the same: {list(mine)}"
        assert len(files(mine)) == 10, f"too few, or too many: {list(mine)}"
        back = [path for path in shown if path not in mine]
        assert not back, f"what was deleted before is back: {back}"
