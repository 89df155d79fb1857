"""What a daemon tells about itself: one value, shown as text or JSON."""

from enum import StrEnum
from typing import Any

from msgspec import Struct, convert, to_builtins


class Phase(StrEnum):
    STARTING = "starting"
    SCANNING = "scanning"
    SYNCING = "syncing"
    IN_SYNC = "in sync"
    OFFLINE = "offline"
    PAUSED = "paused"
    HELD = "held"
    FAILED = "failed"


class Trouble(Struct, frozen=True):
    """One path that is not in sync, and why; healed ones vanish by themselves."""

    path: str
    reason: str


class Hold(Struct, frozen=True):
    """A plan that waits for the user's word: `reason`, how many entries it would delete, and where ("here" or "everywhere")."""

    reason: str
    entries: int
    where: str


class FolderStatus(Struct, frozen=True):
    """Counts are entries; speeds are bytes per second over the last few seconds; `times` are seconds since the epoch.

    What is to be read is to be sent after it, and counts there, too.
    """

    name: str
    path: str
    phase: Phase
    server: str = ""
    online: bool = False
    entries: int = 0
    size: int = 0
    to_send: int = 0
    to_apply: int = 0
    bytes_to_send: int = 0
    bytes_to_apply: int = 0
    bytes_to_read: int = 0
    up: float = 0.0
    down: float = 0.0
    conflicts: int = 0
    holds: tuple[Hold, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    last_error: str = ""
    last_change: float = 0.0

    @property
    def in_sync(self) -> bool:
        return self.phase is Phase.IN_SYNC

    @property
    def pending(self) -> int:
        return self.to_send + self.to_apply


class Status(Struct, frozen=True):
    """All folders of one daemon process."""

    pid: int
    version: str
    folders: tuple[FolderStatus, ...] = ()

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = to_builtins(self)
        return value

    @classmethod
    def from_json(cls, value: Any) -> "Status":
        return convert(value, cls)
