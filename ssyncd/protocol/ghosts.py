"""What a client remembers of a bucket: the last server version of each object, and the changes it sent."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from ssyncd.errors import ApplyError
from ssyncd.protocol import jsondiff
from ssyncd.protocol.messages import MODIFY, REMOVE, ClientChange, ServerChange


class Ghost(NamedTuple):
    """The last version of an object that the server told us; `data` None: it was deleted (a tombstone).

    A tombstone that comes from an index has version 0: nobody said at which version the object went.
    """

    version: int
    data: dict[str, Any] | None


class Sent(NamedTuple):
    """A change of ours without an answer yet. `change` None: its payload was not kept, it cannot be sent again. `diff` is what
    of it is needed to know the object that it makes, if the server will not say."""

    ccid: str
    key: str
    source: int | None
    change: ClientChange | None
    diff: dict[str, Any] | None = None


class GhostStore(Protocol):
    """Where a channel's memory lives. Everything a channel does to it in one call belongs into one transaction."""

    cursor: str
    """The cv up to which everything is in the store; "" before the first index is complete."""

    def get(self, key: str) -> Ghost | None: ...

    def put(self, key: str, ghost: Ghost) -> None: ...

    def keys(self) -> Iterable[str]:
        """Of live ones, and of tombstones that have a version."""

    def sent(self) -> Iterable[Sent]:
        """In the order they were added."""

    def add_sent(self, sent: Sent) -> None:
        """Replaces one of the same ccid."""

    def remove_sent(self, ccid: str) -> None: ...


class MemoryGhosts:
    """A GhostStore that forgets when the program ends."""

    def __init__(self) -> None:
        self.cursor = ""
        self._ghosts: dict[str, Ghost] = {}
        self._sent: dict[str, Sent] = {}

    def get(self, key: str) -> Ghost | None:
        return self._ghosts.get(key)

    def put(self, key: str, ghost: Ghost) -> None:
        self._ghosts[key] = ghost

    def keys(self) -> Iterable[str]:
        return [key for key, ghost in self._ghosts.items() if ghost.version]

    def sent(self) -> Iterable[Sent]:
        return list(self._sent.values())

    def add_sent(self, sent: Sent) -> None:
        self._sent[sent.ccid] = sent

    def remove_sent(self, ccid: str) -> None:
        self._sent.pop(ccid, None)


def source_of(ghost: Ghost | None) -> int | None:
    """What a change made from this ghost names as its source."""
    return None if ghost is None or ghost.data is None else ghost.version


def advance(
    ghost: Ghost | None, change: ServerChange, diff: dict[str, Any] | None, whole: frozenset[str]
) -> Ghost | None:
    """The ghost after a change newer than it, with this diff; None if it cannot be told and the version must be fetched.

    `whole` names members that the ghost may hold only in part: only `+ - r` can be applied to them.
    """
    if change.op == REMOVE:
        # Whatever came between: it is gone now.
        return Ghost(change.version, None)
    if change.op != MODIFY or diff is None:
        return None
    if change.source != source_of(ghost):
        return None
    if any(name in diff and not _replaces(diff[name]) for name in whole):
        return None
    try:
        return Ghost(change.version, jsondiff.apply(diff, (ghost.data if ghost else None) or {}))
    except ApplyError:
        return None


def _replaces(operation: Any) -> bool:
    return isinstance(operation, dict) and operation.get("o") in ("+", "-", "r")


def same_data(held: Mapping[str, Any], data: Mapping[str, Any], whole: frozenset[str]) -> bool:
    """Whether a ghost's data is this data, as far as the ghost holds it."""
    if held.keys() != data.keys():
        return False
    return all(
        _part_of(value, data[name]) if name in whole else jsondiff.equal(value, data[name])
        for name, value in held.items()
    )


def _part_of(held: Any, value: Any) -> bool:
    if isinstance(held, dict) and isinstance(value, dict):
        return all(name in value and jsondiff.equal(part, value[name]) for name, part in held.items())
    return jsondiff.equal(held, value)
