"""Plans that wait for the user's word (design section 4, "Holds")."""

from ssyncd.folder.record import Record
from ssyncd.folder.settings import FolderSettings
from ssyncd.planner.plan import Plan, Remove, SendDelete
from ssyncd.planner.safety import held
from ssyncd.status import Hold

CALM = 10.0
"""Seconds without a deletion after which a burst of deletions is over."""
GATHER = 0.3
"""Seconds to wait for more deletions when there are many."""
HERE, EVERYWHERE = "here", "everywhere"
WHY = {
    HERE: "the server's changes would delete most of this folder",
    EVERYWHERE: "most of this folder is gone here, and would be deleted everywhere",
}


class Holds:
    """Takes deletions out of plans when there are too many of them. What is held stays held over restarts (`meta`)."""

    def __init__(self, record: Record, settings: FolderSettings) -> None:
        self._record = record
        self._settings = settings
        self._keys: dict[str, set[str]] = {HERE: set(), EVERYWHERE: set()}
        self._done: dict[str, int] = {HERE: 0, EVERYWHERE: 0}
        self._latest = 0.0
        self._approved = False
        self._gathered: set[str] = set()

    @property
    def keys(self) -> set[str]:
        return self._keys[HERE] | self._keys[EVERYWHERE]

    def check(self, plan: Plan, now: float) -> set[str]:
        """Leave out of the plan what has to wait. Returns the keys to be planned again after `GATHER` seconds."""
        if now - self._latest > CALM:
            self._done = dict.fromkeys(self._done, 0)
        planned = {
            HERE: {step.key for step in plan.steps if isinstance(step, Remove)},
            EVERYWHERE: {send.key for send in plan.sends if isinstance(send, SendDelete) and not send.repair},
        }
        gathering = set[str]()
        for where, keys in planned.items():
            if self._is_gathering(where, keys):
                gathering |= keys
            else:
                self._check(where, keys, now)
        waiting = self.keys | gathering
        if waiting:
            plan.steps = [step for step in plan.steps if not (isinstance(step, Remove) and step.key in waiting)]
            plan.sends = [send for send in plan.sends if not (isinstance(send, SendDelete) and send.key in waiting)]
        return gathering

    def _is_gathering(self, where: str, keys: set[str]) -> bool:
        """Many deletions come in pieces: before the first of them is done, see how many they are."""
        new = keys - self._gathered
        if not new or self._approved or len(keys) + self._done[where] < self._settings.hold_least:
            self._gathered -= keys
            return False
        self._gathered |= keys
        return True

    def _check(self, where: str, keys: set[str], now: float) -> None:
        if not keys or self._approved:
            return
        self._latest = now
        settings, waiting = self._settings, self._keys[where]
        size = len(self._record.base) + self._done[where]
        if (
            waiting
            or self._record.meta.get(f"held_{where}")
            or held(len(keys), self._done[where], size, settings.hold_share, settings.hold_least)
        ):
            waiting.update(keys)
            self._record.set_meta(f"held_{where}", "1")
        else:
            self._done[where] += len(keys)

    def replanned(self, keys: set[str]) -> None:
        """These keys are being planned again: whether they are to be deleted will be seen."""
        for waiting in self._keys.values():
            waiting.difference_update(keys)

    def settle(self) -> None:
        """Everything was planned: a hold whose deletions are all gone from the plans is over, and so is an approval."""
        for where, waiting in self._keys.items():
            if not waiting and self._record.meta.get(f"held_{where}"):
                self._record.set_meta(f"held_{where}", None)
        self._approved = False

    def approve(self) -> set[str]:
        """The user's word: the keys that may be planned again."""
        keys = self.keys
        self._approved = True
        for where, waiting in self._keys.items():
            waiting.clear()
            self._record.set_meta(f"held_{where}", None)
        return keys

    def tell(self) -> tuple[Hold, ...]:
        return tuple(Hold(WHY[where], len(keys), where) for where, keys in self._keys.items() if keys)
