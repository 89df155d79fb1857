import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ssyncd import service
from ssyncd.cli import cli
from ssyncd.errors import SsyncdError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An environment with a systemctl that writes down what it was asked for."""
    programs = tmp_path / "bin"
    programs.mkdir()
    fake = programs / "systemctl"
    fake.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ -e {tmp_path}/broken ] && echo no bus >&2 && exit 1\nexit 0\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path


def asked(home):
    file = home / "asked"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    file.unlink(missing_ok=True)
    return [line.removeprefix("--user ") for line in lines]


def environment(home):
    return {"XDG_CONFIG_HOME": str(home / "config")}


def test_installing_writes_enables_and_starts_and_again_is_harmless(home):
    path = service.install(["/opt/py", "-m", "ssyncd", "start"], environment(home))
    assert path == home / "config" / "systemd" / "user" / "ssyncd.service"
    assert "ExecStart=/opt/py -m ssyncd start\n" in path.read_text()
    assert asked(home) == ["daemon-reload", "enable ssyncd.service", "restart ssyncd.service"]
    before = path.stat().st_mtime_ns
    service.install(["/opt/py", "-m", "ssyncd", "start"], environment(home))
    assert path.stat().st_mtime_ns == before
    assert asked(home) == ["daemon-reload", "enable ssyncd.service", "start ssyncd.service"]


def test_a_changed_command_restarts_it(home):
    service.install(["/opt/py"], environment(home))
    asked(home)
    service.install(["/opt/other"], environment(home))
    assert asked(home)[-1] == "restart ssyncd.service"


def test_removing_stops_and_forgets_and_again_is_harmless(home):
    path = service.install(["/opt/py"], environment(home))
    asked(home)
    assert service.remove(environment(home)) is True
    assert not path.exists()
    assert asked(home) == ["disable --now ssyncd.service", "daemon-reload"]
    assert service.remove(environment(home)) is False
    assert asked(home) == []


def test_without_a_session_the_reason_is_told(home):
    (home / "broken").touch()
    with pytest.raises(SsyncdError, match="daemon-reload: no bus"):
        service.install(["/opt/py"], environment(home))


def test_without_systemd_it_says_what_to_do_instead(home, monkeypatch):
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(SsyncdError, match="no systemctl here: run `ssyncd start`"):
        service.install(["/opt/py"], environment(home))


def test_the_state_of_a_unit_that_is_not_there(home):
    assert service.state(environment(home)) == "not installed"


def test_words_with_spaces_percents_and_dollars_reach_the_program_as_they_are():
    words = ["/o p/py", "100%", "$HOME", 'a"b', "back\\slash"]
    text = service.render(words, {"XDG_STATE_HOME": "/s t/50%"})
    assert 'ExecStart="/o p/py" 100%% $$HOME "a\\"b" "back\\\\slash"\n' in text
    assert 'Environment="XDG_STATE_HOME=/s t/50%%"\n' in text


def of_a_server():
    text = (Path(__file__).parents[1] / "systemd" / "ssyncd-server.service").read_text("utf-8")
    _, command, _ = re.split(r"ExecStart=/opt/ssyncd/bin/ssyncd (.*)", text)
    with pytest.raises(SystemExit) as ended:
        cli.main([*command.split(), "--help"], prog_name="ssyncd")
    assert ended.value.code == 0
    return text.replace("/opt/ssyncd/bin/ssyncd", "/bin/true")


@pytest.mark.parametrize(
    ("scope", "text"), [("--user", lambda: service.render(["/bin/true", "a b", "50%"], {})), ("--system", of_a_server)]
)
def test_the_units_are_such_as_systemd_accepts(home, scope, text):
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("no systemd-analyze here")
    unit = home / "ssyncd.service"
    unit.write_text(text())
    done = subprocess.run([verify, "verify", scope, str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert not re.search(r"ssyncd\.service:\d+|Unknown", done.stderr), done.stderr
