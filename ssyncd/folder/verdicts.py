"""What the server says of changes of ours that it did not take."""

import logging

from ssyncd.folder.agenda import Agenda
from ssyncd.folder.record import Record
from ssyncd.folder.settings import Clock
from ssyncd.protocol.events import Refused, Settled
from ssyncd.protocol.flight import NO_EFFECT

log = logging.getLogger(__name__)

REFUSALS = {
    400: "the server does not accept it",
    401: "the server does not allow it",
    413: "it is larger than the server accepts",
    507: "the server has no room for it: its disk is full, or the account has stored all it may",
}
LASTING = (400, 401, 413)
LONG_REFUSAL = 300.0


class Verdicts:
    """Puts them on the agenda."""

    def __init__(self, record: Record, agenda: Agenda, clock: Clock) -> None:
        self._record = record
        self._agenda = agenda
        self._clock = clock

    def settled(self, event: Settled) -> None:
        if event.code == NO_EFFECT:
            # Somebody else did the same. If the plan should still want it, then not at once, again and again.
            self._agenda.failed(event.sent.key, "the server sees no change in it", self._clock.monotonic())
        else:
            self._agenda.touch(event.sent.key)

    def refused(self, event: Refused) -> None:
        """The plan for this key starts again from what the server has; what it will never take is named."""
        now = self._clock.monotonic()
        reason = REFUSALS.get(event.code, f"the server refuses it with code {event.code}")
        self._agenda.failed(event.sent.key, reason, now, LONG_REFUSAL if event.code in LASTING else 0.0)
        if event.code in (404, 405, 440):
            ghost = self._record.ghosts.get(event.sent.key)
            log.info("change of %s refused with %d, we know %s", event.sent.key, event.code, ghost and ghost.version)
