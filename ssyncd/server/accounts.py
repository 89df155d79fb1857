"""The users of an application, their passwords and their tokens."""

import hashlib
import secrets
import string
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import argon2
from msgspec import Struct

from ssyncd.errors import SignInError, UsageError
from ssyncd.server.applications import BUILT_IN, Applications
from ssyncd.server.storage.base import AccountStorage, Token, User
from ssyncd.server.storage.opening import open_database
from ssyncd.server.storage.sqlite_accounts import SqliteAccounts

TOKEN_LENGTH = 40
_ALPHABET = string.ascii_letters + string.digits
_LONGEST = 1024


class Hasher(Protocol):
    """argon2.PasswordHasher, or a cheap one in tests."""

    def hash(self, password: str) -> str: ...
    def verify(self, hash: str, password: str) -> bool: ...
    def check_needs_rehash(self, hash: str) -> bool: ...


class Device(Struct, frozen=True):
    """A token as its user sees it; times are seconds since the epoch."""

    name: str
    created: int
    used: int


class Accounts:
    """Those of one application; `of` gives those of another. Thread-safe. Passwords are kept as Argon2id, tokens as SHA-256:
    neither can be read back. Where a user or a token is asked for by id or secret, the application does not matter."""

    def __init__(
        self,
        storage: AccountStorage,
        app: str = BUILT_IN.id,
        *,
        hasher: Hasher | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._app = app
        self._hasher = hasher or argon2.PasswordHasher()
        self._now = now

    def of(self, app: str) -> "Accounts":
        return Accounts(self._storage, app, hasher=self._hasher, now=self._now)

    # Users

    def add(self, name: str, password: str) -> User:
        """UsageError if the name is taken or no name, or the password is empty."""
        name = _checked_name(name)
        user = User(secrets.token_hex(16), self._app, name, self._hash(password))
        if not self._storage.add_user(user, self._seconds()):
            raise UsageError(f"user {name}: there is one already")
        return user

    def remove(self, name: str) -> list[Token]:
        """The account, its tokens and everything it stored; the tokens there were. UsageError if there is none."""
        user = self._known(name)
        tokens = self.tokens_of(user.id)
        self._storage.remove_user(user.id)
        return tokens

    def set_password(self, name: str, password: str) -> None:
        """Tokens stay valid; `revoke` ends them. UsageError."""
        self._storage.set_password(self._known(name).id, self._hash(password))

    def rename(self, name: str, new_name: str) -> None:
        user, new_name = self._known(name), _checked_name(new_name)
        if not self._storage.rename(user.id, new_name):
            raise UsageError(f"user {new_name}: there is one already")

    def by_id(self, user_id: str) -> User | None:
        return self._storage.user_of_id(self._app, user_id)

    def users(self) -> list[User]:
        return self._storage.users(self._app)

    def names(self) -> list[str]:
        return [user.name for user in self.users()]

    def verify(self, name: str, password: str) -> User:
        """The user of this name and password. SignInError, after the same work for an unknown name as for a wrong password."""
        user = self._storage.user(self._app, name.strip())
        if user is None:
            self._hash(password[:_LONGEST] or " ")
            raise SignInError("wrong name or password")
        try:
            self._hasher.verify(user.password_hash, password[:_LONGEST])
        except argon2.exceptions.VerificationError as error:
            raise SignInError("wrong name or password") from error
        except argon2.exceptions.InvalidHashError as error:
            raise SignInError(f"the stored password of {user.name} is broken; set it again") from error
        if self._hasher.check_needs_rehash(user.password_hash):
            self._storage.set_password(user.id, self._hash(password))
        return user

    # Tokens

    def token(self, name: str, device: str = "token", *, admin: bool = False) -> str:
        """A new token, shown this once. UsageError if there is no such user."""
        return self.issue(self._known(name), device, admin=admin)

    def issue(self, user: User, device: str, *, admin: bool = False) -> str:
        secret = "".join(secrets.choice(_ALPHABET) for _ in range(TOKEN_LENGTH))
        now = self._seconds()
        device = "".join(filter(str.isprintable, device))[:128] or "token"
        self._storage.add_token(Token(digest(secret), user.id, user.name, user.app, device, now, now, admin))
        return secret

    def check(self, secret: str) -> Token | None:
        """What a token stands for; None if it never was valid or is revoked."""
        return self._storage.token(digest(secret))

    def still_valid(self, tokens: set[bytes]) -> set[bytes]:
        return {token for token in tokens if self._storage.token(token) is not None}

    def devices(self, name: str) -> list[Device]:
        """UsageError if there is no such user."""
        return [Device(t.device, t.created, t.used) for t in self.tokens_of(self._known(name).id)]

    def tokens_of(self, user_id: str) -> list[Token]:
        return self._storage.tokens(user_id)

    def revoke(self, name: str, device: str) -> list[Token]:
        """All tokens of a device; those that were there. UsageError if there is no such user."""
        return self.revoke_device(self._known(name).id, device)

    def revoke_device(self, user_id: str, device: str) -> list[Token]:
        ended = [token for token in self._storage.tokens(user_id) if token.device == device]
        self.end(ended)
        return ended

    def end(self, tokens: list[Token]) -> None:
        self._storage.remove_tokens(token.digest for token in tokens)

    def used(self, tokens: dict[bytes, int]) -> None:
        self._storage.touch_tokens(tokens)

    def _known(self, name: str) -> User:
        user = self._storage.user(self._app, name.strip())
        if user is None:
            raise UsageError(f"user {name}: there is none")
        return user

    def _hash(self, password: str) -> str:
        if not password or len(password) > _LONGEST:
            raise UsageError(f"a password has 1 to {_LONGEST} characters")
        return self._hasher.hash(password)

    def _seconds(self) -> int:
        return int(self._now())


def digest(secret: str) -> bytes:
    """What is kept of a token. Its 238 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _checked_name(name: str) -> str:
    name = name.strip()
    # Android and iOS take an answer to `init` that begins with a brace for a failure.
    if not name or len(name) > 256 or not name.isprintable() or name.startswith("{"):
        raise UsageError("a user name has 1 to 256 printable characters, the first no brace")
    return name


@contextmanager
def open_accounts(data_dir: Path, database: str | None = None, app: str = BUILT_IN.id) -> Iterator[Accounts]:
    """The accounts of an application in a server's data directory, also while that server runs. StateError; UsageError, also
    if there is no such application."""
    storage = SqliteAccounts(open_database(Path(data_dir), database))
    try:
        yield Accounts(storage, Applications(storage).known(app).id)
    finally:
        storage.close()
