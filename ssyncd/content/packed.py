"""Messages of a websocket, many in one binary message: an extension to Simperium, whose own messages are all text.

A binary message is the length of its first part in 4 bytes, big-endian, that part, and the bytes of contents. The first part is
the stored form (see `compression`) of texts in UTF-8, each ended by 0x01. For the base64 of a `data` stands in them 0x00, the
number of its bytes in decimal and 0x00; the bytes themselves follow in the second part, in this order. They are at most MANY
texts, of at most MOST bytes together as they were. No message of ours has a 0x00 or 0x01: JSON escapes them.

A client that says `packed` in an `init` understands that. A server of ours answers with HELLO, such a message with nothing in
it, and packs what it sends from then on where that is worth it; whoever has heard HELLO may do so too.
"""

from binascii import Error as Base64Error
from collections.abc import Sequence

from pybase64 import b64decode, b64encode

from ssyncd.content.compression import LEAST_SAVING, RAW, open_sealed, seal
from ssyncd.errors import ContentError

LEAST = 1024
MOST = 4 * 1024 * 1024
MANY = 10_000
FORM = 2
"""What a server of ours says for `packed`; another number is another form."""
_LENGTH = 4
HELLO = len(RAW).to_bytes(_LENGTH) + RAW
_DATA, _QUOTE = b'"data":"', b'"'
# A shorter base64 text stays as it is.
_SHORT = 64
_MARK, _END = b"\0", b"\1"


def pack(messages: Sequence[bytes]) -> bytes | None:
    """None if it is not worth it, or too much for one."""
    size = sum(map(len, messages)) + len(messages)
    if not LEAST <= size <= MOST or len(messages) > MANY:
        return None
    texts = _END.join((*messages, b""))
    if _MARK in texts or texts.count(_END) != len(messages):
        return None
    pieces, contents = _part(texts)
    first = seal(_MARK.join(pieces))
    packed = b"".join((len(first).to_bytes(_LENGTH), first, *contents))
    return packed if len(packed) < size - size // LEAST_SAVING else None


def unpack(data: bytes) -> list[str]:
    """The texts. ContentError."""
    at = _LENGTH + int.from_bytes(data[:_LENGTH])
    pieces = open_sealed(data[_LENGTH:at], MOST).split(_MARK)
    for number in range(1, len(pieces), 2):
        begin, at = at, at + _number(pieces[number])
        pieces[number] = b64encode(data[begin:at])
    joined = b"".join(pieces)
    if at != len(data) or len(joined) > MOST:
        raise ContentError("a packed message of another length than it says, or too long")
    if joined.count(_END) > MANY:
        raise ContentError(f"a packed message of more than {MANY} texts")
    try:
        *texts, rest = joined.decode().split(_END.decode())
    except UnicodeDecodeError as error:
        raise ContentError(f"a packed message that is no UTF-8: {error}") from error
    if rest:
        raise ContentError("a packed message that ends too soon")
    return texts


def _part(texts: bytes) -> tuple[list[bytes], list[bytes]]:
    """Text and the number of bytes of what was base64 in turns, text at both ends; and those bytes."""
    pieces: list[bytes] = []
    contents: list[bytes] = []
    text = at = 0
    while (found := texts.find(_DATA, at)) >= 0:
        at = found + len(_DATA)
        end = texts.find(_QUOTE, at)
        content = _bytes_of(texts[at:end]) if end - at >= _SHORT else None
        if content is not None:
            pieces += (texts[text:at], b"%d" % len(content))
            contents.append(content)
            text = at = end
    pieces.append(texts[text:])
    return pieces, contents


def _bytes_of(text: bytes) -> bytes | None:
    """None if this is no base64, or could be written in another way."""
    try:
        content = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        return None
    return content if b64encode(content) == text else None


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > len(str(MOST)):
        raise ContentError("a packed message with a mark that makes no sense")
    return int(text)
