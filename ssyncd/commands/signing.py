"""login, logout, devices, folders: this machine's account at a server."""

from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import asdict

from ssyncd.commands import output
from ssyncd.commands.invocation import Invocation
from ssyncd.commands.passwords import known_password
from ssyncd.errors import Exit, NetworkError, RefusedError, SignInError, UsageError

if TYPE_CHECKING:
    from ssyncd.installation import Installation
    from ssyncd.network.login import Account


@click.command()
@click.argument("url")
@click.option("--user", required=True, metavar="NAME", help="Account on the server.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--app", metavar="ID", help="Application there; without it, as in the settings.")
@click.option("--api-key", metavar="KEY", help="API key of that application.")
@click.option("--auth-url", metavar="URL", help="Where signing in goes, if not to URL.")
@click.option("--websocket-url", metavar="URL", help="The whole URL of the websocket, if not below URL.")
@click.pass_obj
def login(invocation: Invocation, /, url: str, user: str, password_stdin: bool, **options: str | None) -> int:
    """Sign this machine in at the server at URL; folders go through it from then on.

    Where the server has moved, with its data, that is all there is to do.
    """
    from ssyncd.commands import finding
    from ssyncd.network.login import Service, sign_in

    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{url}: must start with https:// or http://")
    installation = invocation.installation
    settings = installation.config.server
    password = known_password(user, password_stdin)
    given = {name: value for name, value in options.items() if value is not None}
    names = ("app", "api_key", "auth_url", "websocket_url", "ca_file")
    service = Service(**{name: getattr(settings, name) for name in names} | given)
    account = sign_in(url, user, password, installation.config.device_name, service)
    installation.keep(account)
    if account.exposed:
        output.note(f"warning: {account.url} has no TLS: whoever is on the way can read your files")
    output.say(f"signed in at {account.url} as {account.user}")
    used = installation.server_url()
    if used.rstrip("/") != account.url.rstrip("/"):
        output.note(f"folders go through {used} all the same: url in {installation.places.config} says so")
    finding.reload(installation.places.runtime)
    return Exit.OK


@click.command()
@click.argument("url", required=False)
@click.pass_obj
def logout(invocation: Invocation, url: str | None) -> int:
    """End this machine's access to the server (the current one without URL), and forget it here."""
    from ssyncd.network import login as network

    installation = invocation.installation
    account = _account(installation, url)
    try:
        network.logout(account, installation.config.server.ca_file)
    except (NetworkError, RefusedError, SignInError) as error:
        output.note(f"the server was not told: {error}")
    installation.credentials.remove(account.url)
    output.say(f"signed out at {account.url}")
    return Exit.OK


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_context
def devices(context: click.Context, as_json: bool) -> int:
    """List the machines that have access to the account."""
    if context.invoked_subcommand is not None:
        return Exit.OK
    from ssyncd.network import login as network

    installation = context.obj.installation
    account = _account(installation, None)
    listed = network.devices(account, installation.config.server.ca_file)
    _say_rows(account, "devices", [asdict(device) for device in listed], as_json)
    return Exit.OK


@devices.command()
@click.argument("name")
@click.pass_obj
def revoke(invocation: Invocation, name: str) -> int:
    """End the access of the machine NAME."""
    from ssyncd.network import login as network

    installation = invocation.installation
    if not network.revoke(_account(installation, None), name, installation.config.server.ca_file):
        raise UsageError(f"{name}: no such device: ssyncd devices")
    output.say(f"{name}: access ended")
    return Exit.OK


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_context
def folders(context: click.Context, as_json: bool) -> int:
    """List the folders on the server, and where daemons on this machine have them."""
    if context.invoked_subcommand is not None:
        return Exit.OK
    from ssyncd.commands import finding
    from ssyncd.network import login as network

    installation = context.obj.installation
    account = _account(installation, None)
    names = network.folder_names(account, installation.config.server.ca_file)
    here: dict[str, list[str]] = {name: [] for name in names}
    for _, status in finding.statuses(installation.places.runtime):
        for one in status.folders:
            if one.server == account.url:
                here.setdefault(network.folder_name(network.bucket_name(one.name)), []).append(one.path)
    _say_rows(account, "folders", [{"name": name, "here": paths} for name, paths in here.items()], as_json)
    return Exit.OK


@folders.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def remove_folder(invocation: Invocation, name: str, yes: bool) -> int:
    """Remove the folder NAME from the server, with its history. What machines have of it stays there."""
    from ssyncd.network import login as network

    installation = invocation.installation
    account = _account(installation, None)
    if not yes:
        click.confirm(f"Remove {name} and its history from {account.url}?", abort=True, err=True)
    if not network.remove_folder(account, name, installation.config.server.ca_file):
        raise UsageError(f"{name}: no such folder: ssyncd folders")
    output.say(f"{name}: removed")
    return Exit.OK


def _say_rows(account: "Account", what: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        output.say_json({what: rows})
    else:
        output.say_answer({"name": account.url, what: rows})


def _account(installation: "Installation", url: str | None) -> "Account":
    """Of the server named, else the current one, else the built-in one while it runs."""
    url = url or installation.server_url()
    if url:
        return installation.account(url)
    from ssyncd import serving

    with serving.election(installation.places.data):
        found = serving.find(installation.places.data)
    if found is None:
        return installation.account(url)
    return installation.embedded_account(found.url)[0]


COMMANDS = (login, logout, devices, folders)
