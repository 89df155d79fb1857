"""What the transfers are asked to do, and what comes of it: values."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import Struct

from ssyncd.content.body import Body
from ssyncd.content.chunks import Row
from ssyncd.disk.base import Staged, Stat
from ssyncd.errors import SsyncdError
from ssyncd.planner.tree import Content


class ReadJob(Struct, frozen=True):
    """Find out what the file at `path` holds, while it is still the one that `stat` tells of.

    `early`: the server does not have it, so that its chunks may go there meanwhile.
    """

    key: str
    path: str
    stat: Stat
    early: bool = False


class ReadDone(Struct, frozen=True):
    """What the file holds; before and after reading it was the one of `stat`. `being_written` as in `disk.base.Read`."""

    key: str
    path: str
    stat: Stat
    content: Content
    body: Body
    being_written: bool


class UploadJob(Struct, frozen=True):
    """Bring the chunks the server misses there; `content` and `body` as read, a body with `data` needs nothing.

    With `check` the server's chunks are read to find out, and those that were spoiled are sent again too.
    """

    key: str
    path: str
    stat: Stat
    content: Content
    body: Body
    check: bool = False


class Uploaded(Struct, frozen=True):
    """The server has every chunk, durably; `sent` plain bytes of them were new to it."""

    job: UploadJob
    sent: int


class Source(Struct, frozen=True):
    """A file of the folder that may hold chunks somebody needs. Without its rows it is cut anew, which takes longer."""

    path: str
    stat: Stat
    rows: tuple[Row, ...] = ()


class FetchJob(Struct, frozen=True):
    """Put the bytes of `content` together in a staged file under the tag `key`.

    `ahead`: its chunks may still be on their way to the server, and are waited for, on a thread of its own.
    """

    key: str
    content: Content
    body: Body
    sources: tuple[Source, ...] = ()
    ahead: bool = False


class Fetched(Struct, frozen=True):
    """`staged` is closed and holds just the bytes of the content, which are these chunks; it now belongs to whoever receives
    this."""

    job: FetchJob
    staged: Staged
    rows: tuple[Row, ...]


Job = ReadJob | UploadJob | FetchJob


class JobFailed(Struct, frozen=True):
    """`error`: NetworkError is worth another try; ChangedError or GoneError mean that the disk is to be looked at again."""

    job: Job
    error: SsyncdError


Result = ReadDone | Uploaded | Fetched | JobFailed
Deliver = Callable[[Sequence[Result]], None]


class Progress(NamedTuple):
    """Plain bytes since the start: `up` and `down` of chunks, `read` from files."""

    up: int
    down: int
    read: int
