"""Servers for the tests of the HTTP side: our own, and one that answers whatever a test wants."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ssyncd.network.http import HttpServer
from ssyncd.network.login import Account, Extensions, discover
from ssyncd.server.accounts import Accounts
from ssyncd.server.app import Server
from ssyncd.server.settings import ServerSettings
from ssyncd.server.storage.opening import open_database
from ssyncd.server.storage.sqlite_accounts import SqliteAccounts
from tests.server.running import CHEAP

PASSWORD = "correct horse battery"


@contextmanager
def real_server(data, **settings) -> Iterator[Account]:
    """An ssyncd server on a loop of its own; the account is signed in as `anna` on `laptop`."""
    with closing(SqliteAccounts(open_database(data, None))) as storage:
        accounts = Accounts(storage, hasher=CHEAP)
        accounts.add("anna", PASSWORD)
        token = accounts.token("anna", "laptop")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="test-server")
    thread.start()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)

    try:
        server = Server(ServerSettings(data=data, listen="127.0.0.1:0", **settings))
        url = run(server.start())
        try:
            yield Account(url, "ssyncd", "anna", "", token)
        finally:
            run(server.stop())
            run(loop.shutdown_default_executor())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def offered(url, ca_file=None, **more) -> Extensions:
    """What a server says it offers."""
    with closing(HttpServer(url, ca_file=ca_file)) as server:
        return discover(server, **more)


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """`promised` is the Content-Length to tell, if it is not the true one."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None


class FakeServer:
    """Answers what `answer` says; `requests` are those that came."""

    def __init__(self, answer: Callable[[Request], Reply], port: int = 0) -> None:
        self.requests: list[Request] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.title(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, body)
                server.requests.append(request)
                self.reply(answer(request))

            do_GET = do_POST = do_PUT = do_DELETE = handle_any

            def reply(self, reply: Reply) -> None:
                self.send_response_only(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                length = len(reply.body) if reply.promised is None else reply.promised
                self.send_header("Content-Length", str(length))
                self.end_headers()
                try:
                    self.wfile.write(reply.body)
                except OSError:
                    self.close_connection = True
                if reply.promised is not None:
                    self.close_connection = True

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = False
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), name="test-fake-server")
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def stop(self) -> None:
        """The connections of the client must be closed before."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@contextmanager
def fake_server(answer: Callable[[Request], Reply], port: int = 0) -> Iterator[FakeServer]:
    server = FakeServer(answer, port)
    try:
        yield server
    finally:
        server.stop()
