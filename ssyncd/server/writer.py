"""The one thread that changes the database: accepts what is queued, group by group.

Everything that has come in while the last group was being written is the next group: one look-up, one pass of acceptance, one
transaction, one flush of the disk. Nobody hears of a change before it is durable (Server MUST 36).
"""

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from ssyncd.errors import SsyncdError, StateError, StateFullError
from ssyncd.protocol.changes import EMPTY, REMOVE, ClientChange
from ssyncd.protocol.encoding import dumps_stored, loads
from ssyncd.server import acceptance
from ssyncd.server.acceptance import DUPLICATE, NO_EFFECT, Accepted, Data, Object
from ssyncd.server.entries import Entry, encode
from ssyncd.server.positions import NONCE_BYTES, Positions
from ssyncd.server.storage.base import ChangeStorage, Head, Row, Settled
from ssyncd.threads import begin

log = logging.getLogger(__name__)

INTERNAL = 500
NO_SPACE = 507
GROUP_MOST = 2000
PRUNE_STEP = 500

# What became of one change: its entries (several for an `EMPTY`), or the code of its refusal.
Outcome = Sequence[Entry] | int


class Submission(Struct):
    """A client's change on its way. `echo`: a removal that only repeats one the client was told of, to be answered 412. `size`:
    what it was counted for, in bytes.

    `done` is called by whoever gets the group's outcome, on the event loop.
    """

    bucket: int
    client: str
    change: ClientChange
    done: Callable[[Outcome], None]
    echo: bool = False
    size: int = 0


class Group(Struct, frozen=True):
    """What one transaction did, oldest first."""

    entries: list[Entry]
    outcomes: list[tuple[Submission, Outcome]]


class Prune(Struct, frozen=True):
    """A chore: forget the log from before a time, and all that was replaced before another, if there is one, in steps, as long as
    nothing else is to do."""

    before: int
    replaced_before: int | None = None


class Writer:
    """Owns the writing side of the storage. `deliver` is called on its thread with every group that is durable."""

    def __init__(
        self,
        storage: ChangeStorage,
        deliver: Callable[[Group], None],
        *,
        object_limit: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._deliver = deliver
        self._limit = object_limit
        self._now = now
        self._queue: queue.SimpleQueue[Submission | Prune | None] = queue.SimpleQueue()
        self._end = 0
        self.positions = Positions([])
        self.failure: str = ""
        self._start_run()
        self._thread = threading.Thread(target=self._run, name="ssyncd-writer")

    def _start_run(self) -> None:
        self._end = self._storage.start_run(secrets.token_hex(NONCE_BYTES))
        self.positions = Positions(self._storage.runs())

    def start(self) -> None:
        begin(self._thread)

    def submit(self, item: Submission | Prune) -> None:
        """From any thread; never blocks."""
        self._queue.put(item)

    def stop(self) -> None:
        """What is queued is still written. Returns when the thread has ended."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            items, more = self._take()
            submissions = [item for item in items if isinstance(item, Submission)]
            for group in _parts(submissions):
                self._write(group)
            if not more:
                return
            for item in items:
                if isinstance(item, Prune):
                    self._prune(item)

    def _take(self) -> tuple[list[Submission | Prune], bool]:
        """What is queued, waiting for the first; and whether there may be more."""
        items: list[Submission | Prune] = []
        item = self._queue.get()
        while item is not None:
            items.append(item)
            if len(items) == GROUP_MOST:
                return items, True
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return items, True
        return items, False

    def _write(self, submissions: list[Submission]) -> None:
        try:
            if self.failure:
                # A commit that failed may be in the database or not: whatever is there belongs to the run that ended.
                self._start_run()
            work = _Work(self._storage, self.positions, self._end, int(self._now()), self._limit)
            work.run(submissions)
            if work.rows or work.settled:
                self._storage.append(work.rows, work.settled)
        except SsyncdError as error:
            self._failed(submissions, error)
        except Exception as error:  # top of the thread: one odd change must not end it
            log.exception("a group of %d changes", len(submissions))
            self._failed(submissions, error)
        else:
            self._end += len(work.rows)
            self.failure = ""
            self._deliver(Group(work.entries, work.outcomes))

    def _failed(self, submissions: list[Submission], error: Exception) -> None:
        log.warning("%d changes could not be stored: %s", len(submissions), error)
        self.failure = str(error) or type(error).__name__
        code = NO_SPACE if isinstance(error, StateFullError) else INTERNAL
        self._deliver(Group([], [(submission, code) for submission in submissions]))

    def _prune(self, chore: Prune) -> None:
        try:
            looked = self._storage.prune(chore.before, PRUNE_STEP)
            if chore.replaced_before is not None:
                looked += self._storage.forget(chore.replaced_before, PRUNE_STEP)
        except StateError as error:
            log.warning("forgetting old changes: %s", error)
            return
        if looked:
            self._queue.put(chore)


def _parts(submissions: list[Submission]) -> list[list[Submission]]:
    """An `EMPTY` needs what is before it in the database: it makes a group of its own."""
    parts: list[list[Submission]] = []
    for submission in submissions:
        alone = submission.change.op == EMPTY
        if alone or not parts or parts[-1][-1].change.op == EMPTY:
            parts.append([])
        parts[-1].append(submission)
    return parts


class _Work:
    """One group on its way through acceptance: what is to be stored and told."""

    def __init__(self, storage: ChangeStorage, positions: Positions, end: int, at: int, limit: int) -> None:
        self._storage = storage
        self._positions = positions
        self._end = end
        self._at = at
        self._limit = limit
        # As things are after the part of the group that is done, by bucket and key.
        self._heads: dict[tuple[int, str], Head] = {}
        self._fresh: dict[tuple[int, str, int], Data] = {}
        self._ccids: set[tuple[int, str]] = set()
        self.rows: list[Row] = []
        self.settled: list[Settled] = []
        self.entries: list[Entry] = []
        self.outcomes: list[tuple[Submission, Outcome]] = []

    def run(self, submissions: list[Submission]) -> None:
        self._load(submissions)
        for submission in submissions:
            self.outcomes.append((submission, self._judge(submission)))

    def _load(self, submissions: list[Submission]) -> None:
        keys: dict[int, set[str]] = {}
        ccids: dict[int, set[str]] = {}
        for submission in submissions:
            keys.setdefault(submission.bucket, set()).add(submission.change.key)
            ccids.setdefault(submission.bucket, set()).add(submission.change.ccid)
        self._heads = self._storage.heads(keys)
        self._ccids = self._storage.known_ccids(ccids)

    def _judge(self, submission: Submission) -> Outcome:
        change = submission.change
        if (submission.bucket, change.ccid) in self._ccids:
            return DUPLICATE
        if submission.echo:
            outcome: Outcome = NO_EFFECT
        elif change.op == EMPTY:
            outcome = self._empty(submission) or NO_EFFECT
        else:
            outcome = self._apply(submission, change)
        if not isinstance(outcome, int) or outcome == NO_EFFECT:
            self._ccids.add((submission.bucket, change.ccid))
        if outcome == NO_EFFECT:
            self.settled.append(Settled(submission.bucket, change.ccid, self._at))
        return outcome

    def _apply(self, submission: Submission, change: ClientChange) -> Outcome:
        known = self._known(submission.bucket, change.key)
        accepted = acceptance.accept(change, known, self._limit)
        return accepted if isinstance(accepted, int) else [self._store(submission, change, accepted)]

    def _known(self, number: int, key: str) -> Object:
        head = self._heads.get((number, key))
        if head is None:
            return acceptance.NOTHING

        def data_of(version: int) -> Data | None:
            fresh = self._fresh.get((number, key, version))
            if fresh is not None:
                return fresh
            stored = head.data if version == head.version else self._storage.version(number, key, version)
            return None if stored is None else _object(stored)

        return Object(head.version, head.live, data_of)

    def _store(self, submission: Submission, change: ClientChange, accepted: Accepted) -> Entry:
        position = self._end + len(self.rows) + 1
        live = accepted.data is not None
        row = Row(
            position,
            submission.bucket,
            change.key,
            accepted.version,
            live,
            submission.client,
            change.ccid,
            None if accepted.diff is None else dumps_stored(accepted.diff),
            accepted.encoded,
            self._at,
        )
        entry = encode(row, self._positions, accepted)
        self._heads[submission.bucket, change.key] = Head(accepted.version, live, position, accepted.encoded)
        if accepted.data is not None:
            self._fresh[submission.bucket, change.key, accepted.version] = accepted.data
        self.rows.append(row)
        self.entries.append(entry)
        return entry

    def _empty(self, submission: Submission) -> list[Entry]:
        """`EMPTY`: described nowhere; carried out as one removal per object."""
        entries: list[Entry] = []
        after = ""
        while page := self._storage.page(submission.bucket, after, self._end, GROUP_MOST, 0):
            after = page[-1].key
            self._heads |= self._storage.heads({submission.bucket: [one.key for one in page]})
            for one in page:
                removal = ClientChange(one.key, REMOVE, submission.change.ccid)
                outcome = self._apply(submission, removal)
                entries += [] if isinstance(outcome, int) else outcome
        return entries


def _object(encoded: bytes) -> dict[str, Any]:
    data: dict[str, Any] = loads(encoded)
    return data
