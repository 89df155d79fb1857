"""A websocket that comes back by itself. Of the protocol it knows the heartbeat only.

Two threads: one dials, reads and delivers, and may be blocked in `deliver` for as long as the owner likes; the other writes,
beats the heart and notices a silent peer. Neither waits for the other.
"""

import logging
import random
import selectors
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ssyncd.content.packed import HELLO, pack, unpack
from ssyncd.errors import ContentError, NetworkError, ProtocolError, ShortageError
from ssyncd.network import frames
from ssyncd.network.base import Closed, Happening, Opened, Received
from ssyncd.network.dial import Dial, Trust, hang_up
from ssyncd.network.sockets import Outgoing, is_readable, outgoing, round_trip
from ssyncd.network.surroundings import Lull, News, start_of_way
from ssyncd.network.vigil import Pace, Vigil
from ssyncd.threads import begin

log = logging.getLogger(__name__)

_READ = 128 * 1024
_MOST_READ = 1024 * 1024
_MOST_WRITTEN = 128 * 1024
_FAREWELL = 0.5
NEAR = 0.004
"""Seconds to a server and back on this machine or a quick local network, where the bytes of a message take less time than packing
and unpacking it."""
SLOW = 0.04
"""Seconds of a handshake from which on the server is far, even if something near stands before it: on busy cores one within a
machine takes up to 15 ms."""
_GOING = struct.pack("!H", 1001)

# From the other side; what else breaks a connection breaks all that go the same way.
_TOLD = (ConnectionResetError, BrokenPipeError)
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class WebSocketConnection:
    """The Connection (see `network.base`) to a `ws://` or `wss://` URL. `headers` are whole lines; `chance` gives 0.0 to 1.0.

    `stop` takes at most about a second: should `deliver` still be blocked then, its thread ends when that returns.
    """

    def __init__(
        self,
        url: str,
        headers: Sequence[str] = (),
        trust: Trust | None = None,
        pace: Pace | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._url = url
        self._headers = tuple(headers)
        self._trust = trust or Trust()
        self._pace = pace or Pace()
        self._chance = chance
        self.far = False
        # Guards everything below.
        self._lock = threading.Lock()
        self._stopping = False
        self._hurry = False
        self._proved = False
        self._dial: Dial | None = None
        self._link: _Link | None = None
        self._lull: Lull | None = None
        self._thread: threading.Thread | None = None

    def start(self, deliver: Callable[[Happening], None]) -> None:
        self._lull = lull = Lull()
        thread = threading.Thread(target=self._run, args=(deliver, lull), name="ssyncd-connection", daemon=True)
        try:
            self._thread = begin(thread)
        except ShortageError:
            self._lull = None
            lull.close()
            raise

    def send(self, messages: Sequence[str]) -> None:
        """ProtocolError, and nothing is sent, if one has a lone surrogate."""
        try:
            payloads = [message.encode() for message in messages]
        except UnicodeEncodeError as error:
            raise ProtocolError(f"a message that is no UTF-8: {error}") from error
        link = self._link
        if link is not None:
            link.send(payloads)

    def reconnect(self) -> None:
        with self._lock:
            self._hurry = True
            self._break_off("reconnecting")

    def doubt(self) -> None:
        link = self._link
        if link is not None:
            link.doubt()

    def proved(self) -> None:
        with self._lock:
            self._proved = True

    def stop(self) -> None:
        with self._lock:
            self._stopping = True
            link = self._link
            if link is None:
                self._break_off("stopped")
        if link is not None:
            link.finish(_FAREWELL)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0 - _FAREWELL)

    def _break_off(self, reason: str) -> None:
        if self._dial is not None:
            self._dial.cancel()
        if self._link is not None:
            self._link.close(reason)
        if self._lull is not None:
            self._lull.wake()

    def _run(self, deliver: Callable[[Happening], None], lull: Lull) -> None:
        try:
            failures = 0
            while not self._stopping:
                end = self._live_once(deliver, lull.news)
                with self._lock:
                    failures = 1 if self._proved else failures + 1
                    self._proved = False
                delay = self._delay(failures, end.retry_after)
                self._tell(deliver, Closed(end.reason, delay, end.lost))
                soon = max(self._pace.first_retry, end.retry_after)
                if lull.wait(delay, soon, lambda: self._hurry or self._stopping):
                    failures = 0
        except Exception:  # the top of a thread; `deliver` is the owner's
            log.exception("the connection ended by an error of ours")
        finally:
            with self._lock:
                self._lull = None
                lull.close()

    def _live_once(self, deliver: Callable[[Happening], None], news: News) -> "_End":
        """One connection from dial to end."""
        try:
            dial = Dial(self._url, self._headers, self._trust, self._pace.connect)
            with self._lock:
                self._hurry = False
                self._dial = dial
                if self._stopping:
                    dial.cancel()
            opened = dial.run()
            self.far = round_trip(opened) >= NEAR or dial.took >= SLOW
            link = _Link(opened, self._pace, news)
        except NetworkError as error:
            return _End(str(error), error.retry_after or 0.0)
        except ShortageError as error:
            return _End(str(error))
        finally:
            with self._lock:
                self._dial = None
        with self._lock:
            self._link = link
            if self._stopping or self._hurry:
                link.close("broken off")
        opened_at = time.monotonic()
        try:
            self._tell(deliver, Opened())
            reason = link.run(lambda messages: self._tell(deliver, Received(messages)))
            return _End(reason, lost=link.lost)
        finally:
            with self._lock:
                self._link = None
                self._proved |= time.monotonic() - opened_at > self._pace.settled
            link.end()

    def _tell(self, deliver: Callable[[Happening], None], happening: Happening) -> None:
        if not self._stopping:
            deliver(happening)

    def _delay(self, failures: int, retry_after: float = 0.0) -> float:
        if self._hurry:
            return 0.0
        longest = min(self._pace.last_retry, self._pace.first_retry * 2.0 ** min(failures - 1, 20))
        # Chance keeps a thousand clients from coming back in one moment.
        return max(longest * (1.0 - self._chance() / 2.0), retry_after)


class _End(NamedTuple):
    """Why a connection ended, in how many seconds the server asks to come again, and whether it was lost (see `Closed`)."""

    reason: str
    retry_after: float = 0.0
    lost: bool = False


class _Link:
    """One standing connection: a reader's loop to run in, and a thread that writes."""

    def __init__(self, opened: socket.socket, pace: Pace, news: News) -> None:
        self._socket = opened
        self._pace = pace
        self._news = news
        self._start = start_of_way(opened)
        self._frames = frames.Frames(pace.max_message)
        # One at a time inside the socket: OpenSSL's state must not be used by two threads. Held only for calls that do not block.
        self._io = threading.Lock()
        self.lost = False
        # Guards what is to be written, the reason and `lost`; woken when there is something to write or an end.
        self._ready = threading.Condition()
        self._outbox: deque[tuple[int, bytes]] = deque()
        self._reason = ""
        self._finishing = False
        # Set by the reader's loop, read by the writer's thread.
        self._packs = False
        self._count = 0
        self._vigil = Vigil(pace, time.monotonic())
        self._outgoing = Outgoing(0, 0)
        try:
            self._writer = begin(threading.Thread(target=self._write, name="ssyncd-connection-writer", daemon=True))
        except ShortageError:
            opened.close()
            raise

    def send(self, payloads: Iterable[bytes]) -> None:
        self._queue((frames.TEXT, payload) for payload in payloads)

    def _queue(self, messages: Iterable[tuple[int, bytes]]) -> None:
        with self._ready:
            if not self._reason and not self._finishing:
                self._outbox.extend(messages)
                self._ready.notify()

    def close(self, reason: str) -> None:
        """End it now; the first reason given is the one that counts."""
        with self._ready:
            self._reason = self._reason or reason
            self._ready.notify()
        hang_up(self._socket)

    def _broke(self, error: OSError) -> None:
        end = self.close if isinstance(error, _TOLD) else self._lose
        end(f"the connection broke: {error.strerror or error}")

    def _lose(self, reason: str) -> None:
        with self._ready:
            self.lost |= not self._reason
        self.close(reason)

    def finish(self, timeout: float) -> None:
        """Write what is queued and a farewell, then end it; within `timeout` seconds."""
        with self._ready:
            self._finishing = True
            self._ready.notify()
        self._writer.join(timeout)
        self.close("stopped")

    def end(self) -> None:
        """After `run`: give everything back."""
        self.close("ended")
        self._writer.join()
        self._socket.close()

    # Reading

    def run(self, deliver: Callable[[tuple[str, ...]], None]) -> str:
        """Read and deliver until the connection is gone; the reason."""
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._socket, selectors.EVENT_READ)
                selector.register(self._news, selectors.EVENT_READ)
                while not self._reason:
                    self._vigil.listening(time.monotonic())
                    data = self._receive(selector)
                    self._vigil.delivering(time.monotonic())
                    if not data:
                        self.close("the server closed the connection")
                    elif messages := self._messages(data):
                        deliver(messages)
        except ProtocolError as error:
            self.close(f"the server sent {error}")
        except OSError as error:
            self._broke(error)
        return self._reason

    def _receive(self, selector: selectors.BaseSelector) -> bytes:
        """Everything that is there, at least something; b"" at the end."""
        pieces: list[bytes] = []
        size = 0
        while size < _MOST_READ:
            try:
                with self._io:
                    piece = self._socket.recv(_READ)
            except _NOT_YET:
                if pieces:
                    break
                # No timeout: `close` ends it, and the writer's thread minds the silence.
                for key, _ in selector.select():
                    if key.fileobj is self._news and self._news.take():
                        self._look_around()
                continue
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    def _look_around(self) -> None:
        """The network has changed. What goes out from an address that leads there no more does not arrive, and nobody says so."""
        start = start_of_way(self._socket)
        if start and self._start and start != self._start:
            self._lose("the network is another one now")
        elif start:
            self.doubt()

    def doubt(self) -> None:
        with self._ready:
            self._vigil.doubt()
            self._ready.notify()

    def _messages(self, data: bytes) -> tuple[str, ...]:
        messages: list[str] = []
        for kind, payload in self._frames.feed(data):
            if kind == frames.TEXT:
                self._take_text(payload, messages)
            elif kind == frames.BINARY:
                messages.extend(self._unpacked(payload))
            elif kind == frames.PING:
                self._queue([(frames.PONG, payload)])
            elif kind == frames.CLOSE:
                self.close(f"the server closed the connection{_why(payload)}")
        return tuple(messages)

    def _unpacked(self, payload: bytes) -> Iterable[str]:
        """Plain Simperium has no binary messages: before our server has said hello, one is passed over."""
        self._packs |= payload == HELLO
        if not self._packs:
            return ()
        try:
            return unpack(payload)
        except ContentError as error:
            raise ProtocolError(f"what cannot be unpacked: {error}") from error

    def _take_text(self, payload: bytes, messages: list[str]) -> None:
        if payload.startswith(b"h:"):
            count = payload[2:]
            self._count = int(count) if count.isdigit() and len(count) < 16 else 0
            return
        try:
            messages.append(payload.decode())
        except UnicodeDecodeError as error:
            raise ProtocolError(f"text that is no UTF-8: {error}") from error

    # Writing

    def _write(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._socket, selectors.EVENT_WRITE)
                while batch := self._next():
                    self._push(self._encoded(batch), selector)
        except OSError as error:
            self._broke(error)
        else:
            hang_up(self._socket)

    def _encoded(self, batch: list[tuple[int, bytes]]) -> bytes:
        if self._packs and all(kind == frames.TEXT for kind, _ in batch):
            packed = pack([payload for _, payload in batch])
            if packed is not None:
                batch = [(frames.BINARY, packed)]
        return frames.encode(batch)

    def _next(self) -> list[tuple[int, bytes]]:
        """What to write next, once there is something; [] at the end."""
        with self._ready:
            while not self._reason:
                if self._outbox:
                    return self._batch()
                if self._finishing:
                    self._reason = "stopped"
                    return [(frames.CLOSE, _GOING)]
                now = time.monotonic()
                beat, silent = self._vigil.times(now)
                if now >= silent and not self._lives(now):
                    self._lose(f"the server was silent for {self._vigil.silence(now):.0f} seconds")
                elif now >= beat:
                    self._vigil.beats(now)
                    self._outgoing = outgoing(self._socket)
                    self._count += 1
                    return [(frames.TEXT, b"h:%d" % self._count)]
                else:
                    self._ready.wait(max(0.0, min(beat, silent) - now))
        return []

    def _lives(self, now: float) -> bool:
        """Whether there are signs of life after all: we were stopped and have not read yet, or what we said is getting through
        slowly. What has got through to whoever is next and is not answered is no such sign."""
        before, self._outgoing = self._outgoing, outgoing(self._socket)
        slow = self._outgoing.through > before.through and (before.waiting or self._outgoing.waiting)
        if slow or is_readable(self._socket):
            self._vigil.alive(now)
            return True
        return False

    def _batch(self) -> list[tuple[int, bytes]]:
        batch = [self._outbox.popleft()]
        size = len(batch[0][1])
        self._vigil.said(time.monotonic())
        while self._outbox and size < _MOST_WRITTEN:
            batch.append(self._outbox.popleft())
            size += len(batch[-1][1])
        return batch

    def _push(self, data: bytes, selector: selectors.BaseSelector) -> None:
        left, waited = memoryview(data), False
        while left:
            try:
                with self._io:
                    sent = self._socket.send(left)
                left = left[sent:]
                self._vigil.sent(time.monotonic())
                if waited:
                    # There was no room, and now there is.
                    self._vigil.alive(time.monotonic())
            except _NOT_YET:
                waited = True
                now = time.monotonic()
                _, silent = self._vigil.times(now)
                if now >= silent and not self._lives(now):
                    raise TimeoutError("the server takes nothing any more") from None
                selector.select(max(0.0, silent - now))


def _why(payload: bytes) -> str:
    """Code and text of a close frame."""
    if len(payload) < 2:
        return ""
    return f" ({int.from_bytes(payload[:2], 'big')} {payload[2:].decode(errors='replace')[:100]})".replace(" )", ")")
