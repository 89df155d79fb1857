"""Mover: the changes that must look while they act (see `checked` for the rule they follow)."""

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ssyncd.disk.base import Stat, bounded
from ssyncd.disk.calls import Calls
from ssyncd.disk.heritage import Heritage
from ssyncd.disk.place import Place
from ssyncd.disk.stage import StageNames
from ssyncd.errors import ChangedError, GoneError

log = logging.getLogger(__name__)


def with_exec(mode: int, exec: bool) -> int:
    """Permission bits: `exec` where reading is allowed."""
    if exec == bool(mode & 0o100):
        return mode
    return mode | (mode & 0o444) >> 2 | 0o100 if exec else mode & ~0o111


class Mover:
    """Works on names in the stage and on open places; raises OSError and ChangedError."""

    def __init__(self, calls: Calls, names: StageNames) -> None:
        self._calls = calls
        self._names = names

    def make_ready(self, name: str, heritage: Heritage, mtime: int, exec: bool) -> None:
        """A finished file of the stage gets all that it is to have at its place; `mtime` in microseconds."""
        self._calls.set_mtime(self._calls.stage, name, bounded(mtime * 1000))
        if not self._calls.keeps_exec:
            return
        self._calls.give(heritage, name)
        mode = with_exec(heritage.mode, exec)
        # A list has set the mode already, but without regard to `exec`.
        if mode != self._calls.new_mode or heritage.attributes:
            self._calls.chmod(self._calls.stage, name, mode)

    # In

    def bring(self, place: Place, name: str, expected: Stat | None, keep: str | None = None) -> Stat:
        """A finished thing of the stage to its place; the expected one that was there is removed, or kept at a path beside."""
        if expected is None:
            return self.place(place, name)
        if expected.kind not in ("file", "link"):
            raise ChangedError(place.path, f"a {expected.kind} is never replaced")
        self._refuse_written(place.parent, place.name, place.path)
        # From here on this name may hold what was the user's: a crash must not leave that under a name that says "staged".
        ours = self._calls.look(self._calls.stage, name)
        aside = self._names.swap(name, ours.inode, keep is not None)
        beside = place.beside(keep) if keep is not None else None
        self._calls.rename(self._calls.stage, name, self._calls.stage, aside)
        try:
            swap = self._swap if self._calls.exchanges else self._swap_by_steps
            swap(place, aside, (ours, expected), beside)
        except (OSError, ChangedError):
            self._name_again(aside, name, ours)
            raise
        found = place.look_again()
        return found if ours.same(found) else ours

    def place(self, place: Place, name: str) -> Stat:
        """A thing of the stage to a place where nothing is."""
        ours = self.enter(place, name)
        found = place.look_again()
        return found if ours.same(found) else self.entered(place, name, ours, place.stands)

    def enter(self, place: Place, name: str) -> Stat:
        """As above, but for a directory that may have been moved meanwhile: `entered` has to find that out."""
        ours = self._calls.look(self._calls.stage, name)
        try:
            self._calls.rename(self._calls.stage, name, place.parent, place.name)
        except FileExistsError:
            place.refuse_spelling()
            raise
        return ours

    def entered(self, place: Place, name: str, ours: Stat, stands: Callable[[], bool]) -> Stat:
        found = None
        with suppress(OSError):  # it is there, whether it can be looked at or not
            found = place.look()
        self._back_if_moved(place, name, ours, stands)
        # A user may have written or removed it already. That is not to be told as what we put: `ours` still is.
        return found if ours.same(found) else ours

    def _back_if_moved(self, place: Place, name: str, ours: Stat, stands: Callable[[], bool]) -> None:
        if not stands():
            self._take_back(place, name, ours)
            raise ChangedError(place.path, "its directory was moved meanwhile")

    def _take_back(self, place: Place, name: str, ours: Stat) -> None:
        aside = self._names.new(name.partition(".")[0], "aside")
        self._calls.rename(place.parent, place.name, self._calls.stage, aside)
        if self._is(aside, ours):
            self._calls.rename(self._calls.stage, aside, self._calls.stage, name)
        else:
            self.put_back(aside, place)

    def _swap(self, place: Place, aside: str, pair: tuple[Stat, Stat], keep: Place | None) -> None:
        stage, (ours, expected) = self._calls.stage, pair
        self._calls.exchange(stage, aside, place.parent, place.name)
        try:
            if not self._proves(aside, expected) or not place.stands():
                raise ChangedError(place.path, "it changed since it was looked at")
            self._clear(aside, keep)
        except (OSError, ChangedError):
            # A user's write came between the look and the exchange; or the old one can not leave.
            try:
                self._calls.exchange(stage, aside, place.parent, place.name)
            except FileNotFoundError:
                self.put_back(aside, place)
            else:
                self._keep_odd(aside, place, ours)
            raise

    def _clear(self, old: str, keep: Place | None) -> None:
        """What was replaced, and has proven to be what it should be, leaves the stage. Never by two names at a time: who writes
        into one of them would write into the other, of which no watcher tells."""
        if keep is None:
            self._calls.unlink(self._calls.stage, old)
            return
        self._back_if_moved(keep, old, self.enter(keep, old), keep.stands)

    def _keep_odd(self, aside: str, place: Place, ours: Stat) -> None:
        """Exchanged back; if it was not ours that came out, it is a third version: it stays in the stage."""
        found = self._calls.look(self._calls.stage, aside)
        if not ours.same(found):
            log.warning("%s: written twice while it was replaced; one version is kept as %s", place.path, aside)

    def _swap_by_steps(self, place: Place, aside: str, pair: tuple[Stat, Stat], keep: Place | None) -> None:
        """Without exchange: the old thing is taken aside first, so for a moment nothing is at the place."""
        ours, expected = pair
        old = self._names.new(aside.partition(".")[0], "aside" if keep is None else "parked")
        self.take(place, old, expected)
        with self._back_if_not(old, place):
            if not self._proves(old, expected):
                raise ChangedError(place.path, "a program is writing it")
            self._calls.rename(self._calls.stage, aside, place.parent, place.name)
            try:
                if not place.stands():
                    raise ChangedError(place.path, "its directory was moved meanwhile")
                self._clear(old, keep)
            except (OSError, ChangedError):
                self._take_back(place, aside, ours)
                raise

    def _name_again(self, aside: str, name: str, ours: Stat) -> None:
        """The swap failed: if ours came back, it is a staged file again, to be put another time."""
        try:
            if ours.same(self._calls.look(self._calls.stage, aside)):
                self._calls.rename(self._calls.stage, aside, self._calls.stage, name)
        except OSError as error:
            log.info("%s: cannot be used again: %s", name, error)

    # Out

    def take(self, place: Place, name: str, expected: Stat) -> None:
        """From its place to the stage, if it proves to be the expected thing there."""
        self._calls.rename(place.parent, place.name, self._calls.stage, name)
        with self._back_if_not(name, place):
            if not self._is(name, expected) or not place.stands():
                raise ChangedError(place.path, "it changed since it was looked at")

    @contextmanager
    def _back_if_not(self, name: str, place: Place) -> Iterator[None]:
        """What cannot be looked at or removed, or is not what it should be, goes back: its directory may be next, and then there
        is no place for it any more."""
        try:
            yield
        except (OSError, ChangedError):
            self.put_back(name, place)
            raise

    def take_file(self, place: Place, aside: str, expected: Stat) -> None:
        """A file or a link from its place to the stage, where it has to be proven."""
        place.expect(expected)
        if expected.kind == "file":
            self._refuse_written(place.parent, place.name, place.path)
        self._calls.rename(place.parent, place.name, self._calls.stage, aside)

    def prove(self, place: Place, aside: str, expected: Stat, stands: Callable[[], bool]) -> None:
        with self._back_if_not(aside, place):
            if not stands() or not self._proves(aside, expected):
                raise ChangedError(place.path, "it changed since it was looked at")

    def remove_dir(self, place: Place, aside: str, expected: Stat) -> None:
        if self._calls.scan(place.path):
            raise ChangedError(place.path, "the directory is not empty")
        try:
            self.take(place, aside, expected)
        except OSError as error:
            # A read-only directory cannot change its parent, nor can one that overlayfs has from below (EXDEV); but an empty one
            # can be removed where it is.
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EXDEV):
                raise
            self._calls.rmdir(place.parent, place.name)
            return
        with self._back_if_not(aside, place):
            self._calls.rmdir(self._calls.stage, aside)

    def put_back(self, name: str, place: Place) -> None:
        try:
            self._calls.rename(self._calls.stage, name, place.parent, place.name)
        except OSError as error:
            log.warning("%s: cannot be put back (%s); it is kept as %s", place.path, error.strerror, name)

    def _is(self, name: str, expected: Stat) -> bool:
        return expected.same(self._calls.look(self._calls.stage, name))

    def _proves(self, name: str, expected: Stat) -> bool:
        """Whether this is the expected thing and stays so: who has it open for writing could still change it.

        In this order: a writer that closed the file before the second question has written before the look.
        """
        written = expected.kind == "file" and self._calls.being_written(self._calls.stage, name)
        return not written and self._is(name, expected)

    def _refuse_written(self, directory: int, name: str, path: str) -> None:
        if self._calls.being_written(directory, name):
            raise ChangedError(path, "a program is writing it")

    # Beside

    def move(self, here: Place, there: Place, expected: Stat) -> Stat:
        try:
            self._calls.rename(here.parent, here.name, there.parent, there.name)
        except FileExistsError:
            if not self._calls.folds or not (expected.same(there.look()) or here.is_respelled(there)):
                there.refuse_spelling()
                raise
            return self._respell(here, there, expected)
        except FileNotFoundError as error:
            raise GoneError(here.path, "it is no longer there") from error
        except OSError as error:
            if error.errno == errno.EINVAL:  # a directory into itself
                raise ChangedError(there.path, "a directory cannot be moved into itself") from error
            raise
        found = there.look()
        if not expected.same(found) or not here.stands() or not there.stands():
            self._move_back(here, there)
            raise ChangedError(here.path, "it changed since it was looked at")
        assert found is not None
        return found

    def _move_back(self, here: Place, there: Place) -> None:
        try:
            self._calls.rename(there.parent, there.name, here.parent, here.name)
        except OSError as error:
            log.warning("%s: moved to %s and not back: %s", here.path, there.path, error.strerror)

    def _respell(self, here: Place, there: Place, expected: Stat) -> Stat:
        """On a disk that folds case the new spelling of a name is "taken" by the thing itself: go through the stage."""
        name = self._names.new("respell", "parked")
        self.take(here, name, expected)
        try:
            return self.place(there, name)
        except (OSError, ChangedError):
            self.put_back(name, here)
            raise
