"""start, pull, sync: what keeps folders in sync, in the foreground."""

import shlex
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from ssyncd.commands import output
from ssyncd.commands.invocation import Invocation
from ssyncd.errors import Exit, NotRunningError

if TYPE_CHECKING:
    from ssyncd.config import FolderConfig
    from ssyncd.daemon import Runner, Watcher
    from ssyncd.embedded import EmbeddedServer
    from ssyncd.installation import Installation, Wanted
    from ssyncd.network.login import Account

_FOLDER = click.argument("folder", required=False, type=click.Path(path_type=Path))
_NAME = click.option("--name", help="Name of the folder on the server; without it, the directory's own name.")
_TIMEOUT = click.option(
    "--timeout", metavar="SECONDS", type=click.FloatRange(0), help="Give up after this long; exit code 3."
)


class Backend:
    """The server that folders go through while a command runs; the built-in one if there is no other."""

    def __init__(self, installation: "Installation") -> None:
        self._installation = installation
        self._server: EmbeddedServer | None = None
        self.fresh = False

    @property
    def embedded(self) -> bool:
        return self._server is not None

    def start(self, moved: Callable[[], None] = lambda: None) -> None:
        """SignInError if this machine has no account there."""
        if self._installation.server_url():
            self.account()
            return
        from ssyncd.embedded import EmbeddedServer

        server = EmbeddedServer(self._installation.housing, lambda _url: moved())
        server.start()
        self._server = server

    def account(self) -> "Account":
        url = self._installation.server_url()
        if url or self._server is None:
            return self._installation.account(url)
        account, fresh = self._installation.embedded_account(self._server.url)
        self.fresh = self.fresh or fresh
        return account

    def check(self) -> None:
        if self._server is not None:
            self._server.check()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()


@click.command()
@_FOLDER
@_NAME
@click.pass_obj
def start(invocation: Invocation, folder: Path | None, name: str | None) -> int:
    """Keep FOLDER in sync, in the foreground; without FOLDER all configured ones.

    Without a server (`ssyncd login`, or one in the settings) the built-in one is run.
    """
    invocation.installation.chosen(folder, name)
    with invocation.watching() as watcher:
        return _Start(invocation.installation, folder, name).run(watcher)


class _Start:
    """Puts a daemon together: its server, its folders, its control socket."""

    def __init__(self, installation: "Installation", folder: Path | None, name: str | None) -> None:
        self._installation = installation
        self._folder, self._name = folder, name
        self._backend = Backend(installation)
        self._reload = False

    def run(self, watcher: "Watcher") -> int:
        from ssyncd.control import ControlSocket
        from ssyncd.daemon import Daemon, Plan
        from ssyncd.notify import Notifier

        plan = Plan(self._wanted, partial(_make, self._installation), self._backend.check)
        daemon = Daemon(plan, Notifier(), watcher)
        control = ControlSocket(self._installation.places.runtime, daemon.answer)
        with _interruptible(), ExitStack() as stack:
            stack.callback(self._backend.stop)
            self._backend.start(daemon.restart_folders)
            return daemon.run(control)

    def _wanted(self) -> Sequence["Wanted"]:
        """First at the start, then at every reload."""
        if self._reload:
            self._installation.reload()
        account = self._backend.account()
        chosen = self._installation.chosen(self._folder, self._name)
        wanted = [self._installation.wanted(one, account) for one in chosen]
        if not self._reload and self._backend.embedded:
            _introduce(self._installation, wanted, account, self._backend.fresh)
        self._reload = True
        return wanted


def _make(installation: "Installation", wanted: "Wanted") -> "Runner":
    from ssyncd.folder import Folder

    installation.make_ready(wanted)
    return Folder(wanted.settings, wanted.account)


def _introduce(installation: "Installation", wanted: Sequence["Wanted"], account: "Account", fresh: bool) -> None:
    output.note(f"The built-in server runs at {account.url}; its account is {account.user}.")
    if not fresh:
        return
    port = account.url.rstrip("/").rpartition(":")[2]
    config = installation.places.config
    name = shlex.quote(wanted[0].name)
    output.note(
        f"To bring in another machine:\n"
        f"  here   ssyncd user passwd {account.user}                  choose a password\n"
        f"         ssyncd serve --listen 0.0.0.0:{port}          a server that other machines can reach; first end this\n"
        f'         (or set listen = "0.0.0.0:{port}" under [embedded] in {config})\n'
        f"  there  ssyncd login http://THIS-MACHINE:{port} --user {account.user}\n"
        f"         ssyncd start ~/{name} --name {name}\n"
        f"On this machine, `ssyncd start OTHER-FOLDER --name {name}` joins the same folder.\n"
        f"Without TLS (ssyncd serve --tls-cert F --tls-key F) use this in a network you trust only."
    )


def _one_shot(command: str, summary: str) -> click.Command:
    @click.command(command, help=summary)
    @_FOLDER
    @_NAME
    @_TIMEOUT
    @click.pass_obj
    def run(invocation: Invocation, folder: Path | None, name: str | None, timeout: float | None) -> int:
        from ssyncd.commands.finding import worst

        chosen = invocation.installation.chosen(folder, name)
        with _interruptible(), invocation.watching() as watcher:
            once = _Once(invocation.installation, command, timeout, watcher)
            return worst([once.run(one) for one in chosen])

    return run


class _Once:
    """One `pull` or `sync`, of one folder after the other."""

    def __init__(self, installation: "Installation", command: str, timeout: float | None, watcher: "Watcher") -> None:
        self._installation = installation
        self._command, self._timeout = command, timeout
        self._watcher = watcher

    def run(self, folder: "FolderConfig") -> Exit:
        """By the daemon that has the folder, else by ourselves."""
        from ssyncd.commands.finding import folders

        try:
            found = folders(self._installation.places.runtime, str(folder.path))
        except NotRunningError:
            return self._alone(folder)
        status, code = found[0].wait(self._command, self._timeout)
        self._watcher.show(status)
        return code

    def _alone(self, folder: "FolderConfig") -> Exit:
        from ssyncd.oneshot import outcome, run_once

        backend = Backend(self._installation)
        try:
            backend.start()
            pull = self._command == "pull"
            wanted = self._installation.wanted(folder, backend.account(), pull)
            return outcome(run_once(_make(self._installation, wanted), self._timeout, self._watcher))
        finally:
            backend.stop()


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends this as Ctrl-C does: in order, nothing left behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


COMMANDS = (
    start,
    _one_shot("pull", "Bring FOLDER (or all configured ones) to what the server has, once; nothing is sent."),
    _one_shot("sync", "Bring FOLDER (or all configured ones) and the server in sync, once, both ways."),
)
