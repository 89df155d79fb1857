"""What is done to many files at once: their directory is opened once for all that are in it, and proven to be the same at the
end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import groupby
from typing import Any, TypeVar

from ssyncd.disk.base import Arrival, Doomed, Read, Stat, Wanted
from ssyncd.disk.calls import Calls
from ssyncd.disk.faults import disk_error, refuse_special
from ssyncd.disk.moving import Mover
from ssyncd.disk.place import Place
from ssyncd.disk.stage import StageNames
from ssyncd.errors import ChangedError, DiskError

T = TypeVar("T", Arrival, Doomed, Wanted)

READ_TOGETHER = 64
"""Files whose bytes are held at a time."""
_FAILURES = (DiskError, OSError, UnicodeEncodeError)


class Together:
    """See `base.Disk` for what each promises. A file that fails does not keep the others from going on."""

    def __init__(self, calls: Calls, names: StageNames, mover: Mover) -> None:
        self._calls = calls
        self._names = names
        self._mover = mover

    def read(self, wanted: Sequence[Wanted]) -> Iterator[Read | DiskError]:
        for _, run in groupby(wanted, _directory):
            inside = list(run)
            for at in range(0, len(inside), READ_TOGETHER):
                lot = inside[at : at + READ_TOGETHER]
                found = self._read_inside(lot)
                yield from (found[one.path] for one in lot)

    def _read_inside(self, lot: Sequence[Wanted]) -> dict[str, Read | DiskError]:
        found = dict[str, Read | DiskError]()
        with _noting(found, *(one.path for one in lot)), Place(self._calls, lot[0].path) as first:
            for one in lot:
                try:
                    found[one.path] = self._read_one(first.beside(one.path), one.expected)
                except _FAILURES as error:
                    found[one.path] = _named(error, one.path)
            if not first.stands():
                return {one.path: ChangedError(one.path, "its directory was moved meanwhile") for one in lot}
        return found

    def _read_one(self, place: Place, expected: Stat) -> Read:
        # Looked at first, because opening a pipe or a device does something to it even when it does not wait.
        before = self._calls.look(place.parent, place.name)
        refuse_special(before, place.path)
        handle = self._calls.open(place.parent, place.name)
        try:
            being_written = self._calls.has_writer(handle)
            plain = self._calls.read(handle, expected.size + 1)
            after = self._calls.look_open(handle)
        finally:
            self._calls.close(handle)
        if not expected.same(before) or not expected.same(after) or len(plain) != expected.size:
            raise ChangedError(place.path, "it changed")
        return Read(plain, being_written)

    def put(self, arrivals: Sequence[Arrival]) -> dict[str, Stat | DiskError]:
        found = dict[str, Stat | DiskError]()
        for inside in _by_directory(arrivals):
            self._put_inside(inside, found)
        return found

    def _put_inside(self, inside: Sequence[Arrival], found: dict[str, Stat | DiskError]) -> None:
        entered: list[tuple[Place, Arrival, Stat]] = []
        with _noting(found, *(one.path for one in inside)), Place(self._calls, inside[0].path) as first:
            heritage = self._calls.heritage(first.parent, "")
            for one in inside:
                try:
                    place = first.beside(one.path)
                    self._mover.make_ready(one.staged.name, heritage, one.mtime, one.exec)
                    entered.append((place, one, self._mover.enter(place, one.staged.name)))
                except _FAILURES as error:
                    found[one.path] = _named(error, one.path)
            # Asked once, when all are there.
            stands = cache(first.stands)
            for place, one, ours in entered:
                try:
                    found[one.path] = self._mover.entered(place, one.staged.name, ours, stands)
                    self._names.done(one.staged.tag, one.staged.name)
                except _FAILURES as error:
                    found[one.path] = _named(error, one.path)

    def remove(self, doomed: Sequence[Doomed]) -> dict[str, DiskError]:
        stayed, proven = dict[str, DiskError](), dict[str, str]()
        lots = (list(self._take_inside(inside, proven, stayed)) for inside in _by_directory(doomed))
        for aside, error in self._calls.unlink_all(self._calls.stage, lots).items():
            with _noting(stayed, proven[aside]), Place(self._calls, proven[aside]) as place:
                self._mover.put_back(aside, place)
                raise error
        return stayed

    def _take_inside(
        self, inside: Sequence[Doomed], proven: dict[str, str], stayed: dict[str, DiskError]
    ) -> Iterator[str]:
        """Files of one directory to the stage: the names there of those that proved to be the expected ones."""
        taken: list[tuple[Place, str, Stat]] = []
        with _noting(stayed, *(path for path, _, _ in inside)), Place(self._calls, inside[0].path) as first:
            for path, tag, expected in inside:
                try:
                    place, aside = first.beside(path), self._names.new(tag, "aside")
                    self._mover.take_file(place, aside, expected)
                    taken.append((place, aside, expected))
                except _FAILURES as error:
                    stayed[path] = _named(error, path)
            stands = cache(first.stands)
            for place, aside, expected in taken:
                try:
                    self._mover.prove(place, aside, expected, stands)
                except _FAILURES as error:
                    stayed[place.path] = _named(error, place.path)
                else:
                    proven[aside] = place.path
                    yield aside


def _directory(one: Arrival | Doomed | Wanted) -> str:
    return one.path.rpartition("/")[0]


def _by_directory(some: Sequence[T]) -> list[list[T]]:
    directories = dict[str, list[T]]()
    for one in some:
        directories.setdefault(_directory(one), []).append(one)
    return list(directories.values())


def _named(error: Exception, path: str) -> DiskError:
    """What has failed for this path."""
    if isinstance(error, OSError):
        return disk_error(error, path)
    if isinstance(error, DiskError):
        return type(error)(path, error.reason)
    return DiskError(path, "a name that this disk cannot hold")


@contextmanager
def _noting(failed: dict[str, Any], *paths: str) -> Iterator[None]:
    """What fails inside has failed for all these paths."""
    try:
        yield
    except _FAILURES as error:
        failed.update((path, _named(error, path)) for path in paths)
