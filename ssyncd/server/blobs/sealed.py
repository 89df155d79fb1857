"""Is a chunk what its id says?"""

from blake3 import blake3

from ssyncd.content.compression import RAW, open_sealed, sealed_size
from ssyncd.errors import ContentError
from ssyncd.server.blobs.base import Stored

ID_LENGTH = 32


class ChunkTooLargeError(ContentError):
    """More plain bytes than the server takes in one chunk."""


def verify(chunk: bytes, sealed: Stored, limit: int) -> None:
    """Open a stored form, given in pieces, and compare. ContentError; never opens more than `limit` bytes."""
    hash = blake3()
    if sealed and sealed[0][:1] == RAW:
        # Raw bytes are hashed where they are.
        _refuse_large(chunk, sum(map(len, sealed)) - 1, limit)
        hash.update(memoryview(sealed[0])[1:])
        for piece in sealed[1:]:
            hash.update(piece)
    else:
        whole = b"".join(sealed)
        _refuse_large(chunk, sealed_size(whole), limit)
        hash.update(open_sealed(whole, limit))
    if hash.digest() != chunk:
        raise ContentError(f"the bytes of chunk {chunk.hex()} have another hash")


def _refuse_large(chunk: bytes, size: int, limit: int) -> None:
    if size > limit:
        raise ChunkTooLargeError(f"chunk {chunk.hex()} is over {limit} bytes")
