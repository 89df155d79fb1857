"""serve and user: the server, and who may use it."""

import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ssyncd.commands import output
from ssyncd.commands.invocation import Invocation
from ssyncd.commands.passwords import new_password
from ssyncd.errors import Exit, UsageError
from ssyncd.threads import begin

if TYPE_CHECKING:
    from ssyncd.server.accounts import Accounts

_PATIENCE = 10.0  # seconds for the server before us to end
_FORCE = 8.0  # seconds until a built-in server whose starter is gone ends without finishing
DATA = click.option("--data", type=click.Path(path_type=Path), help="Data directory; without it, the user's own.")
DATABASE = click.option("--database", metavar="URL", help="Database instead of the SQLite file in the data directory.")
CHUNKS = click.option("--chunks", metavar="URL", help="Chunk store instead of the data directory.")


@click.command()
@click.option("--listen", default="127.0.0.1:8730", show_default=True, metavar="HOST:PORT", help="Where to listen.")
@DATA
@DATABASE
@CHUNKS
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain (PEM), for https and wss.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key (PEM).")
@click.option("--open", "open_accounts", is_flag=True, help="Let anybody make an account over HTTP.")
@click.option("--plain", is_flag=True, help="Be a bare Simperium server, without our extensions.")
@click.option("--embedded", is_flag=True, hidden=True, help="End when standard input does.")
@click.option("--log-file", type=click.Path(path_type=Path), hidden=True)
@click.pass_obj
def serve(invocation: Invocation, /, data: Path | None, embedded: bool, log_file: Path | None, **options: Any) -> None:
    """Run a server; `GET /healthz` tells whether it is well."""
    from ssyncd import log, serving
    from ssyncd.server.app import serve as run
    from ssyncd.server.settings import ServerSettings

    log.set_up(invocation.level, log_file)
    if bool(options["tls_cert"]) != bool(options["tls_key"]):
        raise UsageError("--tls-cert and --tls-key go together")
    limits = dataclasses.asdict(invocation.installation.config.serve)
    settings = ServerSettings(data=directory(invocation, data), **options, **limits)
    with serving.hold(settings.data, _PATIENCE if embedded else 0.0, elected=embedded) as announce:
        if embedded:
            _end_with_stdin()

        def ready(url: str) -> None:
            announce(url)
            output.say(url if embedded else f"ssyncd serves {url} from {settings.data}")
            sys.stdout.flush()

        run(settings, ready)


def _end_with_stdin() -> None:
    """Our starter holds the other end: it closes it to end us, and so does the kernel if it dies."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        # Not reached by a server that ends in time: this thread ends with the process.
        threading.Event().wait(_FORCE)
        os._exit(Exit.FAILED)

    # A daemon thread: a read that nothing ever wakes cannot be joined.
    begin(threading.Thread(target=watch, name="starter-watch", daemon=True))


@click.group()
def user() -> None:
    """Accounts of the server whose data is on this machine; it may run meanwhile."""


@contextmanager
def _accounts(invocation: Invocation, data: Path | None, database: str | None, app: str) -> Iterator["Accounts"]:
    from ssyncd import places
    from ssyncd.server.accounts import open_accounts

    with open_accounts(places.private(directory(invocation, data)), database, app) as accounts:
        yield accounts


def directory(invocation: Invocation, data: Path | None) -> Path:
    """The server's data directory: the one given, else the user's own."""
    return (data or invocation.installation.places.data).expanduser().absolute()


_APP = click.option(
    "--app", default="ssyncd", show_default=True, metavar="NAME", help="The application they belong to."
)
_STDIN = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


@user.command("add")
@click.argument("name")
@_STDIN
@DATA
@DATABASE
@_APP
@click.pass_obj
def add(
    invocation: Invocation, name: str, password_stdin: bool, data: Path | None, database: str | None, app: str
) -> None:
    """Make an account."""
    with _accounts(invocation, data, database, app) as accounts:
        accounts.add(name, new_password(name, password_stdin))
    output.say(f"{name}: added")


@user.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@DATA
@DATABASE
@_APP
@click.pass_obj
def list_users(invocation: Invocation, as_json: bool, data: Path | None, database: str | None, app: str) -> None:
    """List the accounts."""
    with _accounts(invocation, data, database, app) as accounts:
        names = accounts.names()
    if as_json:
        output.say_json({"users": names})
        return
    for name in names:
        output.say(name)


@user.command("usage")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@DATA
@DATABASE
@CHUNKS
@_APP
@click.pass_obj
def usage(
    invocation: Invocation, as_json: bool, data: Path | None, database: str | None, chunks: str | None, app: str
) -> None:
    """Tell how many bytes each account stores, history included. All of it is looked at, which may take a while."""
    from ssyncd.server.blobs.directory import usage as chunks_of
    from ssyncd.server.blobs.opening import directory as chunks_in
    from ssyncd.server.storage.opening import open_database
    from ssyncd.server.storage.sqlite import SqliteChanges

    root = chunks_in(directory(invocation, data), chunks)
    with (
        _accounts(invocation, data, database, app) as accounts,
        closing(SqliteChanges(open_database(directory(invocation, data), database))) as changes,
    ):
        users = accounts.users()
        rows = [{"name": one.name, "size": changes.usage(one.id) + chunks_of(root, one.id)} for one in users]
    if as_json:
        output.say_json({"users": rows})
    else:
        output.say_answer({"name": app, "users": rows})


@user.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@DATA
@DATABASE
@_APP
@click.pass_obj
def remove(invocation: Invocation, name: str, yes: bool, data: Path | None, database: str | None, app: str) -> None:
    """Remove an account, with everything it has on the server."""
    if not yes:
        click.confirm(f"Remove {name} and everything it has on the server?", abort=True, err=True)
    with _accounts(invocation, data, database, app) as accounts:
        accounts.remove(name)
    output.say(f"{name}: removed")


@user.command("passwd")
@click.argument("name")
@_STDIN
@DATA
@DATABASE
@_APP
@click.pass_obj
def passwd(
    invocation: Invocation, name: str, password_stdin: bool, data: Path | None, database: str | None, app: str
) -> None:
    """Set the password of an account. Machines that are signed in stay so."""
    with _accounts(invocation, data, database, app) as accounts:
        accounts.set_password(name, new_password(name, password_stdin))
    output.say(f"{name}: password set")


@user.command("token")
@click.argument("name")
@click.option("--device", default="token", show_default=True, help="What the token is listed as.")
@click.option("--admin", is_flag=True, help="Let it act for every user of the application.")
@DATA
@DATABASE
@_APP
@click.pass_obj
def token(invocation: Invocation, /, name: str, device: str, admin: bool, **where: Any) -> None:
    """Print a new access token, for any Simperium client of the application. It is shown this once."""
    with _accounts(invocation, **where) as accounts:
        output.say(accounts.token(name, device, admin=admin))


COMMANDS = (serve, user)
