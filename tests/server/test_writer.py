"""Groups: what is queued while one is written is the next."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from ssyncd.errors import StateError, StateFullError
from ssyncd.protocol.changes import ClientChange
from ssyncd.server.entries import Entry
from ssyncd.server.storage.base import Row, Settled
from ssyncd.server.storage.memory import MemoryChanges
from ssyncd.server.writer import GROUP_MOST, INTERNAL, NO_SPACE, Group, Outcome, Prune, Submission, Writer
from tests.server.contract_storage import RETENTION
from tests.server.running import sets

DEADLINE = 10


class GatedStorage(MemoryChanges):
    """Counts transactions, and holds them up while the gate is shut."""

    def __init__(self) -> None:
        super().__init__(RETENTION)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.appended: list[int] = []
        self.failures: list[Exception] = []

    def append(self, rows: Sequence[Row], settled: Sequence[Settled]) -> None:
        self.entered.set()
        assert self.gate.wait(DEADLINE)
        if self.failures:
            raise self.failures.pop(0)
        super().append(rows, settled)
        self.appended.append(len(rows))


class Bench:
    def __init__(self) -> None:
        self.storage = GatedStorage()
        self.bucket = self.storage.bucket("user", "ssyncd", "notes")
        self.groups: list[Group] = []
        self.answers: dict[str, Outcome] = {}
        self.more = threading.Condition()
        self.writer = Writer(self.storage, self._deliver, object_limit=1000, now=lambda: 1_800_000_000)
        self.writer.start()

    def _deliver(self, group: Group) -> None:
        with self.more:
            self.groups.append(group)
            for submission, outcome in group.outcomes:
                submission.done(outcome)
            self.more.notify_all()

    def submit(
        self, key: str, v: Any, sv: int | None = None, ccid: str = "", *, op: str = "M", echo: bool = False
    ) -> str:
        ccid = ccid or f"c{len(self.answers)}-{key}"
        change = ClientChange(key, op, ccid, sv, v)
        done: Callable[[Outcome], None] = lambda outcome: self.answers.update({ccid: outcome})  # noqa: E731
        self.writer.submit(Submission(self.bucket, "laptop", change, done, echo))
        return ccid

    def answer(self, ccid: str) -> Outcome:
        with self.more:
            assert self.more.wait_for(lambda: ccid in self.answers, DEADLINE)
        return self.answers[ccid]

    def entry(self, ccid: str) -> Entry:
        outcome = self.answer(ccid)
        assert not isinstance(outcome, int)
        return outcome[0]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.storage.gate.set()
    bench.writer.stop()


def held(bench: Bench, submit: Callable[[], str]) -> str:
    """Submit all this while a first transaction is held up; the last ccid."""
    bench.storage.gate.clear()
    bench.submit("first", sets(n=1))
    assert bench.storage.entered.wait(DEADLINE)
    last = submit()
    bench.storage.gate.set()
    return last


def test_what_came_in_during_a_transaction_shares_the_next(bench: Bench) -> None:
    last = held(bench, lambda: [bench.submit(f"k{n}", sets(n=n), ccid=f"x{n}") for n in range(500)][-1])
    assert bench.entry(last).version == 1
    assert bench.storage.appended == [1, 500]
    assert [len(group.entries) for group in bench.groups] == [1, 500]


def test_a_group_has_a_bound(bench: Bench) -> None:
    last = held(bench, lambda: [bench.submit(f"k{n}", {}, ccid=f"x{n}") for n in range(GROUP_MOST + 1)][-1])
    bench.answer(last)
    assert bench.storage.appended == [1, GROUP_MOST, 1]


def test_nobody_hears_of_a_change_before_it_is_durable(bench: Bench) -> None:
    bench.storage.gate.clear()
    ccid = bench.submit("k", sets(n=1))
    assert bench.storage.entered.wait(DEADLINE)
    assert bench.groups == []
    bench.storage.gate.set()
    bench.answer(ccid)


def test_changes_of_one_object_in_one_group_build_on_each_other(bench: Bench) -> None:
    def several() -> str:
        bench.submit("k", sets(n=1, t="a"), ccid="1")
        bench.submit("k", {"n": {"o": "r", "v": 2}}, 1, "2")
        bench.submit("k", {"t": {"o": "d", "v": "=1\t+b"}}, 1, "3")
        bench.submit("k", None, None, "4", op="-")
        bench.submit("k", None, None, "5", op="-")
        bench.submit("k", sets(z=1), ccid="6")
        return bench.submit("k", sets(z=2), ccid="6")

    held(bench, several)
    assert bench.answer("5") == 412
    bench.entry("4")
    assert [entry.version for entry in bench.groups[1].entries] == [1, 2, 3, 4, 5]
    assert [outcome for _, outcome in bench.groups[1].outcomes if isinstance(outcome, int)] == [412, 409]
    assert bench.storage.version(bench.bucket, "k", 3) == b'{"n":2,"t":"ab"}'
    assert bench.storage.current(bench.bucket, "k") == (5, b'{"z":1}')


def test_an_echo_does_nothing_and_is_settled(bench: Bench) -> None:
    bench.entry(bench.submit("k", sets(n=1)))
    assert bench.answer(bench.submit("k", None, ccid="echo", op="-", echo=True)) == 412
    assert bench.storage.known_ccids({bench.bucket: ["echo"]}) == {(bench.bucket, "echo")}
    assert bench.storage.current(bench.bucket, "k") is not None


def test_empty_sees_what_was_before_it_in_the_queue(bench: Bench) -> None:
    def several() -> str:
        bench.submit("a", sets(n=1), ccid="1")
        bench.submit("notes", None, ccid="empty", op="EMPTY")
        return bench.submit("b", sets(n=1), ccid="3")

    bench.entry(held(bench, several))
    outcome = bench.answer("empty")
    assert not isinstance(outcome, int)
    assert sorted(entry.key for entry in outcome) == ["a", "first"]
    assert [one.key for one in bench.storage.page(bench.bucket, "", 99, 9, 0)] == ["b"]
    del bench.answers["empty"]
    assert bench.answer(bench.submit("notes", None, ccid="empty", op="EMPTY")) == 409


@pytest.mark.parametrize(
    ("failure", "code"),
    [(StateError("no"), INTERNAL), (ValueError("odd"), INTERNAL), (StateFullError("the disk is full"), NO_SPACE)],
)
def test_a_failed_transaction_is_answered_and_the_next_one_works(bench: Bench, failure: Exception, code: int) -> None:
    before = bench.entry(bench.submit("a", sets(n=1), ccid="1"))
    bench.storage.failures.append(failure)
    assert bench.answer(bench.submit("b", sets(n=1), ccid="2")) == code
    assert bench.writer.failure
    after = bench.entry(bench.submit("b", sets(n=1), ccid="2b"))
    assert after.version == 1
    assert bench.writer.failure == ""
    # What the failed commit left, if anything, has another nonce than what comes after.
    old, new = (bench.writer.positions.text(bench.bucket, one.position)[:8] for one in (before, after))
    assert old != new


def test_a_commit_that_failed_but_is_in_the_database_is_not_written_over(bench: Bench) -> None:
    row = Row(1, bench.bucket, "lost", 1, True, "x", "c", None, b"{}", 0)
    bench.storage.failures.append(StateError("flush failed"))
    bench.answer(bench.submit("b", sets(n=1), ccid="2"))
    MemoryChanges.append(bench.storage, [row], [])
    assert bench.entry(bench.submit("c", sets(n=1), ccid="3")).position == 2


def test_what_is_queued_when_it_stops_is_still_written(bench: Bench) -> None:
    bench.storage.gate.clear()
    for number in range(10):
        bench.submit(f"k{number}", sets(n=1), ccid=f"x{number}")
    stopping = threading.Thread(target=bench.writer.stop)
    stopping.start()
    bench.storage.gate.set()
    stopping.join(DEADLINE)
    assert sum(bench.storage.appended) == 10
    bench.writer = Writer(bench.storage, bench._deliver, object_limit=1000)
    bench.writer.start()


def test_pruning_goes_step_by_step_until_nothing_is_left(bench: Bench) -> None:
    bench.entry(bench.submit("k", sets(n=1), ccid="1"))
    for version in range(2, 9):
        bench.entry(bench.submit("k", {"n": {"o": "r", "v": version}}, version - 1, str(version)))
    bench.writer.submit(Prune(2_000_000_000))
    bench.entry(bench.submit("z", sets(n=1), ccid="z"))
    bench.writer.stop()
    # 1 is of the form 10k+1, 6 to 8 are the newest three.
    assert bench.storage.floor(bench.bucket) == 5
    assert bench.storage.current(bench.bucket, "k") == (8, b'{"n":8}')
    bench.writer = Writer(bench.storage, bench._deliver, object_limit=1000)
    bench.writer.start()
