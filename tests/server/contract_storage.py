"""What every storage of objects and of accounts promises. A suite gives `storage` a fixture."""

import json
from typing import Any

import pytest

from ssyncd.server.storage.base import (
    NOBODY,
    OPTIONS,
    THIN_AFTER,
    AccountStorage,
    App,
    ChangeStorage,
    Retention,
    Row,
    Settled,
    Token,
    User,
)

RETENTION = Retention(newest=3, tenths=1)
NOW = 1_800_000_000


def data(version: int) -> bytes:
    return json.dumps({"version": version}).encode()


class Writing:
    """Makes rows as the writer does."""

    def __init__(self, storage: ChangeStorage, bucket: int) -> None:
        self.storage = storage
        self.bucket = bucket
        self.position = storage.start_run("0badcafe")
        self.versions: dict[str, int] = {}

    def row(self, key: str, *, live: bool = True, at: int = NOW, ccid: str = "") -> Row:
        self.position += 1
        version = self.versions[key] = self.versions.get(key, 0) + 1
        diff = b'{"version":{"o":"r","v":%d}}' % version if live and version > 1 else None
        return Row(
            self.position,
            self.bucket,
            key,
            version,
            live,
            "laptop",
            ccid or f"c{self.position}",
            diff,
            data(version) if live else None,
            at,
        )

    def put(self, key: str, **fields: Any) -> Row:
        row = self.row(key, **fields)
        self.storage.append([row], [])
        return row


class ChangesContract:
    @pytest.fixture
    def bucket(self, storage: ChangeStorage) -> int:
        return storage.bucket("user", "ssyncd", "notes")

    @pytest.fixture
    def writing(self, storage: ChangeStorage, bucket: int) -> Writing:
        return Writing(storage, bucket)

    def test_a_bucket_keeps_its_number_and_is_known_by_user_app_and_name(self, storage: ChangeStorage) -> None:
        first = storage.bucket("user", "ssyncd", "notes")
        others = {storage.bucket("user", "ssyncd", "other"), storage.bucket("user", "app", "notes")}
        assert storage.bucket("user", "ssyncd", "notes") == first
        assert first not in others
        assert storage.buckets("user", "ssyncd") == sorted([("notes", first), ("other", min(others))])
        assert len(storage.all_buckets()) == 3

    def test_a_removed_bucket_is_made_anew_beyond_all_positions(self, storage: ChangeStorage, writing: Writing) -> None:
        other = storage.bucket("user", "ssyncd", "other")
        writing.put("a")
        storage.remove_bucket(writing.bucket)
        assert storage.buckets("user", "ssyncd") == [("other", other)]
        again = storage.bucket("user", "ssyncd", "notes")
        assert again not in (writing.bucket, other)
        assert (storage.floor(again), storage.floor(other)) == (storage.origin(again), storage.origin(other)) == (2, 0)
        assert storage.head(again) == 0
        assert storage.page(again, "", 10, 10, 1000) == storage.since(again, 0, 10, 1000) == []
        Writing(storage, again).put("a")
        assert (storage.head(again), storage.current(again, "a")) == (2, (1, data(1)))

    def test_an_unwritten_bucket_is_empty_everywhere(self, storage: ChangeStorage, bucket: int) -> None:
        assert storage.head(bucket) == storage.floor(bucket) == 0
        assert storage.page(bucket, "", 10, 10, 1000) == storage.since(bucket, 0, 10, 1000) == []
        assert storage.heads({bucket: ["a"]}) == {}
        assert storage.current(bucket, "a") is None
        assert list(storage.versions(bucket)) == []

    def test_what_was_appended_is_the_head_the_version_and_the_log(
        self, storage: ChangeStorage, writing: Writing
    ) -> None:
        created, changed = writing.row("a"), writing.row("a")
        storage.append([created, changed], [])
        assert storage.head(writing.bucket) == 2
        assert storage.heads({writing.bucket: ["a", "b"]}) == {(writing.bucket, "a"): (2, True, 2, data(2))}
        assert storage.version(writing.bucket, "a", 1) == data(1)
        assert storage.version(writing.bucket, "a", 3) is None
        assert storage.current(writing.bucket, "a") == (2, data(2))
        assert storage.since(writing.bucket, 0, 10, 1000) == [created, changed._replace(data=None)]

    def test_a_removed_object_keeps_its_history_but_is_not_current(
        self, storage: ChangeStorage, writing: Writing
    ) -> None:
        writing.put("a")
        writing.put("a", live=False)
        assert storage.heads({writing.bucket: ["a"]}) == {(writing.bucket, "a"): (2, False, 2, None)}
        assert storage.current(writing.bucket, "a") is None
        assert storage.version(writing.bucket, "a", 2) is None
        assert storage.version(writing.bucket, "a", 1) == data(1)

    def test_ccids_are_known_in_their_bucket_only(self, storage: ChangeStorage, writing: Writing) -> None:
        storage.append([writing.row("a")], [Settled(writing.bucket, "x", NOW)])
        here, other = writing.bucket, writing.bucket + 1
        assert storage.known_ccids({here: ["c1", "x", "y"], other: ["c1", "x"]}) == {(here, "c1"), (here, "x")}

    def test_heads_are_told_apart_by_their_buckets(self, storage: ChangeStorage, writing: Writing) -> None:
        other = Writing(storage, storage.bucket("user", "ssyncd", "other"))
        writing.put("a")
        other.position = writing.position
        other.put("b")
        found = storage.heads({writing.bucket: ["a", "b"], other.bucket: ["a", "b"]})
        assert found == {
            (writing.bucket, "a"): (1, True, writing.position, data(1)),
            (other.bucket, "b"): (1, True, other.position, data(1)),
        }

    def test_a_page_is_as_of_its_position(self, storage: ChangeStorage, writing: Writing) -> None:
        for key in "abcd":
            writing.put(key)
        then = writing.position
        writing.put("a")
        writing.put("b", live=False)
        writing.put("e")
        assert [one[:2] for one in storage.page(writing.bucket, "", then, 10, 0)] == [(key, 1) for key in "abcd"]
        now = [one[:3] for one in storage.page(writing.bucket, "", writing.position, 10, 1000)]
        assert now == [("a", 2, data(2)), ("c", 1, data(1)), ("d", 1, data(1)), ("e", 1, data(1))]

    def test_a_page_goes_on_after_a_key_and_ends_at_its_limits(self, storage: ChangeStorage, writing: Writing) -> None:
        for key in "abcd":
            writing.put(key)
        pages = [storage.page(writing.bucket, "a", 9, 2, 0), storage.page(writing.bucket, "", 9, 9, len(data(1)) + 1)]
        assert [[one.key for one in page] for page in pages] == [["b", "c"], ["a", "b"]]

    def test_a_time_has_a_position_in_the_log(self, storage: ChangeStorage, writing: Writing) -> None:
        assert storage.position_at(NOW) == 0
        for age in (50, 40, 40, 30, 10, 10):
            writing.put("a", at=NOW - age)
        storage.remove_bucket(storage.bucket("user", "ssyncd", "other"))
        found = [storage.position_at(NOW - age) for age in (60, 50, 45, 40, 35, 30, 20, 10, 0)]
        assert found == [0, 1, 1, 3, 3, 4, 4, 6, 6]
        while storage.forget(NOW - 5, 100):
            pass
        assert [storage.position_at(NOW - age) for age in (60, 35, 10)] == [0, 0, 6]

    def test_what_was_removed_is_listed_with_its_last_version(self, storage: ChangeStorage, writing: Writing) -> None:
        other = Writing(storage, storage.bucket("user", "ssyncd", "other"))
        other.position = writing.position
        other.put("a")
        other.put("a", live=False)
        writing.position = other.position
        for key in "abcdef":
            writing.put(key)
        writing.put("b")
        for key in "bcdf":
            writing.put(key, live=False)
        writing.put("c")
        expected = [("b", 2, data(2), NOW), ("d", 1, data(1), NOW), ("f", 1, data(1), NOW)]
        assert storage.removed(writing.bucket, "", 10, 9999) == expected
        assert storage.removed(writing.bucket, "", 2, 9999) == expected[:2]
        assert storage.removed(writing.bucket, "b", 2, 9999) == expected[1:]
        assert storage.removed(writing.bucket, "", 10, len(data(1)) + 1) == expected[:2]
        assert storage.removed(99, "", 10, 9999) == []

    def test_what_was_removed_long_ago_is_listed_too(self, storage: ChangeStorage, writing: Writing) -> None:
        writing.put("a", at=NOW - 1000)
        writing.put("b", at=NOW - 1000)
        writing.put("a", live=False, at=NOW - 900)
        writing.put("b", at=NOW)
        while storage.prune(NOW - 1, 100):
            pass
        assert storage.removed(writing.bucket, "", 10, 9999) == [("a", 1, data(1), NOW - 900)]

    def test_the_log_of_one_bucket_ends_at_its_limits(self, storage: ChangeStorage, writing: Writing) -> None:
        other = storage.bucket("user", "ssyncd", "other")
        rows = [writing.row("a"), writing.row("b")._replace(bucket=other), writing.row("c"), writing.row("d")]
        storage.append(rows, [])
        assert [row.key for row in storage.since(writing.bucket, 0, 2, 9999)] == ["a", "c"]
        assert [row.key for row in storage.since(writing.bucket, 1, 9, len(data(1)) + 1)] == ["c", "d"]
        assert [row.key for row in storage.since(other, 0, 9, 9999)] == ["b"]

    def test_runs_begin_where_the_log_stands(self, storage: ChangeStorage, writing: Writing) -> None:
        writing.put("a")
        assert storage.start_run("11111111") == 1
        assert storage.start_run("22222222") == 1
        assert storage.runs() == [(0, "0badcafe"), (2, "22222222")]

    def test_versions_no_longer_kept_lose_their_data_after_a_while(
        self, storage: ChangeStorage, writing: Writing
    ) -> None:
        old = NOW - THIN_AFTER - 1
        for _ in range(31):
            writing.put("a", at=old)
        writing.put("a", at=NOW)
        held = [v for v in range(1, 33) if storage.version(writing.bucket, "a", v) is not None]
        # 1 made the object: it is its own diff. 21 is the newest 10k+1 below the three newest.
        assert held == [1, 21, 30, 31, 32]
        assert len(storage.since(writing.bucket, 0, 99, 10**6)) == 32

    def test_an_account_uses_what_is_kept_of_its_buckets(self, storage: ChangeStorage, writing: Writing) -> None:
        assert (storage.usage("user"), storage.usage("nobody")) == (0, 0)
        rows = [
            writing.row("a"),
            writing.row("a"),
            writing.row("b")._replace(bucket=storage.bucket("other", "app", "notes")),
        ]
        storage.append(rows, [])
        assert storage.usage("user") == sum(len(row.diff or b"") + len(row.data or b"") for row in rows[:2])
        assert storage.usage("other") == len(rows[2].data or b"")

    def test_young_versions_keep_their_data(self, storage: ChangeStorage, writing: Writing) -> None:
        for _ in range(32):
            writing.put("a")
        assert all(storage.version(writing.bucket, "a", version) for version in range(1, 33))

    def test_pruning_forgets_old_changes_but_no_kept_version(self, storage: ChangeStorage, writing: Writing) -> None:
        for _ in range(6):
            writing.put("a", at=NOW - 100)
        writing.put("b", at=NOW - 100)
        writing.put("a", at=NOW)
        storage.append([], [Settled(writing.bucket, "old", NOW - 100), Settled(writing.bucket, "new", NOW)])
        steps = []
        while looked := storage.prune(NOW - 50, 2):
            steps.append(looked)
        assert sum(steps) == 7
        # 1 is of the form 10k+1; 5, 6, 7 are the newest three.
        assert [v for v in range(1, 8) if storage.version(writing.bucket, "a", v)] == [1, 5, 6, 7]
        assert storage.floor(writing.bucket) == 4
        assert storage.current(writing.bucket, "b") == (1, data(1))
        assert storage.known_ccids({writing.bucket: ["old", "new", "c2", "c6"]}) == {
            (writing.bucket, "new"),
            (writing.bucket, "c6"),
        }

    def test_pruning_leaves_a_young_log_alone(self, storage: ChangeStorage, writing: Writing) -> None:
        for _ in range(9):
            writing.put("a")
        assert storage.prune(NOW, 100) == 0
        assert storage.floor(writing.bucket) == 0
        assert len(storage.since(writing.bucket, 0, 99, 10**6)) == 9

    def test_what_was_replaced_or_removed_long_ago_is_forgotten(self, storage: ChangeStorage, writing: Writing) -> None:
        for key in ("edited", "still", "gone", "lately"):
            writing.put(key, at=NOW - 90)
        writing.put("edited", at=NOW - 60)
        then = writing.put("gone", live=False, at=NOW - 60).position
        writing.put("edited", at=NOW - 30)
        writing.put("lately", live=False, at=NOW - 10)
        steps = []
        while looked := storage.forget(NOW - 50, 2):
            steps.append(looked)
        assert max(steps) == 2
        assert [v for v in range(1, 4) if storage.version(writing.bucket, "edited", v)] == [2, 3]
        assert storage.current(writing.bucket, "still") == (1, data(1))
        # What is not there any more goes on counting where it was.
        assert storage.version(writing.bucket, "gone", 1) is None
        assert storage.heads({writing.bucket: ["gone"]})[writing.bucket, "gone"].version == 2
        assert [one.key for one in storage.removed(writing.bucket, "", 9, 9999)] == ["lately"]
        # Who was away longer is told by the log all the same what is not there any more.
        assert storage.floor(writing.bucket) == then
        assert storage.origin(writing.bucket) == 0
        assert (then, False) in [(row.position, row.live) for row in storage.since(writing.bucket, 0, 99, 9999)]
        assert storage.forget(NOW - 50, 9) == 0
        while storage.forget(NOW, 9):
            pass
        assert [v for v in range(1, 4) if storage.version(writing.bucket, "edited", v)] == [3]
        assert storage.removed(writing.bucket, "", 9, 9999) == []

    def test_a_history_is_forgotten_on_request(self, storage: ChangeStorage, writing: Writing) -> None:
        for key in ("edited", "still", "gone", "other"):
            writing.put(key)
        old = writing.put("edited").ccid
        writing.put("other")
        writing.put("edited")
        then = writing.put("gone", live=False).position
        elsewhere = Writing(storage, storage.bucket("user", "ssyncd", "elsewhere"))
        elsewhere.position = writing.position
        elsewhere.put("edited")
        elsewhere.put("edited")
        before = {"edited": 3, "still": 9, "gone": 2, "nothing": 5}
        assert storage.forget_history(writing.bucket, {"edited": 1, "gone": 1}) == 0
        assert storage.forget_history(writing.bucket, before) == 3
        assert [v for v in range(1, 5) if storage.version(writing.bucket, "edited", v)] == [3]
        assert [v for v in range(1, 5) if storage.version(writing.bucket, "other", v)] == [1, 2]
        assert storage.current(writing.bucket, "still") == (1, data(1))
        assert storage.removed(writing.bucket, "", 9, 9999) == []
        assert storage.heads({writing.bucket: ["gone"]})[writing.bucket, "gone"].version == 2
        assert storage.version(elsewhere.bucket, "edited", 1)
        # The log tells what came last; who sends something forgotten again is not taken for somebody new.
        assert storage.floor(writing.bucket) == then - 3
        assert storage.floor(elsewhere.bucket) == storage.origin(writing.bucket) == 0
        assert storage.since(writing.bucket, 0, 99, 9999)[-1].position == then
        assert storage.known_ccids({writing.bucket: [old, "never"]}) == {(writing.bucket, old)}
        assert storage.forget_history(writing.bucket, before) == 0
        assert storage.forget_history(99, before) == 0
        assert storage.forget_history(writing.bucket, {"other": 2}) == 1
        assert storage.forget_history(elsewhere.bucket, {"edited": 9}) == 1

    def _options(
        self, storage: ChangeStorage, writing: Writing, options: dict[str, object], key: str = "notes"
    ) -> None:
        """The application's own object about its buckets of that name."""
        writing.bucket, before = storage.bucket(NOBODY, "ssyncd", OPTIONS), writing.bucket
        storage.append([writing.row(key, at=NOW - THIN_AFTER - 1)._replace(data=json.dumps(options).encode())], [])
        writing.bucket = before

    def test_the_options_of_a_bucket_say_what_is_kept(self, storage: ChangeStorage, writing: Writing) -> None:
        self._options(storage, writing, {"version_max": 2})
        self._options(storage, writing, {"version_max": 5, "version10_max": 2})
        for _ in range(31):
            writing.put("a", at=NOW - THIN_AFTER - 1)
        writing.put("a", at=NOW)
        held = [v for v in range(1, 33) if storage.version(writing.bucket, "a", v) is not None]
        assert held == [1, 11, 21, 28, 29, 30, 31, 32]
        while storage.prune(NOW - 1, 100):
            pass
        assert [row.version for row in storage.since(writing.bucket, 0, 99, 10**6)] == held[1:]

    @pytest.mark.parametrize(
        "options",
        [{}, {"version_max": 0, "version10_max": -1}, {"version_max": "9", "version10_max": True}, {"schema": {}}],
    )
    def test_options_that_say_nothing_sensible_change_nothing(
        self, storage: ChangeStorage, writing: Writing, options: dict[str, object]
    ) -> None:
        self._options(storage, writing, options)
        self._options(storage, writing, {"version_max": 30}, "other")
        for _ in range(32):
            writing.put("a", at=NOW - THIN_AFTER - 1)
        writing.versions["a"] = 47
        writing.put("a", at=NOW)
        assert [v for v in range(2, 33) if storage.version(writing.bucket, "a", v) is not None] == []
        assert storage.version(writing.bucket, "a", 48) is not None

    def test_the_collector_sees_every_kept_version(self, storage: ChangeStorage, writing: Writing) -> None:
        for key in ("a", "a", "b"):
            writing.put(key)
        writing.put("b", live=False)
        assert sorted(storage.versions(writing.bucket)) == sorted([data(1), data(2), data(1)])


def a_token(number: int) -> Token:
    return Token(b"%032d" % number, "u1", "bob", "ssyncd", "laptop", NOW + number, NOW)


class AccountsContract:
    @pytest.fixture
    def bob(self, storage: AccountStorage) -> User:
        bob = User("u1", "ssyncd", "bob", "hash")
        assert storage.add_user(bob, NOW)
        return bob

    def test_a_name_is_taken_whatever_its_case(self, storage: AccountStorage, bob: User) -> None:
        assert not storage.add_user(User("u2", "ssyncd", "BOB", "other"), NOW)
        assert storage.user("ssyncd", "Bob") == bob
        assert storage.users("ssyncd") == [bob]

    def test_an_unknown_name_is_nobody(self, storage: AccountStorage) -> None:
        assert storage.user("ssyncd", "nobody") is None
        assert storage.users("ssyncd") == []

    def test_a_password_and_a_name_can_change_but_not_the_id(self, storage: AccountStorage, bob: User) -> None:
        storage.add_user(User("u2", "ssyncd", "eve", "hash"), NOW)
        storage.set_password(bob.id, "new")
        assert storage.rename(bob.id, "robert")
        assert storage.rename(bob.id, "Robert")
        assert not storage.rename(bob.id, "Eve")
        assert storage.user("ssyncd", "robert") == User("u1", "ssyncd", "Robert", "new")

    def test_users_of_another_app_are_others(self, storage: AccountStorage, bob: User) -> None:
        other = User("u2", "notes", "bob", "hash")
        assert storage.add_user(other, NOW)
        assert storage.user("notes", "BOB") == other
        assert storage.user_of_id("notes", other.id) == other
        assert storage.user_of_id("ssyncd", other.id) is None
        assert storage.user_of_id("notes", "unknown") is None
        assert (storage.users("ssyncd"), storage.users("notes"), storage.users("x")) == ([bob], [other], [])
        assert storage.rename(other.id, "eve")
        assert storage.user("ssyncd", "eve") is None

    def test_apps_are_listed_by_id_and_there_once(self, storage: AccountStorage) -> None:
        notes, chat = App("notes", "k1"), App("chat", "k2")
        assert storage.add_app(notes, NOW)
        assert storage.add_app(chat, NOW)
        assert not storage.add_app(App("notes", "k3"), NOW)
        assert storage.apps() == [chat, notes]
        assert storage.app("notes") == notes
        assert storage.app("unknown") is None

    def test_a_removed_app_takes_its_users_and_their_tokens_along(self, storage: AccountStorage, bob: User) -> None:
        storage.add_app(App("notes", "k1"), NOW)
        storage.add_user(User("u2", "notes", "eve", "hash"), NOW)
        storage.add_token(a_token(1))
        storage.add_token(Token(b"%032d" % 2, "u2", "eve", "notes", "laptop", NOW, NOW))
        storage.remove_app("notes")
        storage.remove_app("unknown")
        assert storage.apps() == []
        assert storage.users("notes") == []
        assert storage.users("ssyncd") == [bob]
        assert storage.token(b"%032d" % 2) is None
        assert storage.token(a_token(1).digest) is not None

    def test_tokens_are_listed_oldest_first(self, storage: AccountStorage, bob: User) -> None:
        later, earlier = a_token(2), a_token(1)
        storage.add_token(later)
        storage.add_token(earlier)
        assert storage.token(later.digest) == later
        assert storage.tokens(bob.id) == [earlier, later]
        assert storage.token(b"unknown") is None

    def test_a_removed_token_is_unknown(self, storage: AccountStorage, bob: User) -> None:
        storage.add_token(a_token(1))
        storage.add_token(a_token(2))
        storage.remove_tokens([a_token(1).digest, b"unknown"])
        assert storage.tokens(bob.id) == [a_token(2)]

    def test_use_is_noted_and_never_goes_back(self, storage: AccountStorage, bob: User) -> None:
        storage.add_token(a_token(1))
        storage.touch_tokens({a_token(1).digest: NOW + 9, b"unknown": NOW})
        storage.touch_tokens({a_token(1).digest: NOW + 5})
        assert [token.used for token in storage.tokens(bob.id)] == [NOW + 9]

    def test_a_removed_user_takes_the_tokens_along(self, storage: AccountStorage, bob: User) -> None:
        storage.add_token(a_token(1))
        storage.remove_user(bob.id)
        storage.remove_user("unknown")
        assert storage.user("ssyncd", "bob") is None
        assert storage.token(a_token(1).digest) is None
