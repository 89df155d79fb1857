"""What uploads and fetches have in common: some jobs of one kind, carried out in parts by whichever worker is free."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from ssyncd.disk.base import Disk
from ssyncd.errors import SsyncdError
from ssyncd.network.base import ChunkStore
from ssyncd.transfer.jobs import Job, ReadJob, Result

T = TypeVar("T")

# Plain bytes of chunks in one request, and of jobs taken together.
BATCH = 8 * 1024 * 1024

Part = Callable[[], None]


class Stopped(Exception):
    """Raised inside a job that was cancelled or that ends because the transfers do."""


class Desk(Protocol):
    """What an undertaking works with; counting and asking are thread-safe."""

    disk: Disk
    store: ChunkStore

    def count(self, read: int = 0, up: int = 0, down: int = 0) -> None: ...

    def moved(self, kind: type[Job], sizes: Mapping[str, int]) -> None:
        """So many more bytes of these keys' contents are done by their jobs of this kind."""

    def wanted(self, job: Job) -> bool:
        """False once the job was cancelled or the transfers stop."""

    def begin_early(self, job: ReadJob) -> "Early | None":
        """What sends the chunks of a file while it is read; None where that is not to be."""

    def wait_early(self, key: str) -> None:
        """Until nothing of that is under way any more for the file that was read last under this key."""


class Early(Protocol):
    def offer(self, id: bytes, plain: memoryview) -> None:
        """A chunk, to be sent or not; never waits. What `plain` is of must not change."""

    def end(self) -> None:
        """No more will come."""


class Undertaking(Protocol):
    """`start` once, then each part it gave, in any order and at the same time; then `finish` once, whatever happened."""

    def start(self) -> Sequence[Part]: ...

    def fail(self, error: SsyncdError) -> None:
        """Something failed that no single job is to blame for: every job not yet done has failed."""

    def finish(self) -> list[Result]: ...


def batches(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """In order, at most BATCH bytes each, but one item at least."""
    some: list[T] = []
    length = 0
    for item in items:
        if some and length + size(item) > BATCH:
            yield some
            some, length = [], 0
        some.append(item)
        length += size(item)
    if some:
        yield some
