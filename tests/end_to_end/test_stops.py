"""A daemon that is stopped (SIGSTOP) in the midst of bringing a file from elsewhere, while its user works on just that file."""

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from blake3 import blake3

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import Machine, agree, start, until
from tests.end_to_end.users import hashes

TRIES = int(os.environ.get("SSYNCD_STOPS", "120"))
SEED = os.environ.get("SSYNCD_SEED", "stops")
FILES = 12
"""So many files are worked on in turn: as many tries go by between two looks at everything."""


class Author:
    """Writes contents that are all different; `alive` are those that were not replaced or deleted in this very folder. What came
    to a path between a look at it and what was done there then, and went so, went `unseen` so many times."""

    def __init__(self, machine: Machine, chance: random.Random) -> None:
        self.machine = machine
        self.chance = chance
        self.alive: dict[str, str] = {}
        self.unseen = 0
        self._number = 0

    def work(self, name: str) -> str:
        """One of the things that users do with a file; what."""
        action = self.chance.choice((self.write, self.write, self.save, self.append, self.rename, self.remove))
        try:
            action(self.machine.path(name))
        except (FileNotFoundError, FileExistsError):
            return f"{action.__name__} came too late"
        return action.__name__

    def write(self, path: Path) -> None:
        # By one handle: another version may come to this path at any moment, and would not be what was read.
        with path.open("r+b" if path.exists() else "xb") as file:
            if file.readable():
                self._doom(file.read())
                file.seek(0)
                file.truncate()
            file.write(self._content(path))

    def save(self, path: Path) -> None:
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(self._content(path))
        with self._dooming(path):
            fresh.replace(path)

    def append(self, path: Path) -> None:
        with path.open("r+b") as file:
            before = file.read()
            self._doom(before)
            file.write(self._content(path, before))

    def rename(self, path: Path) -> None:
        target = path.with_name(f"{path.name} {self._number}")
        self._number += 1
        path.rename(target)

    def remove(self, path: Path) -> None:
        with self._dooming(path):
            path.unlink()

    def _content(self, path: Path, before: bytes = b"") -> bytes:
        """Something new, to follow what is there before."""
        self._number += 1
        label = f"{self.machine.name} {self._number} {path.name}"
        data = label.encode() + b"\0" + self.chance.randbytes(self.chance.choice((10, 10, 3_000, 120_000, 900_000)))
        self.alive[blake3(before + data).hexdigest()] = label
        return data

    def _doom(self, data: bytes) -> None:
        self.alive.pop(blake3(data).hexdigest(), None)

    @contextmanager
    def _dooming(self, path: Path) -> Iterator[None]:
        """What is at a path goes by what is done inside."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            yield
            return
        with file:
            self._doom(file.read())
            yield
            self.unseen += os.fstat(file.fileno()).st_nlink > 0


@pytest.mark.slow
@pytest.mark.timeout(120 + 2 * TRIES)
def test_what_a_user_does_to_a_file_while_its_new_version_is_being_put_in_place_is_never_lost(site: Site) -> None:
    one, other = site.pair("hold_least = 1000000\n")
    start(one, other)
    chance = random.Random(SEED)
    user, elsewhere = Author(one, chance), Author(other, chance)
    log: list[str] = []
    for number in range(TRIES // 8 if site.plain else TRIES):  # what comes from a plain server comes to the same disk
        name = f"f{number % FILES}"
        if number % FILES == 0:
            settle(site, one, other, (user, elsewhere), log)
        elsewhere.save(other.path(name))
        log.append(f"{name}: {stopped(one, chance.random() * 0.06, user, name)}")
    settle(site, one, other, (user, elsewhere), log)


def stopped(machine: Machine, after: float, user: Author, name: str) -> str:
    """Stop the daemon after some time and let the user work; the user's work is done before the daemon goes on."""
    assert machine.running is not None
    process = machine.running.process
    threading.Event().wait(after)
    process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: has_stopped(process.pid), "it has stopped")
        return user.work(name)
    finally:
        process.send_signal(signal.SIGCONT)


def has_stopped(pid: int) -> bool:
    """All its threads (proc_pid_stat(5), the field after the name)."""
    try:
        states = [task.read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):  # a thread has ended since its name was read
        return False
    return all(state == "T" for state in states)


def settle(site: Site, one: Machine, other: Machine, users: tuple[Author, ...], log: list[str]) -> None:
    """All is equal, nothing is lost, nothing is left over; and everything is there again for the next tries."""
    shown = agree(one, other)
    kept = {version.hash for version in site.server.versions(one.bucket)} | hashes(one)
    for user in users:
        lost = [label for hash, label in user.alive.items() if hash not in kept]
        assert not lost, f"seed {SEED}: lost: {lost}; {log[-FILES:]}"
        user.alive.clear()
    for machine in (one, other):
        stage = os.listdir(machine.folder / ".ssyncd" / "stage")
        assert not [name for name in stage if ".staged" not in name], f"seed {SEED}: {stage}; {log[-FILES:]}"
    for path in shown:
        if " " in path:
            one.path(path.removesuffix("*")).unlink()
    for number in range(FILES):
        one.write(f"f{number}", f"start {number} {len(log)}")
    agree(one, other)
