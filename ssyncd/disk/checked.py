"""CheckedDisk: every promise of `base.Disk`, made of elementary calls.

The rule of all changes: what is to vanish is first taken to `.ssyncd/stage/` by one atomic call, where nobody but us reaches it
by name; then it is looked at; only what proved to be the expected thing is removed, anything else is put back. What cannot be
put back, because yet another thing came to its place, stays in the stage as a leftover with origin "aside".
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress

from ssyncd.disk.base import Arrival, Doomed, Leftover, Read, Reader, Staged, Stat, Wanted
from ssyncd.disk.calls import Calls
from ssyncd.disk.faults import OWN, check_names, check_utf8, disk_error, refuse_special
from ssyncd.disk.files import OpenFile, StagedFile
from ssyncd.disk.moving import Mover, with_exec
from ssyncd.disk.place import Place
from ssyncd.disk.stage import StageNames
from ssyncd.disk.together import Together
from ssyncd.errors import ChangedError, DiskError, GoneError

log = logging.getLogger(__name__)


class CheckedDisk:
    """See `base.Disk`. `calls` is the kernel, or one in memory."""

    skew = 0

    def __init__(self, calls: Calls, identity: str) -> None:
        self.identity = identity
        self.grain = calls.grain
        self._calls = calls
        self._names = StageNames(self._scan_stage())
        self._mover = Mover(calls, self._names)
        self._together = Together(calls, self._names, self._mover)
        self._sweep()

    def _sweep(self) -> None:
        """Of what a crash left: bytes of ours that nobody would resume."""
        for leftover in self.leftovers():
            if leftover.origin == "staged" and not self._names.is_kept(leftover):
                self.drop(leftover)

    def check_root(self) -> None:
        self._calls.check()

    def _scan_stage(self) -> dict[str, Stat]:
        path = f"{OWN}/stage"
        try:
            return self._calls.scan(path)
        except OSError as error:
            raise disk_error(error, path) from error

    # Looking

    def list(self, path: str) -> dict[str, Stat]:
        if path:
            check_names(path)
        else:
            self._calls.check()
        try:
            found = self._calls.scan(path)
        except OSError as error:
            raise disk_error(error, path) from error
        except UnicodeEncodeError as error:
            raise DiskError(path, "a name that this disk cannot hold") from error
        if not path:
            found = {name: stat for name, stat in found.items() if name.casefold() != OWN}
            # A root that is being deleted or unmounted lists as empty: such a listing must not be believed.
            self._calls.check()
        return found

    def stat(self, path: str) -> Stat | None:
        if not path:
            try:
                return self._calls.look(self._calls.root, ".")
            except OSError as error:
                raise disk_error(error, "") from error
        try:
            with Place(self._calls, path) as place:
                found = place.look()
                return found if found is not None and place.is_spelled() else None
        except GoneError:
            return None

    def names(self, path: str) -> int:
        try:
            with Place(self._calls, path) as place:
                return self._calls.names(place.parent, place.name)
        except GoneError:
            return 0

    def read_link(self, path: str) -> str:
        with Place(self._calls, path) as place:
            found = place.look()
            if found is not None and found.kind != "link":
                raise ChangedError(path, "it is no link any more")
            target = self._calls.read_link(place.parent, place.name)
        check_utf8(path, target)
        return target

    def open(self, path: str) -> Reader:
        with Place(self._calls, path) as place:
            # Looked at first, because opening a pipe or a device does something to it even when it does not wait.
            refuse_special(self._calls.look(place.parent, place.name), path)
            return self._open_for_reading(place.parent, place.name, path)

    def read_files(self, wanted: Sequence[Wanted]) -> Iterator[Read | DiskError]:
        return self._together.read(wanted)

    def _open_for_reading(self, parent: int, name: str, path: str) -> OpenFile:
        handle = self._calls.open(parent, name)
        reader = OpenFile(self._calls, handle, path)
        try:
            refuse_special(reader.stat(), path)
        except DiskError:
            reader.close()
            raise
        return reader

    def being_written(self, path: str) -> bool:
        try:
            with Place(self._calls, path) as place:
                return self._calls.look(place.parent, place.name).kind == "file" and self._calls.being_written(
                    place.parent, place.name
                )
        except GoneError:
            return False

    def free(self) -> int:
        try:
            return self._calls.free()
        except OSError as error:
            raise disk_error(error, "") from error

    # Staging

    def stage(self, tag: str, resume: bool = False) -> Staged:
        kept = self._names.resumable(tag)
        try:
            if kept is not None and not resume:
                self._calls.unlink(self._calls.stage, kept)
            elif kept is not None:
                return self._staged(self._calls.reopen(self._calls.stage, kept), tag, kept)
        except FileNotFoundError:
            log.info("%s: what was kept of a broken-off transfer is gone", kept)
        except OSError as error:
            raise disk_error(error, f"{OWN}/stage") from error
        name = self._names.new(tag, "staged")
        try:
            return self._staged(self._calls.create(self._calls.stage, name), tag, name)
        except OSError as error:
            raise disk_error(error, f"{OWN}/stage") from error

    def _staged(self, handle: int, tag: str, name: str) -> StagedFile:
        self._names.opened(name)
        return StagedFile(self._calls, handle, tag, name, self._end_staged)

    def _end_staged(self, tag: str, name: str, keep: bool) -> None:
        if keep:
            self._names.closed(tag, name)
            return
        self._names.done(tag, name)
        try:
            self._calls.unlink(self._calls.stage, name)
        except FileNotFoundError:
            return  # put in place before, or never more than a name
        except OSError as error:
            log.info("%s: cannot be removed yet: %s", name, error.strerror)  # it is a leftover now

    def flush(self) -> None:
        try:
            self._calls.sync()
        except OSError as error:
            raise disk_error(error, "") from error

    # Changing

    def put(
        self, staged: Staged, path: str, expected: Stat | None, mtime: int, exec: bool, keep: str | None = None
    ) -> Stat:
        with Place(self._calls, path) as place:
            if expected is not None:
                place.expect(expected)
            heritage = self._calls.heritage(place.parent, place.name if expected is not None else "")
            self._mover.make_ready(staged.name, heritage, mtime, exec)
            seen = self._mover.bring(place, staged.name, expected, keep)
        self._names.done(staged.tag, staged.name)
        return seen

    def put_new(self, arrivals: Sequence[Arrival]) -> dict[str, Stat | DiskError]:
        return self._together.put(arrivals)

    def make_dir(self, path: str) -> Stat:
        with Place(self._calls, path) as place:
            try:
                self._calls.mkdir(place.parent, place.name)
            except FileExistsError:
                place.refuse_spelling()
                raise
            seen = self._calls.look(place.parent, place.name)
            if not place.stands():
                with suppress(OSError):  # not empty any more: then it is somebody's
                    self._calls.rmdir(place.parent, place.name)
                raise ChangedError(path, "its directory was moved meanwhile")
            if seen.kind != "dir":
                raise ChangedError(path, "something else took its place meanwhile")
            return seen

    def make_link(self, path: str, target: str, expected: Stat | None, keep: str | None = None) -> Stat:
        if not target or "\0" in target:
            raise DiskError(path, "not a link that this disk can hold")
        with Place(self._calls, path) as place:
            if expected is not None:
                place.expect(expected)
            name = self._names.new("link", "staged")
            self._calls.symlink(target, self._calls.stage, name)
            try:
                return self._mover.bring(place, name, expected, keep)
            except (OSError, DiskError):
                self._calls.unlink(self._calls.stage, name)
                raise

    def move(self, source: str, target: str, expected: Stat) -> Stat:
        with Place(self._calls, source) as here, Place(self._calls, target) as there:
            here.expect(expected)
            return self._mover.move(here, there, expected)

    def park(self, path: str, tag: str, expected: Stat) -> None:
        with Place(self._calls, path) as place:
            place.expect(expected)
            self._mover.take(place, self._names.parked(tag), expected)

    def unpark(self, tag: str, path: str) -> Stat:
        with Place(self._calls, path) as place:
            return self._mover.place(place, self._names.parked(tag))

    def set_exec(self, path: str, exec: bool, expected: Stat) -> Stat:
        with Place(self._calls, path) as place:
            place.expect(expected)
            handle = self._calls.open(place.parent, place.name)
            try:
                # Looked at and changed by the handle: whatever takes the path now is not touched.
                if not expected.same(self._calls.look_open(handle)):
                    raise ChangedError(path, "it changed since it was looked at")
                if self._calls.keeps_exec:
                    self._calls.chmod_open(handle, with_exec(self._calls.mode(place.parent, place.name), exec))
                place.expect(expected)
                return self._calls.look_open(handle)
            finally:
                self._calls.close(handle)

    def remove(self, path: str, tag: str, expected: Stat) -> None:
        if expected.kind == "dir":
            with Place(self._calls, path) as place:
                place.expect(expected)
                self._mover.remove_dir(place, self._names.new(tag, "aside"), expected)
            return
        for error in self.remove_files([Doomed(path, tag, expected)]).values():
            raise error

    def remove_files(self, doomed: Sequence[Doomed]) -> dict[str, DiskError]:
        return self._together.remove(doomed)

    # After a crash

    def leftovers(self) -> Sequence[Leftover]:
        return tuple(self._names.leftovers(self._scan_stage()))

    def open_leftover(self, leftover: Leftover) -> Reader:
        try:
            return self._open_for_reading(self._calls.stage, leftover.name, f"{OWN}/stage/{leftover.name}")
        except OSError as error:
            raise disk_error(error, f"{OWN}/stage/{leftover.name}") from error

    def restore(self, leftover: Leftover, path: str) -> Stat:
        with Place(self._calls, path) as place:
            seen = self._mover.place(place, leftover.name)
        self._names.done(leftover.tag, leftover.name)
        return seen

    def drop(self, leftover: Leftover) -> None:
        """A directory is dropped only when it is empty."""
        remove = self._calls.rmdir if leftover.stat.kind in ("dir", "root") else self._calls.unlink
        try:
            remove(self._calls.stage, leftover.name)
        except FileNotFoundError:
            log.info("%s: was dropped before", leftover.name)
        except OSError as error:
            raise disk_error(error, f"{OWN}/stage/{leftover.name}") from error
        self._names.done(leftover.tag, leftover.name)
