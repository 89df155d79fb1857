"""What of a folder does not exist for us: what `.ssyncdignore` names, and directories that are here for its sake only."""

import logging

from ssyncd.disk.base import Disk
from ssyncd.errors import DiskError
from ssyncd.folder.record import Record
from ssyncd.planner.ignore import Ignore

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
        # Directories deleted elsewhere that stay here for what is ignored in them.
        self._husks: set[str] = set(filter(None, record.meta.get("husks", "").split("\0")))

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
            names = self._disk.list(path)
        except DiskError:
            return False
        if not names:
            return False  # emptied meanwhile: it can be removed after all
        for name, stat in names.items():
            if not self.excludes(f"{path}/{name}", stat.kind == "dir"):
                return False
        self._husks.add(path)
        self._save_husks()
        return True

    def leave_husks(self, paths: list[str]) -> None:
        """Something that is not ignored appeared in a husk: it is a directory like any other again, and to be looked at."""
        if not self._husks:
            return
        for path in list(paths):
            inside = [husk for husk in self._husks if path.startswith(husk + "/")]
            if inside and not self._ignore.ignored(path, False):
                self._husks.difference_update(inside)
                paths.append(min(inside, key=len))
                self._save_husks()

    def _save_husks(self) -> None:
        self._record.set_meta("husks", "\0".join(sorted(self._husks)))
