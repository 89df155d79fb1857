"""Trees of files: made, waited for, and compared byte by byte."""

import os
import random
import shutil
import stat
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

PER_DIRECTORY = 100
MEGABYTE = 1024 * 1024
# What the programs keep in a folder for themselves.
_OWN = (".ssyncd", ".stfolder")
_UNFINISHED = (".syncthing.", ".unison.")
_WORDS = (
    "the",
    "entry",
    "server",
    "of",
    "a",
    "folder",
    "and",
    "change",
    "that",
    "comes",
    "to",
    "every",
    "machine",
    "is",
)


def small_files(folder: Path, count: int, size: int) -> None:
    """Files of random bytes in `tree/`, a hundred in a directory; the same ones for the same numbers."""
    chance = random.Random(count * size)
    for first in range(0, count, PER_DIRECTORY):
        directory = folder / "tree" / f"d{first // PER_DIRECTORY}"
        directory.mkdir(parents=True)
        for index in range(first, min(first + PER_DIRECTORY, count)):
            (directory / f"f{index}").write_bytes(chance.randbytes(size))


def real_files(folder: Path) -> None:
    """This Python's standard library with what is installed beside it, and links in it."""
    paths = sysconfig.get_paths()
    leave = shutil.ignore_patterns("__pycache__", "site-packages")
    shutil.copytree(paths["stdlib"], folder / "library", symlinks=True, ignore=leave)
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(paths["purelib"], folder / "packages", symlinks=True, ignore=leave)
    for index, path in enumerate(sorted((folder / "library").glob("*.py"))):
        if index % 10 == 0:
            path.with_suffix(".link").symlink_to(path.name)


def random_file(path: Path, size: int) -> None:
    chance = random.Random(size)
    with path.open("wb") as file:
        for _ in range(size // MEGABYTE):
            file.write(chance.randbytes(MEGABYTE))


def text_file(path: Path, size: int) -> None:
    """Lines of words and numbers, which compress as logs do."""
    chance = random.Random(size)
    lines = [" ".join(chance.choices(_WORDS, k=12)) for _ in range(5000)]
    written = 0
    with path.open("wb") as file:
        while written < size:
            text = "".join(f"{chance.getrandbits(40)} {line}\n" for line in chance.sample(lines, 1000))
            written += file.write(text.encode())
        file.truncate(size)


class Arrival:
    """Looks for a tree in another folder: `here` lists one directory at a time, so that asking costs next to nothing."""

    def __init__(self, source: Path, target: Path) -> None:
        self._target = target
        self._missing = [
            (os.path.relpath(place, source), len(directories) + len(names))
            for place, directories, names in _walk(source)
        ]

    def here(self) -> bool:
        while self._missing and self._listed(self._missing[-1][0]) >= self._missing[-1][1]:
            self._missing.pop()
        return not self._missing

    def _listed(self, place: str) -> int:
        try:
            names = os.listdir(self._target / place)
        except FileNotFoundError:
            return -1
        return sum(not name.startswith(_UNFINISHED) and name not in _OWN for name in names)


def entries(folder: Path) -> int:
    return sum(len(directories) + len(names) for _, directories, names in _walk(folder))


def difference(one: Path, other: Path) -> str:
    """The first path that is not the same in both, in name, kind, bytes, link text or executability; "" if there is none."""
    for place, directories, names in _walk(one):
        there = other / os.path.relpath(place, one)
        if not there.is_dir() or set(os.listdir(there)) - set(_OWN) != set(directories) | set(names):
            return str(there)
        for name in (*directories, *names):
            if _essence(Path(place) / name) != _essence(there / name):
                return str(there / name)
    return ""


def _walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for place, directories, names in os.walk(folder):
        if place == str(folder):
            directories[:] = [name for name in directories if name not in _OWN]
        yield place, directories, names


def _essence(path: Path) -> tuple[int, bool, bytes]:
    found = path.lstat()
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFLNK:
        return kind, False, os.fsencode(os.readlink(path))
    if kind != stat.S_IFREG:
        return kind, False, b""
    return kind, bool(found.st_mode & stat.S_IXUSR), blake3().update_mmap(path).digest() if found.st_size else b""
