"""Is a chunk what its id says?"""

from blake3 import blake3

from ssyncd.content.compression import open_sealed, sealed_size
from ssyncd.errors import ContentError

ID_LENGTH = 32


class ChunkTooLargeError(ContentError):
    """More plain bytes than the server takes in one chunk."""


def verify(chunk: bytes, sealed: bytes | memoryview, limit: int) -> None:
    """Open a stored form and compare. ContentError; never opens more than `limit` bytes."""
    if sealed_size(sealed) > limit:
        raise ChunkTooLargeError(f"chunk {chunk.hex()} is over {limit} bytes")
    # Raw bytes are hashed where they are.
    plain = memoryview(sealed)[1:] if sealed[:1] == b"\x00" else open_sealed(sealed, limit)
    if blake3(plain).digest() != chunk:
        raise ContentError(f"the bytes of chunk {chunk.hex()} have another hash")
