"""The notes example as two real processes."""

import pytest

from ssyncd.examples.notes import main, text_of, with_line
from tests.programs import server_process, signed_in, terminals

NOTES = ["-m", "ssyncd.examples.notes", "list"]


@pytest.fixture
def server(tmp_path):
    with server_process(tmp_path / "server") as server:
        yield server


@pytest.mark.slow
def test_two_people_write_one_note(server, tmp_path):
    environment = signed_in(tmp_path / "home", server.account)
    with terminals(NOTES, NOTES, environment=environment) as (anna, bob):
        for one in (anna, bob):
            one.shows("the note list is empty")
        anna.type("milk 😀")
        bob.shows("milk 😀\n")
        with server.held():  # both write before either hears of the other
            anna.type("from anna")
            bob.type("from bob")
        anna.shows("from bob")
        bob.shows("from anna")
        assert "milk" not in anna.rest()
        bob.rest()
    with terminals(NOTES, environment=environment) as (late,):
        late.shows("milk 😀\n")
        text = late.rest()
    assert sorted(text.split()) == ["anna", "bob", "from", "from"]


@pytest.mark.slow
def test_lines_typed_offline_are_in_the_state_file(server, tmp_path):
    environment = signed_in(tmp_path / "home", server.account)
    command = [*NOTES, "--state", str(tmp_path / "notes.db")]
    with terminals(command, environment=environment) as (anna,):
        anna.shows("is empty")
        anna.type("one")
        anna.rest()
    server.kill()
    with terminals(command, environment=environment) as (anna,):
        anna.shows("one\n")
        anna.type("two")
        anna.rest()
    address = server.account.url.removeprefix("http://")
    with (
        server_process(tmp_path / "server", address),
        terminals(NOTES, command, environment=environment) as (bob, anna),
    ):
        anna.shows("two\n")
        bob.shows("two\n")


def test_without_a_sign_in_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["x"]) == 4
    assert "not signed in" in capsys.readouterr().err


def test_a_line_is_appended_to_whatever_is_there():
    assert with_line(None, "a") == {"text": "a\n"}
    assert with_line({"text": "a\n", "colour": "red"}, "b") == {"text": "a\nb\n", "colour": "red"}
    assert text_of({"text": 3}) == ""


def test_the_help_says_what_it_does(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "note" in capsys.readouterr().out
