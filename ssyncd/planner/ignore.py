"""Which paths do not exist for us: a few built-in patterns and the user's `.ssyncdignore`, both with gitignore's meaning."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ssyncd.planner.names import OURS

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

# Locks, probes and leftovers that mean something only to the program that runs on this machine now, and what the desktop writes
# by itself. Nothing a user saved: backups (`*~`), partial downloads and autosaves are synced. A `!pattern` of the user's wins.
BUILT_IN = (
    ".*.sw[a-px]",  # vim's swap files
    ".#*",  # Emacs locks
    ".~lock.*#",  # LibreOffice locks
    "~$*",  # Microsoft Office locks
    ".goutputstream-*",  # GNOME's file before it gets its name
    ".fuse_hidden*",  # deleted but still open, on FUSE
    ".nfs0*",  # the same on NFS
    ".DS_Store",
    "Thumbs.db",
)
# The same as one expression over a single name; only names with one of these beginnings are looked at twice.
_BUILT_IN_NAME = re.compile(
    r"\..*\.sw[a-px]|\.#.*|\.~lock\..*#|~\$.*|\.goutputstream-.*|\.fuse_hidden.*|\.nfs0.*|\.DS_Store|Thumbs\.db",
    re.DOTALL,
).fullmatch
_SUSPECT = frozenset(".~T")
_CACHED = 100_000


class Ignore:
    """`lines` of gitignore patterns. `problems` tells of lines that could not be understood; they count as not written."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.problems: tuple[str, ...] = ()
        self._spec = self._compile(lines)
        self._directories: dict[str, bool] = {"": False}

    def ignored(self, path: str, is_dir: bool) -> bool:
        """Whether a path relative to the folder is not ours to sync. Nothing below an ignored directory can come back."""
        parent, _, name = path.rpartition("/")
        if parent and self._directory(parent):
            return True
        return self._directory(path) if is_dir else self._matches(path, name, False)

    def _directory(self, path: str) -> bool:
        known = self._directories.get(path)
        if known is None:
            parent, _, name = path.rpartition("/")
            known = self._directory(parent) or self._matches(path, name, True)
            if len(self._directories) >= _CACHED:
                self._directories = {"": False}
            self._directories[path] = known
        return known

    def _matches(self, path: str, name: str, is_dir: bool) -> bool:
        if path == OURS:
            return True
        if self._spec is not None:
            return self._spec.match_file(f"{path}/" if is_dir else path)
        return name[:1] in _SUSPECT and _BUILT_IN_NAME(name) is not None

    def _compile(self, lines: Iterable[str]) -> "GitIgnoreSpec | None":
        if not (lines := list(lines)):
            return None  # as for most folders, which need not wait for the library
        from pathspec import GitIgnoreSpec
        from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

        patterns, problems = [], []
        for number, line in enumerate(lines, 1):
            try:
                pattern = GitIgnoreSpecPattern(line.rstrip("\r\n"))
            except (ValueError, re.error) as error:
                problems.append(f"line {number}: {error}")
                continue
            if pattern.include is not None:
                patterns.append(pattern)
        self.problems = tuple(problems)
        return GitIgnoreSpec([*map(GitIgnoreSpecPattern, BUILT_IN), *patterns]) if patterns else None


def lines_of(data: bytes) -> list[str]:
    """The patterns in the bytes of an ignore file, whatever they are."""
    return data.decode("utf-8-sig", errors="replace").split("\n")
