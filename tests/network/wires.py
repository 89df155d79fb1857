"""Servers for the websocket's tests, good ones and bad ones, and the waiting for what they do."""

import asyncio
import base64
import hashlib
import socket
import threading
import time
from contextlib import contextmanager, suppress

from aiohttp import WSMsgType, web

from ssyncd.content.packed import unpack
from ssyncd.network.base import Closed
from ssyncd.network.websocket import Pace, WebSocketConnection
from tests.network.contract_connection import count

DEADLINE = 10.0
QUICK = Pace(first_retry=0.01, last_retry=0.02)


class EchoServer:
    """An aiohttp server in a thread of its own: "echo:X" is answered by "X", "h:N" by "h:N+1" unless told otherwise."""

    def __init__(self, context=None):
        self.heard = []
        self.sockets = set()
        self.answer_beats = True
        self.connections = 0
        self.packed = 0
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="echo-server")
        self._thread.start()
        assert self._ready.wait(DEADLINE)

    def _run(self):
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _start(self):
        app = web.Application()
        app.router.add_get("/ws", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _serve(self, request):
        opened = web.WebSocketResponse(max_msg_size=0, compress=False)
        await opened.prepare(request)
        self.connections += 1
        self.headers = request.headers
        self.sockets.add(opened)
        try:
            async for message in opened:
                if message.type == WSMsgType.TEXT:
                    await self._hear(opened, message.data)
                elif message.type == WSMsgType.BINARY:
                    self.packed += 1
                    for text in unpack(message.data):
                        await self._hear(opened, text)
        finally:
            self.sockets.discard(opened)
        return opened

    async def _hear(self, opened, text):
        if text.startswith("h:"):
            self.beats = text
            if self.answer_beats:
                await opened.send_str(f"h:{int(text[2:]) + 1}")
            return
        self.heard.append(text)
        if text.startswith("echo:"):
            await opened.send_str(text.removeprefix("echo:"))

    def on_loop(self, make):
        return asyncio.run_coroutine_threadsafe(make(), self._loop).result(DEADLINE)

    def say(self, messages):
        async def send():
            for opened in self.sockets:
                for message in messages:
                    await opened.send_str(message) if isinstance(message, str) else await opened.send_bytes(message)

        self.on_loop(send)

    def cut(self):
        async def close():
            for opened in list(self.sockets):
                await opened.close(code=1012, message=b"going away")

        self.on_loop(close)

    def stop(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)


def wait_for(condition):
    deadline = time.monotonic() + DEADLINE
    gate = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        gate.wait(0.002)


@contextmanager
def connected(url, happenings, pace=QUICK, trust=None, headers=()):
    connection = WebSocketConnection(url, headers, trust, pace)
    connection.start(happenings.append)
    try:
        yield connection
    finally:
        connection.stop()


def url(server, scheme="ws"):
    return f"{scheme}://127.0.0.1:{server.port}/ws"


class RawServer:
    """Accepts, hands each socket to `serve` in a thread, and can be left."""

    def __init__(self, serve):
        self._serve = serve
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sockets = []
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="raw-server")
        self._thread.start()

    def _run(self):
        with suppress(OSError):
            while True:
                opened, _ = self._listening.accept()
                self._sockets.append(opened)
                with suppress(OSError):
                    self._serve(opened)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for opened in self._sockets:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        self._thread.join(DEADLINE)


@contextmanager
def silence():
    """An address where connecting neither works nor fails: its backlog is full."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()
        for filler in fillers:
            filler.close()


def answer(raw):
    def serve(opened):
        read_request(opened)
        opened.sendall(raw)
        opened.shutdown(socket.SHUT_WR)

    return serve


def read_request(opened):
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += opened.recv(4096)
    return request


def upgraded(*after):
    """A server that agrees to the websocket and then sends these bytes."""

    def serve(opened):
        lines = read_request(opened).decode().split("\r\n")
        key = next(line.split(": ")[1] for line in lines if line.startswith("Sec-WebSocket-Key"))
        digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        accept = base64.b64encode(digest).decode()
        head = f"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        opened.sendall(head.encode())
        for data in after:
            opened.sendall(data)

    return serve


def first_closed(serve, pace=QUICK, scheme="ws"):
    happenings = []
    with RawServer(serve) as raw, connected(url(raw, scheme), happenings, pace):
        wait_for(lambda: count(happenings, Closed))
        return next(happening for happening in happenings if isinstance(happening, Closed))
