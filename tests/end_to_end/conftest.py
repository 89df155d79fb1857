"""Places for a module's servers and machines; what runs is ended by its id, and every log is shown with a failure."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.children import ForkedMachine, ForkedServer, Nursery
from tests.end_to_end.machine import Machine, Place, Server, agree, start

# Of the tests against a plain server, those that are not left to the slow part.
QUICK_WHEN_PLAIN = {
    "test_two_machines_sign_in_with_the_password_and_sync",
}


class Site:
    """One server (started when first asked for) and the machines of a test."""

    def __init__(
        self,
        directory: Path,
        server: Callable[[], Server] | None = None,
        plain: bool = False,
        nursery: Nursery | None = None,
    ) -> None:
        self.directory = directory
        self.plain = plain
        self.nursery = nursery
        self.places: list[Place] = []
        self._server = server
        self._own: Server | None = None

    @property
    def server(self) -> Server:
        assert self._server is not None
        server = self._server()
        if server not in self.places:
            self.places.append(server)
        return server

    def machine(self, name: str, bucket: str = "", settings: str = "") -> Machine:
        """Signed in at the server; nothing runs yet."""
        machine = self.bare_machine(name, bucket, settings)
        machine.sign_in(self.server.account())
        return machine

    def bare_machine(self, name: str, bucket: str = "", settings: str = "") -> Machine:
        """Nothing is configured but the device's name."""
        machine = ForkedMachine(self.directory / name, self.nursery, bucket or self.directory.name, settings)
        self.places.append(machine)
        return machine

    def pair(self, settings: str = "") -> tuple[Machine, Machine]:
        return self.machine("alpha", settings=settings), self.machine("beta", settings=settings)

    def filled_pair(self, files: dict[str, bytes]) -> tuple[Machine, Machine]:
        """Two machines that run, and both have these."""
        one, other = self.pair()
        for path, data in files.items():
            one.write(path, data)
        start(one, other)
        agree(one, other)
        return one, other

    def own_server(self, app: str = "ssyncd", settings: str = "") -> Server:
        """A server for this test alone, with an account, not started."""
        server = ForkedServer(self.directory / "server", self.nursery, self.plain, app, settings)
        server.add_user()
        self.places.append(server)
        self._own = server
        self._server = lambda: server
        return server

    def end(self) -> list[str]:
        """Every daemon ends in order, then the server if it is ours alone; what did not."""
        own = [self._own] if self._own is not None else []
        wrong = []
        for place in [*(one for one in self.places if isinstance(one, Machine)), *own]:
            if place.running is not None and (code := place.stop()) != 0:
                wrong.append(f"{place.name} ended with {code}")
        return wrong

    def report(self) -> str:
        return "\n".join(place.report() for place in self.places)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that has a site also runs against a server that offers no extension, but those of what a machine does by
    itself."""
    if "plain" in metafunc.fixturenames:
        if any(mark.name == "any_server" for mark in metafunc.definition.iter_markers()):
            metafunc.parametrize("plain", [pytest.param(False, id="ssyncd")])
            return
        marks = [] if metafunc.function.__name__ in QUICK_WHEN_PLAIN else [pytest.mark.slow]
        metafunc.parametrize("plain", [pytest.param(False, id="ssyncd"), pytest.param(True, marks=marks, id="plain")])


@pytest.fixture(scope="session")
def preloaded() -> Iterator[Nursery | None]:
    """Importing all of ssyncd is half of what a daemon does in most tests, so it is done once; elsewhere each is started anew."""
    if not sys.platform.startswith("linux"):
        yield None
        return
    made = Nursery()
    yield made
    made.end()


@pytest.fixture(scope="module")
def module_server(
    tmp_path_factory: pytest.TempPathFactory, preloaded: Nursery | None
) -> Iterator[Callable[[bool], Server]]:
    made: dict[bool, Server] = {}

    def get(plain: bool) -> Server:
        if plain not in made:
            server = ForkedServer(tmp_path_factory.mktemp("server") / "home", preloaded, plain)
            server.add_user()
            server.start()
            made[plain] = server
        return made[plain]

    yield get
    for server in made.values():
        if server.running is not None:
            assert server.stop() == 0


@pytest.fixture
def site(
    tmp_path: Path, module_server: Callable[[bool], Server], preloaded: Nursery | None, plain: bool
) -> Iterator[Site]:
    made = Site(tmp_path, lambda: module_server(plain), plain, preloaded)
    yield made
    wrong = made.end()
    report = made.report()
    assert not wrong, f"{wrong}\n{report}"
    assert "Traceback" not in report, report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    site = getattr(item, "funcargs", {}).get("site")
    if report.failed and isinstance(site, Site):
        report.sections.append(("processes", site.report()))
    return report
