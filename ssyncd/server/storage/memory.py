"""The storage interfaces in memory, for tests and simulations; nothing outlives the process."""

import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from ssyncd.server.storage.base import (
    NOBODY,
    OPTIONS,
    THIN_AFTER,
    THIN_EVERY,
    App,
    Head,
    Listed,
    Retention,
    Row,
    Settled,
    Token,
    User,
    Wanted,
)


class MemoryChanges:
    def __init__(self, retention: Retention | None = None) -> None:
        self._retention = retention or Retention()
        self._lock = threading.Lock()  # guards everything below
        self._rows: dict[int, Row] = {}
        self._objects: dict[int, dict[str, list[int]]] = {}
        self._ccids: set[tuple[int, str]] = set()
        self._settled: dict[tuple[int, str], int] = {}
        self._buckets: dict[tuple[str, str, str], int] = {}
        self._made = 0
        self._former: dict[tuple[str, str, str], int] = {}
        self._floors: dict[int, int] = {}
        self._runs: dict[int, str] = {}
        self._end = 0
        self._pruned = self._forgotten = 0

    # The writer's

    def start_run(self, nonce: str) -> int:
        with self._lock:
            self._runs[self._end + 1 if self._runs else 0] = nonce
            return self._end

    def heads(self, keys: Wanted) -> dict[tuple[int, str], Head]:
        with self._lock:
            newest = [self._newest(bucket, key) for bucket, some in keys.items() for key in some]
        return {(row.bucket, row.key): Head(row.version, row.live, row.position, row.data) for row in newest if row}

    def _newest(self, bucket: int, key: str) -> Row | None:
        positions = self._objects.get(bucket, {}).get(key)
        return self._rows[positions[-1]] if positions else None

    def known_ccids(self, ccids: Wanted) -> set[tuple[int, str]]:
        asked = {(bucket, ccid) for bucket, some in ccids.items() for ccid in some}
        with self._lock:
            return {one for one in asked if one in self._ccids or one in self._settled}

    def append(self, rows: Sequence[Row], settled: Sequence[Settled]) -> None:
        with self._lock:
            for row in rows:
                self._add(row)
            for one in settled:
                self._settled.setdefault((one.bucket, one.ccid), one.at)

    def _add(self, row: Row) -> None:
        positions = self._objects.setdefault(row.bucket, {}).setdefault(row.key, [])
        positions.append(row.position)
        self._rows[row.position] = row
        self._ccids.add((row.bucket, row.ccid))
        self._end = max(self._end, row.position)
        if row.version % THIN_EVERY == 0:
            for position in positions:
                self._thin(position, row)

    def _thin(self, position: int, newest: Row) -> None:
        row = self._rows[position]
        if row.diff is None or row.at >= newest.at - THIN_AFTER:
            return
        if not self._retention_of(row.bucket).keeps(row.version, newest.version):
            self._rows[position] = row._replace(data=None)

    def _retention_of(self, bucket: int) -> Retention:
        name = next((name for name, number in self._buckets.items() if number == bucket), None)
        of = None if name is None else self._buckets.get((NOBODY, name[1], OPTIONS))
        positions = self._objects.get(of, {}).get(name[2]) if of is not None and name is not None else None
        return self._retention.with_options(self._rows[positions[-1]].data if positions else None)

    def prune(self, before: int, most: int) -> int:
        with self._lock:
            self._settled = {name: at for name, at in self._settled.items() if at >= before}
            looked = 0
            for position in sorted(self._rows):
                row = self._rows[position]
                if position <= self._pruned:
                    continue
                if looked == most or row.at >= before:
                    break
                looked, self._pruned = looked + 1, position
                self._forget(row)
            return looked

    def _forget(self, row: Row) -> None:
        newest = self._rows[self._objects[row.bucket][row.key][-1]].version
        if not self._retention_of(row.bucket).keeps(row.version, newest):
            self._drop(row, row.position)

    def _drop(self, row: Row, floor: int) -> None:
        self._objects[row.bucket][row.key].remove(row.position)
        del self._rows[row.position]
        self._ccids.discard((row.bucket, row.ccid))
        self._floors[row.bucket] = max(self._floors.get(row.bucket, 0), floor)

    def forget(self, before: int, most: int) -> int:
        with self._lock:
            left = [self._rows[position] for position in sorted(self._rows) if position > self._forgotten]
            old = list(itertools.takewhile(lambda row: row.at < before, left[:most]))
            for row in old:
                self._forgotten = row.position
                for position in self._objects[row.bucket][row.key][:]:
                    if self._rows[position].version < row.version:
                        self._drop(self._rows[position], row.position)
            return len(old)

    # Anyone's

    def bucket(self, user: str, app: str, name: str) -> int:
        with self._lock:
            self._made += (user, app, name) not in self._buckets
            number = self._buckets.setdefault((user, app, name), self._made)
            self._floors.setdefault(number, self._former.get((user, app, name), 0))
            return number

    def remove_bucket(self, bucket: int) -> None:
        with self._lock:
            self._former.update({wanted: self._end + 1 for wanted, number in self._buckets.items() if number == bucket})
            self._buckets = {wanted: number for wanted, number in self._buckets.items() if number != bucket}

    def forget_history(self, bucket: int, before: Mapping[str, int]) -> int:
        with self._lock:
            older = [self._rows[p] for key in before for p in self._objects.get(bucket, {}).get(key, [])[:-1]]
            rows = [row for row in older if row.version < before[row.key]]
            for row in rows:
                self._drop(row, row.position)
                self._settled[row.bucket, row.ccid] = row.at
            return len(rows)

    def buckets(self, user: str, app: str) -> list[tuple[str, int]]:
        with self._lock:
            return sorted((key[2], number) for key, number in self._buckets.items() if key[:2] == (user, app))

    def all_buckets(self) -> list[tuple[str, str, str, int]]:
        with self._lock:
            return [(*key, number) for key, number in self._buckets.items()]

    def runs(self) -> list[tuple[int, str]]:
        return sorted(self._runs.items())

    def head(self, bucket: int) -> int:
        with self._lock:
            return max((p for positions in self._objects.get(bucket, {}).values() for p in positions), default=0)

    def position_at(self, time: int) -> int:
        with self._lock:
            return max((row.position for row in self._rows.values() if row.at <= time), default=0)

    def floor(self, bucket: int) -> int:
        return self._floors.get(bucket, 0)

    def origin(self, bucket: int) -> int:
        with self._lock:
            return next((self._former.get(name, 0) for name, number in self._buckets.items() if number == bucket), 0)

    def version(self, bucket: int, key: str, version: int) -> bytes | None:
        with self._lock:
            rows = [self._rows[p] for p in self._objects.get(bucket, {}).get(key, ())]
        return next((row.data for row in rows if row.version == version), None)

    def current(self, bucket: int, key: str) -> tuple[int, bytes] | None:
        with self._lock:
            positions = self._objects.get(bucket, {}).get(key)
            row = self._rows[positions[-1]] if positions else None
        return None if row is None or row.data is None else (row.version, row.data)

    def page(self, bucket: int, after: str, at: int, most: int, size: int, since: int = 0) -> list[Listed]:
        page: list[Listed] = []
        total = 0
        with self._lock:
            for key, positions in sorted(self._objects.get(bucket, {}).items()):
                then = [p for p in positions if p <= at]
                if key <= after or not then or then[-1] <= since or not self._rows[then[-1]].live:
                    continue
                row = self._rows[then[-1]]
                page.append(Listed(key, row.version, row.data if size else None))
                total += len(row.data or b"") if size else 0
                if len(page) == most or total > size > 0:
                    break
        return page

    def removed(self, bucket: int, after: str, most: int, size: int) -> list[Listed]:
        found: list[Listed] = []
        total = 0
        with self._lock:
            for key, positions in sorted(self._objects.get(bucket, {}).items()):
                rows = [self._rows[position] for position in positions]
                lived = [row for row in rows if row.live]
                if key <= after or rows[-1].live or not lived or lived[-1].data is None:
                    continue
                found.append(Listed(key, lived[-1].version, lived[-1].data, rows[-1].at))
                total += len(lived[-1].data)
                if len(found) == most or total > size:
                    break
        return found

    def since(self, bucket: int, position: int, most: int, size: int) -> list[Row]:
        found: list[Row] = []
        total = 0
        with self._lock:
            for at, row in sorted(self._rows.items()):
                if at <= position or row.bucket != bucket:
                    continue
                found.append(row if row.diff is None else row._replace(data=None))
                total += len(row.diff or row.data or b"")
                if len(found) == most or total > size > 0:
                    break
        return found

    def usage(self, user: str) -> int:
        with self._lock:
            buckets = {number for (owner, _, _), number in self._buckets.items() if owner == user}
            kept = [row for row in self._rows.values() if row.bucket in buckets]
        return sum(len(row.diff or b"") + len(row.data or b"") for row in kept)

    def versions(self, bucket: int) -> Iterable[bytes]:
        with self._lock:
            return [row.data for row in self._rows.values() if row.bucket == bucket and row.data is not None]

    def close(self) -> None:
        pass


class MemoryAccounts:
    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all three
        self._apps: dict[str, App] = {}
        self._users: dict[str, User] = {}
        self._tokens: dict[bytes, Token] = {}

    def add_app(self, app: App, at: int) -> bool:  # noqa: ARG002 - only a database shows when
        with self._lock:
            return self._apps.setdefault(app.id, app) is app

    def app(self, id: str) -> App | None:
        with self._lock:
            return self._apps.get(id)

    def apps(self) -> list[App]:
        with self._lock:
            return sorted(self._apps.values())

    def remove_app(self, id: str) -> None:
        for user in self.users(id):
            self.remove_user(user.id)
        with self._lock:
            self._apps.pop(id, None)

    def add_user(self, user: User, at: int) -> bool:  # noqa: ARG002 - only a database shows when
        with self._lock:
            if self._by_name(user.app, user.name) is not None:
                return False
            self._users[user.id] = user
            return True

    def user(self, app: str, name: str) -> User | None:
        with self._lock:
            return self._by_name(app, name)

    def user_of_id(self, app: str, id: str) -> User | None:
        with self._lock:
            user = self._users.get(id)
        return user if user is not None and user.app == app else None

    def _by_name(self, app: str, name: str) -> User | None:
        wanted = (app, name.lower())
        return next((user for user in self._users.values() if (user.app, user.name.lower()) == wanted), None)

    def users(self, app: str) -> list[User]:
        with self._lock:
            mine = [user for user in self._users.values() if user.app == app]
        return sorted(mine, key=lambda user: user.name.lower())

    def set_password(self, user: str, password_hash: str) -> None:
        with self._lock:
            if user in self._users:
                self._users[user] = replace(self._users[user], password_hash=password_hash)

    def rename(self, user: str, name: str) -> bool:
        with self._lock:
            holder = self._by_name(self._users[user].app, name)
            if holder is not None and holder.id != user:
                return False
            self._users[user] = replace(self._users[user], name=name)
            return True

    def remove_user(self, user: str) -> None:
        with self._lock:
            self._users.pop(user, None)
            self._tokens = {d: token for d, token in self._tokens.items() if token.user != user}

    def add_token(self, token: Token) -> None:
        with self._lock:
            self._tokens[token.digest] = token

    def token(self, digest: bytes) -> Token | None:
        with self._lock:
            return self._tokens.get(digest)

    def tokens(self, user: str) -> list[Token]:
        with self._lock:
            mine = [token for token in self._tokens.values() if token.user == user]
        return sorted(mine, key=lambda token: (token.created, token.digest))

    def remove_tokens(self, digests: Iterable[bytes]) -> None:
        with self._lock:
            for digest in digests:
                self._tokens.pop(digest, None)

    def touch_tokens(self, used: dict[bytes, int]) -> None:
        with self._lock:
            for digest, at in used.items():
                token = self._tokens.get(digest)
                if token is not None and token.used < at:
                    fields = (token.digest, token.user, token.user_name, token.app, token.device, token.created)
                    self._tokens[digest] = Token(*fields, at, token.admin)

    def close(self) -> None:
        pass
