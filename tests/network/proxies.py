"""An HTTP proxy for the tests."""

import socket
import threading
from contextlib import contextmanager, suppress

from ssyncd.network.dial import hang_up
from tests.network.wires import DEADLINE


class HttpProxy:
    """Leads to `port` of this machine, whatever it is asked for; or answers with `refusal`, b"" for never."""

    def __init__(self, port, refusal=None):
        self.asked = []
        self._port = port
        self._refusal = refusal
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open = [self._listening]
        self._threads = []
        self.port = self._listening.getsockname()[1]
        self._run(self._accept)

    def _run(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments, name="http-proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(near)
            self._run(self._lead, near)

    def _lead(self, near):
        question = b""
        while not question.endswith(b"\r\n\r\n"):
            if not (piece := near.recv(1)):
                return
            question += piece
        self.asked.append(question.decode())
        if self._refusal is not None:
            near.sendall(self._refusal)
            if self._refusal:
                hang_up(near)
            return
        far = socket.create_connection(("127.0.0.1", self._port))
        self._open.append(far)
        near.sendall(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
        self._run(self._copy, far, near)
        self._copy(near, far)

    def _copy(self, source, target):
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        hang_up(target)

    def stop(self):
        for one in self._open:
            hang_up(one)
        for thread in self._threads:
            thread.join(DEADLINE)
        for one in self._open:
            one.close()


@contextmanager
def proxy(port, refusal=None):
    made = HttpProxy(port, refusal)
    try:
        yield made
    finally:
        made.stop()
