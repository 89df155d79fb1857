"""What stands before a hosted server: other paths than ours, and nothing else gets through."""

import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

HEAD = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n(.*\r\n\r\n)", re.DOTALL)


class Front(socketserver.ThreadingTCPServer):
    """Signing in is below `/auth`, objects are below `/api`, the websocket is `/live`; `asked` are the requests of clients."""

    daemon_threads = False
    request_queue_size = 100

    def __init__(self, behind: str, app: str) -> None:
        super().__init__(("127.0.0.1", 0), _Visit)
        parts = urlsplit(behind)
        self.behind = (parts.hostname or "", parts.port or 0)
        self._socket_path = f"/sock/1/{app}/websocket"
        self.asked: list[str] = []
        self.visits = set[socket.socket]()
        host = f"127.0.0.1:{self.server_address[1]}"
        self.auth, self.api, self.live = f"http://{host}/auth", f"http://{host}/api", f"ws://{host}/live"

    def behind_path(self, path: str) -> str:
        """ "" if there is nothing."""
        if path == "/live":
            return self._socket_path
        signs_in = path.split("?")[0].endswith("/authorize/")
        place, _, rest = path.removeprefix("/").partition("/")
        return f"/{rest}" if place == ("auth" if signs_in else "api") else ""


class _Visit(socketserver.BaseRequestHandler):
    server: Front
    request: socket.socket

    def handle(self) -> None:
        self.server.visits.add(self.request)
        try:
            self._serve()
        finally:
            self.server.visits.discard(self.request)

    def _serve(self) -> None:
        head = self._head()
        found = HEAD.fullmatch(head)
        if found is None:
            return
        method, path, rest = found[1].decode(), found[2].decode(), found[3]
        self.server.asked.append(f"{method} {path}")
        inside = self.server.behind_path(path)
        if not inside:
            self.request.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        # One request for each connection: what comes after the head is passed on as it is.
        closing = b"" if path == "/live" else b"Connection: close\r\n"
        with socket.create_connection(self.server.behind) as behind:
            behind.sendall(f"{method} {inside} HTTP/1.1\r\n".encode() + closing + rest)
            back = threading.Thread(target=_pass_on, args=(behind, self.request), name="test-front-back")
            back.start()
            _pass_on(self.request, behind)
            back.join()

    def _head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = self.request.recv(1)
            if not piece:
                return b""
            head += piece
        return head


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def front(behind: str, app: str) -> Iterator[Front]:
    """Its clients are cut off when it ends."""
    with Front(behind, app) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,), name="test-front")
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()
            for visit in list(made.visits):
                with suppress(OSError):
                    visit.shutdown(socket.SHUT_RDWR)
