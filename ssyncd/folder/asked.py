"""What whoever answers for a running folder has at hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from ssyncd.disk.base import Disk
from ssyncd.folder.engine import Engine
from ssyncd.network.base import ChunkStore
from ssyncd.network.login import Account

OnControl = Callable[[Callable[[Engine], Any]], Any]
"""Runs a function on the control thread and returns what it returns."""


class Asked(Struct, frozen=True):
    """What an answer may need besides the engine. `lists_removed`: the server has a list of what was removed."""

    on_control: OnControl
    disk: Disk
    store: ChunkStore
    account: Account
    device: str
    ca_file: Path | None = None
    catch_up: Callable[[float], bool] = lambda _: True
    lists_removed: bool = False

    def name(self) -> str:
        """Of the folder."""
        name: str = self.on_control(lambda engine: engine.settings.name)
        return name
