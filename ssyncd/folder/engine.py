"""One folder's control: what comes in changes the trees, the trees make a plan, the plan is carried out. No thread, no waiting.

`handle` takes one value from the inbox; `work` does one round and tells when the next is due. Whoever calls them (a thread,
a simulation) calls them one after another.
"""

import logging
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from msgspec import Struct, field

from ssyncd.disk.base import Disk
from ssyncd.errors import (
    DiskError,
    NetworkError,
    SignInError,
    SsyncdError,
    StateCorruptError,
    StateError,
)
from ssyncd.folder.agenda import Agenda
from ssyncd.folder.apply import Applier
from ssyncd.folder.bodies import Bodies
from ssyncd.folder.doubts import Doubts
from ssyncd.folder.entries import WHOLE, is_plea
from ssyncd.folder.graves import Graves
from ssyncd.folder.holds import Holds
from ssyncd.folder.local import Local
from ssyncd.folder.merging import tag
from ssyncd.folder.notices import Notices
from ssyncd.folder.outside import keep_inside
from ssyncd.folder.overtaken import Overtaken
from ssyncd.folder.pleas import Pleas
from ssyncd.folder.quiet import Quiet
from ssyncd.folder.record import Record
from ssyncd.folder.remote import Remote
from ssyncd.folder.send import Sender
from ssyncd.folder.settings import Clock, Direction, FolderSettings
from ssyncd.folder.states import identify
from ssyncd.folder.supply import Supply
from ssyncd.folder.unheard import Unheard
from ssyncd.folder.verdicts import Verdicts
from ssyncd.library.line import Line
from ssyncd.network.base import Closed, Connection, Happening, Opened, Received
from ssyncd.planner.plan import Plan, Rekey, Remove
from ssyncd.planner.planner import plan
from ssyncd.protocol import events
from ssyncd.protocol.channel import Channel
from ssyncd.protocol.messages import Authorized, Denied, Init, Notice
from ssyncd.transfer import Fetched, FetchJob, JobFailed, ReadDone, ReadJob, Transfers, Uploaded, UploadJob

log = logging.getLogger(__name__)

BATCH = 2000
"""Keys planned in one round, so that a round stays short."""
MUCH_MEMORY = 4 * 1024 * 1024
"""Bytes of contents on their way that are not kept for longer than they are wanted, and then given back to the system."""
MUCH = 100
"""Entries here from which on an index is asked for without the bytes of files: those that lack are fetched one by one."""


class Edge(Struct, frozen=True):
    """What the engine stands on, all handed in."""

    disk: Disk
    connection: Connection
    transfers: Transfers
    random_key: Callable[[], str]
    clock: Clock = field(default_factory=Clock)
    boot: str = ""
    """Names this run of the operating system; "" where it has no name."""


def knows_much(local: Local) -> bool:
    """Whether there are MUCH, as far as is known: who has few has soon seen them all, and the first look is over."""
    return local.scanner.first or len(local.record.local) >= MUCH


class Engine:
    """`record` holds the trees. After `failure` is set (signed out) nothing more happens."""

    def __init__(self, settings: FolderSettings, edge: Edge, record: Record, init: Init, window: int) -> None:
        self.settings = settings
        self.edge = edge
        self.record = record
        self.agenda = Agenda()
        self._moved_on = False
        self.paused = False
        self.failure: SsyncdError | None = None
        self.waiting: dict[str, str] = {}
        self.channel = Channel(init, record, whole=WHOLE, window=window)
        self.line = Line(settings.name, self.channel, edge.connection, edge.clock.monotonic)
        bodies = self.bodies = Bodies()
        self.local = Local(record, edge.disk, edge.transfers, bodies, self.agenda, settings)
        self.channel.knows_much = partial(knows_much, self.local)
        self.remote = Remote(record, bodies, self.agenda)
        self.supply = Supply(record, edge.disk, edge.transfers, bodies, self.channel.ask_version)
        self.applier = Applier(record, edge.disk, self.local, self.supply, self.agenda)
        self.sender = Sender(record, edge.disk, edge.transfers, bodies, self.agenda, self.channel)
        self.quiet = Quiet(record, self.supply)
        self.overtaken = Overtaken(self.applier, self.channel.ask_version)
        self.doubts = Doubts(record, self.channel.ask_version)
        self.pleas = Pleas(record, bodies, self.channel, edge.transfers, settings)
        self.notices = Notices(record, edge.disk, self.supply, self.channel, self.local.exclusion)
        self.graves = Graves(record, self.applier.rekey)
        self.holds = Holds(record, settings)
        self.unheard = Unheard(record, self.line)
        self._hand_in()
        self._handlers: dict[type, Callable[[Any], None]] = self._make_handlers()

    def _hand_in(self) -> None:
        self.local.clock = self.local.certainty.clock = self.edge.clock
        self.sender.clock = self.pleas.clock = self.notices.clock = self.edge.clock
        self.local.scanner.wall, self.local.scanner.stamp = self.edge.clock.wall, self.edge.clock.stamp
        self.sender.begun, self.edge.transfers.early_uploads.may_send = self.notices.give, self._may_send
        self.holds.judged, self.notices.deletions_come = self.notices.give_deletions, self.holds.expect
        self.local.random_key = self.sender.random_key = self.pleas.random_key = self.edge.random_key
        self.remote.unseen = self.local.scanner.is_unseen
        self.local.found, self.local.is_live = self.pleas.found, lambda: self.line.live
        self.sender.read_again = self.pleas.read_again = self.local.read_again
        self.sender.device, self.sender.make_durable = self.settings.device, partial(self.commit, True)

    def _make_handlers(self) -> dict[type, Callable[[Any], None]]:
        verdicts = Verdicts(self.record, self.agenda, self.edge.clock)
        return {
            **dict.fromkeys((Opened, Received, Closed), self._happened),
            list: self.local.hint,
            ReadDone: self.local.read_done,
            Uploaded: self._uploaded,
            Fetched: self._fetched,
            JobFailed: self._job_failed,
            **dict.fromkeys((Authorized, Denied), lambda _: None),
            events.Updated: self._updated,
            events.Indexed: self._indexed,
            events.CaughtUp: self._caught_up,
            events.Settled: verdicts.settled,
            events.Unanswered: lambda event: self.agenda.touch(event.sent.key),
            events.Refused: verdicts.refused,
            events.Delayed: lambda event: self.agenda.touch(event.sent.key),
            events.VersionArrived: self._version_arrived,
            Notice: self.notices.heard,
            events.Reset: lambda _: log.warning("the server does not know where we left off: comparing everything"),
        }

    def begin(self) -> None:
        """Look at the whole folder. RootError if this is not the folder that the trees tell of."""
        identify(self.record, self.edge.disk.identity, self.settings)
        if self.record.meta.get("boot", "") != self.edge.boot and not self.record.ledger.doubt():
            # Noted only once nothing is in doubt: another restart must not end the doubt before it is answered.
            self.record.set_meta("boot", self.edge.boot)
        self.agenda.look_below("", "start")
        self.agenda.touch_all(self.record.unsettled(self.record.base.held | self.record.remote.held))

    def handle(self, item: Any) -> None:
        """Take in one value from outside."""
        self._handlers[type(item)](item)

    def work(self) -> float | None:
        """One round. Seconds until the next is due: 0 at once, None when something comes in. RootError: the folder is gone;
        StateCorruptError: what it remembers is."""
        now, self.record.heard = self.edge.clock.monotonic(), self.edge.clock.wall() - self.edge.disk.grain
        self.agenda.due(now)
        self.agenda.touch_all(self.holds.take_due(now))
        self.line.due()
        if not self.paused:
            if not self.agenda.empty or self.local.looks_on:
                # What is missing with its whole folder is not deleted (design section 4, "Holds").
                self.edge.disk.check_root()
            self._moved_on |= self.local.look()
            if not self._throttled():
                self._moved_on |= self.local.read()
            self._plan(now)
            self.notices.go_on()
            if self.line.live and self.agenda.empty and not self.local.unread:
                self.graves.end()
        if self.line.connected:
            self._send()
        if resting := self._is_at_rest():
            self.holds.settle()
        self._let_go(resting)
        self.commit()
        self.line.send(self.line.outgoing())
        return self._until_next(self.quiet.tidy_up(resting, self.edge.clock.monotonic()))

    # From the connection.

    def _happened(self, happening: Happening) -> None:
        try:
            self.line.take(happening, self._hear)
        except SignInError as error:
            self.failure = error
        if isinstance(happening, Closed):
            self.supply.cut(happening.lost)
            self.sender.forget_uploads()
            self.agenda.touch_all(self.unheard.cut())

    def _hear(self, told: list[events.Event]) -> None:
        for event in told:
            self._handlers[type(event)](event)

    def _updated(self, event: events.Updated) -> None:
        if is_plea(event.key):
            self._retry(self.pleas.changed(event.key))
            return
        self.pleas.entry_changed(event.key)
        self.remote.updated(event)
        if not event.cv:
            self.doubts.listed(event)

    def _retry(self, keys: Iterable[str]) -> None:
        """Contents that are wanted under these keys, or tags, may be had now."""
        for key in keys:
            self.agenda.touch_all((key, tag(key)))
            self.overtaken.retry()

    def _indexed(self, _: events.Indexed) -> None:
        self.unheard.listed()
        for tree in (self.record.remote, self.record.local):
            self.agenda.touch_all(key for key in self.record.unsettled(tree.held) if not self.local.is_new(key))

    def _caught_up(self, _: events.CaughtUp) -> None:
        self.pleas.caught_up()
        self.agenda.retry_all()
        self.overtaken.retry()
        self.agenda.touch_all(self.sender.pending)

    def _version_arrived(self, event: events.VersionArrived) -> None:
        if event.data is not None:
            self.remote.keep_body(event.key, event.data)
        self.supply.answered(event.key, tag(event.key))
        told = self.overtaken.arrived(event) or self.doubts.arrived(event) or self.applier.merging.arrived(event)
        if not told and event.data is None:
            self.agenda.failed(event.key, "the server has lost this version", self.edge.clock.monotonic(), 5.0)
        self.agenda.touch(event.key)

    # From the transfers.

    def _uploaded(self, done: Uploaded) -> None:
        self.quiet.swollen |= done.job.content.size > MUCH_MEMORY
        self.sender.uploaded(done.job.key, done.job.content.hash)
        self.pleas.sent(done.job)
        self.agenda.touch(done.job.key)

    def _fetched(self, done: Fetched) -> None:
        self.quiet.swollen |= done.job.content.size > MUCH_MEMORY
        self.pleas.arrived(done.job.content.hash)
        if self.supply.fetched(done):
            self.agenda.touch_all((done.job.key, tag(done.job.key)))
            self.overtaken.fetched(done.job.key)
        elif done.job.ahead:
            self.notices.ended(done.job)

    def _job_failed(self, failed: JobFailed) -> None:
        job, error, now = failed.job, failed.error, self.edge.clock.monotonic()
        if isinstance(job, ReadJob):
            self.local.read_failed(job.key, job.path, error)
            return
        if isinstance(job, FetchJob) and job.ahead:
            self._retry(self.notices.failed(job))
            return
        if isinstance(job, UploadJob):
            self.sender.upload_failed(job.key)
            if isinstance(error, DiskError):
                self.local.look_at(job.key)
        elif isinstance(job, FetchJob):
            self.supply.fetch_failed(job.key)
            if self.applier.merging.missed(job, error):
                self.agenda.failed(tag(job.key), str(error), now)
                return
        wait = error.retry_after or 0.0 if isinstance(error, NetworkError) else 0.0
        reason = self.pleas.missed(job, error)
        if not self.overtaken.missed(job.key, reason):
            self.agenda.failed(job.key, reason, now, wait)

    # One round.

    def _throttled(self) -> bool:
        return len(self.sender.pending) + len(self.unheard) > 4 * self.channel.room() + BATCH

    def _plan(self, now: float) -> None:
        if self.agenda.keys:
            self._plan_keys(now)
        elif self.waiting and self._moved_on:
            # What they wait for may have come to pass.
            self._moved_on = False
            self.agenda.touch_all(key for key in self.waiting if self.remote.has_way_to(key))

    def _is_at_rest(self) -> bool:
        """Whether nothing is to be done, for now."""
        local, agenda = self.local, self.agenda
        if self.paused or local.unread or local.scanner.first or not agenda.empty or (self.waiting and self._moved_on):
            return False
        return agenda.next is None and self.holds.due == math.inf and self._all_sent()

    def _let_go(self, resting: bool) -> None:
        """Of contents that nothing is known to want any more: in a stream of small files that is all of them now and then."""
        much = self.bodies.size > MUCH_MEMORY
        if resting or (much and self.line.live and not self._wants_contents()):
            self.bodies.clear()
        self.quiet.swollen |= much

    def _wants_contents(self) -> bool:
        wanted = self.sender.pending or self.supply.pending or self.waiting or self.unheard
        return bool(wanted) or any(self.record.unsettled(self.agenda.keys))

    def _plan_keys(self, now: float) -> None:
        taken = set(self.agenda.take(BATCH))
        keys = self.unheard.keep({key for key in taken if not self.local.leaves_out(key)})
        keys -= (gathered := self.holds.gather(keys, now))
        self.agenda.touch_all(self.holds.replanned(taken - gathered))
        self.graves.match(keys)
        made = plan(self.record.trees(), keys, _Busy(self.channel, self.doubts), self.settings.device)
        keep_inside(made, self.record, self.local.exclusion)
        for key in taken:
            self.waiting.pop(key, None)
        self.waiting.update(made.waiting)
        self.holds.check(made, now)
        for key in made.agreed:
            self.record.agree(key)
        self.applier.forget_failures(taken)
        self.sender.replace(taken, made.sends)
        if any(isinstance(step, Rekey) for step in made.steps):
            self.agenda.touch_all(keys)  # such a plan holds nothing else
        self._apply(made)

    def _all_sent(self) -> bool:
        """Whether nothing that was planned can come back to be planned again: after a cut, all that was not answered does."""
        pulling = self.settings.direction is Direction.PULL
        return self.line.live and (pulling or not (self.sender.pending or self.channel.in_flight))

    def _apply(self, made: Plan) -> None:
        # First: after a crash, what is here just as the server had it is known as agreed. Of what is gone the server tells again.
        if not all(isinstance(step, Remove) for step in made.steps):
            self.commit()
        done = self.applier.apply(made.steps)
        self._moved_on |= bool(done or made.agreed)
        for step in done:
            # A step changes one facet; what is left to do or to send for the entry comes with the next plan.
            if step.key in self.sender.pending or any(self.record.unsettled((step.key,))):
                self.agenda.touch(step.key)

    def _send(self) -> None:
        self.overtaken.save()
        if self._may_send():
            self.sender.send()
            self.pleas.go_on()

    def _may_send(self) -> bool:
        return self.line.live and not self.paused and self.settings.direction is Direction.BOTH

    def commit(self, flush: bool = False) -> bool:
        """Write what changed, once what it says of the disk (`flush`: all of it) is durable. Whether that was done."""
        self.record.unflushed |= flush
        try:
            if self.record.unflushed:
                # What the base says must be on the disk before the base says it (design section 6): what we wrote, and what a
                # user wrote and the server has. Else what a power cut takes from this disk would look deleted.
                self.edge.disk.flush()
                self.record.unflushed = False
            self.record.commit()
        except StateCorruptError:
            raise  # nothing in it can be trusted any more: another takes its place
        except (DiskError, StateError) as error:
            self.line.break_off(str(error))  # nothing may be sent that is not in the ledger
            return False
        return True

    def _until_next(self, tidy: float | None) -> float | None:
        more = not self.agenda.empty or self.local.looks_on or bool(self.waiting and self._moved_on)
        if (more or (self.local.scanner.unread and not self._throttled())) and not self.paused:
            return 0.0
        plea = self.pleas.next if self._may_send() else None
        copy = self.overtaken.next if self.line.connected else None
        times = (self.agenda.next, self.line.next, self.notices.next, plea, copy, tidy, self.holds.due)
        next = min(time for time in times if time is not None)
        return None if next == math.inf else max(0.0, next - self.edge.clock.monotonic())


class _Busy:
    """The keys with a change in flight, and those in doubt, as a collection."""

    def __init__(self, channel: Channel, doubts: Doubts) -> None:
        self._channel = channel
        self._doubts = doubts

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and (self._channel.busy(key) or key in self._doubts)
