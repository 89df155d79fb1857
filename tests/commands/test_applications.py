"""`ssyncd app`, and `ssyncd user` for the users of an application."""

import io
import json
from pathlib import Path

import pytest

from ssyncd.cli import main
from ssyncd.errors import Exit
from ssyncd.server.accounts import open_accounts
from ssyncd.server.applications import open_applications


class Shell:
    """The command line with one data directory."""

    def __init__(self, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.data, self._monkeypatch, self._capsys = data, monkeypatch, capsys

    def run(self, words: str, typed: str = "") -> str:
        """What a command that does not fail prints."""
        code, out, err = self.fails(words, typed)
        assert (code, err) == (Exit.OK, "")
        return out

    def fails(self, words: str, typed: str = "") -> tuple[int, str, str]:
        self._monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = main([*words.split(), "--data", str(self.data)])
        return code, *self._capsys.readouterr()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CONFIG", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    return Shell(tmp_path / "server", monkeypatch, capsys)


def test_an_application_is_added_listed_and_removed(shell: Shell) -> None:
    key = shell.run("app add Notes").strip()
    assert len(key) == 32
    assert shell.run("app list") == f"ssyncd  ssyncd\nnotes  {key}\n"
    listed = json.loads(shell.run("app list --json"))
    assert listed == {"applications": [{"name": "ssyncd", "api_key": "ssyncd"}, {"name": "notes", "api_key": key}]}
    with open_applications(shell.data) as applications:
        assert applications.admits("notes", key)
    assert shell.run("app remove notes --yes") == "notes: removed\n"
    assert shell.run("app list") == "ssyncd  ssyncd\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("app add ssyncd", "application ssyncd: there is one already"),
        ("app add no/id", "an application id has 1 to 64 of"),
        ("app remove --yes notes", "application notes: there is none: ssyncd app add notes"),
        ("app remove --yes ssyncd", "is built in and stays"),
        ("user list --app notes", "application notes: there is none: ssyncd app add notes"),
        ("user token bob --app notes", "application notes: there is none: ssyncd app add notes"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(shell: Shell, words: str, told: str) -> None:
    code, out, err = shell.fails(words)
    assert (code, out) == (Exit.USAGE, "")
    assert told in err
    assert err.count("\n") == 1


def test_an_application_is_not_removed_unasked(shell: Shell) -> None:
    shell.run("app add notes")
    code, _, err = shell.fails("app remove notes")
    assert code != Exit.OK
    assert "everything they have" in err
    assert "notes" in shell.run("app list")


@pytest.mark.slow
def test_users_and_tokens_are_made_for_an_application(shell: Shell) -> None:
    shell.run("app add notes")
    shell.run("user add bob --password-stdin", "here")
    assert shell.run("user add bob --app notes --password-stdin", "there") == "bob: added\n"
    shell.run("user add eve --app Notes --password-stdin", "eve")
    assert shell.run("user list") == "bob\n"
    assert shell.run("user list --app notes") == "bob\neve\n"
    token = shell.run("user token bob --app notes --device web").strip()
    with open_accounts(shell.data) as accounts:
        found = accounts.check(token)
        assert found is not None
        assert (found.app, found.device, accounts.devices("bob")) == ("notes", "web", [])
    admin = shell.run("user token bob --app notes --admin").strip()
    with open_accounts(shell.data) as accounts:
        assert [accounts.check(one).admin for one in (token, admin)] == [False, True]
    shell.run("user passwd bob --app notes --password-stdin", "new")
    shell.run("user remove bob --yes")
    assert shell.run("user list") == ""
    with open_accounts(shell.data, app="notes") as accounts:
        assert accounts.verify("bob", "new").name == "bob"
