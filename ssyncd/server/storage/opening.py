"""From the settings to the storage they name."""

from pathlib import Path

from ssyncd.errors import StateError, UsageError
from ssyncd.server.storage.connections import Database

DATABASE_FILE = "server.db"


def open_database(data: Path, url: str | None) -> Database:
    """The embedded database in `data`, or where `url` says. UsageError for a store that is not built, StateError if it fails."""
    path = data / DATABASE_FILE if url is None else _path(url)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"{path.parent}: {error.strerror}") from error
    return Database(path)


def _path(url: str) -> Path:
    scheme, separator, rest = url.partition(":")
    if scheme == "sqlite" and separator:
        return Path(rest.removeprefix("//"))
    if scheme in ("postgres", "postgresql"):
        raise UsageError(f"--database {scheme}:// is not built yet; leave the option out for the embedded database")
    raise UsageError(f"--database {url}: neither sqlite:PATH nor postgres://")
