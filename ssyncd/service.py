"""The systemd user service: its unit file, and what systemctl is asked to do with it."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from ssyncd.errors import SsyncdError

UNIT = "ssyncd.service"
_SECONDS = 60.0
# Moved by these, an instance would not find its files under systemd, which does not read the shell's settings.
_MOVERS = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME")


def unit_path(environment: Mapping[str, str] = os.environ) -> Path:
    base = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "systemd" / "user" / UNIT


def render(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """The packaged unit, running this command."""
    template = files("ssyncd").joinpath(UNIT).read_text("utf-8")
    lines = [f"Environment={_quoted(f'{name}={environment[name]}')}" for name in _MOVERS if environment.get(name)]
    lines.append("ExecStart=" + " ".join(_quoted(word).replace("$", "$$") for word in command))
    return template.replace("ExecStart=ssyncd start", "\n".join(lines))


def install(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> Path:
    """Write the unit, enable and (re)start it; doing so again is harmless. SsyncdError, with the unit written, if there is no
    systemd to start it."""
    path, text = unit_path(environment), render(command, environment)
    changed = _write(path, text)
    _systemctl("daemon-reload")
    _systemctl("enable", UNIT)
    _systemctl("restart" if changed else "start", UNIT)
    return path


def remove(environment: Mapping[str, str] = os.environ) -> bool:
    """Stop and disable it, remove the unit; whether there was one. SsyncdError."""
    path = unit_path(environment)
    if not path.exists():
        return False
    try:
        _systemctl("disable", "--now", UNIT)
    finally:
        path.unlink(missing_ok=True)
    _systemctl("daemon-reload")
    return True


def state(environment: Mapping[str, str] = os.environ) -> str:
    """What systemd says about it: "active", "inactive", "failed", ...; "not installed"."""
    if not unit_path(environment).exists():
        return "not installed"
    return _run("is-active", UNIT).stdout.strip() or "unknown"


def _write(path: Path, text: str) -> bool:
    try:
        if path.exists() and path.read_text("utf-8", "replace") == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise SsyncdError(f"{path}: cannot be written: {error.strerror}") from error
    return True


def _systemctl(*words: str) -> None:
    done = _run(*words)
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise SsyncdError(f"systemctl --user {' '.join(words)}: {reason}: is this a login session with systemd?")


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemctl")
    if program is None:
        raise SsyncdError(
            "there is no systemctl here: run `ssyncd start` from whatever starts programs on this machine"
        )
    try:
        return subprocess.run(
            [program, "--user", *words], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SsyncdError(f"systemctl --user {' '.join(words)}: {error}") from error


def _quoted(word: str) -> str:
    """systemd.syntax(7): quotes and backslashes as in C, % doubled."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return f'"{escaped}"' if any(one in escaped for one in " \t'\"\\;") else escaped
