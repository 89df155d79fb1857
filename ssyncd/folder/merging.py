"""Both sides edited one text: where the edits do not meet, the file gets both (design section 4)."""

from contextlib import closing

from ssyncd.disk.base import Disk, Stat
from ssyncd.errors import ContentError, DiskError, NetworkError, SsyncdError
from ssyncd.folder.record import Record
from ssyncd.folder.supply import Supply
from ssyncd.planner.merge import MAX_TEXT, merge_text
from ssyncd.planner.plan import Conflict
from ssyncd.planner.tree import Content, Entry, Kind
from ssyncd.protocol.events import VersionArrived
from ssyncd.transfer import FetchJob

MARK = 0xBA5E


class Merging:
    """Needs the base's bytes, which only the server's history has; without them there is a conflict copy as ever."""

    def __init__(self, record: Record, disk: Disk, supply: Supply, wanted: bool) -> None:
        self._record = record
        self._disk = disk
        self._supply = supply
        self._wanted = wanted
        # (key, base hash) of which the base cannot be had.
        self._hopeless: set[tuple[str, str]] = set()

    def ready(self, step: Conflict) -> bool:
        """Whether the conflict can be dealt with now; False while the base is on its way, which touches the key."""
        base = self._base(step.entry)
        if base is None:
            return True
        key = step.entry.key
        try:
            return self._supply.want(tag(key), base, self._record.base_version(key), key)
        except (ContentError, DiskError):
            self._hopeless.add((key, base.hash))
            return True

    def arrived(self, event: VersionArrived) -> bool:
        """Whether this version was wanted for a base: if that is not in it, it is not asked for again."""
        base = self._record.base.get(event.key)
        if base is None or base.content is None or self._record.base_version(event.key) != event.version:
            return False
        value = event.data.get("content") if event.data is not None else None
        if not isinstance(value, dict) or value.get("hash") != base.content.hash:
            self._hopeless.add((event.key, base.content.hash))
        return True

    def missed(self, job: FetchJob, error: SsyncdError) -> bool:
        """A fetch failed: whether it was one of a base. What the server has lost of a base is not waited for."""
        key = tag(job.key)
        base = self._record.base.get(key)
        if job.key in self._record.remote or base is None or base.content != job.content:
            return False
        if not isinstance(error, NetworkError):
            self._hopeless.add((key, job.content.hash))
        return True

    def merge(self, step: Conflict, path: str, expected: Stat) -> bytes | None:
        """The merged text, or None where a conflict copy is needed. ChangedError, DiskError."""
        base = self._base(step.entry)
        content = step.entry.content
        key = step.entry.key
        if base is None or content is None or not self._supply.has(tag(key), base.hash):
            return None
        old = self._supply.read(tag(key), base.hash, base.size)
        self._supply.drop(tag(key))
        with closing(self._disk.open(path)) as reader:
            ours = reader.read(expected.size) if reader.stat().same(expected) else b"\0"
        return merge_text(old, ours, self._supply.read(key, content.hash, content.size))

    def put(self, ours: Entry, path: str, expected: Stat, text: bytes, now: int) -> Stat:
        """Replace our file by the merged text; `now` in microseconds. ChangedError, DiskError."""
        self._supply.drop(ours.key)
        staged = self._disk.stage(ours.key)
        try:
            staged.write(text)
            staged.close()
            self._disk.flush()
            return self._disk.put(staged, path, expected, now, ours.exec)
        except BaseException:
            staged.discard()
            raise

    def _base(self, entry: Entry) -> Content | None:
        """The base's content, if these contents are worth a try."""
        base, local = self._record.base.get(entry.key), self._record.local.get(entry.key)
        if not self._wanted or entry.kind is not Kind.FILE or base is None or local is None:
            return None
        sizes = [one.content.size for one in (base, local, entry) if one.content is not None]
        if base.content is None or len(sizes) < 3 or max(sizes) > MAX_TEXT:
            return None
        path = self._record.local.path(entry.key) or ""
        known = self._record.base_version(entry.key) and (entry.key, base.content.hash) not in self._hopeless
        return base.content if known and ".git" not in path.split("/") else None


def tag(key: str) -> str:
    """What the staged base of an entry is called: no entry has this key. The tag of a tag is the key."""
    return f"{int(key, 16) ^ MARK:032x}"
