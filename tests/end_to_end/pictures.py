"""What a folder holds, as one value that can be compared and read."""

import os
from pathlib import Path

from blake3 import blake3

Picture = dict[str, bytes | str]
"""Path to bytes of a file (of a large one: hash and size as text); `path/` to "dir"; `path*`: executable; a link: its text."""

SHOWN = 4096
DIRECTORY = "dir"


def picture(folder: Path) -> Picture:
    """Everything but what is ours; what vanishes while we look is left out."""
    found: Picture = {}
    _look(os.fspath(folder), "", found)
    return found


def inodes(folder: Path) -> dict[Path, int]:
    """Of the same, in a folder that stands still: what was moved has kept its own, what was sent anew has not."""
    paths = (path for path in folder.rglob("*") if ".ssyncd" not in path.relative_to(folder).parts)
    return {path.relative_to(folder): path.stat().st_ino for path in paths}


def _look(directory: str, prefix: str, found: Picture) -> None:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        path = prefix + entry.name
        try:
            if entry.is_symlink():
                found[path] = f"-> {os.readlink(entry.path)}"
            elif entry.is_dir():
                if path != ".ssyncd":
                    found[path + "/"] = DIRECTORY
                    _look(entry.path, path + "/", found)
            elif entry.is_file():
                star = "*" if entry.stat().st_mode & 0o100 else ""
                found[path + star] = _content(entry.path)
            else:
                found[path] = "special"
        except FileNotFoundError:
            continue


def _content(path: str) -> bytes | str:
    if os.stat(path).st_size <= SHOWN:
        return Path(path).read_bytes()
    hasher = blake3(max_threads=1)
    size = 0
    with open(path, "rb") as source:
        while piece := source.read(1 << 20):
            hasher.update(piece)
            size += len(piece)
    return f"{size} bytes {hasher.hexdigest()}"


def content(data: bytes) -> bytes | str:
    """What a picture shows for these bytes."""
    return data if len(data) <= SHOWN else f"{len(data)} bytes {blake3(data).hexdigest()}"


def files(shown: Picture) -> dict[str, bytes | str]:
    """The files alone."""
    return {path: held for path, held in shown.items() if isinstance(held, bytes) or " bytes " in held}


def difference(one: Picture, other: Picture) -> str:
    """The first few paths that differ."""
    paths = [path for path in sorted({*one, *other}) if one.get(path) != other.get(path)]
    return "; ".join(f"{path}: {_short(one.get(path))} | {_short(other.get(path))}" for path in paths[:20])


def _short(held: bytes | str | None) -> str:
    return "nothing" if held is None else repr(held[:60])
