"""What every command is given."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from ssyncd.daemon import Watcher
    from ssyncd.installation import Installation


class Invocation(Struct, frozen=True):
    """Where everything of this user is, and how much to say."""

    installation: "Installation"
    verbose: bool

    @property
    def level(self) -> str:
        return "debug" if self.verbose else self.installation.config.log_level

    @contextmanager
    def watching(self) -> Iterator["Watcher"]:
        """What shows how folders are, while they run: bars on a terminal, else log lines."""
        from ssyncd import log
        from ssyncd.progress import Bars, ConsoleHandler, LogLines

        if not sys.stderr.isatty():
            log.set_up(self.level)
            yield LogLines()
            return
        from ssyncd.commands.output import console

        screen = console(stderr=True)
        log.set_up(self.level, handler=ConsoleHandler(screen))
        bars = Bars(screen)
        try:
            yield bars
        finally:
            bars.close()
