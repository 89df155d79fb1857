"""What the system knows of a TCP connection."""

import fcntl
import select
import socket
import struct
import termios
from typing import NamedTuple

_QUEUED = struct.Struct("i")
# struct tcp_info of linux/tcp.h: 8 bytes, 24 times 4, two times 8, then tcpi_bytes_acked.
_ACKED = struct.Struct("120xQ")
# Then tcpi_bytes_received, three times 4, and tcpi_min_rtt.
_ROUND_TRIP = struct.Struct("148xI")


class Outgoing(NamedTuple):
    """Bytes given to the system: `waiting` ones the other end has not confirmed, and `through` ones it has, ever."""

    waiting: int
    through: int


def outgoing(opened: socket.socket) -> Outgoing:
    """Zeros where the system does not tell."""
    try:
        waiting = _QUEUED.unpack(fcntl.ioctl(opened.fileno(), termios.TIOCOUTQ, _QUEUED.pack(0)))[0]
        return Outgoing(waiting, _tcp_info(opened, _ACKED))
    except (AttributeError, OSError, ValueError):
        return Outgoing(0, 0)


def round_trip(opened: socket.socket) -> float:
    """Seconds to the other end and back, at best; 0.0 where the system does not tell."""
    try:
        return _tcp_info(opened, _ROUND_TRIP) / 1e6
    except (AttributeError, OSError):
        return 0.0


def _tcp_info(opened: socket.socket, field: struct.Struct) -> int:
    """0 from a kernel that is too old for this field. AttributeError, OSError."""
    info = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, field.size)
    return int(field.unpack(info)[0]) if len(info) == field.size else 0


def is_readable(opened: socket.socket) -> bool:
    """Whether something is there, or the end."""
    poll = select.poll()
    try:
        poll.register(opened, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return False
