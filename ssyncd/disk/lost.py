"""What is not where it was, and has not turned up elsewhere: the watcher may be about to tell where."""

from collections.abc import Callable

from ssyncd.disk.base import Stat
from ssyncd.planner.tree import Entry, Tree

MOST = 1000
"""So many are remembered, those that went last."""


class Lost:
    """Files and links that vanished, by inode; each as long as its key `is_agreed`: its deletion has not come to pass."""

    def __init__(self, is_agreed: Callable[[str], bool]) -> None:
        self._is_agreed = is_agreed
        self._by_inode: dict[int, tuple[Entry, Stat]] = {}

    def add(self, entry: Entry, stat: Stat) -> None:
        """`stat`: as it was at the last look; `entry` without content if that has to be read again in any case."""
        if self._is_agreed(entry.key):
            self._by_inode[stat.inode] = entry, stat
            if len(self._by_inode) > MOST:
                del self._by_inode[next(iter(self._by_inode))]

    def take(self, stat: Stat, tree: Tree) -> Entry | None:
        """The one that this is, if it is not in the tree again."""
        entry, before = self._by_inode.get(stat.inode, (None, None))
        if entry is None or not stat.same(before) or entry.key in tree or not self._is_agreed(entry.key):
            return None
        del self._by_inode[stat.inode]
        return entry
