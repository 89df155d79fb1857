"""What comes in for the ghosts of a bucket: each version once, in order, and a cursor that never runs ahead of them."""

from collections.abc import Callable, Collection, Container, Iterable

from msgspec import Struct, field

from ssyncd.protocol.events import Event, Updated
from ssyncd.protocol.flight import Flight
from ssyncd.protocol.ghosts import Ghost, GhostStore, advance, same_data
from ssyncd.protocol.messages import MODIFY, REMOVE, IndexEntry, ServerChange, VersionAnswer, VersionRequest


class _Hold(Struct):
    """A key that waits for the version `change` leads to, with the changes that came for it since."""

    change: ServerChange
    later: list[ServerChange] = field(default_factory=list)


class Intake:
    """`ask` sends a request for a version, where a change does not lead on from our ghost. `whole`: see `Channel`."""

    def __init__(
        self, store: GhostStore, flight: Flight, whole: frozenset[str], ask: Callable[[VersionRequest], None]
    ) -> None:
        self.latest = store.cursor
        """The cv of what came last. It becomes the cursor when nothing is held any more."""
        self._store = store
        self._flight = flight
        self._whole = whole
        self._ask = ask
        self._held: dict[str, _Hold] = {}

    @property
    def held(self) -> Collection[str]:
        """Keys that wait for a version."""
        return self._held

    def save_cursor(self) -> None:
        if not self._held and self._store.cursor != self.latest:
            self._store.cursor = self.latest

    def forget(self) -> None:
        """Drop what is held: it comes again, for the cursor did not pass it."""
        self._held.clear()
        self.latest = self._store.cursor

    def start_over(self, events: list[Event]) -> None:
        """Drop what is held, as a new index follows; acknowledgements among it are not told again."""
        for hold in self._held.values():
            for change in (hold.change, *hold.later):
                self._flight.settle(change.ccids, events)
        self._held.clear()
        self._store.cursor = self.latest = ""

    def reload(self, key: str) -> None:
        """The server says that our ghost is not what it has: ask for the version after it. Should there be none, for the server
        is back at an older one or further than it keeps versions, an index follows (see `answer`)."""
        if key not in self._held:
            ghost = self._store.get(key)
            version = 1 if ghost is None else ghost.version + 1
            self._fetch(ServerChange("", key, MODIFY, (), None, None, version, self.latest))

    def take(self, change: ServerChange, events: list[Event]) -> None:
        """The next change in the server's order."""
        if change.cv:
            self.latest = change.cv
        self._apply(change, events)

    def enter(self, entry: IndexEntry, events: list[Event]) -> None:
        """One live object of an index."""
        ghost = self._store.get(entry.key)
        before = ghost.data if ghost is not None and ghost.version == entry.version else None
        if entry.data is None:
            if before is None:
                self._fetch(ServerChange("", entry.key, MODIFY, (), None, None, entry.version, ""))
        # Data is compared too: a server that lost everything counts its versions from 1 again.
        elif before is None or not same_data(before, entry.data, self._whole):
            self._put(entry.key, ghost, Ghost(entry.version, entry.data), None, events)

    def unlisted(self, listed: Container[str]) -> list[tuple[str, int]]:
        """Ghosts with none of these keys, and their versions."""
        keys = [key for key in self._store.keys() if key not in listed]  # noqa: SIM118 - no dict
        return [(key, ghost.version) for key in keys if (ghost := self._store.get(key)) is not None]

    def bury(self, unlisted: Iterable[tuple[str, int]], events: list[Event]) -> None:
        """Make these ghosts tombstones, unless something newer came for them. The versions of those that are tombstones already
        count no longer: a server that was put back from a backup may give them again."""
        for key, version in unlisted:
            ghost = self._store.get(key)
            if ghost is None or ghost.version != version or key in self._held:
                continue
            if ghost.data is None:
                self._store.put(key, Ghost(0, None))
            else:
                self._put(key, ghost, Ghost(0, None), None, events)

    def answer(self, answer: VersionAnswer, events: list[Event]) -> bool:
        """A version asked for. False if neither it nor a newer one is to be had: only an index helps."""
        hold = self._held.get(answer.key)
        if hold is None or hold.change.version != answer.version:
            return True
        del self._held[answer.key]
        if answer.data is not None:
            before = self._store.get(answer.key)
            self._put(answer.key, before, Ghost(answer.version, answer.data), hold.change, events)
        else:
            self._flight.settle(hold.change.ccids, events)
            # One that an index listed without data and the server does not have: as good as not listed.
            if not hold.later:
                return not hold.change.cv
            if hold.later[0].op != REMOVE:
                # That version is pruned already, the next one may still be there.
                self._fetch(hold.later.pop(0))
        for change in hold.later:
            self._apply(change, events)
        return True

    def _apply(self, change: ServerChange, events: list[Event]) -> None:
        hold = self._held.get(change.key)
        if hold is not None:
            hold.later.append(change)
            return
        ghost = self._store.get(change.key)
        if ghost is not None and change.version <= ghost.version:
            self._flight.settle(change.ccids, events)
            return
        diff = self._flight.diff(change.ccids) if change.diff is None and change.op == MODIFY else change.diff
        after = advance(ghost, change, diff, self._whole)
        if after is not None:
            self._put(change.key, ghost, after, change, events)
        elif change.version:
            self._fetch(change)

    def _put(
        self, key: str, before: Ghost | None, after: Ghost, change: ServerChange | None, events: list[Event]
    ) -> None:
        self._store.put(key, after)
        if change is None:
            events.append(Updated(key, before, after, None, ""))
        else:
            events.append(Updated(key, before, after, self._flight.claim(change.ccids), change.cv))

    def _fetch(self, change: ServerChange) -> None:
        self._held[change.key] = _Hold(change)
        self._ask(VersionRequest(change.key, change.version))
