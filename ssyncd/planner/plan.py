"""What a plan is made of: steps on this disk, changes to send, and what is agreed already. All of it values."""

from collections.abc import Callable

from msgspec import Struct, field

from ssyncd.planner.tree import Entry


class _OfEntry(Struct, frozen=True):
    entry: Entry

    @property
    def key(self) -> str:
        return self.entry.key


class Rekey(Struct, frozen=True):
    """The local entry `old` is the one that the server knows as `new`; nothing changes on disk."""

    old: str
    new: str

    @property
    def key(self) -> str:
        return self.new


class Make(_OfEntry, frozen=True):
    """Create a file, directory or link that is not on this disk."""


class Replace(_OfEntry, frozen=True):
    """Give a local file new content or a link new text: `entry` is the local entry with what it shall hold."""


class Conflict(_OfEntry, frozen=True):
    """Both sides changed the content: keep ours as `copy` in the same directory, then put `entry` in its place."""

    copy: str


class Move(Struct, frozen=True):
    key: str
    parent: str
    name: str


class Park(Struct, frozen=True):
    """Move aside for a moment: a cycle of renames needs one place more than there is."""

    key: str


class SetExec(Struct, frozen=True):
    key: str
    exec: bool


class Remove(Struct, frozen=True):
    key: str


Filling = Make | Replace | Conflict
"""A step that brings what an entry holds."""

Step = Rekey | Filling | Move | Park | SetExec | Remove
"""`key`: of the entry it is about."""


class Send(_OfEntry, frozen=True):
    """Make the server's entry equal to `entry` (all of it where the server has none). `repair`: mends the structure after
    somebody else's change, who should be given time to do it first."""

    repair: bool = False


class SendDelete(Struct, frozen=True):
    key: str
    repair: bool = False


class Plan(Struct):
    """`steps` in an order that works; `sends` parents first, deletions children first; `agreed` keys where both sides are
    equal and the base is to say so; `waiting` keys that cannot be decided or done yet, each with the reason: to be touched
    again when anything has changed. A plan with a Rekey holds nothing else: all that was touched is to be planned again.

    After a step the base is `reconcile.base_after`. A send must not go any more when its key was touched again."""

    steps: list[Step] = field(default_factory=list)
    sends: list[Send | SendDelete] = field(default_factory=list)
    agreed: list[str] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)

    def keep(self, wanted: Callable[[Step], bool]) -> None:
        """Only these steps; and nothing is parked that is not to be moved any more."""
        steps = [step for step in self.steps if wanted(step)]
        moving = {step.key for step in steps if isinstance(step, Move)}
        self.steps = [step for step in steps if not isinstance(step, Park) or step.key in moving]
