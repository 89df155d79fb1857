"""Pages of an index, as of one position of the log (section 3 of the notes, `i`)."""

import re
from typing import NamedTuple

from msgspec import Struct

from ssyncd.protocol.encoding import dumps_stored, loads
from ssyncd.protocol.lean import lean
from ssyncd.server.storage.base import ChangeStorage, Listed

DEFAULT_LIMIT = 100
LIMIT = 1000
# Bytes of objects in one page with data; its message stays below one frame.
PAGE_BYTES = 900_000
_MARK = re.compile(r"([0-9a-f]{1,12})-([A-Za-z0-9._\-%@]{1,256})", re.ASCII)


class Mark(NamedTuple):
    """Where the next page begins: after a key, as of a position."""

    position: int
    after: str

    def __str__(self) -> str:
        return f"{self.position:x}-{self.after}"


def read_mark(text: str) -> Mark | None:
    """None if it is no mark of ours."""
    found = _MARK.fullmatch(text)
    return None if found is None else Mark(int(found[1], 16), found[2])


class Page(Struct, frozen=True):
    """What is asked for."""

    bucket: int
    after: str
    at: int
    limit: int | None
    with_data: bool
    since: int = 0


class PageAnswer(Struct, frozen=True):
    """`mark` is None on the last page, and only there."""

    listed: list[Listed]
    mark: Mark | None

    def json(self, current: str, *, count: bool = False, slim: bool = False) -> bytes:
        index = b",".join(map(_encoded_lean if slim else _encoded, self.listed))
        counted = b',"count":%d' % len(self.listed) if count else b""
        mark = b"" if self.mark is None else b',"mark":"%b"' % str(self.mark).encode()
        return b'{"current":"%b","index":[%b]%b%b}' % (current.encode(), index, counted, mark)

    def message(self, channel: int, current: str, slim: bool = False) -> bytes:
        return b"%d:i:%b" % (channel, self.json(current, slim=slim))


def _encoded(one: Listed) -> bytes:
    # Keys are plain ASCII, and data is JSON already.
    data = b"" if one.data is None else b',"d":%b' % one.data
    at = b"" if one.at is None else b',"at":%d' % one.at
    return b'{"id":"%b","v":%d%b%b}' % (one.key.encode(), one.version, data, at)


def _encoded_lean(one: Listed) -> bytes:
    return _encoded(one if one.data is None else one._replace(data=dumps_stored(lean(loads(one.data)))))


def read_page(storage: ChangeStorage, page: Page) -> PageAnswer:
    """Blocks. At most `limit` objects and about PAGE_BYTES; never an empty page after a mark (Server MUST 12)."""
    limit = max(1, min(page.limit or DEFAULT_LIMIT, LIMIT))
    # One more than is shown: only that tells whether there is a next page.
    listed = storage.page(page.bucket, page.after, page.at, limit + 1, PAGE_BYTES if page.with_data else 0, page.since)
    size = sum(len(one.data or b"") for one in listed)
    shown = listed[:-1] if len(listed) > 1 and (len(listed) > limit or size > PAGE_BYTES) else listed
    more = len(shown) < len(listed) or (size > PAGE_BYTES and _more(storage, page, shown[-1].key))
    return PageAnswer(shown, Mark(page.at, shown[-1].key) if more else None)


def _more(storage: ChangeStorage, page: Page, after: str) -> bool:
    return bool(storage.page(page.bucket, after, page.at, 1, 0, page.since))
