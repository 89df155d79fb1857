"""Where ssyncd keeps its files on this machine; the XDG variables move all of them, and so isolate instances."""

import fcntl
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from ssyncd.errors import SsyncdError

APP = "ssyncd"


class Places(Struct, frozen=True):
    """`config`: the settings file. `state`: what is remembered between runs. `data`: the server's default data directory.
    `runtime`: the control sockets of running daemons."""

    config: Path
    state: Path
    data: Path
    runtime: Path

    @property
    def credentials(self) -> Path:
        return self.state / "credentials.json"


def find(config: Path | None = None) -> Places:
    """The places of this user; `config` overrides the settings file. Nothing is created."""
    import platformdirs

    return Places(
        config=config or Path(platformdirs.user_config_dir(APP, appauthor=False)) / "config.toml",
        state=Path(platformdirs.user_state_dir(APP, appauthor=False)),
        data=Path(platformdirs.user_data_dir(APP, appauthor=False)) / "server",
        runtime=_runtime(),
    )


def private(directory: Path) -> Path:
    """Make a directory that only its owner can enter, or check that this is what it is. SsyncdError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise SsyncdError(f"{directory}: cannot be made: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SsyncdError(f"{directory}: is not a directory of this user")
    if found.st_mode & 0o077:
        directory.chmod(0o700)
    return directory


def write_private(file: Path, data: bytes) -> None:
    """Replace a file that only its owner may read, atomically and durably. SsyncdError; on an error the old one stays."""
    private(file.parent)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            os.fchmod(out.fileno(), 0o600)
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise SsyncdError(f"{file}: cannot be written: {error.strerror}") from error


def _runtime() -> Path:
    """Our own directory is checked by `private`, so a parent that others may read is good enough; platformdirs would refuse it
    and silently mix isolated instances."""
    import platformdirs

    chosen = Path(os.environ.get("XDG_RUNTIME_DIR") or ".")
    if chosen.is_absolute() and (not os.path.exists(chosen) or _owned(chosen)):
        return chosen / APP
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Path(platformdirs.user_runtime_dir(APP, appauthor=False))
        except OSError as error:
            raise SsyncdError(f"no place for the control socket: {error}; set XDG_RUNTIME_DIR") from error


def _owned(directory: Path) -> bool:
    try:
        return directory.is_dir() and directory.stat().st_uid == os.getuid()
    except OSError:
        return False


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the flock of a file, waiting for whoever has it; a holder that dies lets go. SsyncdError."""
    private(file.parent)
    try:
        holder = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SsyncdError(f"{file}: cannot be made: {error.strerror}") from error
    try:
        _lock(file, holder)
        yield
    finally:
        os.close(holder)


def _lock(file: Path, holder: int) -> None:
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
    except OSError as error:
        raise SsyncdError(f"{file}: cannot be locked: {error.strerror}") from error
