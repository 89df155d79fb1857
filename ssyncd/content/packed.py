"""Messages of a websocket, many in one binary message: an extension to Simperium, whose own messages are all text.

A binary message is the stored form (see `compression`) of texts in UTF-8, each after its length in 4 bytes, big-endian; together
at most MOST. A client that says `packed` in an `init` understands that. A server of ours answers with HELLO, such a message
with nothing in it, and packs what it sends from then on where that is worth it; whoever has heard HELLO may do so too.
"""

from collections.abc import Sequence

from ssyncd.content.compression import RAW, ZSTD, open_sealed, seal
from ssyncd.errors import ContentError

HELLO = RAW
LEAST = 1024
MOST = 4 * 1024 * 1024
_LENGTH = 4


def pack(messages: Sequence[bytes]) -> bytes | None:
    """None if it is not worth it, or too much for one."""
    size = sum(map(len, messages)) + _LENGTH * len(messages)
    if not LEAST <= size <= MOST:
        return None
    sealed = seal(b"".join(part for message in messages for part in (len(message).to_bytes(_LENGTH), message)))
    return sealed if sealed.startswith(ZSTD) else None


def unpack(data: bytes) -> list[str]:
    """The texts. ContentError."""
    plain, at = open_sealed(data, MOST), 0
    messages: list[str] = []
    while at < len(plain):
        begin = at + _LENGTH
        at = begin + int.from_bytes(plain[at:begin])
        if at < begin or at > len(plain):
            raise ContentError("a packed message that ends too soon")
        try:
            messages.append(plain[begin:at].decode())
        except UnicodeDecodeError as error:
            raise ContentError(f"a packed message that is no UTF-8: {error}") from error
    return messages
