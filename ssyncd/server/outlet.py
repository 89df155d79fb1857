"""Files as parts of an answer, sent without their bytes coming into this process."""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from aiohttp import HttpVersion11, web

from ssyncd.errors import DiskError, UnreadableError
from ssyncd.server.blobs.directory import mapped

_AT_ONCE = getattr(os, "RWF_NOWAIT", None)
_UNFIT = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class UnfitError(Exception):
    """A file of a file system from which nothing can be sent without reading it."""


class Part(NamedTuple):
    """Some bytes, and all of a file of this size."""

    head: bytes
    path: str
    size: int


class Outlet:
    """The connection of an answer that goes in chunks (RFC 9112, section 7.1), once that has begun. `carry` calls a function in a
    thread. To be closed."""

    def __init__(self, transport: asyncio.Transport, carry: Callable[..., Awaitable[Any]]) -> None:
        self._transport = transport
        self._carry = carry
        self._loop = asyncio.get_running_loop()
        # A descriptor of its own: for that of a transport the loop lets nobody else wait.
        self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    async def send(self, parts: Sequence[Part]) -> None:
        """ConnectionResetError; DiskError if a file cannot be read. Both are the end of the connection."""
        while self._transport.get_write_buffer_size():
            await self._writable()
        try:
            end = b""
            for part in parts:
                await self._send_part(part, end)
                end = b"\r\n"
            await self._send(end)
        except (ConnectionResetError, DiskError):
            # What was promised cannot be given: the client would wait for it, and take whatever came now for it.
            self._transport.abort()
            raise

    async def _send_part(self, part: Part, before: bytes) -> None:
        with mapped(part.path):
            file = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if not _is_in_memory(file, part.size):
                with mapped(part.path):
                    await self._carry(os.pread, file, part.size, 0)
            await self._send(b"%b%x\r\n%b" % (before, len(part.head) + part.size, part.head), socket.MSG_MORE)
            await self._send_file(file, part)
        finally:
            os.close(file)

    async def _send(self, data: bytes, flags: int = 0) -> None:
        view = memoryview(data)
        while view:
            view = view[await self._tried(lambda: self._socket.send(view, flags)) :]  # noqa: B023 - called at once

    async def _send_file(self, file: int, part: Part) -> None:
        done = 0
        while done < part.size:
            left = part.size - done
            try:
                sent = await self._tried(lambda: os.sendfile(self._socket.fileno(), file, done, left))  # noqa: B023
            except UnfitError:
                sent = await self._send_read(file, part, done)
            if not sent:
                raise UnreadableError(part.path, "it has become shorter")
            done += sent

    async def _send_read(self, file: int, part: Part, start: int) -> int:
        with mapped(part.path):
            data = await self._carry(os.pread, file, part.size - start, start)
        await self._send(data)
        return len(data)

    async def _tried(self, call: Callable[[], int]) -> int:
        while True:
            try:
                return call()
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                if error.errno in _UNFIT:
                    raise UnfitError from error
                raise ConnectionResetError(error.errno, error.strerror) from error

    async def _writable(self) -> None:
        """ConnectionResetError once the transport is closed: nobody would tell then."""
        if self._transport.is_closing():
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        writable = self._loop.create_future()
        self._loop.add_writer(self._socket, lambda: None if writable.done() else writable.set_result(None))
        try:
            await writable
        finally:
            self._loop.remove_writer(self._socket)


@contextmanager
def outlet(request: web.Request, carry: Callable[..., Awaitable[Any]]) -> Iterator[Outlet | None]:
    """None where bytes are encrypted here, or cannot go in chunks."""
    transport = request.transport
    if transport is None or transport.get_extra_info("sslcontext") is not None or request.version < HttpVersion11:
        yield None
        return
    way = Outlet(transport, carry)
    try:
        yield way
    finally:
        way.close()


def _is_in_memory(file: int, size: int) -> bool:
    """Whether reading it would wait for no disk."""
    if _AT_ONCE is None:
        return False
    try:
        return all(os.preadv(file, [bytearray(1)], at, _AT_ONCE) for at in (0, size - 1))
    except BlockingIOError:
        return False
    except OSError as error:
        return error.errno == errno.EOPNOTSUPP  # a file system that is in memory
