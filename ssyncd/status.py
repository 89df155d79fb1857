"""What a daemon tells about itself: one value, shown as text or JSON."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    STARTING = "starting"
    SCANNING = "scanning"
    SYNCING = "syncing"
    IN_SYNC = "in sync"
    OFFLINE = "offline"
    PAUSED = "paused"
    HELD = "held"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One path that is not in sync, and why; healed ones vanish by themselves."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A plan that waits for the user's word: `reason`, how many entries it would delete, and where ("here" or "everywhere")."""

    reason: str
    entries: int
    where: str


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """Counts are entries; speeds are bytes per second over the last few seconds; `times` are seconds since the epoch."""

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


@dataclass(frozen=True, slots=True)
class Status:
    """All folders of one daemon process."""

    pid: int
    version: str
    folders: tuple[FolderStatus, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Status":
        folders = tuple(
            FolderStatus(
                **{
                    **folder,
                    "phase": Phase(folder["phase"]),
                    "holds": tuple(Hold(**hold) for hold in folder["holds"]),
                    "troubles": tuple(Trouble(**trouble) for trouble in folder["troubles"]),
                }
            )
            for folder in value["folders"]
        )
        return cls(value["pid"], value["version"], folders)
