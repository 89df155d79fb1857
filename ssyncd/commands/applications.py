"""app: the applications of the server whose data is on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssyncd.commands import output
from ssyncd.commands.invocation import Invocation
from ssyncd.commands.serving import DATA, DATABASE, directory

if TYPE_CHECKING:
    from ssyncd.server.applications import Applications


@click.group()
def app() -> None:
    """Applications of the server: each has users, tokens and objects of its own."""


@contextmanager
def _applications(invocation: Invocation, data: Path | None, database: str | None) -> Iterator["Applications"]:
    from ssyncd import places
    from ssyncd.server.applications import open_applications

    with open_applications(places.private(directory(invocation, data)), database) as applications:
        yield applications


@app.command("add")
@click.argument("name")
@DATA
@DATABASE
@click.pass_obj
def add(invocation: Invocation, name: str, data: Path | None, database: str | None) -> None:
    """Make an application and print its API key, which its clients show when somebody signs in."""
    with _applications(invocation, data, database) as applications:
        output.say(applications.add(name).api_key)


@app.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@DATA
@DATABASE
@click.pass_obj
def list_applications(invocation: Invocation, as_json: bool, data: Path | None, database: str | None) -> None:
    """List the applications with their API keys."""
    with _applications(invocation, data, database) as applications:
        found = applications.all()
    if as_json:
        output.say_json({"applications": [{"name": one.id, "api_key": one.api_key} for one in found]})
        return
    for one in found:
        output.say(f"{one.id}  {one.api_key}")


@app.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@DATA
@DATABASE
@click.pass_obj
def remove(invocation: Invocation, name: str, yes: bool, data: Path | None, database: str | None) -> None:
    """Remove an application, with its users and everything they have on the server."""
    if not yes:
        click.confirm(f"Remove {name}, its users and everything they have on the server?", abort=True, err=True)
    with _applications(invocation, data, database) as applications:
        applications.remove(name)
    output.say(f"{name}: removed")


COMMANDS = (app,)
