"""Records in the body of a request, taken without putting together what came in large pieces."""

import struct

from aiohttp import StreamReader

from ssyncd.errors import RefusedError
from ssyncd.server.blobs.base import Stored
from ssyncd.server.blobs.sealed import ID_LENGTH

HEAD = struct.Struct(f">{ID_LENGTH}sI")
"""The id of a chunk, and how many bytes of its stored form follow."""
SMALL = 16 * 1024
"""Bytes. Smaller pieces are put together: each by itself would take more room than it holds."""


class Records:
    """`head`, then `stored` with the length it told, until `head` gives None. RefusedError if the body ends inside a record."""

    def __init__(self, content: StreamReader) -> None:
        self._content = content
        self._rest = memoryview(b"")

    async def head(self) -> tuple[bytes, int] | None:
        if not self._rest and not await self._more():
            return None
        chunk, length = HEAD.unpack(b"".join(await self.stored(HEAD.size)))
        return chunk, length

    async def stored(self, length: int) -> Stored:
        pieces: list[bytearray | memoryview] = []
        while length:
            if not self._rest and not await self._more():
                raise RefusedError("the body ends inside a record", 400)
            piece, self._rest = self._rest[:length], self._rest[length:]
            length -= len(piece)
            if len(piece) >= SMALL:
                pieces.append(piece)
            elif pieces and isinstance(pieces[-1], bytearray):
                pieces[-1] += piece
            else:
                pieces.append(bytearray(piece))
        return pieces

    async def _more(self) -> bool:
        """Whether there was any."""
        while not self._content.at_eof():
            piece, _ = await self._content.readchunk()
            if piece:
                self._rest = memoryview(piece)
                return True
        return False
