"""Bytes to websocket frames and back, by websocket-client's frame code: bounded, and never waiting for more."""

import io
import os
from collections.abc import Sequence

from websocket import ABNF, WebSocketException, frame_buffer

from ssyncd.errors import ProtocolError

TEXT = ABNF.OPCODE_TEXT
BINARY = ABNF.OPCODE_BINARY
CLOSE = ABNF.OPCODE_CLOSE
PING = ABNF.OPCODE_PING
PONG = ABNF.OPCODE_PONG

_DATA = (TEXT, BINARY)


def encode(messages: Sequence[tuple[int, bytes]]) -> bytes:
    """A masked frame for each (kind, payload). All masks are fetched at once: whoever asks the system for random bytes lets go of
    the interpreter, and where others are busy each mask took some milliseconds."""
    mask = io.BytesIO(os.urandom(4 * len(messages))).read
    encoded = []
    for kind, payload in messages:
        frame = ABNF.create_frame(payload, kind)
        frame.get_mask_key = mask
        encoded.append(frame.format())
    return b"".join(encoded)


class _NeedMoreError(Exception):
    """Nothing is left of what was fed."""


class _BoundedFrames(frame_buffer):
    """Refuses a frame by its announced length, before a byte of it is kept."""

    limit = 0

    def recv_length(self) -> None:
        super().recv_length()
        if self.length is not None and self.length > self.limit:
            raise ProtocolError(f"a message of over {self.limit} bytes")


class Frames:
    """Cuts what is fed into whole messages; `limit` in bytes, for a message in however many frames."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._fed = b""
        self._at = 0
        self._kind = 0
        self._size = 0
        self._parts: list[bytes] = []
        self._buffer = _BoundedFrames(self._read, skip_utf8_validation=True)
        self._buffer.limit = limit

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(kind, payload) for each that is complete now. ProtocolError; nothing may be fed after it."""
        self._fed, self._at = data, 0
        messages: list[tuple[int, bytes]] = []
        while True:
            try:
                frame = self._buffer.recv_frame()
            except _NeedMoreError:
                return messages
            except WebSocketException as error:
                raise ProtocolError(f"no websocket frame: {error}") from error
            self._add(frame, messages)

    def _read(self, size: int) -> bytes:
        # What is read stays with the frame buffer when it needs more, so it goes on from there.
        if self._at >= len(self._fed):
            raise _NeedMoreError
        piece = self._fed[self._at : self._at + size]
        self._at += size
        return piece

    def _add(self, frame: ABNF, messages: list[tuple[int, bytes]]) -> None:
        payload = frame.data if isinstance(frame.data, bytes) else frame.data.encode()
        if frame.opcode in (CLOSE, PING, PONG):
            messages.append((frame.opcode, payload))
            return
        if (frame.opcode in _DATA) == bool(self._kind):
            raise ProtocolError("websocket frames out of order")
        self._kind = self._kind or frame.opcode
        self._parts.append(payload)
        # Each counts for a little more than it holds, or empty ones without end would be free.
        self._size += len(payload) + 1
        if self._size > self._limit + 1:
            raise ProtocolError(f"a message of over {self._limit} bytes")
        if frame.fin:
            messages.append((self._kind, b"".join(self._parts)))
            self._kind = self._size = 0
            self._parts.clear()
