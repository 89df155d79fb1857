"""Place: one path, its parent directory held open while something is done there."""

from ssyncd.disk.base import Stat
from ssyncd.disk.calls import Calls
from ssyncd.disk.faults import OWN, check_names, disk_error
from ssyncd.errors import ChangedError, DiskError, GoneError


class Place:
    """`with Place(calls, path) as place:` opens the parent, and turns every OSError inside into one of ours for this path."""

    __slots__ = ("_calls", "_head", "name", "parent", "path")

    def __init__(self, calls: Calls, path: str) -> None:
        self._calls = calls
        self.path = path
        self._head, _, self.name = path.rpartition("/")
        self.parent = calls.root

    def __enter__(self) -> "Place":
        self._check()
        if self._head:
            try:
                self.parent = self._calls.open_dir(self._head)
            except OSError as error:
                raise disk_error(error, self.path) from error
            except ValueError as error:
                raise DiskError(self.path, "a name that this disk cannot hold") from error
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if self.parent != self._calls.root:
            self._calls.close(self.parent)
        if isinstance(error, OSError):
            raise disk_error(error, self.path) from error
        if isinstance(error, UnicodeEncodeError):
            raise DiskError(self.path, "a name that this disk cannot hold") from error

    def beside(self, path: str) -> "Place":
        """The place of another name in this directory; to be used while this one is open."""
        other = Place(self._calls, path)
        assert other._head == self._head
        other._check()
        other.parent = self.parent
        return other

    def _check(self) -> None:
        check_names(self.path)
        if self._calls.folds:
            self._refuse_own()

    def _refuse_own(self) -> None:
        """Where names fold, more spellings than `check_names` knows may lead to our own directory."""
        try:
            first = self._calls.look(self._calls.root, self.path.partition("/")[0])
        except (OSError, ValueError):
            return
        if first.inode == self._calls.look(self._calls.root, OWN).inode:
            raise DiskError(self.path, "not a path of this folder")

    def look(self) -> Stat | None:
        """What is here; None if nothing."""
        try:
            return self._calls.look(self.parent, self.name)
        except FileNotFoundError:
            return None

    def is_spelled(self) -> bool:
        """Whether what is here goes by just this name; where names fold, others lead to it too."""
        return not self._calls.folds or self._calls.spells(self.parent, self.name)

    def is_respelled(self, other: "Place") -> bool:
        """Whether the other place is this one by another spelling, as far as names tell: FUSE may give it another inode."""
        alike = self._head == other._head and self.name.casefold() == other.name.casefold()
        return alike and not other.is_spelled()

    def refuse_spelling(self) -> None:
        """DiskError if another spelling of the name is what stands in the way."""
        if not self.is_spelled():
            raise DiskError(self.path, "this disk cannot hold it beside a name that differs in case only")

    def look_again(self) -> Stat | None:
        """What the path leads to now: not by the parent held open, which may have been moved."""
        try:
            return self._calls.look_path(self.path)
        except OSError:
            return None

    def expect(self, expected: Stat) -> None:
        """ChangedError if something else is here. A first look only: what comes between it and the change is found after."""
        found = self.look()
        if not expected.same(found):
            if found is None:
                raise GoneError(self.path, "it is no longer there")
            raise ChangedError(self.path, "it changed since it was looked at")

    def stands(self) -> bool:
        """Whether the path still leads to the parent held open, so far as can be told: it may have been moved, even out of the
        folder."""
        if not self._head:
            return True
        try:
            handle = self._calls.open_dir(self._head)
            try:
                return self._calls.inode(handle) == self._calls.inode(self.parent)
            finally:
                self._calls.close(handle)
        except OSError:
            return False
