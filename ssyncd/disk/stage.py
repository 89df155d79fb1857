"""Names in `.ssyncd/stage/`: TAG.ORIGIN.NUMBER, so that what a crash leaves there can be told apart.

ORIGIN is "staged", "parked", "aside", or, for a staged file of this inode while it changes places with another, "swap-INODE" if
that one is to go and "keep-INODE" if it is to be kept.
"""

import itertools
import re
from collections.abc import Iterable, Iterator

from ssyncd.disk.base import Leftover, Stat
from ssyncd.errors import DiskError

_NAME = re.compile(r"([0-9A-Za-z_-]{1,64})\.(staged|parked|aside|(?:swap|keep)-[0-9]{1,20})\.([0-9]{1,12})")
OURS = ("link", "respell")
"""Tags of things that are made and put in place in one go: never resumed."""
_TAG = re.compile(r"[0-9A-Za-z_-]{1,64}")


class StageNames:
    """Gives out names that nothing has, and remembers which staged file belongs to which tag.

    Used by several threads: each method is one or two operations on a dict or a counter, whole under the interpreter's lock,
    and a tag is worked on by one thread at a time.
    """

    def __init__(self, found: Iterable[str]) -> None:
        """`found`: the names there at the start."""
        self._waiting: dict[str, str] = {}
        self._open: set[str] = set()
        highest = 0
        for name in found:
            if match := _NAME.fullmatch(name):
                highest = max(highest, int(match[3]))
                if match[2] == "staged" and match[1] not in OURS:
                    self._waiting[match[1]] = name
        self._numbers = itertools.count(highest + 1)

    def new(self, tag: str, origin: str) -> str:
        if not _TAG.fullmatch(tag):
            raise DiskError("", f"not a tag: {tag!r}")
        return f"{tag}.{origin}.{next(self._numbers)}"

    def parked(self, tag: str) -> str:
        """One name for each tag: parking again under it is refused as long as the first is there."""
        if not _TAG.fullmatch(tag):
            raise DiskError("", f"not a tag: {tag!r}")
        return f"{tag}.parked.0"

    def swap(self, name: str, inode: int, keep: bool) -> str:
        """For a staged file while it is exchanged: if a crash comes, the inode tells whether it has left yet."""
        return self.new(name.partition(".")[0], f"{'keep' if keep else 'swap'}-{inode}")

    def is_kept(self, leftover: Leftover) -> bool:
        """Whether it is what `resumable` would give."""
        return self._waiting.get(leftover.tag) == leftover.name

    def opened(self, name: str) -> None:
        self._open.add(name)

    def resumable(self, tag: str) -> str | None:
        """Takes the name of the file kept under this tag."""
        return self._waiting.pop(tag, None)

    def closed(self, tag: str, name: str) -> None:
        self._waiting[tag] = name

    def done(self, tag: str, name: str) -> None:
        """The file was put in place or discarded."""
        self._open.discard(name)
        if self._waiting.get(tag) == name:
            del self._waiting[tag]

    def leftovers(self, found: dict[str, Stat]) -> Iterator[Leftover]:
        """Those of the listing that are no files being staged by this process."""
        for name, stat in found.items():
            match = _NAME.fullmatch(name)
            if match and name not in self._open:
                yield Leftover(match[1], name, stat)
