"""Tells the sessions of a bucket about accepted changes. Lives on the event loop.

Nobody is queued for: a feed holds the newest entries of a bucket's log in memory (the tail), a channel has only a position in the
log and reads on from there when its socket can take more, from the tail or, if that has moved on, from the database. So one slow
reader costs no memory and holds nobody up.
"""

import asyncio
import bisect
from collections.abc import Iterable
from typing import Protocol

from ssyncd.server.echoes import Echoes
from ssyncd.server.entries import Entry
from ssyncd.server.storage.base import ChangeStorage

# Most that one tail may hold, and all together: whoever is further behind reads from the database.
TAIL_BYTES = 8 * 1024 * 1024
HUB_BYTES = 64 * 1024 * 1024
# A tail is looked through for what everyone has read when it has grown by half, but not while it is this short.
SHORT_BYTES = 64 * 1024


class Listener(Protocol):
    """Something that reads a feed: a channel or a long poll."""

    position: int

    def wake(self) -> None:
        """There is more to read."""


class Feed:
    """One bucket: where its log stands, and the tail of it; `size` is the bytes in it."""

    def __init__(self, bucket: int, head: int) -> None:
        self.bucket = bucket
        self.head = head
        self.listeners: set[Listener] = set()
        self._tail: list[Entry] = []
        self._tail_from = head
        self.size = 0
        self._look_at = SHORT_BYTES
        self.echoes = Echoes()

    def append(self, entry: Entry) -> bool:
        """False for one that was in the database before this feed was opened."""
        if entry.position <= self.head:
            return False
        self.head = entry.position
        self._tail.append(entry)
        self.size += len(entry.text)
        if self.size > self._look_at:
            self.trim()
            if self.size > TAIL_BYTES:
                self.halve()
            self._look_at = max(SHORT_BYTES, self.size + self.size // 2)
        return True

    @property
    def tail_from(self) -> int:
        """The tail holds all that is after this position."""
        return self._tail_from

    def after(self, position: int, most: int) -> list[Entry] | None:
        """Entries after a position, up to about that many bytes; None if the tail does not reach back so far."""
        if position < self._tail_from:
            return None
        start = bisect.bisect_right(self._tail, position, key=_position)
        stop, size = start, 0
        while stop < len(self._tail) and (stop == start or size + len(self._tail[stop].text) <= most):
            size += len(self._tail[stop].text)
            stop += 1
        return self._tail[start:stop]

    def trim(self) -> None:
        """Forget what every listener has read."""
        slowest = min((listener.position for listener in self.listeners), default=self.head)
        self._drop(bisect.bisect_right(self._tail, slowest, key=_position))

    def halve(self) -> None:
        self._drop((len(self._tail) + 1) // 2)

    def _drop(self, count: int) -> None:
        if count:
            self._tail_from = self._tail[count - 1].position
            self.size -= sum(len(entry.text) for entry in self._tail[:count])
            del self._tail[:count]


def _position(entry: Entry) -> int:
    return entry.position


def _size(feed: Feed) -> int:
    return feed.size


class Hub:
    def __init__(self, storage: ChangeStorage) -> None:
        self._storage = storage
        self._feeds: dict[int, Feed] = {}
        self._fresh = 0  # bytes since the tails were added up
        self._watchers: set[Listener] = set()
        self.closing = False

    def watch(self, listener: Listener) -> None:
        """Wake it after every change of any bucket."""
        self._watchers.add(listener)

    def unwatch(self, listener: Listener) -> None:
        self._watchers.discard(listener)

    def join(self, bucket: int, listener: Listener) -> Feed:
        """The feed of a bucket, which from now on wakes the listener."""
        feed = self._feeds.get(bucket)
        if feed is None:
            feed = self._feeds[bucket] = Feed(bucket, self._storage.head(bucket))
        feed.listeners.add(listener)
        return feed

    def has_listeners(self, bucket: int) -> bool:
        feed = self._feeds.get(bucket)
        return feed is not None and bool(feed.listeners)

    def leave(self, feed: Feed, listener: Listener) -> None:
        """The feed stays until `trim`, so that a client that comes right back finds its echoes counted."""
        feed.listeners.discard(listener)

    def publish(self, entries: Iterable[Entry]) -> None:
        touched: set[Feed] = set()
        for entry in entries:
            feed = self._feeds.get(entry.bucket)
            if feed is not None and feed.append(entry):
                touched.add(feed)
                self._fresh += len(entry.text)
        for feed in touched:
            for listener in feed.listeners:
                listener.wake()
        for listener in self._watchers:
            listener.wake()
        if self._fresh > HUB_BYTES // 8:
            self._bound()

    def _bound(self) -> None:
        """The longest tails give way until all are within HUB_BYTES again."""
        self._fresh = 0
        feeds = sorted(self._feeds.values(), key=_size)
        total = sum(feed.size for feed in feeds)
        while feeds and total > HUB_BYTES:
            longest = feeds.pop()
            before = longest.size
            longest.halve()
            total -= before - longest.size

    def wake_all(self) -> None:
        """The server is going away: nobody is to wait any longer."""
        self.closing = True
        for listener in self._watchers:
            listener.wake()
        for feed in self._feeds.values():
            for listener in feed.listeners:
                listener.wake()

    def trim(self) -> None:
        """Now and then: forget what is not needed."""
        for feed in list(self._feeds.values()):
            feed.trim()
            if not feed.listeners and not feed.echoes:
                del self._feeds[feed.bucket]


class Waiter:
    """A listener that only waits; for long polls."""

    def __init__(self, position: int) -> None:
        self.position = position
        self._more = asyncio.Event()

    def wake(self) -> None:
        self._more.set()

    async def again(self) -> None:
        """Returns after the next `wake`, or at once if there was one since the last time."""
        await self._more.wait()
        self._more.clear()

    async def wait(self, timeout: float) -> bool:
        """Whether something came in time (seconds)."""
        try:
            async with asyncio.timeout(timeout):
                await self.again()
        except TimeoutError:
            return False
        return True
