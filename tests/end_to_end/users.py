"""Users who do all kinds of things at random, and what must never get lost of it."""

import os
import random
import sys
from pathlib import Path

from blake3 import blake3

from tests.end_to_end.machine import Machine

SIZES = (0, 10, 300, 5_000, 40_000, 400_000, 3_000_000)
WEIGHTS = (1, 6, 6, 6, 3, 2, 1)


class User:
    """Works in one machine's folder. `alive` maps the hash of each content that this user saved and has neither replaced nor
    deleted since, wherever it has got to, to where it was saved: the promise is about those. Every content is different."""

    def __init__(self, machine: Machine, seed: str) -> None:
        self.machine = machine
        self.random = random.Random(f"{seed} {machine.name}")
        self.alive: dict[str, Path] = {}
        self.log: list[str] = []
        self._number = 0

    def work(self, times: int) -> None:
        for _ in range(times):
            action = self.random.choices(
                (self._write, self._append, self._move, self._move_directory, self._delete, self._delete_directory),
                (10, 3, 4, 2, 3, 1),
            )[0]
            try:
                action()
            except (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError):
                continue  # the other machine's change came between; a user would shrug, too
            except OSError as error:
                if error.errno != 39:  # not empty
                    raise

    def told(self, hash: str) -> str:
        """What this user did, for a failure."""
        return f"{self.alive[hash]} of {self.machine.name} is lost: {hash[:12]}; " + " ".join(self.log[-60:])

    def _log(self, path: Path, more: str = "") -> Path:
        action = sys._getframe(1).f_code.co_name
        self.log.append(f"[{action} {path.relative_to(self.machine.folder)} {more}]")
        return path

    def _content(self) -> bytes:
        self._number += 1
        size = self.random.choices(SIZES, WEIGHTS)[0]
        mark = f"{self.machine.name} {self._number}\0".encode()
        return mark + self.random.randbytes(size)

    def _doom(self, path: Path) -> None:
        """The user is about to replace or delete what is there, knowingly."""
        for at in [path, *path.rglob("*")] if path.is_dir() else [path]:
            if at.is_file():
                self.alive.pop(blake3(at.read_bytes()).hexdigest(), None)

    def _write(self) -> None:
        path = self._directory() / f"f{self.random.randrange(30)}"
        data = self._content()
        self._doom(self._log(path, blake3(data).hexdigest()[:12]))
        if self.random.random() < 0.5:
            path.write_bytes(data)
        else:
            # As editors do it.
            fresh = path.with_name(f".{path.name}.new")
            fresh.write_bytes(data)
            fresh.replace(path)
        self.alive[blake3(data).hexdigest()] = path

    def _append(self) -> None:
        path = self._file()
        if path is not None:
            with self._log(path).open("r+b") as file:
                self.alive.pop(blake3(file.read()).hexdigest(), None)
                file.write(self._content())
                file.seek(0)
                self.alive[blake3(file.read()).hexdigest()] = path

    def _move(self) -> None:
        path = self._file()
        target = self._directory() / f"m{self.random.randrange(30)}"
        if path is not None and not target.is_dir():
            self._rename(path, target)

    def _move_directory(self) -> None:
        found = self._directories()
        if found:
            path = self.random.choice(found)
            target = self._directory() / f"d{self.random.randrange(10)}"
            if path not in (target, *target.parents) and not target.exists():
                self._rename(path, target)

    def _rename(self, path: Path, target: Path) -> None:
        if target.exists():
            self._doom(target)
        self._log(path, f"to {target.relative_to(self.machine.folder)}").replace(target)

    def _delete(self) -> None:
        path = self._file()
        if path is not None:
            self._doom(self._log(path))
            path.unlink()

    def _delete_directory(self) -> None:
        """From the bottom up, as `rm -r` does; what the other machine adds meanwhile makes it stop."""
        found = self._directories()
        if found:
            for above, _, names in os.walk(self._log(self.random.choice(found)), topdown=False):
                for name in names:
                    self._doom(Path(above) / name)
                    (Path(above) / name).unlink()
                os.rmdir(above)

    def _directory(self) -> Path:
        """Somewhere, perhaps new."""
        found = [self.machine.folder, *self._directories()]
        path = self.random.choice(found)
        if self.random.random() < 0.2 and len(found) < 12:
            path = path / f"d{self.random.randrange(10)}"
            path.mkdir(exist_ok=True)
        return path

    def _directories(self) -> list[Path]:
        root = self.machine.folder
        return [
            Path(above) / name
            for above, names, _ in os.walk(root)
            for name in names
            if ".ssyncd" not in (name, *Path(above).parts)
        ]

    def _file(self) -> Path | None:
        found = [
            Path(above) / name
            for above, _, names in os.walk(self.machine.folder)
            if ".ssyncd" not in Path(above).parts
            for name in names
        ]
        return self.random.choice(found) if found else None


def hashes(machine: Machine) -> set[str]:
    """Of every file in the folder."""
    return {
        blake3((Path(above) / name).read_bytes()).hexdigest()
        for above, _, names in os.walk(machine.folder)
        if ".ssyncd" not in Path(above).parts
        for name in names
    }
