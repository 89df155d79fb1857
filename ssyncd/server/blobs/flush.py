"""Making many new files durable at once."""

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Flushing a few files by themselves does not wait for what other programs write on the same file system.
FEW = 8


def _find_syncfs() -> "ctypes._NamedFuncPointer | None":
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return None


_syncfs = _find_syncfs()


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
