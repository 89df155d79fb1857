"""One look at the disk: what is where, what went, and who is who (design section 4, "Who is who on disk").

Same path and kind: the same entry. A path that vanished and one that appeared with its inode are one entry that moved, if
size and mtime say so too, or for a directory a name inside it; inode numbers are reused and prove nothing alone.
"""

from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct, field

from ssyncd.disk.base import Stat
from ssyncd.disk.faults import UNFIT
from ssyncd.errors import ChangedError, DiskError, GoneError
from ssyncd.planner.names import valid_name
from ssyncd.planner.tree import Entry, Kind, Tree

if TYPE_CHECKING:
    from ssyncd.disk.scanner import Scanner

KINDS = {"file": Kind.FILE, "dir": Kind.DIR, "link": Kind.LINK}
DEEPEST = 250
"""Directories deeper than this are named as trouble and left alone: no path of a real system call may grow without end."""
MANY = 16
"""So many paths in one directory, and this part of all that is in it, are told by its listing."""
SLICE = 1000
"""New files after which a look in slices is over."""
WHOLE_SECOND = 1_000_000_000
"""Nanoseconds. A time of whole seconds was set by a program, as tar does, and says little: the file is read to be sure."""


class Seen(Struct):
    """What one look found: keys whose local entry changed in any way (or went), of those that came, went or moved the entry
    before and after, files that were written in place, keys that are ignored from now on, directories that are not where they
    should be and what may come from elsewhere, but nobody said so yet: to be looked at in a moment; and paths that could not be
    looked at: once more, later and later."""

    touched: set[str] = field(default_factory=set)
    placed: list[tuple[str, Entry | None, Entry | None]] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)


def set_adrift(tree: Tree) -> list[str]:
    """What a base tree says of one entry may be older than what it says of others: two at one place, rings, and orphans lose
    theirs, until they are recognized. Their keys."""
    adrift = tree.misplaced()
    for entry in adrift:
        tree.put(entry._replace(parent=f"adrift {entry.key}"))
    return [entry.key for entry in adrift]


def _drop_lost_troubles(scanner: "Scanner") -> None:
    """Those of paths whose directory is not there any more: wherever it has got to, they are found again."""
    for path in list(scanner.troubles):
        parent = scanner.tree.find(path.rpartition("/")[0])
        entry = scanner.tree.get(parent) if parent else None
        if parent is None or (entry is not None and entry.kind is not Kind.DIR):
            del scanner.troubles[path]


def _unfit(path: str, name: str, stat: Stat) -> str | None:
    """Why this cannot be an entry."""
    if stat.kind not in KINDS:
        return UNFIT[stat.kind]
    if path.count("/") >= DEEPEST:
        return f"more than {DEEPEST} directories deep"
    return valid_name(name)


def _with_inside(tree: Tree, keys: Iterable[str]) -> list[str]:
    found = list(keys)
    for key in found[:]:
        found.extend(tree.below(key))
    return found


def _by_directory(paths: Iterable[str]) -> dict[str, list[str]]:
    """The names that are asked for in each directory."""
    found: dict[str, list[str]] = {}
    for path in paths:
        if path:
            directory, _, name = path.rpartition("/")
            found.setdefault(directory, []).append(name)
    return found


def _made_again(tree: Tree, parent: str, name: str, vanished: Container[str]) -> str | None:
    """A directory where one was: the same entry, whatever its inode."""
    here = ((key, tree.get(key)) for key in tree.at(parent, name) if key in vanished)
    return next((key for key, entry in here if entry is not None and entry.kind is Kind.DIR), None)


def _path(tree: Tree, parent: str, name: str) -> str:
    return f"{above}/{name}" if (above := tree.path(parent)) else name


class Look:
    """`below` and `at` look; `end` decides what the news means and puts it into the scanner's tree. To be used once.

    Where nothing is known yet nothing can have moved, and the look can be cut into `slices`: new directories are left.
    """

    def __init__(self, scanner: "Scanner", adrift: Iterable[str] = (), slices: bool = False) -> None:
        self.seen = Seen()
        self._slices = slices
        self._scanner, self._tree, self._stats, self._troubles = scanner, scanner.tree, scanner.stats, scanner.troubles
        # What is not where it was; what of it turns up elsewhere leaves this again. Inodes of files in whose places others are.
        self._vanished, self._displaced = dict.fromkeys(adrift), set[int]()
        # Directories found where the tree has them.
        self._standing: set[str] = set()
        # What is new, as (parent key, name, stat).
        self._directories, self._others = list[tuple[str, str, Stat]](), list[tuple[str, str, Stat]]()

    def end(self) -> Seen:
        self._place_directories()
        self._place_others()
        for key in self._vanished:
            self._forget(key)
        _drop_lost_troubles(self._scanner)
        self.seen.touched.difference_update(self.seen.ignored)
        self.seen.later.update(self._scanner.waiting)
        return self.seen

    def leave_out(self, keys: Iterable[str]) -> None:
        """These are ignored, with all that is in them; what of it turns up elsewhere is something new."""
        for key in keys:
            self.seen.ignored.update((key, *self._tree.below(key)))
            self._forget(key, for_good=True)

    # Looking.

    def below(self, path: str) -> None:
        """A path and everything below it; "" for all."""
        if self._slices and len(self._others) >= SLICE:
            self._scanner.left[path] = None
        elif path:
            self.at([path], deep=True)
        else:
            self._list("", "")

    def at(self, paths: Iterable[str], deep: bool = False) -> None:
        """Single paths. Below a directory we do not know, that directory is what is new."""
        for directory, names in _by_directory(paths).items():
            parent = self._tree.find(directory)
            if parent is None or not self._is_directory(parent):
                self.at([directory])
            else:
                self._look_in(parent, directory, names, deep)

    def _look_in(self, parent: str, directory: str, names: Sequence[str], deep: bool) -> None:
        paths = {name: f"{directory}/{name}" if directory else name for name in names}
        try:
            stands = self._stands(parent, directory)
        except DiskError as error:
            for path in paths.values():
                self._fail(path, error)
            return
        if not stands:
            self.seen.later.add(directory)
            return
        listing = self._listing(parent, directory, len(names))
        for name, path in paths.items():
            stat = listing.get(name) if listing else None
            try:
                if stat is None and (listing is None or self._tree.at(parent, name)):
                    stat = self._scanner.disk.stat(path)
            except DiskError as error:
                self._fail(path, error)
            else:
                self._look_at(parent, name, path, stat, deep)

    def _listing(self, key: str, path: str, count: int) -> dict[str, Stat] | None:
        """Of many in a directory the listing tells sooner than each by itself. What we know and it does not show may still be
        there: listings are not taken at one moment, and some disks know more spellings of a name."""
        if count >= MANY and count * MANY >= len(self._tree.children(key)):
            with suppress(DiskError):
                return self._scanner.disk.list(path)
        return None

    def _look_at(self, parent: str, name: str, path: str, stat: Stat | None, deep: bool) -> None:
        if stat is None:
            self._troubles.pop(path, None)
            for key in self._tree.at(parent, name):
                self._vanished[key] = None
            return
        known = next(iter(self._tree.at(parent, name)), "")
        # What we moved ourselves may be ignored where it is now.
        if self._scanner.knows(known, stat) and not self._scanner.ignored(path, False):
            self._troubles.pop(path, None)
            return
        changed = self._stats.get(known) != stat or known in self._scanner.young
        self._see(parent, name, path, stat)
        # One that changed may have had another name for a while: what happened in it then was told of under that name.
        if stat.kind == "dir" and known in self._tree and known not in self._vanished and (deep or changed):
            self._list(known, path)

    def _is_directory(self, key: str) -> bool:
        """Whether this is a directory that stays where the tree has it, so far as this look has seen."""
        while key:
            entry = self._tree.get(key)
            if entry is None or entry.kind is not Kind.DIR or key in self._vanished:
                return False
            key = entry.parent
        return True

    def _stands(self, key: str, path: str) -> bool:
        """Whether a directory is where the tree has it. If not, nothing is known of what is in it: there was a rename of which
        we have not heard yet."""
        if not path or key in self._standing:
            return True
        stat, old = self._scanner.disk.stat(path), self._stats.get(key)
        if stat is None or old is None or stat.inode != old.inode:
            return False
        self._standing.add(key)
        return True

    def _list(self, key: str, path: str) -> None:
        """Everything in a directory of the tree, and below."""
        try:
            listing = self._scanner.disk.list(path)
        except GoneError:
            return  # the look at its parent says so
        except DiskError as error:
            self._fail(path, error)
            return
        self._troubles.pop(path, None)
        at, knows = self._tree.at, self._scanner.knows
        for name, stat in listing.items():
            known = at(key, name)
            if not known or not knows(known[0], stat):
                self._see(key, name, f"{path}/{name}" if path else name, stat)
        for name, child in list(self._tree.names(key)):
            if name not in listing:
                self._vanished[child] = None
            elif (
                listing[name].kind == "dir"
                and child not in self._vanished
                and self._scanner.is_same(child, listing[name])
            ):
                self._list(child, f"{path}/{name}" if path else name)

    def _see(self, parent: str, name: str, path: str, stat: Stat) -> None:
        """Something is at this place."""
        known = next((key for key in self._tree.at(parent, name) if key not in self._vanished), None)
        reason = _unfit(path, name, stat)
        if reason is not None or self._scanner.ignored(path, stat.kind == "dir"):
            if reason is not None:
                self._troubles[path] = reason
            if known is not None and stat.kind in KINDS:
                self.leave_out([known])
            return
        self._troubles.pop(path, None)
        if known is not None and self._scanner.is_same(known, stat):
            self._compare(known, path, stat)
            return
        if known is not None:
            self._vanished[known] = None
        (self._directories if stat.kind == "dir" else self._others).append((parent, name, stat))

    def _compare(self, key: str, path: str, stat: Stat) -> None:
        entry, old = self._tree.get(key), self._stats.get(key)
        assert entry is not None
        if old == stat and key not in self._scanner.young:
            return
        if entry.kind is Kind.LINK:
            entry = entry._replace(target=self._target(key, path, stat))
            if not entry.target:
                return  # with the stat of what we know, so that nothing takes the place of what we do not
        self._stats[key] = stat
        if entry.kind is Kind.DIR:
            self._scanner.looked_into(key, stat)
        elif entry.kind is Kind.FILE:
            # Whatever changed: tar leaves another file with the same size, a time of whole seconds and, often, the same inode.
            entry = entry._replace(exec=stat.exec_or(entry.exec), content=None)
            self._scanner.unread[key] = None
            self._scanner.young.discard(key)
            if old is not None and old.inode != stat.inode:
                self._displaced.add(old.inode)
            elif old is not None and not stat.same(old):
                self.seen.written.add(key)
        if entry != self._tree.get(key):
            self._tree.put(entry)
            self.seen.touched.add(key)

    def _target(self, key: str, path: str, stat: Stat) -> str:
        """The text of a link; "" if it cannot be read."""
        try:
            target = self._scanner.disk.read_link(path)
        except DiskError as error:
            self._scanner.young.add(key)
            self._fail(path, error)
            return ""
        self._scanner.looked_into(key, stat)
        return target

    def _fail(self, path: str, error: DiskError) -> None:
        self.seen.failed.add(path)
        if not isinstance(error, GoneError | ChangedError):
            self._troubles[path] = error.reason

    # Placing what is new.

    def _place_directories(self) -> None:
        while self._directories:
            parent, name, stat = self._directories.pop(0)
            # Of a directory that is not what it was, the look at itself tells.
            if self._is_directory(parent) and self._is_free(parent, name):
                self._place_directory(parent, name, _path(self._tree, parent, name), stat)

    def _place_directory(self, parent: str, name: str, path: str, stat: Stat) -> None:
        key = self._moved_directory(path, stat) or _made_again(self._tree, parent, name, self._vanished)
        if key is None:
            if self._scanner.has_to_wait(path, stat):
                return
            key = self._scanner.choose_key(parent, name, Kind.DIR)
        self._vanished.pop(key, None)
        self._put_new(Entry(key, parent, name, Kind.DIR), stat)
        if self._slices:
            self._scanner.left[path] = None
        else:
            self._list(key, path)

    def _moved_directory(self, path: str, stat: Stat) -> str | None:
        for key in _with_inside(self._tree, self._vanished):
            old, entry = self._stats.get(key), self._tree.get(key)
            if old is None or entry is None or entry.kind is not Kind.DIR or old.inode != stat.inode:
                continue
            inside = {name for name, _ in self._tree.names(key)}
            if not inside or not inside.isdisjoint(self._names(path)):
                return key
        return None

    def _names(self, path: str) -> Iterable[str]:
        try:
            return self._scanner.disk.list(path)
        except DiskError as error:
            if not isinstance(error, GoneError):
                self._fail(path, error)
            return ()

    def _place_others(self) -> None:
        if not self._others:
            return
        vanished = _with_inside(self._tree, self._vanished)
        gone = {old.inode: key for key in vanished if (old := self._stats.get(key)) is not None}
        parents = {parent: self._is_directory(parent) for parent in {parent for parent, _, _ in self._others}}
        for parent, name, stat in self._others:
            if not parents[parent] or not self._is_free(parent, name):
                continue
            path, kind = _path(self._tree, parent, name), KINDS[stat.kind]
            entry = self._moved(gone, kind, stat)
            if entry is None and stat.inode not in self._displaced and self._scanner.has_to_wait(path, stat):
                continue
            key = entry.key if entry is not None else self._scanner.choose_key(parent, name, kind)
            content, target = (entry.content, entry.target) if entry is not None else (None, "")
            exec = self._scanner.exec_of(key, stat, entry)
            if kind is Kind.LINK:
                target = self._target(key, path, stat) or target
            if target or kind is Kind.FILE:
                self._put_new(Entry(key, parent, name, kind, content, exec, target), stat)

    def _moved(self, gone: dict[int, str], kind: Kind, stat: Stat) -> Entry | None:
        """What vanished elsewhere, in this look or before, and is here now; without its content if that has to be read to be
        sure."""
        key = gone.get(stat.inode)
        entry = self._tree.get(key) if key is not None else None
        if key is None or entry is None or entry.kind is not kind or not stat.same(self._stats.get(key)):
            return self._scanner.lost.take(stat, self._tree)
        self._vanished.pop(key, None)
        gone.pop(stat.inode)
        return self._scanner.as_sure(entry, stat)

    def _is_free(self, parent: str, name: str) -> bool:
        """Whether something can be placed here. Two hints can lead to one place."""
        return all(key in self._vanished for key in self._tree.at(parent, name))

    def _put_new(self, entry: Entry, stat: Stat) -> None:
        self.seen.placed.append((entry.key, self._tree.get(entry.key), entry))
        self._tree.put(entry)
        self._stats[entry.key] = stat
        if entry.kind is Kind.DIR:
            self._scanner.looked_into(entry.key, stat)
        if not entry.read:
            self._scanner.unread[entry.key] = None
        self.seen.touched.add(entry.key)

    def _forget(self, key: str, for_good: bool = False) -> None:
        if self._tree.get(key) is None:
            return
        for gone in (key, *self._tree.below(key)):
            self.seen.touched.add(gone)
            self.seen.placed.append((gone, self._tree.get(gone), None))
            if not for_good:
                self._scanner.lose(gone)
            self._scanner.gone(gone)
