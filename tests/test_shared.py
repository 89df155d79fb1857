"""A dataclass that is equal in several programs, against a real server."""

import threading
from dataclasses import dataclass, field

import pytest

from ssyncd.bucket import Secrets, start_syncing
from ssyncd.errors import NetworkError, ShapeError, SsyncdError, UsageError
from ssyncd.shared import KEY, Shared
from tests.programs import server_process

NOWHERE = Secrets("http://127.0.0.1:9", "anna", "x" * 40)
DEADLINE = 10.0


@dataclass
class Task:
    title: str = ""
    done: bool = False


@dataclass
class Plan:
    title: str = "plan"
    count: int = 0
    share: float = 0.5
    tags: list[str] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    first: Task | None = None


class Silent:
    """A bucket whose program only writes."""

    def init(self, version, entities):
        pass

    def update(self, change):
        pass


class Watched:
    """A Shared whose changes can be waited for."""

    def __init__(self, shared):
        self.shared = shared
        self.changes = []
        self._told = threading.Condition()
        shared.on_change(self._changed)

    def _changed(self, value, change):
        with self._told:
            self.changes.append((value, change))
            self._told.notify_all()

    def until(self, condition):
        with self._told:
            assert self._told.wait_for(lambda: condition(self.shared.value), DEADLINE), self.shared.value


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with server_process(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def secrets(server):
    return server.secrets


@pytest.fixture
def name(request):
    return "".join(one if one.isalnum() else "-" for one in request.node.name)[-60:]


@pytest.fixture
def share(secrets, name):
    opened = []

    def begin(value=None, **options):
        shared = Shared(value or Plan(), options.pop("secrets", secrets), name, **options)
        opened.append(shared)
        return shared

    yield begin
    for shared in opened:
        shared.handle.stop(0)


def test_a_change_in_one_program_is_seen_in_all(share):
    a, b = share(), share()
    watched = Watched(b)
    with a.change() as plan:
        plan.title = "garden 😀"
        plan.tags.append("green")
        plan.tasks["water"] = Task("water the plants")
        plan.first = Task("dig")
    expected = Plan("garden 😀", 0, 0.5, ["green"], {"water": Task("water the plants")}, Task("dig"))
    assert a.value == expected
    watched.until(lambda plan: plan == expected)
    assert all(not change.mine for _, change in watched.changes)


def test_only_what_changed_is_sent(share):
    a, b = share(), share()
    with a.change() as plan:
        plan.tasks = {str(at): Task("x" * 1000) for at in range(50)}
    a.wait(DEADLINE)
    sent = []
    connection = a.handle._syncing._connection
    send, connection.send = connection.send, lambda messages: (sent.extend(messages), send(messages))
    with a.change() as plan:
        plan.tasks["7"].done = True
    a.wait(DEADLINE)
    assert len(sent) == 1
    assert len(sent[0]) < 250
    Watched(b).until(lambda plan: "7" in plan.tasks and plan.tasks["7"].done)


def test_nothing_is_sent_where_nothing_changed(share):
    a = share()
    with a.change() as plan:
        plan.title = "plan"
    assert a.handle.unsent == 0
    assert a.handle.entities() == {}


def test_what_raises_changes_nothing(share):
    a = share()
    with pytest.raises(ZeroDivisionError), a.change() as plan:
        plan.title, plan.count = "no", 1 // plan.count
    assert a.value.title == "plan"


def test_concurrent_changes_merge(share, server):
    a, b = share(), share()
    one, two = Watched(a), Watched(b)
    with a.change() as plan:
        plan.title = "middle"
        plan.tasks["t"] = Task("task")
    two.until(lambda plan: plan.title == "middle")
    assert a.wait(DEADLINE)
    with server.held():  # neither hears of the other before both are on their way
        with a.change() as plan:
            plan.title = "begin middle"
            plan.tasks["a"] = Task("of a")
            plan.tasks["t"].done = True
        with b.change() as plan:
            plan.title = "middle end"
            plan.tasks["b"] = Task("of b")
            plan.tasks["t"].title = "a task"
    tasks = {"t": Task("a task", True), "a": Task("of a"), "b": Task("of b")}
    for watched in (one, two):
        watched.until(lambda plan: (plan.title, plan.tasks) == ("begin middle end", tasks))


def test_changes_of_many_threads_are_all_there(share):
    a, b = share(), share()

    def work():
        for _ in range(25):
            with a.change() as plan:
                plan.count += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert a.value.count == 100
    Watched(b).until(lambda plan: plan.count == 100)


def test_it_works_offline_and_joins_what_others_did(share, tmp_path, secrets, name):
    state = tmp_path / "state.db"
    with Shared(Plan(), secrets, name, state=state) as first:
        with first.change() as plan:
            plan.title = "one\n"
        assert first.wait(DEADLINE)
        first.handle._syncing._connection.stop()
        with first.change() as plan:
            plan.title += "two\n"
            plan.tasks["offline"] = Task("x")
        first.handle.stop(0)
    other = share()
    with other.change() as plan:
        plan.title = "zero\n" + plan.title
        plan.count = 7
    assert other.wait(DEADLINE)
    again = share(state=state)
    expected = Plan("zero\none\ntwo\n", 7, tasks={"offline": Task("x")})
    Watched(again).until(lambda plan: plan == expected)
    Watched(other).until(lambda plan: plan == expected)


def test_it_begins_offline(share):
    alone = share(secrets=NOWHERE, timeout=0.0)
    assert alone.value == Plan()
    with alone.change() as plan:
        plan.count += 1
    assert alone.value.count == 1
    assert not alone.connected
    with pytest.raises(NetworkError):
        start_syncing(Silent(), NOWHERE, timeout=0.0)


def test_two_that_began_apart_do_not_undo_each_other(share, server):
    with server.held():
        a, b = share(timeout=0.0), share(timeout=0.0)
        with a.change() as plan:
            plan.count = 5
        with b.change() as plan:
            plan.title = "of b"
    for one in (a, b):
        Watched(one).until(lambda plan: (plan.count, plan.title) == (5, "of b"))


def test_what_another_program_put_there_is_checked(share, secrets, name, caplog):
    a = share()
    watched = Watched(a)
    with start_syncing(Silent(), secrets, name=name) as stranger:
        stranger.set(KEY, {"title": "fits", "tasks": {"x": {"title": 3}}})
        assert stranger.wait(DEADLINE)
        # The update is logged on the thread that would have called back.
        stranger.set("other", {"not": "ours"})
        stranger.wait(DEADLINE)
        while a.handle.get("other") is None:
            a.wait(DEADLINE)
        with pytest.raises(ShapeError, match=r"tasks\.x\.title: str wanted, the int 3 is there"):
            _ = a.value
        with pytest.raises(ShapeError), a.change():
            pass
        assert watched.changes == []
        a.replace(Plan("mended"))
        assert a.value == Plan("mended")
        assert a.wait(DEADLINE)


def test_what_a_newer_program_knows_is_kept_by_an_older_one(share, secrets, name):
    with start_syncing(Silent(), secrets, name=name) as newer:
        newer.set(KEY, {"title": "t", "colour": "red", "tasks": {"x": {"title": "a", "due": "today"}}})
        assert newer.wait(DEADLINE)
        a = share()
        with a.change() as plan:
            plan.tasks["x"].title = "b"
            plan.count = 2
        assert a.wait(DEADLINE)
        found = a.handle.get(KEY)
        assert (found["colour"], found["tasks"]["x"], found["count"]) == ("red", {"title": "b", "due": "today"}, 2)


def test_nothing_goes_out_that_does_not_fit(share):
    a = share()
    with pytest.raises(ShapeError, match="count: int wanted"), a.change() as plan:
        plan.count = "three"
    assert a.value == Plan()


def test_after_a_deletion_it_begins_again(share):
    a = share()
    with a.change() as plan:
        plan.count = 3
    assert a.wait(DEADLINE)
    a.handle.delete(KEY)
    assert a.value == Plan()
    with a.change() as plan:
        plan.title = "again"
    assert a.value == Plan("again")
    assert a.wait(DEADLINE)


def test_what_is_no_dataclass_cannot_be_shared():
    for value in ({"a": 1}, Plan, 3):
        with pytest.raises(UsageError, match="dataclass"):
            Shared(value, NOWHERE)


def test_a_callback_that_raises_ends_it_and_is_named(share):
    called = threading.Event()

    def broken(_plan, _change):
        called.set()
        raise RuntimeError("broken callback")

    a = share()
    a.on_change(broken)
    with a.change() as plan:
        plan.count = 1
    assert called.wait(DEADLINE)
    a.handle._syncing._caller.join(DEADLINE)
    with pytest.raises(SsyncdError, match="broken callback"):
        _ = a.value
    assert a.failure is not None
