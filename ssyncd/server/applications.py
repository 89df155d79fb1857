"""The applications of a server. Each has users, tokens and buckets of its own, and an API key that its clients show."""

import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ssyncd.errors import UsageError
from ssyncd.server.storage.base import AccountStorage, App
from ssyncd.server.storage.opening import open_database
from ssyncd.server.storage.sqlite_accounts import SqliteAccounts

# Its key is in every client and no secret: the password is.
BUILT_IN = App("ssyncd", "ssyncd")
_ID = re.compile(r"[a-z0-9._-]{1,64}", re.ASCII)


class Applications:
    """Thread-safe. Ids are case-insensitive. The built-in application is always there and is not stored."""

    def __init__(self, storage: AccountStorage, *, now: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._now = now

    def add(self, name: str) -> App:
        """A new application with a new API key. UsageError if the name is taken or no application id."""
        app = App(name.lower(), secrets.token_hex(16))
        # "." and ".." mean something else in a URL.
        if not _ID.fullmatch(app.id) or not app.id.strip("."):
            raise UsageError(f"{name}: an application id has 1 to 64 of A-Z a-z 0-9 . _ -")
        if app.id == BUILT_IN.id or not self._storage.add_app(app, int(self._now())):
            raise UsageError(f"application {name}: there is one already")
        return app

    def remove(self, name: str) -> None:
        """The application, its users and everything they stored. UsageError if there is none or it is the built-in one."""
        app = self.known(name)
        if app == BUILT_IN:
            raise UsageError(f"application {name}: is built in and stays")
        self._storage.remove_app(app.id)

    def all(self) -> list[App]:
        """The built-in one first, then by id."""
        return [BUILT_IN, *self._storage.apps()]

    def find(self, name: str) -> App | None:
        return BUILT_IN if name.lower() == BUILT_IN.id else self._storage.app(name.lower())

    def known(self, name: str) -> App:
        """UsageError if there is none."""
        app = self.find(name)
        if app is None:
            raise UsageError(f"application {name}: there is none: ssyncd app add {name}")
        return app

    def admits(self, name: str, api_key: str) -> bool:
        """Whether this is the API key of that application; False for one that does not exist."""
        app = self.find(name)
        return app is not None and hmac.compare_digest(app.api_key.encode(), api_key.encode("utf-8", "replace"))


@contextmanager
def open_applications(data_dir: Path, database: str | None = None) -> Iterator[Applications]:
    """The applications of a server's data directory, also while that server runs. StateError, UsageError."""
    storage = SqliteAccounts(open_database(Path(data_dir), database))
    try:
        yield Applications(storage)
    finally:
        storage.close()
