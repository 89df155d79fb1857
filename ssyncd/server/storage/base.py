"""The two interfaces to the database, one contract suite for each.

`ChangeStorage`: `memory.MemoryChanges`, `sqlite.SqliteChanges`. `AccountStorage`: `memory.MemoryAccounts`,
`sqlite_accounts.SqliteAccounts`.

All accepted changes of all buckets form one log. A **position** is a place in it: a whole number that only grows; 0 is before
the first change. A position is never given twice on one database, but a crash or a restored backup can repeat one;
`positions.py` tells such twins apart by the **run** (one opening of the database for writing) that wrote it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import orjson
from msgspec import Struct


class Row(NamedTuple):
    """One accepted change, and with `data` the version it made.

    `diff` None and `data` set: a creation, whose diff would repeat the data. Both None: a removal. `at` is seconds since the
    epoch.
    """

    position: int
    bucket: int
    key: str
    version: int
    live: bool
    client: str
    ccid: str
    diff: bytes | None
    data: bytes | None
    at: int


class Head(NamedTuple):
    """The newest version of an object and its JSON; not `live`, and without data, if that is its removal."""

    version: int
    live: bool
    position: int
    data: bytes | None


class Listed(NamedTuple):
    """One object of an index page; `data` only if it was asked for; `at` only of a removed one: when it went, in seconds since
    the epoch."""

    key: str
    version: int
    data: bytes | None
    at: int | None = None


class Settled(NamedTuple):
    """A ccid that was answered for good without making a change (412)."""

    bucket: int
    ccid: str
    at: int


class Retention(NamedTuple):
    """Which versions of an object are kept for good: the `newest` ones, then `tenths` of the form 10k+1 below those."""

    newest: int = 60
    tenths: int = 100

    def with_options(self, options: bytes | None) -> "Retention":
        """What an options object (JSON) says, where it says something sensible."""
        said = {} if options is None else orjson.loads(options)
        newest, tenths = said.get("version_max"), said.get("version10_max")
        return Retention(
            newest if type(newest) is int and newest > 0 else self.newest,
            tenths if type(tenths) is int and tenths >= 0 else self.tenths,
        )

    def keeps(self, version: int, current: int) -> bool:
        """Whether this version is kept when `current` is the newest (Simperium OPTIONS.md, version_max and version10_max)."""
        below = current - self.newest
        if version > below:
            return True
        highest = (below - 1) // 10 * 10 + 1
        return version % 10 == 1 and version > highest - 10 * self.tenths


# The bucket of an application whose objects are the options of its other buckets, by their names. It is no user's own.
OPTIONS = "__options__"
NOBODY = ""

# Keys or ccids by bucket: what a group of changes is about is asked for at once.
Wanted = Mapping[int, Collection[str]]

# A version that is no longer kept stays readable for this long: a client may be paging, or have been told of it as `sv`.
THIN_AFTER = 3600
# Versions of an object are thinned out once in so many changes of it.
THIN_EVERY = 16


class ChangeStorage(Protocol):
    """Thread-safe for reading; only one thread calls what is under "the writer's". StateError when the database fails."""

    # the writer's

    def start_run(self, nonce: str) -> int:
        """Begin to write under a new nonce; the position the log stands at."""

    def known_ccids(self, ccids: Wanted) -> set[tuple[int, str]]:
        """Which of these were applied or settled, each with its bucket."""

    def append(self, rows: Sequence[Row], settled: Sequence[Settled]) -> None:
        """Add all in one transaction; durable on return, and nothing is added if it fails.

        Forgets the data, not the diff, of versions that are no longer kept.
        """

    def prune(self, before: int, most: int) -> int:
        """Forget log entries and ccids from before that time, but for kept versions, in a step of about `most` rows.

        Which are kept is the storage's to know; the OPTIONS of an application say otherwise for a bucket.

        How many rows were looked at; 0 when the log is walked to its young end.
        """

    def forget(self, before: int, most: int) -> int:
        """Forget all versions that were replaced or removed before that time, and the log up to there, in a step of about `most`
        rows. As `prune`."""

    # anyone's

    def bucket(self, user: str, app: str, name: str) -> int:
        """The number of a bucket, made if it is new; never given again, not even after the account is gone."""

    def remove_bucket(self, bucket: int) -> None:
        """All that is in it goes, at the writer's leisure. The next one of its name has another number, and a floor beyond all
        positions so far: none of them tells of it."""

    def forget_history(self, bucket: int, before: Mapping[str, int]) -> int:
        """Forget, by key, all versions before this one, but never the newest, and the log up to there; how many went. Their ccids
        stay known."""

    def buckets(self, user: str, app: str) -> list[tuple[str, int]]:
        """Names and numbers, sorted by name."""

    def all_buckets(self) -> list[tuple[str, str, str, int]]:
        """User, app, name and number of every bucket."""

    def runs(self) -> list[tuple[int, str]]:
        """First position and nonce of every run, sorted."""

    def head(self, bucket: int) -> int:
        """The newest position of this bucket's log, 0 if it is empty."""

    def position_at(self, time: int) -> int:
        """The newest position that was written up to that time, in seconds since the epoch, of whatever bucket; 0: none was."""

    def floor(self, bucket: int) -> int:
        """The log of this bucket is complete after this position. Before it, too, it tells what came last of each object."""

    def origin(self, bucket: int) -> int:
        """Nothing up to this position was of this bucket, but perhaps of one of its name that was removed."""

    def heads(self, keys: Wanted) -> dict[tuple[int, str], Head]:
        """By bucket and key, the newest version of each of these keys that exists or existed."""

    def version(self, bucket: int, key: str, version: int) -> bytes | None:
        """JSON of one version; None if it never was, is a removal or was forgotten."""

    def current(self, bucket: int, key: str) -> tuple[int, bytes] | None:
        """Version and JSON of a live object."""

    def page(self, bucket: int, after: str, at: int, most: int, size: int, since: int = 0) -> list[Listed]:
        """Objects that were live at position `at` and changed after position `since`, by key, the first `most` after the key
        `after`.

        Ends with the object that makes it more than `size` bytes of data; 0: no data is wanted.
        """

    def removed(self, bucket: int, after: str, most: int, size: int) -> list[Listed]:
        """Objects that are removed, each with its last version and when it went, by key, the first `most` after the key `after`;
        none of which that version is forgotten. Ends with the one that makes it more than `size` bytes."""

    def since(self, bucket: int, position: int, most: int, size: int) -> list[Row]:
        """The log after a position, oldest first; `data` only where it stands in for the diff.

        At most so many rows, and ends with the one that makes it more than `size` bytes.
        """

    def usage(self, user: str) -> int:
        """Bytes of all versions and diffs kept for an account."""

    def versions(self, bucket: int) -> Iterable[bytes]:
        """JSON of every kept version, in no order; for the collector."""

    def close(self) -> None: ...


class App(NamedTuple):
    """An application: its id, lower case, and the API key that its clients show when somebody signs in."""

    id: str
    api_key: str


class User(Struct, frozen=True):
    """Of one application. `id` is 32 hex digits and survives a change of name."""

    id: str
    app: str
    name: str
    password_hash: str


class Token(Struct, frozen=True):
    """An access token without its secret. Times are seconds since the epoch; `admin` may read all users of its app."""

    digest: bytes
    user: str
    user_name: str
    app: str
    device: str
    created: int
    used: int
    admin: bool = False


class AccountStorage(Protocol):
    """Applications, users and tokens. Thread-safe, and several processes may use one database. StateError when the database
    fails."""

    def add_app(self, app: App, at: int) -> bool:
        """False if there is one of this id."""

    def app(self, id: str) -> App | None: ...

    def apps(self) -> list[App]:
        """Sorted by id."""

    def remove_app(self, id: str) -> None:
        """The application and its users, as `remove_user` does it."""

    def add_user(self, user: User, at: int) -> bool:
        """False if the name is taken in this application (case does not count)."""

    def user(self, app: str, name: str) -> User | None: ...

    def user_of_id(self, app: str, id: str) -> User | None: ...

    def users(self, app: str) -> list[User]:
        """Of one application, sorted by name."""

    def set_password(self, user: str, password_hash: str) -> None: ...

    def rename(self, user: str, name: str) -> bool:
        """False if the name is taken."""

    def remove_user(self, user: str) -> None:
        """The user, the tokens, and (at the writer's leisure) all buckets."""

    def add_token(self, token: Token) -> None: ...

    def token(self, digest: bytes) -> Token | None: ...

    def tokens(self, user: str) -> list[Token]:
        """Oldest first."""

    def remove_tokens(self, digests: Iterable[bytes]) -> None: ...

    def touch_tokens(self, used: dict[bytes, int]) -> None:
        """Note when tokens were last used."""

    def close(self) -> None: ...
