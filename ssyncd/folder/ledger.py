"""Which changes are ours: the server's word of one of these is an acknowledgement, or an echo (design section 2)."""

from collections.abc import Iterable

from ssyncd.protocol.ghosts import Sent
from ssyncd.state.rows import SentRow


class Ledger:
    """What was sent and not answered yet, by ccid; `unwritten` is what of it the database does not say."""

    def __init__(self, rows: Iterable[SentRow]) -> None:
        self.unwritten: dict[str, SentRow | None] = {}
        self._sent = {row.ccid: row for row in rows}
        self._doubtful = set[str]()
        self._ahead = set[str]()

    def sent(self) -> Iterable[Sent]:
        return [Sent(row.ccid, row.key, row.source, None) for row in self._sent.values()]

    def add(self, sent: Sent) -> None:
        self._sent[sent.ccid] = self.unwritten[sent.ccid] = SentRow(sent.ccid, sent.key, sent.source)

    def remove(self, ccid: str) -> None:
        if self._sent.pop(ccid, None) is not None:
            self.unwritten[ccid] = None

    def add_ahead(self, ccid: str) -> None:
        """This change names a place where the entry is not on this disk yet: it mends the structure."""
        self._ahead.add(ccid)

    def take_ahead(self, ccid: str) -> bool:
        """Whether it was such a one; asked once."""
        was = ccid in self._ahead
        self._ahead.discard(ccid)
        return was

    def doubt(self) -> bool:
        """The system was started anew since these were sent: if that was a power cut, what we sent may not be on the disk any
        more, and what is there instead no user has written. Whether there is anything to doubt."""
        self._doubtful = set(self._sent)
        return bool(self._doubtful)

    def is_doubtful(self, ccid: str) -> bool:
        return ccid in self._doubtful
