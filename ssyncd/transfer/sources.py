"""Files of the folder as a source of chunks, so that what is on this disk already is not fetched."""

import logging
from collections.abc import Collection

from ssyncd.content.chunks import Row, chunk_id
from ssyncd.disk.base import Reader
from ssyncd.errors import DiskError
from ssyncd.transfer.files import check_same, cut_and_hash
from ssyncd.transfer.jobs import Source
from ssyncd.transfer.undertaking import Desk

log = logging.getLogger(__name__)


class Sources:
    """Filled by one thread, then read by several. A source is a hope: whatever is wrong with one, the chunk is fetched."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._readers: list[Reader] = []
        self._index: dict[bytes, tuple[Reader, int]] = {}

    def add(self, source: Source, needed: Collection[bytes]) -> None:
        """Note where in this file those of the needed chunks are that no other file has."""
        try:
            reader = self._desk.disk.open(source.path)
            self._readers.append(reader)
            check_same(reader, source.path, source.stat)
            rows = source.rows or self._cut(source, reader)
        except DiskError as error:
            log.debug("not used as a source: %s", error)
            return
        offset = 0
        for row in rows:
            if row.id in needed:
                self._index.setdefault(row.id, (reader, offset))
            offset += row.size

    def read(self, row: Row) -> bytes | None:
        """A chunk, verified; None if no source has it (any more)."""
        found = self._index.get(row.id)
        if found is None:
            return None
        reader, offset = found
        try:
            plain = reader.read_once(row.size, offset)
        except DiskError:
            return None
        self._desk.count(read=row.size)
        return plain if chunk_id(plain) == row.id else None

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
        self._readers.clear()

    def _cut(self, source: Source, reader: Reader) -> tuple[Row, ...]:
        return cut_and_hash(reader.read, source.stat.size, self._desk.store.max_chunk)[0]
