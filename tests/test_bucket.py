"""The library against a real server: what an application sees."""

import threading

import pytest

import ssyncd
from ssyncd.bucket import Change, Secrets, start_syncing
from ssyncd.credentials import EMBEDDED, Credentials
from ssyncd.errors import BacklogError, BusyError, NetworkError, SignInError, SsyncdError, StateError, UsageError
from tests.programs import PASSWORD, server_process

NOWHERE = Secrets("http://127.0.0.1:9", "anna", "x" * 40)
DEADLINE = 10.0


class Recorder:
    """A bucket that remembers what it was told; `until` waits for a state of affairs."""

    name = "things"

    def __init__(self):
        self.calls = []
        self.objects = {}
        self.changes = []
        self.refusals = []
        self.threads = set()
        self._told = threading.Condition()

    def init(self, version, entities):
        self.calls.append("init")
        self.version = version
        self.first = entities
        self.objects = dict(entities)

    def update(self, change):
        with self._told:
            self.calls.append("update")
            self.threads.add(threading.current_thread())
            self.changes.append(change)
            self.objects[change.key] = change.data
            self._told.notify_all()

    def refused(self, refusal):
        with self._told:
            self.refusals.append(refusal)
            self._told.notify_all()

    def until(self, condition):
        with self._told:
            assert self._told.wait_for(condition, DEADLINE), (self.objects, self.refusals)

    def until_has(self, key, data):
        self.until(lambda: self.objects.get(key) == data)


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    with server_process(tmp_path_factory.mktemp("server")) as server:
        yield server.account


@pytest.fixture
def secrets(account):
    return Secrets(account.url, account.user, account.token)


@pytest.fixture
def bucket_name(request):
    return "".join(one if one.isalnum() else "-" for one in request.node.name)[-60:]


@pytest.fixture
def start(secrets, bucket_name):
    """Start syncing a Recorder; what is left running at the end is stopped."""
    handles = []

    def begin(**options):
        recorder = Recorder()
        handle = start_syncing(recorder, options.pop("secrets", secrets), name=bucket_name, **options)
        handles.append(handle)
        return recorder, handle

    yield begin
    for handle in handles:
        handle.stop(0)


def test_a_change_here_is_an_update_there(start):
    a, ours = start()
    b, _ = start()
    ours.set("k", {"text": "hello 😀"})
    assert ours.get("k") == {"text": "hello 😀"}
    assert ours.wait(DEADLINE)
    b.until_has("k", {"text": "hello 😀"})
    assert b.changes == [Change("k", 1, {"text": "hello 😀"}, None, mine=False)]
    a.until(lambda: a.changes)
    assert a.changes == [Change("k", 1, {"text": "hello 😀"}, {"text": "hello 😀"}, mine=True)]


def test_init_has_everything_and_runs_once_before_start_syncing_returns(start):
    _, ours = start()
    for at in range(1200):
        ours.set(f"k{at}", {"n": at})
    assert ours.wait(DEADLINE)
    b, theirs = start()
    assert b.calls == ["init"]
    assert b.first == {f"k{at}": {"n": at} for at in range(1200)}
    assert b.version
    assert theirs.connected


def test_updates_come_on_one_thread_of_their_own(start):
    a, ours = start()
    for at in range(20):
        ours.set(f"k{at}", {"n": at})
    a.until(lambda: len(a.changes) == 20)
    assert len(a.threads) == 1
    assert a.threads.isdisjoint({threading.current_thread()})
    assert a.calls == ["init"] + ["update"] * 20


def test_a_flag_that_ignores_the_next_update_works_too(secrets, bucket_name):
    seen = []

    class Old(Recorder):
        ignore_next_update = False

        def update(self, change):
            if self.ignore_next_update:
                self.ignore_next_update = False
            else:
                seen.append(change.key)
            super().update(change)

    bucket = Old()
    with start_syncing(bucket, secrets, name=bucket_name) as handle:
        for at in range(3):
            bucket.ignore_next_update = True
            handle.set("mine", {"n": at})
            bucket.until(lambda at=at: len(bucket.changes) == at + 1)
        with start_syncing(Recorder(), secrets, name=bucket_name) as other:
            other.set("theirs", {"n": 1})
            bucket.until_has("theirs", {"n": 1})
    assert seen == ["theirs"]


def test_two_who_edit_one_text_both_stay(start):
    a, ours = start()
    b, theirs = start()
    ours.set("k", {"text": "middle", "n": 1})
    b.until_has("k", {"text": "middle", "n": 1})
    ours.set("k", {"text": "begin middle", "n": 1})
    theirs.set("k", {"text": "middle end", "n": 2})
    for one in (a, b):
        one.until_has("k", {"text": "begin middle end", "n": 2})


def test_many_threads_edit_one_object_and_no_edit_is_lost(start):
    a, ours = start()
    b, theirs = start()
    ours.set("k", {})
    assert ours.wait(DEADLINE)

    def work(handle, name):
        for at in range(10):
            handle.edit("k", lambda data, at=at: {**data, f"{name}-{at}": at})

    for one in (a, b):
        one.until_has("k", {})
    threads = [
        threading.Thread(target=work, args=(handle, f"{who}{one}"))
        for who, handle in (("a", ours), ("b", theirs))
        for one in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    a.until(lambda: len(a.objects["k"]) == 60)


def test_a_deletion_is_an_update_with_no_data(start):
    _, ours = start()
    b, _ = start()
    ours.set("k", {"n": 1})
    b.until_has("k", {"n": 1})
    ours.delete("k")
    assert ours.get("k") is None
    b.until_has("k", None)
    assert b.changes[-1].before == {"n": 1}
    ours.set("k", {"n": 2})
    b.until_has("k", {"n": 2})


def test_what_an_application_holds_is_a_copy(start):
    a, ours = start()
    data = {"list": [1]}
    ours.set("k", data)
    a.until_has("k", {"list": [1]})
    data["list"].append(2)
    ours.get("k")["list"].append(3)
    ours.entities()["k"]["list"].append(4)
    a.changes[0].data["list"].append(5)
    assert ours.get("k") == {"list": [1]}


def test_changes_made_in_update_are_sent(secrets, bucket_name):
    class Answering(Recorder):
        def update(self, change):
            if change.key == "ping" and not change.mine:
                self.handle.set("pong", change.data)
            super().update(change)

    answering = Answering()
    with start_syncing(answering, secrets, name=bucket_name) as answering.handle:
        asker = Recorder()
        with start_syncing(asker, secrets, name=bucket_name) as handle:
            handle.set("ping", {"n": 1})
            asker.until_has("pong", {"n": 1})


# Offline


def test_without_a_server_and_a_memory_it_says_so(start):
    with pytest.raises(NetworkError, match="not reached"):
        start(secrets=NOWHERE, timeout=0.05)


def test_it_can_begin_offline(start):
    a, ours = start(secrets=NOWHERE, timeout=0.0, offline=True)
    assert (a.version, a.first, ours.connected) == ("", {}, False)
    ours.set("k", {"n": 1})
    assert ours.get("k") == {"n": 1}
    assert ours.unsent == 1
    assert not ours.wait(0)
    assert ours.reason


def test_unsent_changes_survive_a_restart_and_are_merged_when_the_server_is_back(tmp_path, secrets, bucket_name):
    state = tmp_path / "state.db"
    first, second = Recorder(), Recorder()
    with start_syncing(first, secrets, name=bucket_name, state=state) as handle:
        handle.set("k", {"text": "one\n"})
        assert handle.wait(DEADLINE)
        assert handle.connected
        # As a program that is killed: nothing is sent any more, nothing is tidied up.
        handle._syncing._connection.stop()
        handle.set("k", {"text": "one\ntwo\n"})
        handle.set("new", {"n": 1})
        assert handle.unsent == 2
        handle.stop(0)
    with start_syncing(second, secrets, name=bucket_name) as other:
        other.set("k", {"text": "zero\none\n"})
        assert other.wait(DEADLINE)
        again = Recorder()
        with start_syncing(again, secrets, name=bucket_name, state=state) as handle:
            assert again.first == {"k": {"text": "one\ntwo\n"}, "new": {"n": 1}}
            assert handle.wait(DEADLINE)
            again.until_has("k", {"text": "zero\none\ntwo\n"})
            second.until_has("k", {"text": "zero\none\ntwo\n"})
            second.until_has("new", {"n": 1})


def test_with_a_state_file_it_begins_without_a_connection(tmp_path, secrets, bucket_name):
    state = tmp_path / "state.db"
    with start_syncing(Recorder(), secrets, name=bucket_name, state=state) as handle:
        handle.set("k", {"n": 1})
        assert handle.wait(DEADLINE)
    with start_syncing(Recorder(), secrets, name=bucket_name) as other:
        other.set("k", {"n": 2})
        assert other.wait(DEADLINE)
    recorder = Recorder()
    with start_syncing(recorder, secrets, name=bucket_name, state=state, timeout=0.0):
        assert recorder.first == {"k": {"n": 1}}
        recorder.until_has("k", {"n": 2})


def test_a_state_file_is_for_one_program_and_one_bucket(tmp_path, start, secrets):
    state = tmp_path / "state.db"
    start(state=state)
    with pytest.raises(BusyError):
        start(state=state)
    other = tmp_path / "other.db"
    start_syncing(Recorder(), secrets, name="one", state=other).stop()
    with pytest.raises(StateError, match="another bucket"):
        start_syncing(Recorder(), secrets, name="two", state=other)


def test_more_changes_than_may_wait_are_refused_clearly(start, monkeypatch):
    monkeypatch.setattr("ssyncd.bucket.BACKLOG", 3)
    _, ours = start(secrets=NOWHERE, timeout=0.0, offline=True)
    for at in range(3):
        ours.set(f"k{at}", {"n": 1})
    with pytest.raises(BacklogError, match="3 objects"):
        ours.set("more", {"n": 1}, wait=0.01)
    ours.set("k0", {"n": 2})
    assert ours.get("more") is None


def test_whoever_waits_for_room_gets_it(start, monkeypatch):
    monkeypatch.setattr("ssyncd.bucket.BACKLOG", 3)
    _, ours = start()
    for at in range(50):
        ours.set(f"k{at}", {"n": at}, wait=DEADLINE)
    assert ours.wait(DEADLINE)
    assert len(ours.entities()) == 50


# Errors


def test_a_token_that_is_not_accepted_is_an_error_at_once(account):
    with pytest.raises(SignInError):
        start_syncing(Recorder(), Secrets(account.url, account.user, "no" * 20))


def test_what_the_server_will_not_take_is_told_and_kept(start):
    a, ours = start()
    ours.set("big", {"text": "x" * 600_000})
    a.until(lambda: a.refusals)
    assert [(one.key, one.code) for one in a.refusals] == [("big", 413)]
    assert ours.refused == {"big": 413}
    assert ours.get("big") is not None
    assert ours.wait(DEADLINE)
    ours.discard("big")
    assert (ours.get("big"), ours.refused) == (None, {})


@pytest.mark.parametrize("key", ["", "a b", "a/b", "ä", "x" * 257, 3, None])
def test_a_key_that_is_none_is_refused(start, key):
    _, ours = start(secrets=NOWHERE, timeout=0.0, offline=True)
    for act in (lambda: ours.set(key, {}), lambda: ours.delete(key), lambda: ours.edit(key, dict)):
        with pytest.raises(UsageError, match="cannot be a key"):
            act()


def test_a_bucket_needs_a_name_the_server_knows():
    with pytest.raises(UsageError, match="bucket's name"):
        start_syncing(Recorder(), NOWHERE, name="a b")


def test_an_update_that_raises_ends_the_syncing_and_says_why(secrets, bucket_name):
    called = threading.Event()

    class Broken(Recorder):
        def update(self, change):
            called.set()
            raise RuntimeError("broken application")

    handle = start_syncing(Broken(), secrets, name=bucket_name)
    handle.set("k", {"n": 1})
    assert called.wait(DEADLINE)
    handle._syncing._caller.join(DEADLINE)
    with pytest.raises(SsyncdError, match="broken application") as caught:
        handle.get("k")
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert handle.failure is caught.value
    handle.stop()


def test_an_init_that_raises_leaves_nothing_running(secrets, bucket_name):
    class Broken(Recorder):
        def init(self, version, entities):
            raise RuntimeError("broken application")

    with pytest.raises(RuntimeError, match="broken application"):
        start_syncing(Broken(), secrets, name=bucket_name)


def test_a_stopped_handle_says_so(start):
    _, ours = start()
    ours.stop()
    ours.stop()
    for act in (lambda: ours.get("k"), lambda: ours.set("k", {}), lambda: ours.wait(1)):
        with pytest.raises(UsageError, match="is stopped"):
            act()


def test_it_can_be_stopped_from_within_update(secrets, bucket_name):
    class Ending(Recorder):
        def update(self, change):
            self.handle.stop()
            super().update(change)

    ending = Ending()
    ending.handle = start_syncing(ending, secrets, name=bucket_name)
    ending.handle.set("k", {"n": 1})
    ending.until(lambda: ending.changes)
    with pytest.raises(UsageError):
        ending.handle.get("k")


# Secrets


def test_secrets_do_not_show_the_token():
    assert "x" * 40 not in repr(NOWHERE)


def test_secrets_are_found_where_login_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with pytest.raises(SignInError, match="ssyncd login"):
        Secrets.from_login()
    credentials = Credentials(tmp_path / "ssyncd" / "credentials.json")
    saved = {"url": "", "app": "ssyncd", "user": "me", "user_id": "", "token": "t" * 40}
    credentials.put(EMBEDDED, saved)
    with pytest.raises(SignInError, match="built-in server does not run"):
        Secrets.from_login()
    credentials.put("https://one.example/", {**saved, "url": "https://one.example"})
    assert Secrets.from_login() == Secrets("https://one.example", "me", "t" * 40)
    assert Secrets.from_login("https://one.example/").user == "me"
    assert Secrets.from_login().socket == "wss://one.example/sock/1/ssyncd/websocket"
    credentials.put("https://one.example", {**saved, "websocket_url": "wss://live.example"})
    assert Secrets.from_login().socket == "wss://live.example"
    with pytest.raises(SignInError, match="two"):
        Secrets.from_login("https://two.example")


def test_a_name_and_a_password_become_secrets(account):
    secrets = Secrets.sign_in(account.url, "anna", PASSWORD, "test")
    assert secrets.token != account.token
    start_syncing(Recorder(), secrets).stop()


def test_the_public_names_are_there():
    for name in ssyncd.__all__:
        assert getattr(ssyncd, name) is not None
    assert set(ssyncd.__all__) <= set(dir(ssyncd))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ssyncd.nonsense
