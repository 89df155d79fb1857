"""The client's side of one bucket: fed with messages and asked for them. No I/O, no clock, no chance.

    CLOSED --opened--> GREETING --auth--> CATCHING_UP --the answer to `cv`--> LIVE      (with a cursor)
                          |                    | `cv:?`
                          +------auth------> INDEXING -----the last page-----> LIVE      (without one)

Numbers in headings are those of the client's conformance list in the protocol notes.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from ssyncd.errors import ProtocolError
from ssyncd.protocol.events import CaughtUp, Event, Indexed, Reset, VersionArrived
from ssyncd.protocol.flight import Flight
from ssyncd.protocol.ghosts import GhostStore, Sent
from ssyncd.protocol.intake import Intake
from ssyncd.protocol.lean import lean_diff
from ssyncd.protocol.messages import (
    MODIFY,
    REMOVE,
    Authorized,
    ChangeError,
    Changes,
    ClientChange,
    Denied,
    Frame,
    IndexPage,
    IndexRequest,
    Init,
    Log,
    Notice,
    ServerChange,
    ServerMessage,
    Since,
    StateRequest,
    UnknownCv,
    VersionAnswer,
    VersionRequest,
    parse_server,
    valid_key,
)
from ssyncd.protocol.reporting import Reporting

# New starts of the index without getting live once, before it is taken for a server that contradicts itself.
_MOST_RESETS = 5


class State(Enum):
    CLOSED = auto()
    GREETING = auto()
    DENIED = auto()
    INDEXING = auto()
    CATCHING_UP = auto()
    LIVE = auto()


class _Listing(Struct):
    """An index on its way: the keys it named, the cv to go on from, and the changes that came meanwhile."""

    lean: bool = False
    keys: set[str] = field(default_factory=set)
    current: str | None = None
    mark: str = ""
    moved: bool = False
    queue: list[ServerChange] = field(default_factory=list)


class Channel:
    """One bucket on one connection after another. The owner calls everything from one thread.

    `whole` names members that the store may hold only in part; `window` is how many changes may be in flight; `page` how many
    objects to ask for at once while indexing. After any call take `outgoing()`. Wrap each call in one transaction of the store.
    """

    def __init__(
        self,
        init: Init,
        store: GhostStore,
        *,
        number: int = 0,
        whole: frozenset[str] = frozenset(),
        window: int = 100,
        page: int = 500,
    ) -> None:
        self.state = State.CLOSED
        self._init = init
        self._store = store
        self._number = number
        self._whole = whole
        self._window = window
        self._page = page
        self.knows_much: Callable[[], bool] = lambda: False
        """Whether the owner has so much of what an index tells that it should be lean."""
        self._out: list[str] = []
        self._flight = Flight(store, whole, self._say)
        self._intake = Intake(store, self._flight, whole, self._say)
        self._reporting = Reporting(init.bucket, store, self._out.append)
        self._asked: dict[tuple[str, int], None] = {}
        self._listing = _Listing()
        # What a shaky index did not list: deleted, if the changes since its start do not speak of it.
        self._unlisted: list[tuple[str, int]] = []
        self._resets = 0
        self._receivers: dict[type, Callable[[Any, list[Event]], None]] = {
            Authorized: self._receive_authorized,
            Denied: self._receive_denied,
            IndexPage: self._receive_page,
            VersionAnswer: self._receive_version,
            UnknownCv: self._receive_unknown_cv,
            Changes: self._receive_changes,
            StateRequest: lambda *_: self._reporting.dump(number, self.state.name.lower(), self._flight),
            Log: lambda message, _: self._reporting.choose(message),
            Notice: self._receive_notice,
        }

    # Asked

    @property
    def in_flight(self) -> int:
        return len(self._flight)

    @property
    def delayed(self) -> int:
        """How many of those in flight wait for `retry`."""
        return self._flight.delayed

    @property
    def awaits_objects(self) -> bool:
        """Whether there are some of which it is not known yet what they are: their versions are asked for."""
        return len(self._intake.held) > 0

    def busy(self, key: str) -> bool:
        """Whether a change of this key is in flight."""
        return key in self._flight

    def room(self) -> int:
        """How many changes may be submitted now; 0 unless live."""
        return max(0, self._window - len(self._flight)) if self.state is State.LIVE else 0

    def outgoing(self) -> list[str]:
        """Take the messages to send now, in order. What is taken is on the standing connection or lost with it."""
        messages = self._out[:]
        self._out.clear()
        return messages

    # Fed

    def opened(self, far: bool = True) -> None:
        """A new connection stands; messages are packed if its server is `far` and can have it so.

        What is asked first goes with the `init`, for the server to answer after `auth`: a round trip less.
        """
        self.closed()
        self.state = State.GREETING
        first = Since(self._store.cursor) if self._store.cursor else self._new_listing()
        command = first.text(self._number).partition(":")[2]
        self._say(replace(self._init, command=command, packed=self._init.packed and far))

    def closed(self) -> None:
        """The connection is gone."""
        self.state = State.CLOSED
        self._out.clear()
        self._unlisted.clear()
        self._listing = _Listing()
        self._resets = 0
        self._intake.forget()
        self._flight.cut()
        self._reporting.closed()

    def receive(self, message: Frame | ServerMessage) -> list[Event]:
        """What a message of this channel means. ProtocolError, with nothing changed, if it is malformed: reconnect."""
        events: list[Event] = []
        parsed = parse_server(message) if isinstance(message, Frame) else message
        receiver = self._receivers.get(type(parsed))
        if receiver is not None and self.state not in (State.CLOSED, State.DENIED):
            receiver(parsed, events)
            self._reporting.tell(events)
        return events

    def submit(self, key: str, diff: dict[str, Any] | None, source: int | None, ccid: str, keep: bool = True) -> None:
        """Send a change; `diff` None deletes, `source` None creates. With `keep` the payload is stored until it is answered.

        ValueError if the key is busy or invalid, or there is no room; ProtocolError if the diff is no JSON that can be sent.
        """
        if key in self._flight or self.room() < 1 or not valid_key(key):
            raise ValueError(f"{key[:80]!r} cannot be submitted: it is busy or no key, or there is no room")
        change = ClientChange(key, REMOVE if diff is None else MODIFY, ccid, source, diff)
        self._say(change)
        kept = lean_diff(diff, self._whole) if diff is not None and self._init.lean else None
        sent = Sent(ccid, key, source, change if keep else None, kept)
        self._flight.add(sent)
        self._reporting.sent(sent)

    def retry(self) -> None:
        """Send the delayed changes again, with their ccids."""
        self._flight.retry()

    def ask_version(self, key: str, version: int) -> None:
        """`VersionArrived` will tell; asked again on the next connection if this one breaks first."""
        if self.state is State.LIVE and (key, version) not in self._asked:
            self._say(VersionRequest(key, version))
        self._asked[key, version] = None

    def notify(self, key: str, data: dict[str, Any]) -> None:
        """Say what an object will be soon, if live and where the server hands that on."""
        if self.state is State.LIVE and self._init.notices:
            self._say(Notice(key, data))

    def reindex(self) -> list[Event]:
        """Compare everything with the server again, if live. Nothing in flight is given up."""
        events: list[Event] = []
        if self.state is State.LIVE:
            self._start_over(events)
            self._reporting.tell(events)
        return events

    def _say(self, message: Init | IndexRequest | VersionRequest | Since | ClientChange | Notice) -> None:
        self._out.append(message.text(self._number))

    # Opening (1, 2)

    def _receive_authorized(self, message: Authorized, events: list[Event]) -> None:
        if self.state is not State.GREETING:
            return
        events.append(message)
        self.state = State.CATCHING_UP if self._store.cursor else State.INDEXING

    def _receive_denied(self, message: Denied, events: list[Event]) -> None:
        self.closed()
        self.state = State.DENIED
        events.append(message)

    def _receive_unknown_cv(self, _message: UnknownCv, events: list[Event]) -> None:
        if self.state is State.CATCHING_UP:
            self._start_over(events)

    def _start_over(self, events: list[Event]) -> None:
        self._resets += 1
        if self._resets > _MOST_RESETS:
            self._receive_denied(Denied(500, "the server does not know what it just told"), events)
            return
        events.append(Reset())
        self._unlisted.clear()
        self._intake.start_over(events)
        self._flight.give_up_stale((), events)
        self._start_index()

    def _go_live(self, events: list[Event]) -> None:
        self.state = State.LIVE
        self._resets = 0
        for key, version in self._asked:
            self._say(VersionRequest(key, version))
        # Only now: what was not acknowledged in what came since is sent again (6).
        self._flight.resume(self._intake.held, events)
        events.append(CaughtUp())

    # The index (3)

    def _start_index(self) -> None:
        self.state = State.INDEXING
        self._say(self._new_listing())

    def _new_listing(self) -> IndexRequest:
        """Asks for its first page."""
        self._listing = _Listing(lean=self._init.lean and self.knows_much())
        return self._page_request("")

    def _page_request(self, mark: str) -> IndexRequest:
        return IndexRequest(data=True, mark=mark, limit=self._page, lean=self._listing.lean)

    def _receive_page(self, page: IndexPage, events: list[Event]) -> None:
        listing = self._listing
        if self.state is not State.INDEXING:
            return
        if page.mark is not None and page.mark == listing.mark:
            raise ProtocolError("an index that repeats its mark")
        # A server whose pages are not of one moment names a later cv on each. The first is the one that misses nothing.
        listing.moved = listing.moved or listing.current not in (None, page.current)
        listing.current = page.current if listing.current is None else listing.current
        for entry in page.entries:
            listing.keys.add(entry.key)
            self._intake.enter(entry, events)
        if page.mark is None:
            self._finish_index(listing, events)
        else:
            listing.mark = page.mark
            self._say(self._page_request(page.mark))

    def _finish_index(self, listing: _Listing, events: list[Event]) -> None:
        # What changed meanwhile may have jumped from a later page to one that was read already.
        listing.keys.update(change.key for change in listing.queue)
        unlisted = self._intake.unlisted(listing.keys)
        self._listing = _Listing()
        self._intake.latest = listing.current or ""
        if listing.moved:
            self.state = State.CATCHING_UP
            self._unlisted = unlisted
            self._say(Since(self._intake.latest))
        else:
            self._intake.bury(unlisted, events)
        for change in listing.queue:
            self._intake.take(change, events)
        if not listing.moved:
            self._intake.save_cursor()
            events.append(Indexed())
            self._go_live(events)

    # Changes (5 to 12)

    def _receive_changes(self, message: Changes, events: list[Event]) -> None:
        if self.state is State.GREETING:
            return
        for change in message.changes:
            if isinstance(change, ChangeError):
                self._receive_error(change, events)
            elif self.state is State.INDEXING:
                self._listing.queue.append(change)
            else:
                self._intake.take(change, events)
        if self.state is State.CATCHING_UP:
            self._catch_up(events)
        elif self.state is State.LIVE:
            self._intake.save_cursor()

    def _receive_error(self, error: ChangeError, events: list[Event]) -> None:
        stale = self._flight.answer(error, events)
        if stale is not None and self.state is State.LIVE:
            self._intake.reload(stale.key)
        elif stale is not None:
            # What is on its way tells what the server has.
            self._flight.give_up_stale((), events)

    def _catch_up(self, events: list[Event]) -> None:
        """The answer to `cv` is in."""
        after_index = not self._store.cursor
        self._intake.bury(self._unlisted, events)
        self._unlisted = []
        self._intake.save_cursor()
        if after_index:
            events.append(Indexed())
        self._go_live(events)

    def _receive_notice(self, notice: Notice, events: list[Event]) -> None:
        if self.state is State.LIVE:
            events.append(notice)

    def _receive_version(self, answer: VersionAnswer, events: list[Event]) -> None:
        if (answer.key, answer.version) in self._asked:
            del self._asked[answer.key, answer.version]
            events.append(VersionArrived(answer.key, answer.version, answer.data))
        if not self._intake.answer(answer, events):
            self._start_over(events)
        elif self.state is State.LIVE:
            self._flight.give_up_stale(self._intake.held, events)
            self._flight.resume(self._intake.held, events)
            self._intake.save_cursor()
