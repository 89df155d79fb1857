"""What a channel tells its owner, in order; `Authorized`, `Denied` and `Notice` are the messages themselves."""

from typing import Any, NamedTuple

from msgspec import Struct

from ssyncd.protocol.ghosts import Ghost, Sent
from ssyncd.protocol.messages import Authorized, Denied, Notice


class Updated(NamedTuple):
    """One accepted version, already in the store. `mine` is our change that made it; its key is free again.

    `cv` is "" and several versions may lie between where the news comes from an index.
    """

    key: str
    before: Ghost | None
    after: Ghost
    mine: Sent | None
    cv: str


class Indexed(Struct, frozen=True):
    """An index is complete: every live object was told, what was not listed is a tombstone, the cursor is stored."""


class CaughtUp(Struct, frozen=True):
    """Everything up to about now was told; from here on changes come live, and there may be room to submit."""


class Settled(Struct, frozen=True):
    """Our change is over without a version of its own to tell: 412 it had no effect, 409 it is in the store already."""

    sent: Sent
    code: int


class Refused(Struct, frozen=True):
    """Our change is over, refused with this code; its key is free. Plan anew from the ghost, not at once for 5xx."""

    sent: Sent
    code: int


class Delayed(Struct, frozen=True):
    """The server was too busy for our change (503) or failed (5xx). It stays in flight; `Channel.retry` sends it again."""

    sent: Sent
    code: int


class Unanswered(Struct, frozen=True):
    """Sent before the connection broke, not in what came since, payload not kept: its key is free, plan anew.

    Should it have arrived all the same, its acknowledgement will still be known as ours (`Updated.mine`).
    """

    sent: Sent


class VersionArrived(Struct, frozen=True):
    """The answer to `ask_version`; `data` None: the server does not have that version."""

    key: str
    version: int
    data: dict[str, Any] | None


class Reset(Struct, frozen=True):
    """The server's log does not reach back to our cursor, or contradicts our ghosts: a new index follows."""


Event = (
    Authorized
    | Denied
    | Updated
    | Indexed
    | CaughtUp
    | Settled
    | Refused
    | Delayed
    | Unanswered
    | VersionArrived
    | Reset
    | Notice
)
