"""One bucket on one socket, as the client sees it (section 3 of the notes, the ordering rule)."""

from collections import deque
from collections.abc import Callable
from enum import Enum, auto

from ssyncd.protocol.changes import REMOVE, ClientChange
from ssyncd.protocol.messages import Init
from ssyncd.server.echoes import LIBRARY
from ssyncd.server.entries import Entry
from ssyncd.server.hub import Feed, Hub
from ssyncd.server.storage.base import Token
from ssyncd.server.writer import Outcome

NOWHERE = 2**62
# Kept for a client that reads slowly: older ones are dropped, and what is longer than any of ours is (characters).
NOTICES = 16
LONGEST_NOTICE = 256 * 1024


class State(Enum):
    """NEW: only answers and the channel's own acknowledgements. PAGING: pages as of `position`, nothing from the log.
    LIVE: every change after `position`, once, in the log's order."""

    NEW = auto()
    PAGING = auto()
    LIVE = auto()


class Channel:
    """Reads the feed of its bucket from `position` on; `due`: a `c` list is owed even if it is empty."""

    def __init__(self, number: int, init: Init, token: Token, bucket: int, wake: Callable[[], None]) -> None:
        self.number = number
        self.init = init
        self.token = token
        self.bucket = bucket
        self.wake = wake
        self.state = State.NEW
        self.position = NOWHERE
        self.due = False
        self.outstanding = 0
        self.private: list[bytes] = []
        self.notices: deque[str] = deque(maxlen=NOTICES)
        self._held: list[Entry] = []
        self._echoing = init.library == LIBRARY
        self._hub: Hub | None = None
        self.feed = Feed(bucket, 0)

    def join(self, hub: Hub) -> None:
        self._hub = hub
        self.feed = hub.join(self.bucket, self)
        # A NEW channel reads nothing, so it keeps nothing in the feed's tail.
        self.position = NOWHERE

    def leave(self) -> None:
        """What comes for it from now on is dropped."""
        if self._hub is not None:
            self._hub.leave(self.feed, self)
            self._hub = None

    @property
    def open(self) -> bool:
        return self._hub is not None

    def is_echo(self, change: ClientChange) -> bool:
        return (
            self._echoing
            and change.op == REMOVE
            and change.source is None
            and self.feed.echoes.heard(self.init.client, change.key)
        )

    def answered(self, outcome: Outcome, refusal: Callable[[int], bytes]) -> None:
        """What became of one of the channel's own changes. In a LIVE channel an acceptance is told by the log."""
        self.outstanding -= 1
        if isinstance(outcome, int):
            self.private.append(refusal(outcome))
        elif self.state is State.NEW:
            self.private += [entry.text for entry in outcome]
        elif self.state is State.PAGING:
            self._held += outcome

    def hand_on(self, notice: str) -> None:
        """To the other clients of the bucket that want notices."""
        if not self.init.notices or len(notice) > LONGEST_NOTICE:
            return
        for listener in self.feed.listeners:
            if isinstance(listener, Channel) and listener is not self and listener.init.notices:
                listener.notices.append(notice)
                listener.wake()

    def start_paging(self) -> None:
        """From the beginning: as of now, or as of what a LIVE channel was told last."""
        if self.state is not State.LIVE:
            self.position = self.feed.head
        self._release()
        self.state = State.PAGING

    def resume_paging(self, position: int) -> None:
        """With a mark, which may be from before this channel was opened."""
        self.position = position
        self.state = State.PAGING

    def go_live(self, position: int, *, due: bool) -> None:
        # A LIVE channel was told everything up to its position: never again (Server MUST 18).
        self.position = max(position, self.position) if self.state is State.LIVE else position
        self._release()
        self.state = State.LIVE
        self.due = due

    def _release(self) -> None:
        """Acknowledgements held while paging, which the log after `position` does not tell."""
        self.private += [entry.text for entry in self._held if entry.position <= self.position]
        self._held.clear()

    def told(self, entries: list[Entry]) -> None:
        """These were sent; notes the removals that Node will send back."""
        self.due = False
        if entries:
            self.position = entries[-1].position
        if self._echoing:
            for entry in entries:
                if entry.removed and entry.client != self.init.client:
                    self.feed.echoes.told(self.init.client, entry.key)
