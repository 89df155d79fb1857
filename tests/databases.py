"""The state of a folder in memory."""

import weakref

from ssyncd.state.database import Database


class MemoryDatabase(Database):
    """Closed when nobody has it any more."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        weakref.finalize(self, self._db.close)
