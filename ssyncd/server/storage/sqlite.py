"""Objects and the change log in SQLite."""

import itertools
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from ssyncd.protocol.encoding import dumps_stored
from ssyncd.server.storage.base import (
    NOBODY,
    OPTIONS,
    THIN_AFTER,
    THIN_EVERY,
    Head,
    Listed,
    Retention,
    Row,
    Settled,
    Wanted,
)
from ssyncd.server.storage.connections import Database
from ssyncd.server.storage.sqlite_accounts import remove_buckets

# json_each spares a statement per key; the outer one goes through {bucket: [key, ...]}.
_WANTED = """
    (SELECT CAST(some.key AS INTEGER) AS bucket, each.value AS value
     FROM json_each(?) some CROSS JOIN json_each(some.value) each) wanted"""
# The subquery is one step in the index, however many versions there are.
_HEADS = f"""
    SELECT c.bucket, c.key, c.version, c.live, c.position, c.data FROM {_WANTED} CROSS JOIN changes c ON c.position =
        (SELECT position FROM changes
         WHERE bucket = wanted.bucket AND key = wanted.value ORDER BY version DESC LIMIT 1)"""
_CCIDS = f"""
    SELECT wanted.bucket, wanted.value FROM {_WANTED} WHERE
        EXISTS (SELECT 1 FROM changes INDEXED BY changes_by_ccid WHERE ccid = wanted.value AND bucket = wanted.bucket)
        OR EXISTS (SELECT 1 FROM settled WHERE ccid = wanted.value AND bucket = wanted.bucket)"""
# As of a position. From key to key by steps in the index, and to the newest version by one more: the versions between them are
# never looked at, however many there are.
_EACH_KEY = """
    WITH RECURSIVE keys (key) AS (
        SELECT (SELECT key FROM changes INDEXED BY changes_by_key WHERE bucket = :bucket AND key > :after ORDER BY key LIMIT 1)
        UNION ALL
        SELECT (SELECT key FROM changes INDEXED BY changes_by_key
                WHERE bucket = :bucket AND key > keys.key ORDER BY key LIMIT 1)
        FROM keys WHERE keys.key IS NOT NULL)"""
_PAGE = f"""{_EACH_KEY}
    SELECT keys.key, page.version, {{data}} FROM keys CROSS JOIN changes page INDEXED BY changes_by_key
        ON page.bucket = :bucket AND page.key = keys.key AND page.version =
            (SELECT version FROM changes INDEXED BY changes_by_key
             WHERE bucket = :bucket AND key = keys.key AND position <= :at ORDER BY version DESC LIMIT 1)
        {{join}}
    WHERE keys.key IS NOT NULL AND page.live AND page.position > :since LIMIT :most"""
_KEYS = _PAGE.format(data="NULL", join="")
_OBJECTS = _PAGE.format(data="c.data", join="CROSS JOIN changes c ON c.position = page.position")
_REMOVED = f"""{_EACH_KEY}
    SELECT keys.key, was.version, was.data, newest.at FROM keys
    CROSS JOIN changes newest ON newest.position =
        (SELECT position FROM changes INDEXED BY changes_by_key
         WHERE bucket = :bucket AND key = keys.key ORDER BY version DESC LIMIT 1)
    CROSS JOIN changes was ON was.position =
        (SELECT position FROM changes INDEXED BY changes_by_key
         WHERE bucket = :bucket AND key = keys.key AND live ORDER BY version DESC LIMIT 1)
    WHERE keys.key IS NOT NULL AND NOT newest.live AND was.data IS NOT NULL LIMIT :most"""
_SINCE = """
    SELECT position, bucket, key, version, live, client, ccid, diff,
        CASE WHEN diff IS NULL THEN data END, at
    FROM changes INDEXED BY changes_by_bucket WHERE bucket = ? AND position > ? ORDER BY position LIMIT ?"""
_CURRENT = """
    SELECT version, data FROM changes WHERE bucket = ? AND key = ? ORDER BY version DESC LIMIT 1"""
_NEWEST = "SELECT position FROM changes WHERE bucket = ? ORDER BY position DESC LIMIT 1"
_APPEND = """
    INSERT INTO changes (position, bucket, key, version, live, client, ccid, diff, data, at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_THICK = """
    SELECT position, version FROM changes
    WHERE bucket = ? AND key = ? AND version <= ? AND at < ? AND data IS NOT NULL AND diff IS NOT NULL"""
_OLDEST = """
    SELECT position, bucket, key, version,
        (SELECT max(version) FROM changes newer WHERE newer.bucket = c.bucket AND newer.key = c.key), at
    FROM changes c WHERE position > ? ORDER BY position LIMIT ?"""
_NEXT = "SELECT position, bucket, key, version, at FROM changes WHERE position > ? ORDER BY position LIMIT ?"
_FROM = "SELECT position, at FROM changes WHERE position >= ? ORDER BY position LIMIT 1"
_OLDER = """
    SELECT position, bucket, ccid, at FROM changes WHERE bucket = ?1 AND key = ?2
        AND version < min(?3, (SELECT max(version) FROM changes WHERE bucket = ?1 AND key = ?2))"""
_RAISE_FLOOR = "UPDATE buckets SET floor = max(floor, ?) WHERE id = ?"
_FORGET = "DELETE FROM changes WHERE bucket = ? AND key = ? AND version < ?"
_OPTIONS = f"""
    SELECT c.data FROM buckets b JOIN buckets o ON o.user = '{NOBODY}' AND o.app = b.app AND o.name = '{OPTIONS}'
        JOIN changes c ON c.bucket = o.id AND c.key = b.name
    WHERE b.id = ? ORDER BY c.version DESC LIMIT 1"""
_NEW_BUCKET = """
    INSERT OR IGNORE INTO buckets (user, app, name, floor) VALUES (?, ?, ?,
        ifnull((SELECT floor FROM former WHERE user = ? AND app = ? AND name = ?), 0))
"""
# SQLite tells the length of a value without reading it.
_USAGE = """
    SELECT total(length(c.diff)) + total(length(c.data))
    FROM buckets b CROSS JOIN changes c INDEXED BY changes_by_bucket ON c.bucket = b.id WHERE b.user = ?"""
_OF_BUCKET = "SELECT position FROM changes WHERE bucket = ? LIMIT ?"
_RENEWED = "INSERT INTO runs VALUES (?, ?) ON CONFLICT DO UPDATE SET nonce = excluded.nonce"


class SqliteChanges:
    """`ChangeStorage` in SQLite, one connection for each thread that is in it at the moment."""

    def __init__(self, database: Database, retention: Retention | None = None) -> None:
        self._database = database
        self._retention = retention or Retention()
        self._pruned = self._forgotten = 0  # the writer's: how far prune() and forget() have looked

    # The writer's

    def start_run(self, nonce: str) -> int:
        with self._database.transaction() as connection:
            end: int = connection.execute("SELECT position FROM log_end").fetchone()[0]
            newest = connection.execute("SELECT max(position) FROM changes").fetchone()[0] or 0
            end = max(end, newest)
            # Positions up to the end belong to the runs that wrote them; the very first run owns 0 as well. A run that wrote
            # nothing has handed out no cv of its own, so its nonce may be replaced.
            first = 0 if connection.execute("SELECT count(*) FROM runs").fetchone()[0] == 0 else end + 1
            connection.execute(_RENEWED, (first, nonce))
            connection.execute("UPDATE log_end SET position = ?", (end,))
        return end

    def heads(self, keys: Wanted) -> dict[tuple[int, str], Head]:
        with self._database.work() as connection:
            rows = connection.execute(_HEADS, (_json(keys),))
            return {(bucket, key): Head(version, bool(live), at, data) for bucket, key, version, live, at, data in rows}

    def known_ccids(self, ccids: Wanted) -> set[tuple[int, str]]:
        with self._database.work() as connection:
            return set(connection.execute(_CCIDS, (_json(ccids),)))

    def append(self, rows: Sequence[Row], settled: Sequence[Settled]) -> None:
        with self._database.transaction() as connection:
            connection.executemany(_APPEND, rows)
            if settled:
                connection.executemany("INSERT OR IGNORE INTO settled VALUES (?, ?, ?)", settled)
            for row in rows:
                if row.version % THIN_EVERY == 0:
                    self._thin(connection, row)

    def _thin(self, connection: sqlite3.Connection, row: Row) -> None:
        retention = self._retention_of(connection, row.bucket)
        found = connection.execute(_THICK, (row.bucket, row.key, row.version - retention.newest, row.at - THIN_AFTER))
        thin = [(position,) for position, version in found if not retention.keeps(version, row.version)]
        connection.executemany("UPDATE changes SET data = NULL WHERE position = ?", thin)

    def _retention_of(self, connection: sqlite3.Connection, bucket: int) -> Retention:
        options = connection.execute(_OPTIONS, (bucket,)).fetchone()
        return self._retention.with_options(options[0] if options else None)

    def prune(self, before: int, most: int) -> int:
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM settled WHERE at < ?", (before,))
            return _empty_gone(connection, most) or self._prune_log(connection, before, most)

    def _prune_log(self, connection: sqlite3.Connection, before: int, most: int) -> int:
        # Each row is looked at once in the life of a process. One that is outlived later goes after the next start.
        rows = connection.execute(_OLDEST, (self._pruned, most)).fetchall()
        old = list(itertools.takewhile(lambda row: row[-1] < before, rows))
        if not old:
            return 0
        retentions = {bucket: self._retention_of(connection, bucket) for bucket in {row[1] for row in old}}
        dead = [row for row in old if not retentions[row[1]].keeps(row[3], row[4])]
        connection.executemany("DELETE FROM changes WHERE position = ?", [(row[0],) for row in dead])
        connection.executemany(_RAISE_FLOOR, [row[:2] for row in dead])
        self._pruned = old[-1][0]
        return len(old)

    def forget(self, before: int, most: int) -> int:
        with self._database.transaction() as connection:
            rows = connection.execute(_NEXT, (self._forgotten, most)).fetchall()
            old = list(itertools.takewhile(lambda row: row[-1] < before, rows))
            for position, bucket, key, version, _ in old:
                if connection.execute(_FORGET, (bucket, key, version)).rowcount:
                    connection.execute(_RAISE_FLOOR, (position, bucket))
            self._forgotten = old[-1][0] if old else self._forgotten
            return len(old)

    # Anyone's

    def bucket(self, user: str, app: str, name: str) -> int:
        with self._database.work() as connection:
            found = connection.execute(
                "SELECT id FROM buckets WHERE user = ? AND app = ? AND name = ?", (user, app, name)
            ).fetchone()
        return found[0] if found else self._new_bucket(user, app, name)

    def _new_bucket(self, user: str, app: str, name: str) -> int:
        with self._database.transaction() as connection:
            row = (user, app, name)
            connection.execute(_NEW_BUCKET, row * 2)
            number: int = connection.execute(
                "SELECT id FROM buckets WHERE user = ? AND app = ? AND name = ?", row
            ).fetchone()[0]
            return number

    def remove_bucket(self, bucket: int) -> None:
        with self._database.transaction() as connection:
            _keep_end(connection)
            connection.execute(
                "INSERT OR REPLACE INTO former SELECT user, app, name, position + 1 FROM buckets, log_end WHERE id = ?",
                (bucket,),
            )
            remove_buckets(connection, "id", bucket)

    def forget_history(self, bucket: int, before: Mapping[str, int]) -> int:
        with self._database.transaction() as connection:
            found = [row for one in before.items() for row in connection.execute(_OLDER, (bucket, *one)).fetchall()]
            connection.executemany("INSERT OR IGNORE INTO settled VALUES (?, ?, ?)", [row[1:] for row in found])
            connection.executemany("DELETE FROM changes WHERE position = ?", [row[:1] for row in found])
            floor = max((row[0] for row in found), default=0)
            connection.execute(_RAISE_FLOOR, (floor, bucket))
        return len(found)

    def buckets(self, user: str, app: str) -> list[tuple[str, int]]:
        with self._database.work() as connection:
            return connection.execute(
                "SELECT name, id FROM buckets WHERE user = ? AND app = ? ORDER BY name", (user, app)
            ).fetchall()

    def all_buckets(self) -> list[tuple[str, str, str, int]]:
        with self._database.work() as connection:
            return connection.execute("SELECT user, app, name, id FROM buckets").fetchall()

    def runs(self) -> list[tuple[int, str]]:
        with self._database.work() as connection:
            return connection.execute("SELECT first_position, nonce FROM runs ORDER BY first_position").fetchall()

    def head(self, bucket: int) -> int:
        with self._database.work() as connection:
            found = connection.execute(_NEWEST, (bucket,)).fetchone()
        return found[0] if found else 0

    def position_at(self, time: int) -> int:
        with self._database.work() as connection:
            low, (high,) = 0, connection.execute("SELECT ifnull(max(position), 0) FROM changes").fetchone()
            # Times grow with positions, but for clocks that were set back: there is no index of them.
            while low < high:
                middle = (low + high + 1) // 2
                position, at = connection.execute(_FROM, (middle,)).fetchone()
                low, high = (position, high) if at <= time else (low, middle - 1)
        return low

    def floor(self, bucket: int) -> int:
        with self._database.work() as connection:
            found = connection.execute("SELECT floor FROM buckets WHERE id = ?", (bucket,)).fetchone()
        return found[0] if found else 0

    def origin(self, bucket: int) -> int:
        with self._database.work() as connection:
            found = connection.execute(
                "SELECT former.floor FROM buckets JOIN former USING (user, app, name) WHERE id = ?", (bucket,)
            ).fetchone()
        return found[0] if found else 0

    def version(self, bucket: int, key: str, version: int) -> bytes | None:
        with self._database.work() as connection:
            found = connection.execute(
                "SELECT data FROM changes WHERE bucket = ? AND key = ? AND version = ?", (bucket, key, version)
            ).fetchone()
        return found[0] if found else None

    def current(self, bucket: int, key: str) -> tuple[int, bytes] | None:
        with self._database.work() as connection:
            found = connection.execute(_CURRENT, (bucket, key)).fetchone()
        return None if found is None or found[1] is None else (found[0], found[1])

    def page(self, bucket: int, after: str, at: int, most: int, size: int, since: int = 0) -> list[Listed]:
        with self._database.work() as connection:
            asked = {"bucket": bucket, "after": after, "at": at, "since": since, "most": most}
            rows = connection.execute(_OBJECTS if size else _KEYS, asked)
            return _up_to(size, itertools.starmap(Listed, rows), lambda one: len(one.data or b""))

    def removed(self, bucket: int, after: str, most: int, size: int) -> list[Listed]:
        with self._database.work() as connection:
            rows = connection.execute(_REMOVED, {"bucket": bucket, "after": after, "most": most})
            return _up_to(size, itertools.starmap(Listed, rows), lambda one: len(one.data or b""))

    def since(self, bucket: int, position: int, most: int, size: int) -> list[Row]:
        with self._database.work() as connection:
            rows = connection.execute(_SINCE, (bucket, position, most))
            return _up_to(size, map(Row._make, rows), lambda row: len(row.diff or row.data or b""))

    def usage(self, user: str) -> int:
        with self._database.work() as connection:
            [(size,)] = connection.execute(_USAGE, (user,))
        return int(size)

    def versions(self, bucket: int) -> Iterator[bytes]:
        position = 0
        while True:
            with self._database.work() as connection:
                rows = connection.execute(
                    "SELECT position, data FROM changes WHERE bucket = ? AND position > ? ORDER BY position LIMIT 500",
                    (bucket, position),
                ).fetchall()
            if not rows:
                return
            position = rows[-1][0]
            yield from (data for _, data in rows if data is not None)

    def close(self) -> None:
        self._database.close()


def _keep_end(connection: sqlite3.Connection) -> None:
    """Positions never go back, not even when the newest rows go."""
    connection.execute("UPDATE log_end SET position = max(position, (SELECT ifnull(max(position), 0) FROM changes))")


def _empty_gone(connection: sqlite3.Connection, most: int) -> int:
    """A step of emptying removed buckets; how many rows went.

    A bucket stays listed, since a session that is not told yet may write to it once more.
    """
    gone = [row[0] for row in connection.execute("SELECT bucket FROM gone")]
    if gone:
        _keep_end(connection)
    for bucket in gone:
        rows = [tuple(row) for row in connection.execute(_OF_BUCKET, (bucket, most))]
        if rows:
            connection.executemany("DELETE FROM changes WHERE position = ?", rows)
            return len(rows)
    return 0


def _json(wanted: Wanted) -> str:
    return dumps_stored({str(bucket): list(some) for bucket, some in wanted.items()}).decode()


_T = TypeVar("_T")


def _up_to(size: int, rows: Iterator[_T], size_of: Callable[[_T], int]) -> list[_T]:
    """Rows up to the one that makes it more than `size` bytes; all if `size` is 0."""
    taken: list[_T] = []
    total = 0
    for row in rows:
        taken.append(row)
        total += size_of(row)
        if total > size > 0:
            break
    return taken
