"""disk -> local tree: looks where it is told to."""

from collections.abc import Callable, Iterable

from ssyncd.disk.base import Disk, Stat, Stats
from ssyncd.disk.look import KINDS, WHOLE_SECOND, Look, Seen, set_adrift
from ssyncd.disk.lost import Lost
from ssyncd.planner.names import moved_inside
from ssyncd.planner.tree import Entry, Kind, Tree

ChooseKey = Callable[[str, str, Kind], str]
"""(parent key, name, kind) -> the key for something new at this place; never one that is in the local tree."""
COARSE = 10_000_000
"""Nanoseconds by which what stamps a file may differ from `stamp`, as the clock of a virtual machine's host does."""
LATER = 0.05
"""Seconds within which the watcher tells what happened, and until what it has not told yet is looked at once more."""


class Scanner:
    """Keeps `tree` and `stats` equal to the disk. New and changed files get content None: `unread` lists them. An equal stat
    is no proof for the keys in `young`: those whose stat was recent, by the disk's clock `stamp`, when they were looked into.

    `troubles` maps each path that cannot be taken into the tree to the reason; a later look that finds it well removes it.
    `is_agreed` tells what both sides know: when that vanishes, it may still turn up elsewhere.
    """

    def __init__(
        self,
        disk: Disk,
        tree: Tree,
        ignored: Callable[[str, bool], bool],
        choose_key: ChooseKey,
        is_agreed: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.tree = tree
        self.stats: Stats = {}
        self.young: set[str] = set()
        self.wall: Callable[[], int] = lambda: 0
        self.stamp: Callable[[], int] = lambda: 0
        """What the disk stamps with what is written now."""
        self.known_exec: Callable[[str], bool] = lambda _: False
        """Whether a file that is new here is executable, where the file system does not tell."""
        self.unread: dict[str, None] = {}
        self.troubles: dict[str, str] = {}
        self._fresh = True
        self._began = 0
        self.left: dict[str, None] = {}
        """Directories that the first look at a folder of which nothing was known has still to look below."""
        self.disk = disk
        self.coarse = COARSE + disk.grain + disk.skew
        """Nanoseconds within which two writes can leave one stamp."""
        self.ignored = ignored
        self.choose_key = choose_key
        self.lost = Lost(is_agreed)
        self.waiting: dict[str, None] = {}
        """Paths of what is new there and may come from elsewhere: every look from then on sees whether that has been told."""

    def look(
        self, paths: Iterable[str], below: Iterable[str] = (), go_on: bool = True, ignored: Iterable[str] = ()
    ) -> Seen:
        """Look at single paths, and at everything below directories ("" for all). The first look at a folder of which nothing is
        known comes in slices; `go_on` with what is `left` of it. `ignored`: keys that are to be no entries any more."""
        self._began = self.wall()
        slices = self.first or (self._fresh and not len(self.tree))
        paths, self.waiting = [*paths, *self.waiting], {}
        look = Look(self, set_adrift(self.tree) if self._fresh else (), slices)
        self._fresh = False
        look.leave_out(ignored)
        if go_on:
            below, self.left = [*below, *self.left], {}
        for path in below:
            look.below(path)
        look.at(paths)
        return look.end()

    @property
    def first(self) -> bool:
        """Whether the first look at a folder of which nothing was known is not over."""
        return bool(self.left)

    def is_unseen(self, path: str) -> bool:
        """Whether what is there has not been looked at yet, or cannot be."""
        return any(f"{path}/".startswith(f"{unseen}/") for unseen in (*self.waiting, *self.troubles))

    def moved(self, old: str, new: str) -> None:
        """A directory has another path: what is left to be looked at in it is there now."""
        after = {old: new, **dict(moved_inside(self.left, old, new))}
        self.left = {after.get(path, path): None for path in self.left}

    def knows(self, key: str, stat: Stat) -> bool:
        """Whether this is a file as it was at the last look, as after what we did ourselves."""
        return self.stats.get(key) == stat and stat.kind == "file" and key not in self.young

    def is_same(self, key: str, stat: Stat) -> bool:
        """Whether what is at an entry's place is still that entry. A directory with another inode may be another one."""
        entry, old = self.tree.get(key), self.stats.get(key)
        if entry is None or entry.kind is not KINDS[stat.kind]:
            return False
        return entry.kind is not Kind.DIR or old is None or old.inode == stat.inode

    def exec_of(self, key: str, stat: Stat, moved: Entry | None) -> bool:
        """Of what is new at its place, or was moved there."""
        if stat.kind != "file":
            return False
        if stat.exec is None:
            return moved.exec if moved is not None else self.known_exec(key)
        return stat.exec

    def as_sure(self, entry: Entry, stat: Stat) -> Entry:
        """Without its content, if its stat does not prove that."""
        sure = entry.key not in self.young and stat.mtime % WHOLE_SECOND != 0
        return entry if sure else entry._replace(content=None)

    def lose(self, key: str) -> None:
        """It vanished, and nobody knows yet whether for good."""
        entry, stat = self.tree.get(key), self.stats.get(key)
        if entry is not None and stat is not None and entry.kind is not Kind.DIR:
            self.lost.add(self.as_sure(entry, stat), stat)

    def _is_recent(self, stat: Stat) -> bool:
        """Whether something that is written now may leave the same stamp. Not where it is of a time to come: clocks jump."""
        return abs(self.stamp() - (stat.ctime if stat.kind == "dir" else stat.mtime)) < self.coarse

    def ages_in(self, key: str) -> float:
        """Seconds until a write of it leaves another stamp than the last one."""
        stat = self.stats.get(key)
        left = stat.mtime + self.coarse - self.stamp() if stat is not None else self.coarse
        return min(max(0, left), self.coarse) / 1e9

    def has_to_wait(self, path: str, stat: Stat) -> bool:
        """Whether what is new here may have been renamed just now, and the watcher is about to tell from where: its own time is
        older than that of its last change, which what is made here is not."""
        if stat.mtime == stat.ctime or not self._began - int(LATER * 1e9) < stat.ctime <= self.wall():
            return False
        self.waiting[path] = None
        return True

    def looked_into(self, key: str, stat: Stat) -> None:
        """What this holds is known, as of this stat."""
        if self._is_recent(stat):
            self.young.add(key)
        else:
            self.young.discard(key)

    def done(self, entry: Entry, stat: Stat) -> None:
        """We changed the disk ourselves: this is what is there now. If the user has changed the mode since, that stands."""
        entry = with_exec(entry, stat)
        self.tree.put(entry)
        self.stats[entry.key] = stat
        if stat.kind != "dir" and stat.mtime + self.disk.grain < stat.ctime:
            # With the time it was written elsewhere: a write from now on cannot leave one before our ctime.
            self.young.discard(entry.key)
        else:
            self.looked_into(entry.key, stat)
        if entry.read:
            self.unread.pop(entry.key, None)

    def gone(self, key: str) -> None:
        """We removed it ourselves."""
        self.tree.remove(key)
        self.stats.pop(key, None)
        self.unread.pop(key, None)
        self.young.discard(key)

    def rekey(self, old: str, new: str) -> None:
        self.tree.rekey(old, new)
        stat = self.stats.pop(old, None)
        if stat is not None:
            self.stats[new] = stat
        if self.unread.pop(old, 1) is None:
            self.unread[new] = None
        if old in self.young:
            self.young.remove(old)
            self.young.add(new)


def with_exec(entry: Entry, stat: Stat) -> Entry:
    """With the execute bit as it is on the disk, if that tells."""
    if entry.kind is Kind.FILE and (exec := stat.exec_or(entry.exec)) != entry.exec:
        return entry._replace(exec=exec)
    return entry
