"""Access tokens, in one file that only its owner can read: which servers this machine is signed in at."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from ssyncd import places
from ssyncd.errors import SsyncdError

EMBEDDED = "embedded"  # the key of the built-in server, whose URL may change with its port

_VERSION = 1


class Credentials:
    """`accounts` maps a server's URL (or EMBEDDED) to the fields of a `network.login.Account`; `current` is the URL of the
    latest sign-in, "" if none. Each change reads the file again under a lock, so that two commands do not undo each other.
    SsyncdError if the file can be read by others or is damaged."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = file.with_suffix(".lock")

    @property
    def current(self) -> str:
        return str(self._load()["current"])

    def urls(self) -> list[str]:
        return [url for url in self._load()["accounts"] if url != EMBEDDED]

    def get(self, url: str) -> dict[str, Any] | None:
        found = self._load()["accounts"].get(_normal(url))
        return None if found is None else dict(found)

    def put(self, url: str, account: dict[str, Any]) -> None:
        """Keep an account; it becomes the current one, unless it is the built-in server's."""
        with places.locked(self._lock):
            value = self._load()
            value["accounts"][_normal(url)] = account
            if url != EMBEDDED:
                value["current"] = _normal(url)
            self._save(value)

    def remove(self, url: str) -> None:
        """Forget an account; no account is current if it was."""
        with places.locked(self._lock):
            value = self._load()
            value["accounts"].pop(_normal(url), None)
            if value["current"] == _normal(url):
                value["current"] = ""
            self._save(value)

    def _load(self) -> dict[str, Any]:
        try:
            with open(os.open(self._file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as source:
                self._check_mode(os.fstat(source.fileno()).st_mode)
                data = source.read()
        except FileNotFoundError:
            return {"version": _VERSION, "current": "", "accounts": {}}
        except OSError as error:
            raise SsyncdError(f"{self._file}: cannot be read: {error.strerror}") from error
        return self._checked(data)

    def _check_mode(self, mode: int) -> None:
        if stat.S_IMODE(mode) & 0o077:
            raise SsyncdError(f"{self._file}: others can read this file with your tokens: chmod 600 it")

    def _checked(self, data: bytes) -> dict[str, Any]:
        try:
            value = json.loads(data)
        except ValueError:
            value = None
        if not isinstance(value, dict) or not isinstance(value.get("accounts"), dict):
            raise SsyncdError(f"{self._file}: damaged: remove it and sign in again")
        if value.get("version") != _VERSION:
            raise SsyncdError(f"{self._file}: written by another version of ssyncd")
        value.setdefault("current", "")
        return value

    def _save(self, value: dict[str, Any]) -> None:
        places.write_private(self._file, json.dumps(value, indent=1).encode())


def _normal(url: str) -> str:
    return url.rstrip("/")
