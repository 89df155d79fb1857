"""One folder with its threads, on a real disk and against a real server."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ssyncd.errors import NetworkError
from ssyncd.folder import Folder, FolderSettings
from ssyncd.network.login import Account
from ssyncd.state.database import VERSION
from ssyncd.status import Phase
from tests.end_to_end.machine import until
from tests.network.servers import real_server

DEADLINE = 20.0


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with real_server(tmp_path / "server") as account:
        yield account


class Machine:
    """Its folder is made and started by `start`, and stopped in the end."""

    def __init__(self, home: Path, account: Account) -> None:
        self.path, self.state = home / "Folder", home / "state"
        self.path.mkdir(parents=True)
        self._settings = FolderSettings(self.path, "shared", self.state, home.name)
        self._account = account
        self.folder: Folder | None = None

    def start(self) -> Folder:
        self.folder = Folder(self._settings, self._account)
        self.folder.start()
        self.in_sync()
        return self.folder

    def in_sync(self) -> None:
        assert self.folder is not None
        assert self.folder.wait(DEADLINE, lambda status: status.in_sync), self.folder.status()

    def stop(self) -> None:
        if self.folder is not None:
            self.folder.stop()
            self.folder = None

    def names(self) -> set[str]:
        return {path.name for path in self.path.iterdir()} - {".ssyncd"}

    @property
    def aside(self) -> list[Path]:
        return list(self.state.glob("state.db.damaged-*"))


@pytest.fixture
def machines(tmp_path: Path, account: Account) -> Iterator[tuple[Machine, Machine]]:
    made = Machine(tmp_path / "one", account), Machine(tmp_path / "two", account)
    yield made
    for machine in made:
        machine.stop()


def test_what_is_asked_of_a_folder_that_has_ended_is_answered_at_once(machines: tuple[Machine, Machine]) -> None:
    one, _ = machines
    folder = one.start()
    one.stop()
    with pytest.raises(NetworkError):
        folder._on_control(lambda engine: engine)
    with pytest.raises(NetworkError):
        folder.request("conflicts")


def test_what_was_done_before_the_question_counts(machines: tuple[Machine, Machine]) -> None:
    """The kernel tells of it a moment later: until then the folder would say that it is in sync."""
    one, _ = machines
    folder = one.start()
    for number in range(30):
        (one.path / f"f{number}").write_text("x")
        assert folder.request("catch_up") == {"caught_up": True}
        assert folder.wait(DEADLINE, lambda status: status.in_sync)
        assert folder.status().entries == number + 1


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)


def damage_a_page(path: Path) -> None:
    """The first one of the base tree."""
    with sqlite3.connect(path) as database:
        [(page,)] = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'base'")
        [(size,)] = database.execute("PRAGMA page_size")
    database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def make_newer(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version={VERSION + 1}")
    database.close()


def lose_a_row(path: Path) -> None:
    """Nothing that the database itself could notice."""
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM remote WHERE key = (SELECT max(key) FROM remote)")
    database.close()


@pytest.mark.parametrize("harm", [Path.unlink, truncate, damage_a_page, empty, make_newer, lose_a_row])
def test_what_a_folder_remembers_is_repaired_by_itself(
    machines: tuple[Machine, Machine], harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = machines
    for number in range(300):
        (one.path / f"f{number}").write_text(f"content {number}")
    one.start()
    two.start()
    until(lambda: len(two.names()) == 300)
    one.stop()
    harm(one.state / "state.db")
    (one.path / "f1").write_text("edited while it was stopped")
    (two.path / "f2").write_text("edited there")
    one.start()
    until(lambda: any(path.read_text() == "edited while it was stopped" for path in two.path.glob("f1*")))
    until(lambda: (one.path / "f2").read_text() == "edited there")
    for machine in machines:
        machine.in_sync()
        assert {name for name in machine.names() if "conflict" not in name} == {f"f{n}" for n in range(300)}
        assert len(machine.names()) <= 302, "equal contents never conflict"
    if harm not in (Path.unlink, empty):
        assert len(one.aside) == 1
        assert "comparing everything with the server" in caplog.text


def test_what_it_remembers_is_repaired_while_it_runs(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    (one.path / "f").write_text("1")
    folder = one.start()
    two.start()
    # Another table than ours where ours was: what sqlite says of a damaged page, at the next write.
    damaged = sqlite3.connect(one.state / "state.db", timeout=DEADLINE)
    damaged.executescript("PRAGMA writable_schema=1; UPDATE sqlite_schema SET rootpage=1 WHERE name='remote';")
    damaged.execute("PRAGMA schema_version=99")
    damaged.close()
    (one.path / "g").write_text("2")
    assert folder.wait(DEADLINE, lambda _: bool(one.aside)), folder.status()
    assert folder.wait(DEADLINE, lambda status: status.phase is Phase.IN_SYNC and status.entries == 2)
    until(lambda: two.names() == {"f", "g"})
    assert {path.name: path.read_text() for path in one.path.glob("[!.]*")} == {"f": "1", "g": "2"}
