"""Servers that do not make durable what they should, to show that power cuts find it."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from ssyncd.server.blobs import directory
from ssyncd.server.storage import connections


def commits() -> None:
    """Changes are acknowledged before they are on the disk."""
    configure = connections._configure

    def careless(connection: sqlite3.Connection) -> None:
        configure(connection)
        connection.execute("PRAGMA synchronous = OFF")

    connections._configure = careless


def checkpoints() -> None:
    """As SQLite's default for WAL would be: the log is only made durable when it is moved into the database."""
    configure = connections._configure

    def careless(connection: sqlite3.Connection) -> None:
        configure(connection)
        connection.execute("PRAGMA synchronous = NORMAL")

    connections._configure = careless


def chunks() -> None:
    directory.flush = lambda folder, names: None


def names() -> None:
    """The bytes of chunks are made durable, their names are not."""

    def careless(folder: Path, names: Sequence[str]) -> None:
        for name in names:
            file = os.open(folder / name, os.O_RDONLY)
            os.fsync(file)
            os.close(file)

    directory.flush = careless
