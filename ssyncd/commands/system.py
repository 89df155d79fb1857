"""service: letting systemd run the daemon."""

import sys

import click

from ssyncd.commands import output
from ssyncd.commands.invocation import Invocation
from ssyncd.errors import Exit


@click.group()
def service() -> None:
    """The systemd user service that runs `ssyncd start`."""


@service.command()
@click.pass_obj
def install(invocation: Invocation) -> int:
    """Write the unit, enable and start it; harmless when done again."""
    from ssyncd import service as unit

    installation = invocation.installation
    if not installation.config.folder:
        output.note(f"no folder is configured yet: add [[folder]] to {installation.places.config}")
    command = [sys.executable, "-P", "-m", "ssyncd", "--config", str(installation.places.config), "start"]
    output.note(f"unit: {unit.unit_path()}")
    unit.install(command)
    output.say("the service runs; `systemctl --user status ssyncd`, `journalctl --user -u ssyncd`")
    output.say("to have it run while you are not logged in: loginctl enable-linger")
    return Exit.OK


@service.command()
def remove() -> int:
    """Stop the service and remove its unit."""
    from ssyncd import service as unit

    output.say("the service is removed" if unit.remove() else "the service is not installed")
    return Exit.OK


@service.command("status")
def show() -> int:
    """Tell whether systemd runs it."""
    from ssyncd import service as unit

    output.say(unit.state())
    return Exit.OK


COMMANDS = (service,)
