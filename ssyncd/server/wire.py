"""Messages to a client as websocket frames."""

import asyncio
import struct

from aiohttp import WSMsgType, web

from ssyncd.content.packed import HELLO, pack

# Node refuses frames over 1 MiB and messages over 8 MiB, for ever (notes, section 1).
FRAME = 1024 * 1024 - 16
_UNFINISHED = struct.Struct("!BBQ")


class Wire:
    """`packs`: whether the client understands packed messages (see `content.packed`)."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.WriteTransport) -> None:
        self.packs = False
        self._greeted = False
        self._socket = socket
        self._transport = transport

    async def send(self, message: bytes) -> None:
        if self.packs and not self._greeted:
            self._greeted = True
            await self._socket.send_frame(HELLO, WSMsgType.BINARY)
        packed = pack([message]) if self.packs else None
        if packed is not None:
            await self._socket.send_frame(packed, WSMsgType.BINARY)
        elif len(message) <= FRAME:
            await self._socket.send_frame(message, WSMsgType.TEXT)
        else:
            await self._send_in_pieces(message)

    async def _send_in_pieces(self, message: bytes) -> None:
        # aiohttp sends one frame per message: all but the last fragment are written here (RFC 6455, 5.2 and 5.4).
        opcode = WSMsgType.TEXT
        view = memoryview(message)
        while len(view) > FRAME:
            self._transport.write(_UNFINISHED.pack(opcode, 127, FRAME))
            self._transport.write(view[:FRAME])
            view, opcode = view[FRAME:], WSMsgType.CONTINUATION
        await self._socket.send_frame(bytes(view), WSMsgType.CONTINUATION)
