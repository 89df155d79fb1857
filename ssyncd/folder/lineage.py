"""Is this folder as we left it, or was it put back from a backup (a copy, an image, a snapshot)?

A word in `.ssyncd/` changes at every start and now and then while there is something to do; the state knows the latest. A folder
with an older one lacks what came since, and nobody deleted that; what it has of that time is no edit. So it is taken for one
that joins: nothing is deleted or replaced elsewhere for its sake, what differs is kept beside. What the server's history tells
to be deleted since does not come back.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from ssyncd.errors import DiskError, RootError, StateError
from ssyncd.folder.record import Record
from ssyncd.folder.settings import Clock

log = logging.getLogger(__name__)

PERIOD = 600.0
"""Seconds between two words while something goes on; a backup younger than this may be taken for the folder itself."""

NONE = "-"


class Marked(Protocol):
    def mark(self) -> str:
        """DiskError."""

    def set_mark(self, word: str) -> None: ...


class Lineage:
    """`begin` before the first round, `go_on` after every one. `random_word` makes words."""

    def __init__(self, disk: Marked, record: Record, random_word: Callable[[], str], clock: Clock) -> None:
        self._disk = disk
        self._record = record
        self._random_word = random_word
        self._clock = clock
        self._changed_at = 0.0
        self._seen: str | None = None

    def begin(self, approved: bool = False) -> set[str]:
        """The keys to be planned again. `approved`: the user has said that the folder stands for itself as it is now.
        RootError if the folder does not tell its word now: that is not to have none."""
        known = self._record.meta.get("marks", "").split()
        try:
            found = self._disk.mark() or NONE
        except DiskError as error:
            raise RootError(str(error)) from error
        old = bool(known) and found not in known and not approved
        if old:
            log.warning("this folder was put back from a backup: nothing is deleted or replaced elsewhere for its sake")
            self._join()
        self._change(found)
        return set(self._record.base) if old else set()

    def go_on(self) -> None:
        if self._record.meta.get("seen") == self._seen:
            return
        if self._clock.monotonic() - self._changed_at >= PERIOD:
            try:
                found = self._disk.mark() or NONE
            except DiskError as error:
                log.debug("not marked anew: %s", error)
            else:
                self._change(found)

    def _join(self) -> None:
        """What it has is new here, but for what is just as it was when it was deleted."""
        record = self._record
        for key in list(record.base):
            record.drop_base(key)
        for row in record.ghosts.tombs():
            if row.entry is not None:
                record.set_base(row.entry)

    def _change(self, found: str) -> None:
        """The state knows the new word before the folder has it: whatever a crash leaves is known."""
        word = self._random_word()
        self._changed_at, self._seen = self._clock.monotonic(), self._record.meta.get("seen")
        try:
            self._record.set_meta("marks", f"{found} {word}")
            self._record.commit()
            self._disk.set_mark(word)
        except (DiskError, StateError) as error:
            log.debug("not marked anew: %s", error)
        else:
            self._record.set_meta("marks", word)  # written with whatever comes next
