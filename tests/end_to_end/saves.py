"""How programs save a file: the real ones where they are installed, and a few by hand, as the system calls that they make.

Each save makes the file hold one line; the file exists and holds another one.
"""

import os
import pty
import select
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

LONGEST = 20.0
"""Seconds that a program may take."""

Save = Callable[[Path, str], None]
ENVIRONMENT = {
    **os.environ,
    "TERM": "xterm",
    "HOME": "/nonexistent",
    "XDG_CONFIG_HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=LONGEST, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    return done.stdout


def type_into(command: list[str], answers: dict[bytes, bytes]) -> None:
    """Run a program on a terminal of its own until it ends; each answer is typed once, as soon as the program shows its key."""
    ours, its = pty.openpty()
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=ENVIRONMENT, start_new_session=True)
    os.close(its)
    shown = b""
    left = dict(answers)
    try:
        while select.select([ours], [], [], LONGEST)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:
                break  # it has ended
            for asked in [one for one in left if one in shown]:
                os.write(ours, left.pop(asked))
        else:
            process.kill()
        assert process.wait() == 0, shown
    finally:
        os.close(ours)


# The real ones


def vim(*options: str) -> Save:
    def save(file: Path, line: str) -> None:
        run(
            "vim",
            "-N",
            "-u",
            "NONE",
            "-i",
            "NONE",
            "-es",
            *(f"+set {one}" for one in options),
            f"+%s/.*/{line}/",
            "+x",
            file,
        )

    return save


def nano(*options: str) -> Save:
    def save(file: Path, line: str) -> None:
        # Cut the line, type another, write it out under its name, leave.
        write = b"\x0b" + line.encode() + b"\x0f\r"
        answers = {b"Help": write, b"was modified": b"y", b"Wrote": b"\x18"}
        type_into(["nano", "-I", *options, str(file)], answers)

    return save


def sed(file: Path, line: str) -> None:
    run("sed", "-i", f"s/.*/{line}/", file)


def rsync(*options: str) -> Save:
    def save(file: Path, line: str) -> None:
        with tempfile.TemporaryDirectory() as elsewhere:
            source = Path(elsewhere) / file.name
            source.write_text(f"{line}\n")
            run("rsync", "-a", "--ignore-times", *options, source, file)

    return save


def tar(file: Path, line: str) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:
        (Path(elsewhere) / file.name).write_text(f"{line}\n")
        run("tar", "cf", "a.tar", file.name, cwd=Path(elsewhere))
        run("tar", "xf", Path(elsewhere) / "a.tar", cwd=file.parent)


# As system calls


def replaced(file: Path, line: str) -> None:
    """`os.replace`, as Python programs do it."""
    descriptor, fresh = tempfile.mkstemp(dir=file.parent, prefix=".tmp")
    with open(descriptor, "w") as out:
        out.write(f"{line}\n")
        out.flush()
        os.fsync(out.fileno())
    os.replace(fresh, file)


def truncated(file: Path, line: str) -> None:
    """Written in place."""
    with file.open("w") as out:
        out.write(line[: len(line) // 2])
        out.flush()
        out.write(line[len(line) // 2 :] + "\n")


def libre_office(file: Path, line: str) -> None:
    """A lock file while it is open; saved beside, the old one renamed away, the new one renamed to its place."""
    lock = file.with_name(f".~lock.{file.name}#")
    descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
    os.write(descriptor, b",anna,laptop,22.11.2026 14:03,file:///home/anna;")
    os.close(descriptor)
    fresh, old = file.with_name("lu1234abcd.tmp"), file.with_name("lu1234efgh.tmp")
    fresh.write_text(f"{line}\n")
    shutil.copymode(file, fresh)
    os.rename(file, old)
    os.rename(fresh, file)
    os.unlink(old)
    os.unlink(lock)


def word(file: Path, line: str) -> None:
    """An owner file, the new version beside, two renames, the old version deleted."""
    owner = file.with_name(f"~${file.name[2:]}")
    owner.write_text("anna")
    fresh, old = file.with_name("~WRD0001.tmp"), file.with_name("~WRL0002.tmp")
    fresh.write_text(f"{line}\n")
    os.rename(file, old)
    os.rename(fresh, file)
    os.unlink(old)
    os.unlink(owner)


def emacs(file: Path, line: str) -> None:
    """A link as a lock, an autosave file, the old version renamed to be the backup (deleted here), the new one written."""
    lock, autosave, backup = (
        file.with_name(f".#{file.name}"),
        file.with_name(f"#{file.name}#"),
        file.with_name(f"{file.name}~"),
    )
    os.symlink("anna@laptop.1234:1763820000", lock)
    autosave.write_text(f"{line}\n")
    os.rename(file, backup)
    file.write_text(f"{line}\n")
    os.unlink(autosave)
    os.unlink(backup)
    os.unlink(lock)


def gio(file: Path, line: str) -> None:
    """GNOME's editors."""
    fresh = file.with_name(".goutputstream-A1B2C3")
    fresh.write_text(f"{line}\n")
    shutil.copymode(file, fresh)
    os.rename(fresh, file)


SAVES: dict[str, tuple[str, Save]] = {
    "vim, backup by renaming": ("vim", vim("backupcopy=no", "writebackup")),
    "vim, backup by copying": ("vim", vim("backupcopy=yes", "writebackup")),
    "vim, no backup": ("vim", vim("nowritebackup")),
    "nano": ("nano", nano()),
    "sed -i": ("sed", sed),
    "rsync": ("rsync", rsync()),
    "rsync --inplace": ("rsync", rsync("--inplace")),
    "tar x": ("tar", tar),
    "os.replace": ("", replaced),
    "in place": ("", truncated),
    "LibreOffice": ("", libre_office),
    "Word": ("", word),
    "Emacs": ("", emacs),
    "GNOME": ("", gio),
}
"""By name: the program that it needs, and the save."""
