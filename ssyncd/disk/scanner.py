"""disk -> local tree: looks where it is told to, and works out who is who (design section 4, "Who is who on disk").

Same path and kind: the same entry. A path that vanished and one that appeared with its inode are one entry that moved, if
size and mtime say so too, or for a directory a name inside it; inode numbers are reused and prove nothing alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from ssyncd.disk.base import Disk, Stat
from ssyncd.errors import DiskError, GoneError
from ssyncd.planner.names import valid_name
from ssyncd.planner.tree import Entry, Kind, Tree

KINDS = {"file": Kind.FILE, "dir": Kind.DIR, "link": Kind.LINK}
DEEPEST = 250
"""Directories deeper than this are named as trouble and left alone: no path of a real system call may grow without end."""

ChooseKey = Callable[[str, str, Kind], str]
"""(parent key, name, kind) -> the key for something new at this place; never one that is in the local tree."""


@dataclass(slots=True)
class Seen:
    """What one look found: keys whose local entry changed in any way (or went), of those that came, went or moved the entry
    before and after, keys that are ignored from now on, and directories that were not where they should be, but nobody said so
    yet: they are to be looked at in a moment."""

    touched: set[str] = field(default_factory=set)
    placed: list[tuple[str, Entry | None, Entry | None]] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Look:
    seen: Seen = field(default_factory=Seen)
    vanished: dict[str, None] = field(default_factory=dict)
    directories: list[tuple[str, str, Stat]] = field(default_factory=list)
    others: list[tuple[str, str, Stat]] = field(default_factory=list)


class Scanner:
    """Keeps `tree` and `stats` equal to the disk. New and changed files get content None: `unread` lists them. An equal stat is no
    proof for the keys in `young`.

    `troubles` maps each path that cannot be taken into the tree to the reason; a later look that finds it well removes it.
    """

    def __init__(self, disk: Disk, tree: Tree, ignored: Callable[[str, bool], bool], choose_key: ChooseKey) -> None:
        self.tree = tree
        self.stats: dict[str, Stat] = {}
        self.young: set[str] = set()
        self.unread: dict[str, None] = {}
        self.troubles: dict[str, str] = {}
        self._disk = disk
        self._ignored = ignored
        self._choose_key = choose_key

    def look(self, paths: Iterable[str], below: Iterable[str] = ()) -> Seen:
        """Look at single paths, and at everything below directories ("" for all)."""
        look = _Look()
        for path in below:
            self._look_below(path, look)
        for path in paths:
            self._look_at(path, look)
        self._place_directories(look)
        self._place_others(look)
        for key in look.vanished:
            self._forget(key, look)
        look.seen.touched.difference_update(look.seen.ignored)
        return look.seen

    def done(self, entry: Entry, stat: Stat) -> None:
        """We changed the disk ourselves: this is what is there now. If the user has changed the mode since, that stands."""
        if entry.kind is Kind.FILE and stat.exec != entry.exec:
            entry = replace(entry, exec=stat.exec)
        self.tree.put(entry)
        self.stats[entry.key] = stat
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
        self.stats[new] = self.stats.pop(old)
        if self.unread.pop(old, 1) is None:
            self.unread[new] = None
        if old in self.young:
            self.young.remove(old)
            self.young.add(new)

    # Looking.

    def _look_below(self, path: str, look: _Look) -> None:
        key = self.tree.find(path)
        if path:
            self._look_at(path, look)
        entry = self.tree.get(key) if key else None
        if key == "" or (key is not None and entry is not None and entry.kind is Kind.DIR and key not in look.vanished):
            self._list(key, path, look)

    def _look_at(self, path: str, look: _Look) -> None:
        """One path. Below a directory we do not know, that directory is what is new."""
        directory, _, name = path.rpartition("/")
        parent = self.tree.find(directory)
        if not path:
            return
        if parent is None or not self._is_directory(parent, look):
            self._look_at(directory, look)
            return
        try:
            stat = self._disk.stat(path)
            if stat is None and not self._stands(parent, directory):
                look.seen.later.add(directory)
                return
        except DiskError as error:
            self.troubles[path] = error.reason
            return
        if stat is None:
            self._clear(path)
            for key in self.tree.at(parent, name):
                look.vanished[key] = None
        else:
            self._see(parent, name, path, stat, look)

    def _is_directory(self, key: str, look: _Look) -> bool:
        """Whether this is a directory that stays where the tree has it, so far as this look has seen."""
        while key:
            entry = self.tree.get(key)
            if entry is None or entry.kind is not Kind.DIR or key in look.vanished:
                return False
            key = entry.parent
        return True

    def _stands(self, key: str, path: str) -> bool:
        """Whether a directory is where the tree has it. If not, what is missing in it may have gone with it: a rename of which
        we have not heard yet."""
        if not path:
            return True
        stat, old = self._disk.stat(path), self.stats.get(key)
        return stat is not None and old is not None and stat.inode == old.inode

    def _list(self, key: str, path: str, look: _Look) -> None:
        """Everything in a directory of the tree, and below."""
        try:
            listing = self._disk.list(path)
        except GoneError:
            return  # the look at its parent says so
        except DiskError as error:
            self.troubles[path] = error.reason
            return
        self._clear(path)
        at = self.tree.at
        for name, stat in listing.items():
            inner = f"{path}/{name}" if path else name
            known = at(key, name)
            if not (known and self.stats.get(known[0]) == stat and stat.kind == "file" and known[0] not in self.young):
                self._see(key, name, inner, stat, look)
        for child in self.tree.children(key):
            entry = self.tree.get(child)
            assert entry is not None
            if entry.name not in listing:
                look.vanished[child] = None
            elif entry.kind is Kind.DIR and child not in look.vanished and child not in look.seen.ignored:
                self._list(child, f"{path}/{entry.name}" if path else entry.name, look)

    def _see(self, parent: str, name: str, path: str, stat: Stat, look: _Look) -> None:
        """Something is at this place."""
        known = next((key for key in self.tree.at(parent, name) if key not in look.vanished), None)
        reason = self._unfit(path, name, stat)
        if reason is not None or self._ignored(path, stat.kind == "dir"):
            if reason is not None:
                self.troubles[path] = reason
            if known is not None and stat.kind in KINDS:
                look.seen.ignored.update((known, *self.tree.below(known)))
                self._forget(known, look)
            return
        self._clear(path)
        if known is not None and self._same_entry(known, stat):
            self._compare(known, path, stat, look)
            return
        if known is not None:
            look.vanished[known] = None
        (look.directories if stat.kind == "dir" else look.others).append((parent, name, stat))

    def _unfit(self, path: str, name: str, stat: Stat) -> str | None:
        if stat.kind not in KINDS:
            return "not a file, directory or link"
        if path.count("/") >= DEEPEST:
            return f"more than {DEEPEST} directories deep"
        return valid_name(name)

    def _same_entry(self, key: str, stat: Stat) -> bool:
        """Whether what is at an entry's place is still that entry. A directory with another inode may be another one."""
        entry = self.tree.get(key)
        old = self.stats.get(key)
        if entry is None or entry.kind is not KINDS[stat.kind]:
            return False
        return entry.kind is not Kind.DIR or old is None or old.inode == stat.inode

    def _compare(self, key: str, path: str, stat: Stat, look: _Look) -> None:
        entry, old = self.tree.get(key), self.stats.get(key)
        assert entry is not None
        if old == stat and key not in self.young:
            return
        self.stats[key] = stat
        if entry.kind is Kind.LINK:
            entry = replace(entry, target=self._target(path, entry.target))
        elif entry.kind is Kind.FILE:
            only_mode = old is not None and stat.same(old) and stat.exec != old.exec and key not in self.young
            entry = replace(entry, exec=stat.exec, content=entry.content if only_mode else None)
            if entry.content is None:
                self.unread[key] = None
        self.young.discard(key)
        if entry != self.tree.get(key):
            self.tree.put(entry)
            look.seen.touched.add(key)

    def _target(self, path: str, otherwise: str) -> str:
        try:
            return self._disk.read_link(path)
        except DiskError as error:
            self.troubles[path] = error.reason
            return otherwise

    # Placing what is new.

    def _place_directories(self, look: _Look) -> None:
        while look.directories:
            parent, name, stat = look.directories.pop(0)
            path = self._path(parent, name)
            if path is None or not self._is_free(parent, name, look):
                continue
            try:
                names = self._disk.list(path)
            except DiskError as error:
                if not isinstance(error, GoneError):
                    self.troubles[path] = error.reason
                names = {}
            self._place_directory(parent, name, stat, set(names), look)

    def _place_directory(self, parent: str, name: str, stat: Stat, names: set[str], look: _Look) -> None:
        key = self._moved_directory(stat, names, look) or self._same_place(parent, name, look)
        if key is None:
            key = self._choose_key(parent, name, Kind.DIR)
        look.vanished.pop(key, None)
        self._put_new(Entry(key, parent, name, Kind.DIR), stat, look)
        path = self._path(parent, name)
        if path is not None:
            self._list(key, path, look)

    def _moved_directory(self, stat: Stat, names: set[str], look: _Look) -> str | None:
        for key in self._gone_keys(look):
            old, entry = self.stats.get(key), self.tree.get(key)
            if old is None or entry is None or entry.kind is not Kind.DIR or old.inode != stat.inode:
                continue
            inside = {child.name for k in self.tree.children(key) if (child := self.tree.get(k)) is not None}
            if inside & names or not inside:
                return key
        return None

    def _same_place(self, parent: str, name: str, look: _Look) -> str | None:
        """A directory made again where one was: the same entry, whatever its inode."""
        for key in self.tree.at(parent, name):
            entry = self.tree.get(key)
            if key in look.vanished and entry is not None and entry.kind is Kind.DIR:
                return key
        return None

    def _place_others(self, look: _Look) -> None:
        if not look.others:
            return
        gone = {old.inode: key for key in self._gone_keys(look) if (old := self.stats.get(key)) is not None}
        for parent, name, stat in look.others:
            path = self._path(parent, name)
            if path is None or not self._is_free(parent, name, look):
                continue
            kind, key = KINDS[stat.kind], gone.get(stat.inode)
            entry = self.tree.get(key) if key is not None else None
            if key is not None and entry is not None and entry.kind is kind and stat.same(self.stats[key]):
                look.vanished.pop(key, None)
                gone.pop(stat.inode)
                content = entry.content if key not in self.young else None
                exec, target = stat.exec and kind is Kind.FILE, self._target(path, "") if kind is Kind.LINK else ""
                moved = Entry(key, parent, name, kind, content, exec, target)
                self.young.discard(key)
            else:
                key = self._choose_key(parent, name, kind)
                target = self._target(path, "") if kind is Kind.LINK else ""
                moved = Entry(key, parent, name, kind, None, stat.exec and kind is Kind.FILE, target)
            self._put_new(moved, stat, look)

    def _is_free(self, parent: str, name: str, look: _Look) -> bool:
        """Whether something can be placed here. Two hints can lead to one place; and of a directory that is not what it was,
        the look at itself tells."""
        return self._is_directory(parent, look) and all(key in look.vanished for key in self.tree.at(parent, name))

    def _put_new(self, entry: Entry, stat: Stat, look: _Look) -> None:
        look.seen.placed.append((entry.key, self.tree.get(entry.key), entry))
        self.tree.put(entry)
        self.stats[entry.key] = stat
        if not entry.read:
            self.unread[entry.key] = None
        look.seen.touched.add(entry.key)

    def _gone_keys(self, look: _Look) -> list[str]:
        """Everything that vanished, with what was inside."""
        keys = list(look.vanished)
        for key in keys[:]:
            keys.extend(self.tree.below(key))
        return keys

    def _forget(self, key: str, look: _Look) -> None:
        entry = self.tree.get(key)
        if entry is None:
            return
        for gone in (key, *self.tree.below(key)):
            look.seen.touched.add(gone)
            look.seen.placed.append((gone, self.tree.get(gone), None))
            self.gone(gone)

    def _path(self, parent: str, name: str) -> str | None:
        above = self.tree.path(parent)
        if above is None:
            return None
        return f"{above}/{name}" if above else name

    def _clear(self, path: str) -> None:
        if self.troubles:
            self.troubles.pop(path, None)
