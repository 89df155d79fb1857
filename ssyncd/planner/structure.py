"""The tree as it shall be: every entry merged, then the structure mended (design section 4, "Structure").

Two changes that were each fine can hurt the tree together: two entries at one place, directories inside each other, an entry
whose directory was deleted. The mending follows from the three trees and the server's order alone, so every machine that
knows the same shows the same.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct

from ssyncd.planner.names import OURS, conflict_name
from ssyncd.planner.reconcile import GONE, Merged, merge
from ssyncd.planner.tree import Entry, Kind, Place, Tree, birth_key

UNSENT = 1 << 62
"""Order of a place the server has not been told of: after all others."""

UNREAD_INSIDE = "something in it is not read yet"


class Placed(Struct, frozen=True):
    """When an entry got its place: `order` counts up with the server's order; `mine`: our own change did it."""

    order: int
    mine: bool


class Trees(Struct, frozen=True):
    """What a plan is made from. `placed` of a key in the remote tree; `tomb`: the last known entry of a deleted key."""

    base: Tree
    local: Tree
    remote: Tree
    placed: Callable[[str], Placed]
    tomb: Callable[[str], Entry | None]


class Shape:
    """Merged entries, worked out when asked for; `settle` mends all that the given keys are part of.

    `keys` holds those and whatever they are entangled with; `aliases` maps an entry that became one with another to that other;
    `repaired` maps each key whose wanted entry comes from mending to whether another machine should send it; `waiting` holds
    keys that cannot be decided yet, with the reason. Nothing here recurses: a hostile tree may be deep.
    """

    def __init__(self, trees: Trees) -> None:
        self.trees = trees
        self.keys: dict[str, None] = {}
        self.aliases: dict[str, str] = {}
        self.repaired: dict[str, bool] = {}
        self.waiting: dict[str, str] = {}
        self._merged: dict[str, Merged] = {}
        # Entries at places that neither the local nor the remote tree shows them at: an index to find them by place.
        self._elsewhere = Tree()
        self._next: dict[str, None] = {}
        # Directories whose way to the top is whole, and keys whose way ends in what is not known.
        self._rooted = {""}
        self._lost: set[str] = set()
        self._parted: set[Place] = set()

    def of(self, key: str) -> Entry | None:
        """The entry as it shall be, so far as settled."""
        found = self._merged.get(key)
        return found.entry if found is not None else self.merged(key).entry

    def merged(self, key: str) -> Merged:
        found = self._merged.get(key)
        if found is None:
            trees = self.trees
            local, remote = trees.local.get(key), trees.remote.get(key)
            found = self._merged[key] = merge(trees.base.get(key), local, remote)
            entry = found.entry
            if entry is not None and entry is not local and entry is not remote:
                self._elsewhere.put(entry)
        return found

    def settle(self, keys: Iterable[str]) -> None:
        """Mend everything that these keys are part of. Rounds: what mending one thing hurts is mended in the next."""
        self._next = dict.fromkeys(keys)
        while self._next:
            round, self._next = list(self._next), {}
            self.keys.update(dict.fromkeys(round))
            living = self._look_into_the_dead(round)
            for key, entry in living:
                if entry.parent not in self._rooted:
                    self._root(key)
                self._bring_directory(entry.parent)
            for key, entry in living:
                if key not in self._next:
                    self._part_siblings(key, entry)

    def inside(self, key: str) -> dict[str, None]:
        """Keys that are, or shall be, directly inside this directory."""
        trees = (self.trees.local, self.trees.remote, self._elsewhere)
        return dict.fromkeys(inner for tree in trees for inner in tree.children(key))

    def claims(self, place: Place) -> list[str]:
        """All keys that shall be at this place."""
        trees = self.trees
        keys = dict.fromkeys((*trees.local.at(*place), *trees.remote.at(*place), *self._elsewhere.at(*place)))
        return [key for key in keys if (entry := self.of(key)) is not None and entry.place == place]

    # Orphans: whatever lives needs its directories to live.

    def _look_into_the_dead(self, keys: list[str]) -> list[tuple[str, Entry]]:
        """Whether a directory dies is for what is inside it to say: all that lives among these keys and in the dead of them."""
        living = []
        for key in keys:  # grows
            entry = self.of(key)
            if entry is not None:
                living.append((key, entry))
            else:
                new = [inner for inner in self.inside(key) if inner not in self.keys]
                self.keys.update(dict.fromkeys(new))
                keys.extend(new)
        return living

    def _root(self, key: str) -> None:
        """Make the way from this entry up to the top whole, or let it wait."""
        trees = self.trees
        certain = not self.merged(key).unread or key in trees.remote or key not in trees.base
        # A directory is not more certain than what it lives for.
        certain = certain and self.waiting.get(key) != UNREAD_INSIDE
        while True:
            way: dict[str, None] = {}
            at = self._up(key)
            while at not in self._rooted and at not in way:
                if at in self._lost or not self._is_directory(at, key, certain):
                    self._lost.update(way)
                    self.waiting[key] = "its directory is not known yet"
                    return
                way[at] = None
                at = self._up(at)
            if at in self._rooted:
                if certain:
                    self._rooted.update(way)
                return
            ring = list(way)
            self._break_ring(ring[ring.index(at) :])

    def _bring_directory(self, key: str) -> None:
        """One that is still to be made here may have to wait for what goes into it: only one plan for both can do that."""
        if key not in self.keys and key not in self.trees.local and key in self.trees.remote:
            self._next[key] = None

    def _up(self, key: str) -> str:
        """The key of the directory that a living entry is in."""
        entry = self.of(key)
        assert entry is not None
        parent = entry.parent
        while parent in self.aliases:
            parent = self.aliases[parent]
        if parent != entry.parent:
            self._set(key, entry._replace(parent=parent), self._is_theirs(entry.parent))
        return parent

    def _is_directory(self, key: str, cause: str, certain: bool) -> bool:
        """Brings a dead one back; where it is not certain that the cause lives, nobody is told of that yet."""
        entry = self.of(key)
        if entry is None:
            trees = self.trees
            entry = trees.local.get(key) or trees.remote.get(key) or trees.base.get(key) or trees.tomb(key)
            if entry is not None and entry.kind is Kind.DIR:
                self._set(key, entry, self._is_theirs(cause))
                if not certain:
                    self.waiting[key] = UNREAD_INSIDE
        elif certain and self.waiting.get(key) == UNREAD_INSIDE:
            del self.waiting[key]
        return entry is not None and entry.kind is Kind.DIR

    # Rings: the directory moved later goes back to where it was.

    def _break_ring(self, ring: list[str]) -> None:
        last = max(ring, key=self._rank)
        entry, base = self.of(last), self.trees.base.get(last)
        assert entry is not None
        if base is not None and self._reaches_top(base.parent, ring):
            back = entry._replace(parent=base.parent, name=base.name)
        else:
            back = entry._replace(parent="")
        self._set(last, back, self._is_theirs(last))

    def _reaches_top(self, key: str, but_through: Iterable[str]) -> bool:
        seen = set(but_through)
        while key not in self._rooted:
            entry = self.of(key)
            if key in seen or entry is None or entry.kind is not Kind.DIR:
                return False
            seen.add(key)
            key = entry.parent
        return True

    # Siblings: one place, one entry.

    def _part_siblings(self, key: str, entry: Entry) -> None:
        parent, name = place = entry.parent, entry.name
        if not parent and name.casefold() == OURS:
            # Fine in the directory it comes from, but at the top it would be our own.
            self._set(key, entry._replace(name=self._conflict_name(entry)), self._is_theirs(key))
            return
        trees, alone = self.trees, ((), (key,))
        if trees.local.at(parent, name) in alone and trees.remote.at(parent, name) in alone:
            others = self._elsewhere.at(parent, name) if len(self._elsewhere) else ()
            if others in alone:
                return
        for other in trees.local.at(parent, name):
            # Who is here on this disk but shall leave it: only one plan for both can do that.
            if other not in self.keys and ((there := self.of(other)) is None or there.place != place):
                self._next[other] = None
        for other in trees.remote.at(parent, name):
            # Who is deleted here, so that it goes first, and what takes its place waits if that has to.
            if other not in self.keys and self.of(other) is None:
                self._next[other] = None
        if place not in self._parted:
            self._parted.add(place)
            self._part(place)

    def _part(self, place: Place) -> None:
        claims = [key for key in self.claims(place) if key not in self.waiting]
        if len(claims) < 2:
            return
        first, *others = sorted(claims, key=self._rank)
        kept = {self._identity(first): first}
        unread = self._is_unread(first)
        for key in others:
            entry, identity = self.of(key), self._identity(key)
            assert entry is not None
            unread = unread or self._is_unread(key)
            if entry.kind is Kind.FILE and unread:
                self.waiting[key] = "what is at its place is not read yet"
            elif identity in kept:
                if not self.merged(key).conflict:  # else our content has to be kept aside first
                    self._become(key, kept[identity])
            else:
                kept[identity] = key
                self._set(key, entry._replace(name=self._conflict_name(entry)), self._is_theirs(key))

    def _identity(self, key: str) -> tuple[Kind, str]:
        """What makes two entries at one place the same thing: their kind and what they hold."""
        entry = self.of(key)
        assert entry is not None
        return entry.kind, entry.content.hash if entry.content is not None else entry.target

    def _is_unread(self, key: str) -> bool:
        merged = self.merged(key)
        return merged.unread or (merged.entry is not None and not merged.entry.read)

    def _become(self, loser: str, winner: str) -> None:
        theirs, remote = self._is_theirs(loser), self.trees.remote.get(loser)
        self._merged[loser] = GONE
        self._elsewhere.remove(loser)
        self.aliases[loser] = winner
        # A file that the server has is deleted there after a while only: others may be editing the one that stays.
        self.repaired[loser] = theirs or (remote is not None and remote.kind is Kind.FILE)
        self._next[loser] = None  # it leaves its place in the same plan, whoever was looked at
        for inner in self.inside(loser):
            child = self.of(inner)
            if child is not None and child.parent == loser:
                self._set(inner, child._replace(parent=winner), theirs and self._is_theirs(inner))
            self._next[inner] = None

    def _conflict_name(self, entry: Entry) -> str:
        """As of a conflict copy; a second one of the same moment shows its key, so that thousands do not count each other."""
        short = entry.key[:6]
        when, by = (entry.content.mtime, entry.content.by) if entry.content is not None else (None, short)
        name = conflict_name(entry.name, when, by, lambda _: False)
        if self.claims((entry.parent, name)):
            name = conflict_name(
                entry.name, when, f"{short} {by}", lambda name: bool(self.claims((entry.parent, name)))
            )
        return name

    def _set(self, key: str, entry: Entry, theirs: bool) -> None:
        """Mending gives a key this entry: all that follows from its place has to be looked at again."""
        self._merged[key] = self.merged(key)._replace(entry=entry)
        self._elsewhere.put(entry)
        self._parted.discard(entry.place)
        self.waiting.pop(key, None)
        # What is ours to mend once does not become another's by what follows from it.
        self.repaired[key] = theirs and self.repaired.get(key, True)
        self._next[key] = None

    # The server's order.

    def _is_theirs(self, key: str) -> bool:
        """Whether it was another machine's change that put an entry where it hurts; ours if we have news of it to send."""
        trees, entry = self.trees, self.of(key)
        remote = trees.remote.get(key)
        if key in self.repaired:
            return self.repaired[key]
        return remote is not None and remote.same(entry) and not trees.placed(key).mine

    def _rank(self, key: str) -> tuple[int, bool, str]:
        entry, remote = self.of(key), self.trees.remote.get(key)
        assert entry is not None
        sent = remote is not None and remote.place == entry.place
        order = self.trees.placed(key).order if sent else UNSENT
        return order, key != birth_key(entry.parent, entry.name, entry.kind), key
