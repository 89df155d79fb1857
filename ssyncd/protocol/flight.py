"""What we sent: the ledger by which the server's broadcast of our own change is an acknowledgement and not an update."""

from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any

from msgspec.structs import replace

from ssyncd.errors import ApplyError
from ssyncd.protocol import jsondiff
from ssyncd.protocol.events import Delayed, Event, Refused, Settled, Unanswered
from ssyncd.protocol.ghosts import GhostStore, Sent, source_of
from ssyncd.protocol.messages import ChangeError, ClientChange

MOST_LATE = 1000
"""How many changes are still known for ours though later ones of their keys were answered."""
NO_EFFECT = 412
DUPLICATE = 409
WRONG_SOURCE = 405
# No such object, expectation failed, diff does not fit: what the whole object may mend, once.
_MENDABLE = frozenset({404, 417, 440})


class Flight:
    """Changes of ours, in flight (one a key) or released: no longer waited for, but still known when they come.

    `send` takes what has to be sent again. `whole`: see `Channel`.
    """

    def __init__(self, store: GhostStore, whole: frozenset[str], send: Callable[[ClientChange], None]) -> None:
        self._store = store
        self._whole = whole
        self._send = send
        self._by_ccid: dict[str, Sent] = {}
        self._by_key: dict[str, Sent] = {}
        self._released: dict[str, list[str]] = {}
        # Released, and a later one of the same key was answered since; oldest first.
        self._late: dict[str, None] = {}
        self._delayed: dict[str, ClientChange] = {}
        self._mended: set[str] = set()
        # Not made from what the server has, to be refused once that is here; by ccid.
        self._stale: dict[str, Sent] = {}
        # Sent on an earlier connection, or in an earlier run, and not answered since.
        self._unresumed: set[str] = set()
        for sent in store.sent():
            self._enter(sent)

    def __len__(self) -> int:
        """How many are in flight."""
        return len(self._by_key)

    def __contains__(self, key: str) -> bool:
        return key in self._by_key

    def __iter__(self) -> Iterator[Sent]:
        """Those in flight, oldest first."""
        return iter(self._by_key.values())

    @property
    def delayed(self) -> int:
        return len(self._delayed)

    def add(self, sent: Sent) -> None:
        self._enter(sent)
        self._store.add_sent(sent)

    def claim(self, ccids: Iterable[str]) -> Sent | None:
        """The one of ours with one of these ccids, in flight or released. It is over: it is forgotten."""
        for ccid in ccids:
            if (sent := self._by_ccid.get(ccid)) is not None:
                self._forget(sent)
                return sent
        return None

    def diff(self, ccids: Iterable[str]) -> dict[str, Any] | None:
        """Of one of ours with one of these ccids, what was kept of its diff."""
        for ccid in ccids:
            if (sent := self._by_ccid.get(ccid)) is not None:
                return sent.diff
        return None

    def settle(self, ccids: Iterable[str], events: list[Event]) -> None:
        """Our change came, but its version was in the store before it."""
        waited = self._flying(ccids)
        self.claim(ccids)
        if waited is not None:
            events.append(Settled(waited, DUPLICATE))

    def answer(self, error: ChangeError, events: list[Event]) -> Sent | None:
        """An error for one of ours, by the table of section 4; anything else is not ours to know. If a change comes back, its
        object is to be loaded again, and then `give_up_stale` ends it."""
        sent = self._flying(error.ccids)
        if sent is None:
            return None
        if error.code == WRONG_SOURCE and source_of(self._store.get(sent.key)) == sent.source:
            self._stale[sent.ccid] = sent
            return sent
        self._settle_error(sent, error, events)
        return None

    def _settle_error(self, sent: Sent, error: ChangeError, events: list[Event]) -> None:
        if error.code == DUPLICATE:
            # Its version may still come, when sending it again crossed what an earlier connection did.
            self._release(sent)
            events.append(Settled(sent, DUPLICATE))
        elif error.code == NO_EFFECT:
            self._forget(sent)
            events.append(Settled(sent, NO_EFFECT))
        elif error.code >= 500 and sent.change is not None:
            self._delayed[sent.ccid] = sent.change
            events.append(Delayed(sent, error.code))
        elif error.code >= 500:
            # It may have been carried out in spite of the failure.
            self._release(sent)
            events.append(Refused(sent, error.code))
        elif error.code not in _MENDABLE or not self._mend(sent):
            self._forget(sent)
            events.append(Refused(sent, error.code))

    def give_up_stale(self, but: Container[str], events: list[Event]) -> None:
        """Refuse what was not made from what the server has, except for the keys in `but`, which are still being loaded."""
        for sent in [sent for sent in self._stale.values() if sent.key not in but]:
            self._forget(sent)
            events.append(Refused(sent, WRONG_SOURCE))

    def retry(self) -> None:
        delayed, self._delayed = self._delayed, {}
        for change in delayed.values():
            self._send(change)

    def cut(self) -> None:
        """The connection is gone: nothing in flight will be answered on it any more."""
        self._delayed.clear()
        self._mended.clear()
        self._stale.clear()
        self._unresumed = {sent.ccid for sent in self._by_key.values()}

    def resume(self, but: Container[str], events: list[Event]) -> None:
        """Take up what an earlier connection left unanswered, except for the keys in `but`."""
        if not self._unresumed:
            return
        for sent in [sent for sent in self if sent.ccid in self._unresumed and sent.key not in but]:
            self._unresumed.discard(sent.ccid)
            if sent.change is not None:
                self._send(sent.change)
            else:
                self._release(sent)
                events.append(Unanswered(sent))

    def _flying(self, ccids: Iterable[str]) -> Sent | None:
        for ccid in ccids:
            sent = self._by_ccid.get(ccid)
            if sent is not None and self._by_key.get(sent.key) is sent:
                return sent
        return None

    def _mend(self, sent: Sent) -> bool:
        """Send a kept modification once more, with the whole object meant, if our ghost is still what it was made from."""
        change, ghost = sent.change, self._store.get(sent.key)
        if change is None or change.diff is None or sent.ccid in self._mended or source_of(ghost) != sent.source:
            return False
        before = (ghost.data if ghost else None) or {}
        if not self._whole.isdisjoint(before):
            return False
        try:
            whole = jsondiff.apply(change.diff, before)
        except ApplyError:
            return False
        self._mended.add(sent.ccid)
        self._send(replace(change, whole=whole))
        return True

    def _release(self, sent: Sent) -> None:
        """Wait for this one no longer, its key is free; should it come after all, it is known as ours."""
        del self._by_key[sent.key]
        kept = sent._replace(change=None)
        self._by_ccid[sent.ccid] = kept
        self._released.setdefault(sent.key, []).append(sent.ccid)
        self._store.add_sent(kept)

    def _enter(self, sent: Sent) -> None:
        former = self._by_key.pop(sent.key, None)
        if former is not None:
            # Only in what a former run left: it had released the earlier one.
            self._released.setdefault(sent.key, []).append(former.ccid)
        self._by_ccid[sent.ccid] = self._by_key[sent.key] = sent

    def _forget(self, sent: Sent) -> None:
        self._drop(sent.ccid)
        if sent.ccid in self._late:
            del self._late[sent.ccid]
            return
        if self._by_key.get(sent.key) is not sent:
            self._released[sent.key].remove(sent.ccid)
            return
        del self._by_key[sent.key]
        self._delayed.pop(sent.ccid, None)
        # What was released before it may still be under way: the server can read a connection that we gave up after the next one.
        if released := self._released.pop(sent.key, None):
            self._late.update(dict.fromkeys(released))
        while len(self._late) > MOST_LATE:
            ccid = next(iter(self._late))
            del self._late[ccid]
            self._drop(ccid)

    def _drop(self, ccid: str) -> None:
        self._stale.pop(ccid, None)
        del self._by_ccid[ccid]
        self._store.remove_sent(ccid)
