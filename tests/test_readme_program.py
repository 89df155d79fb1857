"""The README's programs run as they are printed."""

import re
from pathlib import Path

import pytest

from ssyncd.bucket import start_syncing
from tests.programs import server_process, signed_in, terminals

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
PROGRAM = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


class Silent:
    def init(self, version, entities):
        pass

    def update(self, change):
        pass


@pytest.fixture
def server(tmp_path):
    with server_process(tmp_path / "server") as server:
        yield server


def test_the_first_program_has_at_most_fifteen_lines():
    assert len(PROGRAM) == 2
    assert len([line for line in PROGRAM[0].splitlines() if line.strip()]) <= 15


def test_it_runs_as_printed_in_two_terminals(server, tmp_path):
    file = tmp_path / "shopping.py"
    file.write_text(PROGRAM[0], "utf-8")
    environment = signed_in(tmp_path / "home", server.account)
    with terminals([str(file)], [str(file)], environment=environment) as (anna, bob):
        anna.type("milk 2")
        anna.shows("done: {'milk': 2}")
        bob.type("bread 1")
        for one in (anna, bob):
            one.shows("'bread': 1")
        for one in (anna, bob):
            one.type("")
            one.shows("Shopping(title='Shopping', wanted={")
            assert set(re.findall(r"'(\w+)': (\d)", one.rest())) == {("bread", "1"), ("milk", "2")}
    with start_syncing(Silent(), server.secrets, name="shopping") as handle:
        assert handle.get("shared") == {"title": "Shopping", "wanted": {"milk": 2, "bread": 1}}


def test_the_one_with_a_channel_of_its_own_prints_what_happens(server, tmp_path):
    file = tmp_path / "watcher.py"
    file.write_text(PROGRAM[1], "utf-8")
    environment = signed_in(tmp_path / "home", server.account)
    with terminals([str(file)], environment=environment) as (watcher,):
        watcher.shows("CaughtUp()")
        with start_syncing(Silent(), server.secrets, name="shopping") as handle:
            handle.set("milk", {"number": 2})
            watcher.shows("Updated(key='milk'")
            watcher.shows("'number': 2")
