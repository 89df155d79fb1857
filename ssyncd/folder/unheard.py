"""What is here, and not planned before the first index has told whether the server has it: else it would be planned twice."""

from ssyncd.folder.record import Record
from ssyncd.library.line import Line


class Unheard:
    """The keys of that. Where no connection stands nothing is kept: nobody knows when an index will come."""

    def __init__(self, record: Record, line: Line) -> None:
        self._record = record
        self._line = line
        self._listed = bool(record.cursor)
        self._keys: set[str] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def keep(self, keys: set[str]) -> set[str]:
        """Those of these keys that are to be planned now; the others are kept until the index is in."""
        if self._listed or not self._line.connected:
            return keys
        ghosts, base = self._record.ghosts, self._record.base
        kept = {key for key in keys if ghosts.get(key) is None and base.get(key) is None}
        self._keys |= kept
        return keys - kept

    def listed(self) -> None:
        """The index is in; whatever is not the same everywhere is planned now."""
        self._listed = True
        self._keys = set()

    def cut(self) -> set[str]:
        """The index will not come on this connection: what was kept."""
        kept, self._keys = self._keys, set()
        return kept
