"""What can wait until nobody waits for the folder."""

import logging
import math

from ssyncd.errors import DiskError
from ssyncd.folder.record import Record
from ssyncd.folder.supply import Supply
from ssyncd.tuning import give_memory_back

log = logging.getLogger(__name__)

QUIET = 0.5
"""Seconds without anything to do after which is tidied up."""
RESTED = 500
"""Files that are let rest at once."""


class Quiet:
    """`swollen`: there is memory to be given back to the system."""

    def __init__(self, record: Record, supply: Supply) -> None:
        self.swollen = False
        self._record = record
        self._supply = supply
        self._since = math.inf

    def tidy_up(self, resting: bool, now: float) -> float | None:
        """After each round; `resting`: nothing is to be done, for now. When to come again; None if there is no need."""
        record = self._record
        self._since = min(self._since, now) if resting else math.inf
        tidy = record.database.is_settled() and not (self.swollen or record.stirred or self._supply.untidy)
        if tidy or not resting:
            return None
        if self._since + QUIET > now:
            return self._since + QUIET
        record.database.settle()
        self._sweep()
        if record.let_rest(RESTED):
            self.swollen = True
            return now
        if self.swollen:
            record.shrink()
            give_memory_back()
            self.swollen = False
        return None

    def _sweep(self) -> None:
        if self._supply.untidy:
            try:
                self._supply.sweep()
            except DiskError as error:
                log.debug("something is left in .ssyncd: %s", error)
