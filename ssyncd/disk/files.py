"""Open files over the elementary calls: `Reader` and `Staged` of `base`."""

from collections.abc import Callable

from ssyncd.disk.base import Stat
from ssyncd.disk.calls import Calls
from ssyncd.disk.faults import disk_error

# Bytes of a long file after which those before are dropped: all of them would wait for the flush at the end, and take memory from
# what other programs read.
DROP_STEP = 8 * 1024 * 1024


class OpenFile:
    """A file open for reading; errors name its path."""

    __slots__ = ("_calls", "_handle", "_path")

    def __init__(self, calls: Calls, handle: int, path: str) -> None:
        self._calls = calls
        self._handle = handle
        self._path = path

    def read(self, size: int, /) -> bytes:
        try:
            return self._calls.read(self._handle, size)
        except OSError as error:
            raise disk_error(error, self._path) from error

    def read_at(self, size: int, offset: int) -> bytes:
        try:
            return self._calls.read_at(self._handle, size, offset)
        except OSError as error:
            raise disk_error(error, self._path) from error

    def read_once(self, size: int, offset: int) -> bytes:
        data = self.read_at(size, offset)
        self._passed(offset, offset + len(data))
        return data

    def _passed(self, begin: int, end: int) -> None:
        if begin // DROP_STEP < end // DROP_STEP:
            self._calls.drop_behind(self._handle, end)

    def stat(self) -> Stat:
        try:
            return self._calls.look_open(self._handle)
        except OSError as error:
            raise disk_error(error, self._path) from error

    def being_written(self) -> bool:
        return self._calls.has_writer(self._handle)

    def close(self) -> None:
        """May be called again."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            self._calls.close(handle)

    def __enter__(self) -> "OpenFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StagedFile(OpenFile):
    """A file in `.ssyncd/stage/`, known by its name there; `write` goes on at the end of what was written last.

    `ended` is told when the file is closed or discarded: with the name, and whether bytes are kept under it.
    """

    __slots__ = ("_ended", "_position", "name", "tag")

    def __init__(self, calls: Calls, handle: int, tag: str, name: str, ended: Callable[[str, str, bool], None]) -> None:
        super().__init__(calls, handle, f".ssyncd/stage/{name}")
        self.tag = tag
        self.name = name
        self._position = 0
        self._ended = ended

    def write(self, data: bytes, /) -> None:
        self.write_at(data, self._position)
        self._position += len(data)

    def write_at(self, data: bytes, offset: int) -> None:
        try:
            self._calls.write_at(self._handle, data, offset)
        except OSError as error:
            raise disk_error(error, self._path) from error
        self._passed(offset, offset + len(data))

    def size(self) -> int:
        """Bytes up to the furthest that was ever written."""
        return self.stat().size

    def close(self) -> None:
        """The bytes stay, for `put` or for a later `stage(tag, resume=True)`; DiskError: the disk could not keep them."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            try:
                self._calls.close_written(handle)
            except OSError as error:
                self._ended(self.tag, self.name, False)
                raise disk_error(error, self._path) from error
            self._ended(self.tag, self.name, True)

    def discard(self) -> None:
        """Forget the bytes. Harmless after `put`."""
        super().close()
        self._ended(self.tag, self.name, False)

    def __enter__(self) -> "StagedFile":
        return self
