"""The one way into a folder's control thread: a queue of values."""

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

ROOM = 4
"""How many received batches may wait before the connection's thread is made to wait: back-pressure down to the server."""


class Inbox:
    """Any thread puts, the control thread takes all there is at once."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._bulky = 0
        self._closed = False
        # Guards all of the above; nothing foreign is called while it is held.
        self._change = threading.Condition()

    def put(self, item: Any) -> bool:
        """Whether somebody will take it."""
        with self._change:
            if not self._closed:
                self._items.append((item, False))
                self._change.notify_all()
            return not self._closed

    def put_list(self, items: Sequence[Any]) -> None:
        """Several values as one item: a list."""
        self.put(list(items))

    def put_bulky(self, item: Any) -> None:
        """Waits while too many of this kind are here already, unless the inbox is closed."""
        with self._change:
            self._change.wait_for(lambda: self._bulky < ROOM or self._closed)
            if not self._closed:
                self._bulky += 1
                self._items.append((item, True))
                self._change.notify_all()

    def take(self, timeout: float | None) -> list[Any]:
        """All items, oldest first; waits for one at most `timeout` seconds (None: for ever)."""
        with self._change:
            if not self._items:
                self._change.wait_for(lambda: bool(self._items) or self._closed, timeout)
            items = [item for item, _ in self._items]
            self._items.clear()
            self._bulky = 0
            self._change.notify_all()
            return items

    def open_wide(self) -> None:
        """What waits to put bulky items is not wanted any more; from now on such items are taken again."""
        with self._change:
            self._items = deque((item, False) for item, bulky in self._items if not bulky)
            self._bulky = 0
            self._change.notify_all()

    def close(self) -> None:
        """Nothing more comes in: whoever waits to put goes on. What is here can still be taken."""
        with self._change:
            self._closed = True
            self._change.notify_all()
