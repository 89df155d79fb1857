"""What the benchmark asks of a program that keeps two folders equal."""

from pathlib import Path
from typing import Protocol


class Program(Protocol):
    """Two machines with a folder each, `a` and `b`, in a directory of their own. Nothing runs before `start`."""

    name: str
    a: Path
    b: Path

    def start(self) -> None:
        """Start both sides; returns at once."""

    def stop(self) -> None:
        """End everything; `start` goes on where it ended."""

    def stop_a(self) -> None:
        """End the side of folder `a` only."""

    def start_a(self) -> None:
        """Start the side of folder `a` again."""

    def in_sync(self) -> bool:
        """Whether the program itself says that nothing is left to do, on both sides."""

    def forget(self) -> None:
        """While nothing runs: drop what was remembered about the folders, which stay as they are."""

    def pids(self) -> dict[str, int]:
        """The processes that run, by what they are."""

    def database(self) -> int:
        """Bytes on the disk of what the side of folder `a` remembers."""

    def join(self) -> Path | None:
        """Start a third machine, with an empty folder; None if that needs the others to be told."""

    def close(self) -> None:
        """End everything for good."""
