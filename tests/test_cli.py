import io
import json
import os
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from ssyncd import log
from ssyncd.cli import main, sentence
from ssyncd.commands.finding import worst
from ssyncd.control import ControlSocket
from ssyncd.credentials import Credentials
from ssyncd.daemon import Daemon, Plan
from ssyncd.errors import AnsweredError, BusyError, Exit, NetworkError, RootError, SignInError, SsyncdError, UsageError
from ssyncd.notify import Notifier
from ssyncd.places import find
from ssyncd.status import Hold, Phase, Trouble
from tests.runners import FakeRunner, FakeSettings, Shown


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An instance that knows nothing of the real one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CONFIG", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    yield tmp_path
    log.tear_down()


class Running:
    """A daemon with folders that do what the test says, found by the command line."""

    def __init__(self, *folders: FakeSettings) -> None:
        self.runners = {settings.name: FakeRunner(settings) for settings in folders}
        self._daemon = Daemon(
            Plan(lambda: folders, lambda settings: self.runners[settings.name]), Notifier({}), Shown()
        )
        self._control = ControlSocket(find().runtime, self._daemon.answer)
        self._thread = threading.Thread(target=self._daemon.run)

    def __enter__(self):
        self._thread.start()
        for runner in self.runners.values():
            assert runner.started.wait(10)
            runner.become(Phase.IN_SYNC)
        self._control.start()
        return self

    def __exit__(self, *_):
        self._daemon.stop()
        self._thread.join(10)
        self._control.stop()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "Sync"
    path.mkdir()
    return FakeSettings(path, "Sync")


def test_an_error_is_one_line_and_a_code(capsys):
    assert main(["status"]) == Exit.NOT_RUNNING
    out, err = capsys.readouterr()
    assert (out, err) == ("", "ssyncd: no daemon runs: ssyncd start\n")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["explode"], Exit.USAGE, "No such command 'explode': ssyncd --help"),
        (["start", "--nmae", "x"], Exit.USAGE, "ssyncd start --help"),
        (["wait", "--timeout", "soon"], Exit.USAGE, "ssyncd wait --help"),
        (["start"], Exit.USAGE, "no folder: name one, or add [[folder]] to"),
        (["sync"], Exit.USAGE, "no folder: name one"),
        (["pull", "--name", "x"], Exit.USAGE, "--name needs a FOLDER"),
        (["wait"], Exit.NOT_RUNNING, "no daemon runs"),
        (["stop"], Exit.NOT_RUNNING, "no daemon runs"),
        (["pause", "Sync"], Exit.NOT_RUNNING, "Sync: no daemon has this folder"),
        (["history", "x/y"], Exit.NOT_RUNNING, "no daemon runs"),
        (["logout"], Exit.SIGN_IN, "signed in nowhere: ssyncd login URL --user NAME"),
        (["devices"], Exit.SIGN_IN, "signed in nowhere"),
        (["login", "example.com", "--user", "a"], Exit.USAGE, "must start with https://"),
        (["login", "http://127.0.0.1:1", "--user", "a"], Exit.USAGE, "use --password-stdin"),
        (["serve", "--tls-cert", "x"], Exit.USAGE, "--tls-cert and --tls-key go together"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(words, code, text, capsys):
    assert main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert text in err
    assert err.startswith("ssyncd: ")
    assert err.count("\n") == 1


def test_a_wrong_setting_ends_every_command_that_needs_it(home, capsys):
    (home / "config" / "ssyncd").mkdir(parents=True)
    (home / "config" / "ssyncd" / "config.toml").write_text("wrokers = 3")
    assert main(["start", str(home / "Sync")]) == Exit.USAGE
    assert "config.toml: wrokers: unknown; workers?" in capsys.readouterr().err


def test_another_settings_file_can_be_named(home, capsys):
    (home / "my.toml").write_text("nope = 1")
    assert main(["--config", str(home / "my.toml"), "start", "x"]) == Exit.USAGE
    assert "my.toml: nope: unknown" in capsys.readouterr().err


def test_credentials_that_others_can_read_stop_a_command(home, capsys):
    Credentials(find().credentials).put("http://x", {"token": "t"})
    find().credentials.chmod(0o644)
    assert main(["start", str(home / "Sync")]) == Exit.FAILED
    assert "chmod 600" in capsys.readouterr().err


def test_a_server_in_the_settings_without_a_sign_in_says_what_to_run(home, capsys):
    (home / "config" / "ssyncd").mkdir(parents=True)
    (home / "config" / "ssyncd" / "config.toml").write_text('[server]\nurl = "https://s.example"')
    assert main(["sync", str(home / "Sync")]) == Exit.SIGN_IN
    assert "https://s.example: this machine is not signed in there: ssyncd login" in capsys.readouterr().err


def test_the_status_is_a_table_with_the_reasons(folder, capsys):
    with Running(folder) as running:
        running.runners["Sync"].become(
            Phase.HELD,
            entries=1234,
            size=5_600_000,
            to_send=3,
            holds=(Hold("most of the folder would go", 900, "here"),),
            troubles=(Trouble("bad\x1b[31m.txt", "permission denied"),),
            conflicts=1,
        )
        assert main(["status"]) == Exit.OK
    out = capsys.readouterr().out
    for text in (
        "1,234",
        "5.6 MB",
        "held",
        "3 to send",
        str(folder.path),
        "900 entries",
        "ssyncd approve",
        "1 conflict copy",
    ):
        assert text in out
    assert r"bad\x1b[31m.txt: permission denied" in out
    assert "\x1b" not in out


def test_programs_get_the_whole_status(folder, capsys):
    other = FakeSettings(folder.path.parent / "Other", "Other")
    with Running(folder, other):
        assert main(["status", "--json"]) == Exit.OK
        whole = json.loads(capsys.readouterr().out)
        assert main(["status", "--json", "Other"]) == Exit.OK
        one = json.loads(capsys.readouterr().out)
    assert [folder["name"] for folder in whole["daemons"][0]["folders"]] == ["Sync", "Other"]
    assert [folder["name"] for folder in one["daemons"][0]["folders"]] == ["Other"]
    assert main(["status", "--json"]) == Exit.NOT_RUNNING
    assert json.loads(capsys.readouterr().out) == {"daemons": []}


def test_wait_returns_a_code_for_each_outcome(folder, capsys):
    with Running(folder) as running:
        runner = running.runners["Sync"]
        assert main(["wait", "--timeout", "10"]) == Exit.OK
        assert main(["wait", str(folder.path)]) == Exit.OK
        runner.become(Phase.SYNCING, to_apply=2)
        assert main(["wait", "Sync", "--timeout", "0.05"]) == Exit.NOT_IN_SYNC
        assert "2 to receive" in capsys.readouterr().err
        runner.become(Phase.HELD, holds=(Hold("everything would go", 30, "everywhere"),))
        assert main(["wait"]) == Exit.HELD
        assert "everything would go" in capsys.readouterr().err
        assert main(["wait", "Nothing"]) == Exit.NOT_RUNNING


def test_a_folder_that_a_daemon_has_is_synced_by_it(folder):
    with Running(folder) as running:
        assert main(["sync", str(folder.path), "--timeout", "10"]) == Exit.OK
        assert main(["pull", str(folder.path), "--timeout", "10"]) == Exit.OK
        assert running.runners["Sync"].requests == [("rescan", {}), ("rescan", {})]


def test_commands_reach_the_folder_they_name(folder, capsys):
    with Running(folder, FakeSettings(Path("/other"), "Other")) as running:
        assert main(["pause", "Sync"]) == Exit.OK
        assert capsys.readouterr().out == "Sync: done: pause\n"
        assert main(["approve", "--json"]) == Exit.OK
        assert [one["name"] for one in json.loads(capsys.readouterr().out)["folders"]] == ["Sync", "Other"]
        assert running.runners["Sync"].requests == [("pause", {}), ("approve", {})]


def test_a_path_finds_its_folder_from_anywhere(folder, capsys, monkeypatch):
    inside = folder.path / "a"
    inside.mkdir()
    (inside / "link").symlink_to("/etc/passwd")
    monkeypatch.chdir(inside)
    with Running(FakeSettings(Path("/other"), "Other"), folder) as running:
        assert main(["history", "link"]) == Exit.OK
        assert main(["restore", str(folder.path / "gone.txt"), "--version", "3"]) == Exit.OK
        assert running.runners["Sync"].requests == [
            ("history", {"path": "a/link"}),
            ("restore", {"path": "gone.txt", "version": "3", "time": "", "dry": ""}),
        ]
        running.runners["Sync"].requests.clear()
        for words in (["deleted", "Sync"], ["deleted", str(folder.path)], ["deleted", "x"], ["restore", "x"]):
            assert main(words) == Exit.OK
        assert running.runners["Sync"].requests == [
            ("deleted", {"path": ""}),
            ("deleted", {"path": ""}),
            ("deleted", {"path": "a/x"}),
            ("restore", {"path": "a/x", "version": "", "time": "", "dry": ""}),
        ]
        assert running.runners["Other"].requests == []
        assert main(["deleted"]) == Exit.OK
        assert running.runners["Other"].requests == [("deleted", {"path": ""})]
        capsys.readouterr()
        assert main(["deleted", "/etc/passwd"]) == Exit.USAGE
        assert main(["history", "/etc/passwd"]) == Exit.USAGE
        assert "none of the folders" in capsys.readouterr().err
        assert main(["history", str(folder.path)]) == Exit.USAGE


def test_an_error_of_a_folder_is_shown_as_it_is(folder, capsys):
    with Running(folder):
        assert main(["verify"]) == Exit.FAILED
    assert capsys.readouterr().err == "ssyncd: the disk is on fire\n"


def test_stop_ends_the_daemon(folder):
    with Running(folder) as running:
        assert main(["stop"]) == Exit.OK
        assert running.runners["Sync"].stopped.wait(10)


def test_a_pipe_that_nobody_reads_is_no_traceback():
    script = f"{sys.executable} -P -m ssyncd --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr


def test_help_imports_nothing_heavy():
    heavy = "rich aiohttp watchdog urllib3 websocket blake3 argon2 sqlite3 platformdirs ssyncd.server ssyncd.folder"
    code = f"import sys, ssyncd.cli; print([name for name in {heavy.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SignInError("token revoked"), "token revoked: ssyncd login URL --user NAME"),
        (NetworkError("http://x: refused"), "http://x: refused: check the URL and whether the server runs"),
        (BusyError("/a: taken"), "/a: taken: end the other one, or ask it: ssyncd status"),
        (RootError("/a: gone"), "/a: gone"),
        (UsageError("x"), "x"),
        (SsyncdError("x"), "x"),
        (AnsweredError("x", 4), "x"),
    ],
)
def test_a_sentence_says_what_to_do(error, text):
    assert sentence(error) == text


@pytest.mark.parametrize(
    ("codes", "code"),
    [([], 0), ([0, 0], 0), ([0, 3], 3), ([6, 3, 0], 6), ([3, 5, 6], 5), ([4, 0], 4)],
)
def test_of_several_codes_the_one_that_says_most_counts(codes, code):
    assert worst(codes) == code


def test_a_fault_of_ours_is_a_line_too(monkeypatch, capsys):
    monkeypatch.setattr("ssyncd.control.daemons", lambda _runtime: 1 / 0)
    assert main(["stop"]) == Exit.FAILED
    err = capsys.readouterr().err
    assert err.startswith("ssyncd: internal error: ZeroDivisionError")
    assert "Traceback" not in err
    assert main(["-v", "stop"]) == Exit.FAILED
    assert "Traceback" in capsys.readouterr().err


def test_names_are_utf_8_whatever_the_locale_says(tmp_path):
    """Else a machine with another locale would give every name with an umlaut another one, for all."""
    odd = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    config = tmp_path / "Größen ✓.toml"
    config.write_text("nonsense")
    command = [sys.executable, "-m", "ssyncd", "--config", str(config), "start"]
    done = subprocess.run(command, env={**os.environ, **odd}, capture_output=True, check=False)
    assert done.returncode == Exit.USAGE
    assert "Größen ✓.toml" in done.stderr.decode()


@pytest.mark.parametrize("encoding", ["latin-1", "iso-8859-5", "utf-8"])
def test_what_a_terminal_has_no_letter_for_is_shown_all_the_same(encoding, monkeypatch, tmp_path):
    written = io.BytesIO()
    with io.TextIOWrapper(written, encoding) as out:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "argv", ["ssyncd", "status"])
        with Running(FakeSettings("✓", str(tmp_path / "✓"))):
            assert main() == Exit.OK
        out.flush()
        assert written.getvalue().decode(encoding).count("✓" if encoding == "utf-8" else "\\u2713") == 2


def test_commands_to_copy_are_quoted(tmp_path, capsys):
    with Running(FakeSettings("name", str(tmp_path / "other"))):
        assert main(["status", "My Folder"]) == Exit.NOT_RUNNING
    assert capsys.readouterr().err.endswith("ssyncd start 'My Folder'\n")


@pytest.mark.parametrize(
    ("words", "offered"),
    [("ssyncd st", {"start", "status", "stop"}), ("ssyncd folders re", {"remove"}), ("ssyncd pull --t", {"--timeout"})],
)
def test_the_shell_completes(words, offered, capsys, monkeypatch):
    monkeypatch.setenv("_SSYNCD_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    monkeypatch.setattr(sys, "argv", ["ssyncd"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert {line.partition(",")[2] for line in capsys.readouterr().out.splitlines()} == offered


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2001-09-09T01:46:40+00:00", 10**9),
        ("2001-09-09", datetime(2001, 9, 9).timestamp()),
        ("2001-09-09 05:30", datetime(2001, 9, 9, 5, 30).timestamp()),
        ("20m", -1200),
        ("3h", -10_800),
        ("2d", -172_800),
    ],
)
def test_a_time_to_go_back_to(folder, text, seconds):
    with Running(folder) as running:
        assert main(["restore", str(folder.path), "--at", text]) == Exit.OK
        [(_, arguments)] = running.runners["Sync"].requests
    assert arguments["path"] == arguments["version"] == ""
    assert abs(int(arguments["time"]) - (seconds if seconds > 0 else time.time() + seconds)) < 60


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--at", "yesterday"], "no time"),
        (["--at", "9999-01-01"], "not over yet"),
        (["--at", "99999w"], "too long ago"),
        (["--at", "1h", "--version", "2"], "does not go together"),
        (["--dry-run", "--version", "2"], "does not go together"),
    ],
)
def test_what_is_no_time_to_go_back_to(folder, words, told, capsys):
    with Running(folder) as running:
        assert main(["restore", str(folder.path / "x"), *words]) == Exit.USAGE
        assert running.runners["Sync"].requests == []
    assert told in capsys.readouterr().err
