"""Making many new files durable at once."""

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Flushing a few files by themselves does not wait for what other programs write on the same file system.
FEW = 16
_WRITE = 2  # SYNC_FILE_RANGE_WRITE: start, but wait for nothing


def _find(name: str) -> "ctypes._NamedFuncPointer | None":
    if not sys.platform.startswith("linux"):
        return None
    try:
        found: ctypes._NamedFuncPointer = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (OSError, AttributeError):
        return None
    return found


_syncfs = _find("syncfs")
_sync_file_range = _find("sync_file_range")
if _sync_file_range is not None:
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


def begin(file: int) -> None:
    """Have the disk begin with what was written to a file; only a hint, so that `flush` waits less."""
    if _sync_file_range is not None:
        _sync_file_range(file, 0, 0, _WRITE)


def flush(directory: Path, names: Sequence[str]) -> None:
    """Returns when these closed files of a directory survive a power cut, and so do their names. OSError."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _syncfs is not None and len(names) > FEW:
            if _syncfs(folder) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), str(directory))
            return
        for name in names:
            _flush_file(directory / name)
        os.fsync(folder)
    finally:
        os.close(folder)


def _flush_file(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
