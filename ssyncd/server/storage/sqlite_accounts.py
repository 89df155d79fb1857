"""Applications, users and tokens in SQLite."""

import sqlite3
from collections.abc import Iterable

from ssyncd.server.storage.base import App, Token, User
from ssyncd.server.storage.connections import Database

_USER = "SELECT id, app, name, password_hash FROM users WHERE app = ?"
_TOKEN = """SELECT t.digest, t.user, u.name, t.app, t.device, t.created, t.used, t.admin
            FROM tokens t JOIN users u ON u.id = t.user WHERE """


class SqliteAccounts:
    """`AccountStorage` in SQLite; the server and the commands that keep accounts may use it at the same time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_app(self, app: App, at: int) -> bool:
        with self._database.work() as connection:
            return connection.execute("INSERT OR IGNORE INTO apps VALUES (?, ?, ?)", (*app, at)).rowcount == 1

    def app(self, id: str) -> App | None:
        with self._database.work() as connection:
            found = connection.execute("SELECT id, api_key FROM apps WHERE id = ?", (id,)).fetchone()
        return None if found is None else App(*found)

    def apps(self) -> list[App]:
        with self._database.work() as connection:
            return [App(*row) for row in connection.execute("SELECT id, api_key FROM apps ORDER BY id")]

    def remove_app(self, id: str) -> None:
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM apps WHERE id = ?", (id,))
            connection.execute("DELETE FROM users WHERE app = ?", (id,))
            remove_buckets(connection, "app", id)

    def add_user(self, user: User, at: int) -> bool:
        with self._database.work() as connection:
            row = (user.id, user.app, user.name, user.password_hash, at)
            return connection.execute("INSERT OR IGNORE INTO users VALUES (?, ?, ?, ?, ?)", row).rowcount == 1

    def user(self, app: str, name: str) -> User | None:
        with self._database.work() as connection:
            found = connection.execute(f"{_USER} AND name = ?", (app, name)).fetchone()
        return None if found is None else User(*found)

    def user_of_id(self, app: str, id: str) -> User | None:
        with self._database.work() as connection:
            found = connection.execute(f"{_USER} AND id = ?", (app, id)).fetchone()
        return None if found is None else User(*found)

    def users(self, app: str) -> list[User]:
        with self._database.work() as connection:
            return [User(*row) for row in connection.execute(f"{_USER} ORDER BY name", (app,))]

    def set_password(self, user: str, password_hash: str) -> None:
        with self._database.work() as connection:
            connection.execute("UPDATE users SET password_hash = ? WHERE id = ?", (password_hash, user))

    def rename(self, user: str, name: str) -> bool:
        with self._database.work() as connection:
            return connection.execute("UPDATE OR IGNORE users SET name = ? WHERE id = ?", (name, user)).rowcount == 1

    def remove_user(self, user: str) -> None:
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM users WHERE id = ?", (user,))
            remove_buckets(connection, "user", user)

    def add_token(self, token: Token) -> None:
        row = (token.digest, token.user, token.app, token.device, token.created, token.used, token.admin)
        with self._database.work() as connection:
            connection.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def token(self, digest: bytes) -> Token | None:
        with self._database.work() as connection:
            found = connection.execute(_TOKEN + "t.digest = ?", (digest,)).fetchone()
        return None if found is None else _token(found)

    def tokens(self, user: str) -> list[Token]:
        with self._database.work() as connection:
            return list(map(_token, connection.execute(_TOKEN + "t.user = ? ORDER BY t.created, t.digest", (user,))))

    def remove_tokens(self, digests: Iterable[bytes]) -> None:
        with self._database.transaction() as connection:
            connection.executemany("DELETE FROM tokens WHERE digest = ?", [(digest,) for digest in digests])

    def touch_tokens(self, used: dict[bytes, int]) -> None:
        with self._database.transaction() as connection:
            rows = [(at, digest) for digest, at in used.items()]
            connection.executemany("UPDATE tokens SET used = max(used, ?) WHERE digest = ?", rows)

    def close(self) -> None:
        self._database.close()


def remove_buckets(connection: sqlite3.Connection, column: str, value: str | int) -> None:
    """Those where a column of `buckets` has this value; they are emptied at the writer's leisure."""
    connection.execute(f"INSERT OR IGNORE INTO gone SELECT id FROM buckets WHERE {column} = ?", (value,))
    connection.execute(f"DELETE FROM buckets WHERE {column} = ?", (value,))


def _token(row: sqlite3.Row | tuple[object, ...]) -> Token:
    digest, user, name, app, device, created, used, admin = row
    return Token(digest, user, name, app, device, created, used, bool(admin))  # type: ignore[arg-type]
