"""What a channel tells the server of itself when it is asked (section 3 of the notes): its state (`index`), and a log (`log`).

Both are for whoever looks for a fault at the server. Keys, versions and ccids are told, never what is in an object.
"""

from collections.abc import Callable, Iterable
from itertools import islice

from ssyncd.protocol.events import CaughtUp, Delayed, Event, Indexed, Refused, Reset, Settled, Unanswered, Updated
from ssyncd.protocol.ghosts import GhostStore, Sent
from ssyncd.protocol.messages import Log, StateDump

MOST_LISTED = 10_000
"""Objects named in one dump, so that it is a message that every server takes."""
MOST_DUMPS = 10
"""Answers on one connection: a request of a few bytes must not be a way to fill the memory of whoever answers."""

# What is of interest also at the lower level of logging.
_NEWS: dict[type[Event], str] = {
    CaughtUp: "has caught up",
    Indexed: "has a complete index",
    Reset: "indexes anew",
}


class Reporting:
    """Of one bucket; `say` takes messages to send."""

    def __init__(self, bucket: str, store: GhostStore, say: Callable[[str], None]) -> None:
        self._bucket = bucket
        self._store = store
        self._say = say
        self._level = 0
        self._dumps = 0

    def closed(self) -> None:
        """The connection is gone, and with it whoever asked."""
        self._level = self._dumps = 0

    def choose(self, log: Log) -> None:
        """The server wants this much from now on."""
        self._level = log.level

    def dump(self, number: int, state: str, flying: Iterable[Sent]) -> None:
        """Tell the state of the channel with this number."""
        if self._dumps >= MOST_DUMPS:
            return
        self._dumps += 1
        live = [
            (key, ghost.version)
            for key in self._store.keys()  # noqa: SIM118 - no dict
            if (ghost := self._store.get(key)) is not None and ghost.data is not None
        ]
        pending = tuple((sent.key, sent.ccid, sent.source) for sent in flying)
        extra = {"state": state, "objects": len(live)}
        self._say(StateDump(self._store.cursor, tuple(islice(live, MOST_LISTED)), pending, extra).text(number))

    def sent(self, sent: Sent) -> None:
        if self._level > 1:
            self._log(f"{sent.key}: sent {sent.ccid}, made from version {sent.source or 0}")

    def tell(self, events: Iterable[Event]) -> None:
        """What has just happened, as far as the server wants to know."""
        if not self._level:
            return
        for event in events:
            line = self._line(event)
            if line:
                self._log(line)

    def _line(self, event: Event) -> str:
        if isinstance(event, Refused | Delayed):
            return f"{event.sent.key}: {event.sent.ccid} was answered by {event.code}"
        if self._level > 1 and isinstance(event, Updated):
            whose = f", which is {event.mine.ccid}" if event.mine else ""
            return f"{event.key}: version {event.after.version}{whose}"
        if self._level > 1 and isinstance(event, Settled | Unanswered):
            return f"{event.sent.key}: {event.sent.ccid} is over"
        return _NEWS.get(type(event), "")

    def _log(self, line: str) -> None:
        self._say(Log.of_line(self._bucket, line).text())
