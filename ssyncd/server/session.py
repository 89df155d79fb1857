"""One websocket: messages in, storage asked, messages out.

Two tasks. The reader takes the client's messages strictly in order, one after the other. The sender writes what is due: first
answers, then each channel's log. A client that sends too much is read slowly, never refused (notes, section 4: 503 hurts).
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable
from functools import partial

from aiohttp import WSMsgType, web
from msgspec.structs import replace

from ssyncd.content.packed import unpack
from ssyncd.errors import ContentError, DiskError, ProtocolError, StateError
from ssyncd.protocol.changes import BadChange, ClientChange
from ssyncd.protocol.messages import (
    Authorized,
    ClientMessage,
    Denied,
    Frame,
    Heartbeat,
    IndexRequest,
    Init,
    Notice,
    Since,
    UnknownCv,
    VersionRequest,
    parse_client,
    parse_frame,
    valid_bucket,
)
from ssyncd.server.channels import Channel, State
from ssyncd.server.entries import Entry, changes_message, encode, refusal
from ssyncd.server.index import Page, read_mark, read_page
from ssyncd.server.services import Services
from ssyncd.server.storage.base import OPTIONS, Token
from ssyncd.server.wire import Wire
from ssyncd.server.writer import Outcome, Submission

log = logging.getLogger(__name__)

# One `c` list; leaves room for the frame of the message.
MESSAGE = 900_000
CATCH_UP_ROWS = 1000
CHANNELS = 1000
PENDING_CHANGES = 4000
PENDING_BYTES = 32 * 1024 * 1024
ANSWER_BYTES = 4 * 1024 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9]{32,256}", re.ASCII)


class Session:
    def __init__(self, services: Services, socket: web.WebSocketResponse, transport: asyncio.WriteTransport) -> None:
        self._services = services
        self._socket = socket
        self._wire = Wire(socket, transport)
        self._channels: dict[int, Channel] = {}
        self._answers: deque[bytes] = deque()
        self._answer_bytes = 0
        self._pending_bytes = 0
        self._wake = asyncio.Event()
        # Set whenever something moved on that the reader may wait for.
        self._progress = asyncio.Event()
        self._ended = False

    async def run(self) -> None:
        """Returns when the socket is closed, by whomever."""
        sender = asyncio.create_task(self._send_all())
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._receive(message.data)
                elif message.type is WSMsgType.BINARY and self._wire.packs:
                    await self._receive_packed(message.data)
        except (StateError, DiskError) as error:
            # A passing fault is never told as a failed sign-in: that would log people out. They all come back.
            log.warning("closing a connection: %s", error)
            await self._socket.close(code=1013, message=b"the server cannot read its storage")
        finally:
            self._end()
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def close(self) -> None:
        """The server is going away."""
        await self._socket.close(code=1001, message=b"the server is stopping")

    def tokens(self) -> set[bytes]:
        return {channel.token.digest for channel in self._channels.values()}

    def revoke(self, tokens: set[bytes]) -> None:
        """Tell every channel that was opened with one of these, and close it."""
        for number, channel in list(self._channels.items()):
            if channel.token.digest in tokens:
                self._leave(number)
                self._answer(Denied(401, "Token invalid").text(number).encode())

    def _end(self) -> None:
        self._ended = True
        self._progress.set()
        for number in list(self._channels):
            self._leave(number)

    def _leave(self, number: int) -> None:
        channel = self._channels.pop(number, None)
        if channel is not None:
            channel.leave()

    # Receiving

    async def _receive_packed(self, data: bytes) -> None:
        try:
            texts = unpack(data)
        except ContentError as error:
            log.debug("ignored: %s", error)
            return
        for text in texts:
            await self._receive(text)

    async def _receive(self, text: str) -> None:
        frame = parse_frame(text)
        try:
            message = parse_client(frame)
        except ProtocolError as error:
            log.debug("ignored: %s", error)
            if frame.command == "init":
                self._answer(Denied(400, "Malformed init").text(frame.channel or 0).encode())
            return
        if isinstance(message, ClientChange | BadChange):
            # The many; they wait for nothing.
            self._change(frame.channel, message, len(text))
        elif isinstance(message, Heartbeat):
            self._answer(b"h:%d" % (message.count + 1))
        elif isinstance(message, Notice):
            self._notice(frame)
        elif message is not None and frame.channel is not None:
            await self._act(frame.channel, message)
        if self._crowded():
            await self._until(lambda: not self._crowded())

    async def _act(self, number: int, message: ClientMessage) -> None:
        if isinstance(message, Init):
            await self._open(number, message)
            return
        channel = self._channels.get(number)
        if channel is None:
            return
        # Acknowledgements come before any answer that shows what they acknowledge (Server MUST 20).
        await self._until(lambda: not channel.outstanding)
        if isinstance(message, IndexRequest):
            await self._index(channel, message)
        elif isinstance(message, VersionRequest):
            self._version(channel, message)
        elif isinstance(message, Since):
            self._since(channel, message.cv)

    def _crowded(self) -> bool:
        """Read on only when the client's changes are being stored and its answers taken."""
        return self._answer_bytes >= ANSWER_BYTES or self._pending_bytes >= PENDING_BYTES

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true() and not self._ended:
            self._progress.clear()
            await self._progress.wait()

    # Opening a channel

    async def _open(self, number: int, init: Init) -> None:
        self._leave(number)
        token = self._token(init)
        if isinstance(token, Denied):
            if init.old_api:
                self._answer(f"{number}:auth:expired".encode())
            self._answer(token.text(number).encode())
            return
        bucket = await self._services.bucket(token, init.bucket)
        if self._services.settings.plain:
            init = replace(init, lean=False, notices=False, packed=False, gaps=False)
        self._wire.packs |= init.packed
        channel = self._channels[number] = Channel(number, init, token, bucket, self._wake.set)
        channel.join(self._services.hub)
        self._answer(Authorized(token.user_name).text(number).encode())
        command = parse_frame(f"{number}:{init.command}")
        if init.command and command.command != "init":
            await self._receive(f"{number}:{init.command}")

    def _token(self, init: Init) -> Token | Denied:
        if not _TOKEN.fullmatch(init.token):
            return Denied(400, "Token malformed")
        token = self._services.check(init.token)
        if token is None or token.app != init.app.lower():
            return Denied(401, "Token invalid")
        if not valid_bucket(init.bucket):
            return Denied(500, "Bucket name invalid")
        if init.bucket == OPTIONS and not token.admin:
            return Denied(500, "This needs an admin token")
        if len(init.client) > 256 or not _encodable(init.client):
            return Denied(500, "Client id invalid")
        if len(self._channels) >= CHANNELS:
            return Denied(500, "Too many channels")
        return token

    # Commands

    def _change(self, number: int | None, change: ClientChange | BadChange, size: int) -> None:
        channel = None if number is None else self._channels.get(number)
        if channel is None:
            return
        if isinstance(change, BadChange):
            channel.private.append(refusal(channel.init.client, change.key, change.ccid, change.code))
            self._wake.set()
            return
        channel.outstanding += 1
        size += PENDING_BYTES // PENDING_CHANGES
        self._pending_bytes += size
        done = partial(self._changed, channel, change, size)
        submission = Submission(channel.bucket, channel.init.client, change, done, channel.is_echo(change))
        self._services.take(submission)

    def _changed(self, channel: Channel, change: ClientChange, size: int, outcome: Outcome) -> None:
        self._pending_bytes -= size
        channel.answered(outcome, partial(refusal, channel.init.client, change.key, change.ccid))
        self._progress.set()
        self._wake.set()

    async def _index(self, channel: Channel, request: IndexRequest) -> None:
        mark = read_mark(request.mark)
        if mark is None or mark.position > channel.feed.head:
            channel.start_paging()
            after, at = "", channel.position
        else:
            after, at = mark.after, mark.position
            if channel.state is not State.LIVE:
                channel.resume_paging(at)
        page = await self._services.read(
            read_page, self._services.storage, Page(channel.bucket, after, at, request.limit, request.data)
        )
        if not channel.open:
            return
        # Own acknowledgements that paging let go come before the page.
        self._answer_private(channel)
        current = self._services.writer.positions.text(channel.bucket, at)
        self._answer(page.message(channel.number, current, request.lean and channel.init.lean))
        if page.mark is None and channel.state is State.PAGING and channel.position == at:
            channel.go_live(at, due=False)
        self._wake.set()

    def _answer_private(self, channel: Channel) -> None:
        if channel.private and channel.state is not State.LIVE:
            self._answer(changes_message(channel.number, channel.private))
            channel.private = []

    def _notice(self, frame: Frame) -> None:
        channel = None if frame.channel is None else self._channels.get(frame.channel)
        if channel is not None:
            channel.hand_on(frame.argument)

    def _version(self, channel: Channel, request: VersionRequest) -> None:
        data = self._services.storage.version(channel.bucket, request.key, request.version)
        body = b"?" if data is None else b'{"data":%b}' % data
        self._answer(b"%d:e:%b.%d\n%b" % (channel.number, request.key.encode(), request.version, body))

    def _since(self, channel: Channel, cv: str) -> None:
        position = 0 if cv in ("", "0") else self._services.writer.positions.parse(channel.bucket, cv)
        storage = self._services.storage
        floor = storage.origin(channel.bucket) if channel.init.gaps else storage.floor(channel.bucket)
        if position is None or not floor <= position <= max(channel.feed.head, _told(channel)):
            answer = UnknownCv().text(channel.number) if not channel.init.old_api else f"{channel.number}:c:?"
            self._answer(answer.encode())
            return
        channel.go_live(position, due=True)
        self._wake.set()

    # Sending

    def _answer(self, message: bytes) -> None:
        self._answers.append(message)
        self._answer_bytes += len(message)
        self._wake.set()

    async def _send_all(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while await self._send_some():
                    pass
        except (ConnectionError, StateError) as error:
            log.debug("a connection ended while sending: %s", error)
            await self._socket.close()
        finally:
            # The reader must not wait for answers that nobody will send.
            self._ended = True
            self._progress.set()

    async def _send_some(self) -> bool:
        """All answers, and one message of each channel's log; whether there was anything."""
        sent = bool(self._answers)
        while self._answers:
            message = self._answers.popleft()
            await self._wire.send(message)
            self._answer_bytes -= len(message)
            self._progress.set()
        for channel in list(self._channels.values()):
            elements = await self._due(channel)
            if elements is not None:
                sent = True
                await self._wire.send(changes_message(channel.number, elements))
            while channel.notices:
                sent = True
                await self._wire.send(f"{channel.number}:notice:{channel.notices.popleft()}".encode())
        return sent

    async def _due(self, channel: Channel) -> list[bytes] | None:
        """What this channel is to be sent next; None if there is nothing."""
        entries: list[Entry] = []
        owed = False
        if channel.state is State.LIVE and channel.position < channel.feed.head:
            found = await self._read_on(channel)
            if found is None:
                return None
            entries = found
        if channel.state is State.LIVE:
            owed = channel.due
            channel.told(entries)
        author = channel.init.client if channel.init.lean else None
        elements = [entry.bare or entry.text if entry.client == author else entry.text for entry in entries]
        if not elements:
            # The log first, then what is for this channel alone.
            elements, channel.private = channel.private, []
        return elements if elements or owed else None

    async def _read_on(self, channel: Channel) -> list[Entry] | None:
        """The next entries of the channel's log; None if the channel moved elsewhere meanwhile."""
        entries = channel.feed.after(channel.position, MESSAGE)
        if entries is not None:
            return entries
        position, complete_to = channel.position, channel.feed.tail_from
        entries = await self._services.read(_read_log, self._services, channel.bucket, position)
        if not channel.open or channel.state is not State.LIVE or channel.position != position:
            self._wake.set()
            return None
        if not entries:
            # Nothing of this bucket between here and what the tail holds.
            channel.position = complete_to
            self._wake.set()
        return entries or None


def _read_log(services: Services, bucket: int, position: int) -> list[Entry]:
    rows = services.storage.since(bucket, position, CATCH_UP_ROWS, MESSAGE)
    entries = [encode(row, services.writer.positions) for row in rows]
    # The row that went over the size may be a large one: it goes alone.
    return entries[:-1] if len(entries) > 1 and sum(len(entry.text) for entry in entries) > MESSAGE else entries


def _told(channel: Channel) -> int:
    """A LIVE channel may have read from the database what the hub has yet to hear of."""
    return channel.position if channel.state is State.LIVE else 0


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
