"""Telling systemd how we are: sd_notify(3), by datagrams to $NOTIFY_SOCKET; silent where there is none."""

import logging
import os
import socket
import time
from collections.abc import MutableMapping

_log = logging.getLogger(__name__)


class Notifier:
    """`interval` is how often systemd wants to hear that we live, in seconds (half of WatchdogSec), None without a watchdog."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        # Taken out, so that children (the built-in server) do not speak for us.
        self._address = environment.pop("NOTIFY_SOCKET", "")
        usec = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", str(os.getpid()))
        ours = bool(self._address) and usec.isdecimal() and int(usec) > 0 and pid == str(os.getpid())
        self.interval = int(usec) / 2_000_000 if ours else None
        self._due = 0.0

    def ready(self, text: str) -> None:
        self._send("READY=1", f"STATUS={text}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def alive(self) -> float | None:
        """Tell the watchdog, if it is time; seconds until the next time, None without a watchdog."""
        if self.interval is None:
            return None
        now = time.monotonic()
        if now >= self._due:
            self._send("WATCHDOG=1")
            self._due = now + self.interval
        return self._due - now

    def reloading(self) -> None:
        """Followed by `ready`; the time is what Type=notify-reload asks for."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1", "STATUS=stopping")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # A leading @ is the abstract name space (sd_notify(3)); a newline in a path would start another field.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        message = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(1.0)
                channel.sendto(message.encode("utf-8", "replace"), address)
        except OSError as error:
            _log.debug("systemd was not told: %s", error)
