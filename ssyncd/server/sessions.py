"""All open websockets."""

import asyncio

from aiohttp import web

from ssyncd.server.answers import services
from ssyncd.server.session import Session

# How long a client may take to say goodbye.
CLOSING_SECONDS = 1.0

SESSIONS: web.AppKey["Sessions"] = web.AppKey("sessions")


class Sessions:
    def __init__(self) -> None:
        self._open: set[Session] = set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The handler of `/sock/1/APP_ID/websocket`."""
        core = services(request)
        settings = core.settings
        # Pings only to a silent client; one that does not answer them is gone.
        socket = web.WebSocketResponse(
            max_msg_size=settings.message_limit, heartbeat=settings.silence, compress=False, timeout=CLOSING_SECONDS
        )
        await socket.prepare(request)
        transport = request.transport
        if not isinstance(transport, asyncio.WriteTransport):
            return socket
        session = Session(core, socket, transport)
        self._open.add(session)
        try:
            if core.hub.closing:  # since it was on its way here: it was not told with the others
                await session.close()
            await session.run()
        finally:
            self._open.discard(session)
        return socket

    def tokens(self) -> set[bytes]:
        return set().union(*(session.tokens() for session in self._open))

    def revoke(self, tokens: set[bytes]) -> None:
        for session in list(self._open):
            session.revoke(tokens)

    async def close(self) -> None:
        """The server is going away: every client is told, and comes back by itself."""
        await asyncio.gather(*(session.close() for session in list(self._open)), return_exceptions=True)
