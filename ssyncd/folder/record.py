"""What a folder knows: the three trees in memory, and on their way into the database.

Everything that changes here is written by the next `commit`, in one transaction: base tree and cursor can never disagree.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from ssyncd.content.body import MAX_DEVICE
from ssyncd.disk.base import Stat
from ssyncd.disk.scanner import with_exec
from ssyncd.errors import ContentError
from ssyncd.folder.at_rest import FilesAtRest, Ghosts, StatsByKey
from ssyncd.folder.entries import is_data_of, is_key, is_plea, to_data, to_entry
from ssyncd.folder.ledger import Ledger
from ssyncd.planner.structure import Trees
from ssyncd.planner.tree import Entry, Kind, Tree
from ssyncd.protocol.ghosts import Ghost
from ssyncd.state.database import Database, sensible
from ssyncd.state.rows import BaseRow, OvertakenRow, RemoteRow, Writes

PLEA = "plea "
"""What the names of pleas in the meta table begin with."""
MOST_STIRRED = 5000
"""Files that wait for a quiet moment to be held in less room."""
ROUND = 600_000_000_000
"""Nanoseconds that one round of work may last."""
SURE = 1_000_000_000
"""Nanoseconds after which a change that left the same stamp as the one before would have been told by the watcher."""


class Record:
    """The base and remote trees with all that belongs to them; the local tree is the scanner's, who fills `local`, `stats`.

    `young` is what was looked into so soon after it was written that a later write may have left the same stamp: to be looked
    into again whenever there is reason to look. `open` (see `certainty`) is read again after a restart.

    It is the channel's ghost store too: a ghost's data is made from the remote entry, without the bytes of small files.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._at_rest = FilesAtRest(self._take_up, database.ids)
        database.resting = self._at_rest.id
        self.base, self.local, self.remote = Tree(self._at_rest), Tree(self._at_rest), Tree(self._at_rest)
        self.stats = StatsByKey(self._at_rest)
        self.ghosts = Ghosts(self._at_rest)
        self.young, self.open = set[str](), set[str]()
        self.overtaken: dict[tuple[str, int], OvertakenRow] = {}
        self.unusable: dict[str, str] = {}
        self.pleas: dict[str, str] = {}
        """Contents that somebody asks for (see `folder.pleas`), by hash: which device."""
        self.heard = 0
        """The time of day, in nanoseconds, up to which the watcher was heard."""
        self.unflushed = False
        """Whether the base says more since this was reset than may be durable on the disk."""
        self.meta = database.meta()
        self._versions: dict[str, int] = {}
        self._placed = int(self.meta.get("placed", "0"))
        self._base_touched: dict[str, None] = {}
        self.stirred: dict[str, None] = {}
        """What was written since, and may rest."""
        self.ledger = Ledger(database.sent())
        self.sent, self.add_sent, self.remove_sent = self.ledger.sent, self.ledger.add, self.ledger.remove
        self._writes = Writes(sent=self.ledger.unwritten)
        with sensible(database.path):
            self._load()

    def _load(self) -> None:
        seen = int(self.meta.get("seen", "0"))
        for key, mtime in self._at_rest.load(self.database.files_at_rest()):
            if _is_unsure(mtime, seen):
                self.young.add(key)
        for ghost, base in self.database.entries():
            if ghost is not None:
                self.ghosts[ghost.key] = ghost
                if ghost.entry is not None and not ghost.dead:
                    self.remote.put(ghost.entry)
            if base is not None:
                self._load_base(base, seen)
        for name, value in self.meta.items():
            if name.startswith(PLEA):
                version, _, by = value.partition(" ")
                hash = name.removeprefix(PLEA)
                self.pleas[hash] = by
                self.ghosts[hash] = RemoteRow(hash, int(version), True, 0, False, None)
        for lost in self.database.overtaken():
            self.overtaken[lost.entry.key, lost.version] = lost

    def _load_base(self, base: BaseRow, seen: int) -> None:
        key, stat = base.entry.key, base.stat
        self.base.put(base.entry)
        self.local.put(_as_it_was(base))
        self._versions[key] = base.version
        if stat is not None:
            self.stats[key] = stat
            if _is_unsure(stat.ctime if stat.kind == "dir" else stat.mtime, seen):
                self.young.add(key)

    def trees(self) -> Trees:
        return Trees(self.base, self.local, self.remote, self.ghosts.placed, self.ghosts.tomb)

    def has_way_to(self, key: str) -> bool:
        """Whether this directory is here, or the server has told of it and of all above it ("" is the top)."""
        return not key or key in self.local or self.remote.path(key) is not None

    # Settings of our own, kept with the rest.

    def set_meta(self, name: str, value: str | None) -> None:
        if value is None:
            self.meta.pop(name, None)
        else:
            self.meta[name] = value
        self._writes.meta[name] = value

    # The channel's ghost store.

    @property
    def cursor(self) -> str:
        return self.meta.get("cursor", "")

    @cursor.setter
    def cursor(self, value: str) -> None:
        self.set_meta("cursor", value)

    def get(self, key: str) -> Ghost | None:
        row = self.ghosts.get(key)
        if row is None:
            return None
        return Ghost(row.version, None if row.dead or row.entry is None else to_data(row.entry))

    def put(self, key: str, ghost: Ghost) -> None:
        """A new version of an object. What is no entry (another program's, or hostile) is noted and changes nothing here: it
        is not known, which is not the same as deleted."""
        if is_plea(key):
            self._put_plea(key, ghost)
            return
        old = self.ghosts.get(key)
        last, dead = (old.entry if old is not None else None), ghost.data is None
        entry = None
        self.unusable.pop(key, None)
        if ghost.data is not None:
            try:
                entry = self._read(key, ghost.data)
            except ContentError as error:
                self.unusable[key] = str(error)
                entry, dead = last, last is None or (old is not None and old.dead)
        placed, mine = self._place(old, entry)
        self._note_past(old, ghost.version)
        last = entry or last
        self._set_ghost(RemoteRow(last.key if last else key, ghost.version, dead, placed, mine, last))

    def _read(self, key: str, data: dict[str, Any]) -> Entry:
        """The local one, if it is just the same: of what we sent, the server tells what is here."""
        local = self.local.get(key)
        return local if local is not None and is_data_of(local, data) else to_entry(key, data)

    def bury(self, entry: Entry) -> None:
        """An entry that the server had once."""
        if self.ghosts.get(entry.key) is None:
            self._placed += 1
            self._set_ghost(RemoteRow(entry.key, 0, True, self._placed, False, entry))

    def _put_plea(self, hash: str, ghost: Ghost) -> None:
        self.ghosts[hash] = RemoteRow(hash, ghost.version, True, 0, False, None)
        if ghost.data is None:
            self.pleas.pop(hash, None)
            self.set_meta(f"{PLEA}{hash}", None)
        else:
            by = str(ghost.data.get("by", ""))[:MAX_DEVICE]
            by = self.pleas[hash] = by if by.isprintable() else ""
            self.set_meta(f"{PLEA}{hash}", f"{ghost.version} {by}")

    def _place(self, old: RemoteRow | None, entry: Entry | None) -> tuple[int, bool]:
        if old and old.entry and not old.dead and entry and old.entry.place == entry.place:
            return old.placed, old.mine
        self._placed += 1
        self.set_meta("placed", str(self._placed))
        return self._placed, False

    def _note_past(self, old: RemoteRow | None, version: int) -> None:
        if old is not None and old.version < version and not old.dead and old.entry and old.entry.content:
            self._writes.past[old.key, old.version] = old.entry.content.hash

    def held(self, key: str, version: int, entry: Entry) -> bool:
        """Whether this file was known to hold just this in that version of the past."""
        past = self._writes.past.get((key, version)) or self.database.past(key, version)
        return entry.content is not None and entry.content.hash == past

    def _set_ghost(self, row: RemoteRow) -> None:
        if not is_key(row.key):
            self.ghosts[row.key] = row
            return  # another program's object: told of again after a restart
        self._writes.remote[row.key] = row
        if row.dead or row.entry is None:
            self.remote.remove(row.key)
        else:
            self.remote.put(row.entry)
        self.ghosts[row.key] = row
        if row.key in self.base:
            self._base_touched[row.key] = None

    def place_is_mine(self, key: str) -> None:
        """The change that gave the entry its place was ours."""
        row = self.ghosts.get(key)
        if row is not None and not row.mine:
            self.ghosts[key] = self._writes.remote[key] = row._replace(mine=True)

    def keys(self) -> Iterable[str]:
        return [*self._at_rest.rows, *(key for key, row in self.ghosts.held.items() if row.version)]

    # The base tree: what was really done.

    def set_base(self, entry: Entry, version: int = 0) -> None:
        """`version`: the server's that holds this content, where that is not the newest we know."""
        row = self.ghosts.get(entry.key)
        if row is not None and not row.dead and row.entry is not None and row.entry.same_content(entry):
            self._versions[entry.key] = row.version
        elif (before := self.base.get(entry.key)) is None or not before.same_content(entry):
            self._versions[entry.key] = version
        self.base.put(entry)
        self.unflushed = True
        self._base_touched[entry.key] = None

    def drop_base(self, key: str) -> None:
        self.base.remove(key)
        self.unflushed = True
        self._versions.pop(key, None)
        self._base_touched[key] = None

    def base_version(self, key: str) -> int:
        """The server's version that holds the base content; 0 if unknown."""
        return self.ghosts.version(key) if key in self._at_rest.rows else self._versions.get(key, 0)

    def agree(self, key: str) -> None:
        """Both sides are equal: so is the base, and one object serves all three trees."""
        remote, local = self.remote.get(key), self.local.get(key)
        if remote is None or local is None:
            self.drop_base(key)
        else:
            self.local.put(remote)
            self.set_base(remote)

    def unsettled(self, keys: Iterable[str]) -> Iterator[str]:
        """Those that are not one and the same entry in all three trees."""
        base, local, remote = self.base.held.get, self.local.held.get, self.remote.held.get
        return (key for key in keys if not (base(key) is local(key) is remote(key)))

    def looked(self, keys: Iterable[str]) -> None:
        """The local entries or stats of these changed: the fingerprints beside the base rows do too. Of what is gone the last one
        stays: the first look after a restart finds that out by itself."""
        self._base_touched.update(dict.fromkeys([key for key in keys if key in self.base and key in self.local]))

    # Overtaken contents, chunk lists.

    def add_overtaken(self, row: OvertakenRow) -> None:
        self.overtaken[row.entry.key, row.version] = self._writes.overtaken[row.entry.key, row.version] = row

    def drop_overtaken(self, key: str, version: int) -> None:
        self.overtaken.pop((key, version), None)
        self._writes.overtaken[key, version] = None

    def set_chunks(self, hash: str, rows: bytes) -> None:
        self._writes.chunks[hash] = rows

    def chunks(self, hash: str) -> bytes | None:
        return self._writes.chunks.get(hash) or self.database.chunks(hash)

    # Writing.

    def commit(self) -> None:
        """Write what changed. StateError: nothing was written, and all of it is written the next time."""
        if self.heard and (self._writes or self._base_touched):
            self.set_meta("seen", str(self.heard))
        for key in self._base_touched:
            self._writes.base[key] = self._base_row(key)
        if self._writes:
            self.database.write(self._writes)
            self.ledger.unwritten = {}
            self._writes = Writes(sent=self.ledger.unwritten)
        self.stirred.update(self._base_touched)
        self._base_touched.clear()
        self.let_rest(len(self.stirred) - MOST_STIRRED)

    def let_rest(self, most: int) -> bool:
        """So many of those that were written, the oldest first, are held in less room from now on. Whether there are more."""
        for key in list(islice(self.stirred, max(0, most))):
            del self.stirred[key]
            self._let_rest(key)
        return bool(self.stirred)

    def shrink(self) -> None:
        """A dict from which much was removed keeps the room for it."""
        for tree in (self.base, self.local, self.remote):
            _make_small(tree.held)
        for held in (self.stats.held, self.ghosts.held, self._versions, self.stirred):
            _make_small(held)

    def _let_rest(self, key: str) -> None:
        """What is in the database as one and the same on both sides needs no more room than there, if it is a file."""
        ghost, stat, entry = self.ghosts.held.get(key), self.stats.held.get(key), self.base.held.get(key)
        if entry is None or ghost is None or stat is None or ghost.version != self._versions.get(key):
            return
        if key in self.open or entry != self.local.held.get(key) or entry != self.remote.held.get(key):
            return
        if self._at_rest.add(ghost, stat):
            for tree in (self.base, self.local, self.remote):
                tree.let_go(key)
            del self.stats.held[key], self.ghosts.held[key], self._versions[key]

    def _take_up(self, ghost: RemoteRow, stat: Stat) -> None:
        """It is going to change: all that is known of it is held by itself again."""
        key, entry = ghost.key, ghost.entry
        assert entry is not None
        for tree in (self.base, self.local, self.remote):
            tree.hold(entry)
        self.stats.held[key], self.ghosts.held[key], self._versions[key] = stat, ghost, ghost.version

    def _base_row(self, key: str) -> BaseRow | None:
        entry = self.base.get(key)
        if entry is None:
            return None
        local = self.local.get(key)
        same = local is not None and local.kind is entry.kind and (entry.kind is Kind.DIR or local.same_content(entry))
        stat = self.stats.get(key) if same and key not in self.open else None
        return BaseRow(entry, stat, self.base_version(key), entry == self.remote.get(key))


def _is_unsure(stamp: int, seen: int) -> bool:
    """Whether what was last written then may have been written once more in the same tick, and not told of. Not where it is far
    in the time to come: clocks jump."""
    return -SURE <= stamp - seen <= ROUND


def _make_small(table: dict[str, Any]) -> None:
    rest = dict(table)
    table.clear()
    table.update(rest)


def _as_it_was(base: BaseRow) -> Entry:
    """The local entry at the last look; the first one from now on finds what has changed since, and reads what has no stat."""
    entry, stat = base.entry, base.stat
    if stat is None:
        return entry._replace(content=None)
    return with_exec(entry, stat)
