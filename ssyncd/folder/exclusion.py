"""What of a folder does not exist for us: what `.ssyncdignore` names, and directories that are here for its sake only."""

import logging
from collections.abc import Iterable, Iterator

from ssyncd.disk.base import Disk
from ssyncd.errors import DiskError, GoneError
from ssyncd.folder.record import Record
from ssyncd.planner.ignore import Ignore
from ssyncd.planner.names import moved_inside
from ssyncd.planner.tree import Kind

log = logging.getLogger(__name__)

IGNORE_FILE = ".ssyncdignore"
IGNORE_FILE_LIMIT = 1024 * 1024


class Exclusion:
    """`lines` are the settings', in front of the file's."""

    def __init__(self, record: Record, disk: Disk, lines: tuple[str, ...]) -> None:
        self._record = record
        self._disk = disk
        self._lines = lines
        self._ignore = Ignore(lines)
        # Directories deleted elsewhere that stay here for what is ignored in them, and their inodes.
        self._husks = dict(_husks(record.meta.get("husks", "")))

    def leaves_out(self, key: str) -> bool:
        """Whether this is an entry of the server that these rules leave out."""
        entry = self._record.remote.get(key)
        if entry is None or key in self._record.local:
            return False
        path = self._record.remote.path(key)
        return path is not None and self.excludes(path, entry.kind is Kind.DIR)

    def excludes(self, path: str, is_dir: bool) -> bool:
        return self._ignore.ignored(path, is_dir) or (is_dir and path in self._husks)

    def load(self) -> bool:
        """Read the file again. Whether it says something else than before."""
        lines = [*self._lines, *self._read()]
        self._ignore = Ignore(lines)
        if "\n".join(lines) == self._record.meta.get("ignore", ""):
            return False
        for problem in self._ignore.problems:
            log.warning("%s: %s", IGNORE_FILE, problem)
        self._record.set_meta("ignore", "\n".join(lines))
        return True

    def _read(self) -> list[str]:
        try:
            reader = self._disk.open(IGNORE_FILE)
        except DiskError:
            return []
        try:
            return reader.read(IGNORE_FILE_LIMIT).decode("utf-8", "replace").splitlines()
        except DiskError:
            return []
        finally:
            reader.close()

    def make_husk(self, path: str) -> bool:
        """A directory that shall go but holds what is ignored: it stays, and is no entry any more. False if it holds more."""
        try:
            names, stat = self._disk.list(path), self._disk.stat(path)
        except DiskError:
            return False
        if not names or stat is None:
            return False  # emptied meanwhile: it can be removed after all
        for name, inner in names.items():
            if not self.excludes(f"{path}/{name}", inner.kind == "dir"):
                return False
        self._husks[path] = stat.inode
        self._save_husks()
        return True

    def leave_husks(self, paths: Iterable[str]) -> list[str]:
        """Of the husks in which something happened, or in whose place: those that are directories like any other again, because
        something that is not ignored appeared there, or the user took them away. They are to be looked at."""
        left = set[str]()
        for path in paths if self._husks else ():
            above = f"{path}/" if path else ""
            inside = [husk for husk in self._husks if path.startswith(f"{husk}/")]
            if inside and not self._ignore.ignored(path, False) and self._is_there(path):
                left.update(inside)
            left.update(husk for husk in self._husks if f"{husk}/".startswith(above) and not self._is_husk(husk))
        for husk in left:
            del self._husks[husk]
        if left:
            self._save_husks()
        return [husk for husk in left if not any(husk.startswith(f"{other}/") for other in left)]

    def moved(self, old: str, new: str) -> None:
        """A directory has another path, and with it the husks inside."""
        inside = moved_inside(self._husks, old, new)
        for husk, path in inside:
            self._husks[path] = self._husks.pop(husk)
        if inside:
            self._save_husks()

    def _is_husk(self, path: str) -> bool:
        """Whether it is still that directory, and there is still something in it that it is here for."""
        try:
            stat = self._disk.stat(path)
            return stat is not None and stat.inode == self._husks[path] and bool(self._disk.list(path))
        except GoneError:
            return False
        except DiskError:
            return True  # unreadable is not gone

    def _is_there(self, path: str) -> bool:
        try:
            return self._disk.stat(path) is not None
        except DiskError:
            return True

    def _save_husks(self) -> None:
        self._record.set_meta(
            "husks", "\0".join(f"{inode}/{path}" for path, inode in sorted(self._husks.items())) or None
        )


def _husks(text: str) -> Iterator[tuple[str, int]]:
    for part in filter(None, text.split("\0")):
        inode, _, path = part.partition("/")
        if inode.isdecimal() and path:
            yield path, int(inode)
