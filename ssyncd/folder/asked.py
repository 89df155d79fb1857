"""What whoever answers for a running folder has at hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from ssyncd.disk.base import Disk
from ssyncd.folder.engine import Engine
from ssyncd.network.base import ChunkStore
from ssyncd.network.login import Account, Extensions

HEARD = 2.0
"""Seconds that the kernel may take to tell what has happened so far."""
OnControl = Callable[[Callable[[Engine], Any]], Any]
"""Runs a function on the control thread and returns what it returns."""


class Asked(Struct, frozen=True):
    """What an answer may need besides the engine."""

    on_control: OnControl
    disk: Disk
    store: ChunkStore
    account: Account
    device: str
    ca_file: Path | None = None
    catch_up: Callable[[float], bool] = lambda _: True
    extensions: Extensions = Extensions()

    def caught_up(self) -> bool:
        """Returns when the status tells of all that happened on the disk before; False where that takes too long."""
        done = self.catch_up(HEARD)
        self.on_control(lambda _: None)
        return done

    def name(self) -> str:
        """Of the folder."""
        name: str = self.on_control(lambda engine: engine.settings.name)
        return name
