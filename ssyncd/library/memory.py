"""What a program remembers of a bucket: the ghosts, what it sent, and its own edits that the server does not have yet."""

from collections.abc import Iterable

from msgspec import Struct, field
from msgspec.structs import replace

from ssyncd.library.values import Data
from ssyncd.protocol.ghosts import Ghost, Sent


class Edit(Struct, frozen=True):
    """What this program wants an object to be, beyond the ghost.

    `base` is what `wanted` was made from: with a `ccid`, the object as it will be once that change, which is in flight, is
    accepted; else the ghost's data. `first`, while the server has no object or an empty one: what every program begins with,
    and what `wanted` was made from. `refused` is the code of a refusal that ended the attempts, `tries` how many there were;
    `asked` how often it was asked whether what is empty still is.
    """

    base: Data
    wanted: Data
    ccid: str = ""
    refused: int = 0
    tries: int = 0
    first: Data = None
    asked: int = 0


class Writes(Struct):
    """What changed since it was stored last; None removes."""

    meta: dict[str, str] = field(default_factory=dict)
    ghosts: dict[str, Ghost] = field(default_factory=dict)
    sent: dict[str, Sent | None] = field(default_factory=dict)
    edits: dict[str, Edit | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any((self.meta, self.ghosts, self.sent, self.edits))


class Loaded(Struct):
    """What a state file holds."""

    meta: dict[str, str] = field(default_factory=dict)
    ghosts: dict[str, Ghost] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    edits: dict[str, Edit] = field(default_factory=dict)


class Memory:
    """A GhostStore with edits; `writes` is what a state file has not been told yet."""

    def __init__(self, loaded: Loaded | None = None) -> None:
        loaded = loaded or Loaded()
        self.writes = Writes()
        self._cursor = loaded.meta.get("cursor", "")
        self._ghosts = loaded.ghosts
        self._sent = {sent.ccid: sent for sent in loaded.sent}
        self._edits = loaded.edits
        for key, edit in self._edits.items():
            if edit.ccid and edit.ccid not in self._sent:
                self._edits[key] = replace(edit, ccid="", base=self.ghost_data(key))

    # Edits

    def edits(self) -> Iterable[tuple[str, Edit]]:
        return self._edits.items()

    @property
    def edited(self) -> int:
        return len(self._edits)

    def edit(self, key: str) -> Edit | None:
        return self._edits.get(key)

    def put_edit(self, key: str, edit: Edit | None) -> None:
        if edit is not None:
            self._edits[key] = edit
        elif self._edits.pop(key, None) is None:
            return
        self.writes.edits[key] = edit

    def ghost_data(self, key: str) -> Data:
        ghost = self._ghosts.get(key)
        return None if ghost is None else ghost.data

    # GhostStore

    @property
    def cursor(self) -> str:
        return self._cursor

    @cursor.setter
    def cursor(self, value: str) -> None:
        self._cursor = self.writes.meta["cursor"] = value

    def get(self, key: str) -> Ghost | None:
        return self._ghosts.get(key)

    def put(self, key: str, ghost: Ghost) -> None:
        self._ghosts[key] = self.writes.ghosts[key] = ghost

    def keys(self) -> Iterable[str]:
        return [key for key, ghost in self._ghosts.items() if ghost.version]

    def sent(self) -> Iterable[Sent]:
        return list(self._sent.values())

    def add_sent(self, sent: Sent) -> None:
        self._sent[sent.ccid] = self.writes.sent[sent.ccid] = sent

    def remove_sent(self, ccid: str) -> None:
        self._sent.pop(ccid, None)
        self.writes.sent[ccid] = None
