"""Somebody else at the folder: the same acts on a real directory and on a MemoryDisk."""

import os
import shutil
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ssyncd.disk.calls import unlink_each


class RealUser:
    """As `memory.User`, by plain system calls."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, data: bytes, mtime: int | None = None) -> None:
        (self.root / path).write_bytes(data)
        if mtime is not None:
            os.utime(self.root / path, ns=(mtime, mtime))

    def save(self, path: str, data: bytes) -> None:
        beside = self.root / f"{path}~"
        beside.write_bytes(data)
        beside.rename(self.root / path)

    def open(self, path: str, keep: bool = False) -> Any:
        return open(self.root / path, "ab" if keep else "wb", buffering=0)

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def make_dir(self, path: str) -> None:
        (self.root / path).mkdir()

    def link(self, path: str, target: str) -> None:
        (self.root / path).symlink_to(target)

    def name_too(self, path: str, other: str) -> None:
        os.link(self.root / path, self.root / other)

    def rename(self, source: str, target: str) -> None:
        (self.root / source).rename(self.root / target)

    def set_exec(self, path: str, exec: bool) -> None:
        (self.root / path).chmod(0o755 if exec else 0o644)

    def delete(self, path: str) -> None:
        found = self.root / path
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found)
        else:
            found.unlink()

    def tree(self) -> dict[str, bytes | str | None]:
        found: dict[str, bytes | str | None] = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if name.startswith(".ssyncd"):
                continue
            if path.is_symlink():
                found[name] = os.readlink(path)
            else:
                found[name] = path.read_bytes() if path.is_file() else None
        return found


class Stepped:
    """A disk's calls with a hook before each one, as MemoryCalls has it: (name of the call, number of it)."""

    def __init__(self, calls: Any, hook: Any) -> None:
        self._calls = calls
        self._hook = hook

    def unlink_all(self, directory: int, lots: Iterable[Sequence[str]]) -> dict[str, OSError]:
        """One by one, as MemoryCalls does."""
        return unlink_each(self.unlink, directory, chain.from_iterable(lots))

    def close_written(self, handle: int) -> None:
        """Closed it is, whatever the hook does."""
        try:
            self._hook("close_written")
        finally:
            self._calls.close_written(handle)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._calls, name)
        if not callable(found) or name in ("close", "check"):
            return found

        def call(*arguments: Any) -> Any:
            self._hook(name)
            return found(*arguments)

        return call
