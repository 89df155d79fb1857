"""The bytes (or chunk rows) of contents on their way, so that what just came or was just read need not be had again."""

from collections import OrderedDict

from ssyncd.content.body import Body

ROW_COST = 120
"""About what a row of a chunk list takes in memory, in bytes."""


class Bodies:
    """By content hash; at most `limit` bytes, the least recently used go first. Of those that have served, for a file that is
    sent or staged, `served_limit` bytes are kept for others that hold the same."""

    def __init__(self, limit: int = 48 * 1024 * 1024, served_limit: int = 4 * 1024 * 1024) -> None:
        self._bodies: OrderedDict[str, Body] = OrderedDict()
        self._limit = limit
        self._served: dict[str, None] = {}
        self._served_limit = served_limit
        self._served_size = 0
        self.size = 0
        """Bytes of all that is kept."""

    def add(self, hash: str, body: Body) -> None:
        self.drop(hash)
        self._bodies[hash] = body
        self.size += _cost(body)
        while self.size > self._limit and len(self._bodies) > 1:
            self.drop(next(iter(self._bodies)))

    def served(self, hash: str) -> None:
        body = self._bodies.get(hash)
        if body is not None and hash not in self._served:
            self._served[hash] = None
            self._served_size += _cost(body)
        while self._served_size > self._served_limit:
            self.drop(next(iter(self._served)))

    def get(self, hash: str) -> Body | None:
        body = self._bodies.get(hash)
        if body is not None:
            self._bodies.move_to_end(hash)
        return body

    def clear(self) -> None:
        self._bodies.clear()
        self._served.clear()
        self.size = self._served_size = 0

    def drop(self, hash: str) -> None:
        body = self._bodies.pop(hash, None)
        if body is not None:
            self.size -= _cost(body)
            if hash in self._served:
                del self._served[hash]
                self._served_size -= _cost(body)


def _cost(body: Body) -> int:
    data, chunks, rows = body
    return (0 if data is None else len(data)) + ROW_COST * (1 + len(chunks) + len(rows))
