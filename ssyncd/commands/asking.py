"""What running daemons are asked: how they are, to go on or not, what the server keeps of their folders, to stop."""

import re
import time
from datetime import datetime
from pathlib import Path

import click

from ssyncd.commands import output
from ssyncd.commands.invocation import Invocation
from ssyncd.errors import Exit, NotRunningError, UsageError

_SPAN = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}

_FOLDER = click.argument("folder", required=False)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.command()
@_FOLDER
@_JSON
@click.pass_obj
def status(invocation: Invocation, folder: str | None, as_json: bool) -> int:
    """Show each folder: what is synced, what is pending and why, conflicts, holds, the last error."""
    from ssyncd.commands.finding import folders, statuses

    runtime = invocation.installation.places.runtime
    if as_json and folder is None:
        daemons = [one.to_json() for _, one in statuses(runtime)]
        output.say_json({"daemons": daemons})
        return Exit.OK if daemons else Exit.NOT_RUNNING
    found = folders(runtime, folder)
    if as_json:
        chosen = {one.folder.path for one in found}
        output.say_json({"daemons": [_only(one.to_json(), chosen) for _, one in statuses(runtime)]})
    else:
        output.say_status([one.folder for one in found])
    return Exit.OK


def _only(daemon: dict[str, object], paths: set[str]) -> dict[str, object]:
    folders = daemon["folders"]
    assert isinstance(folders, tuple | list)
    return {**daemon, "folders": [folder for folder in folders if folder["path"] in paths]}


@click.command()
@_FOLDER
@click.option("--timeout", metavar="SECONDS", type=click.FloatRange(0), help="Give up after this long; exit code 3.")
@click.pass_obj
def wait(invocation: Invocation, folder: str | None, timeout: float | None) -> int:
    """Wait until FOLDER (or every folder) is in sync. 0: it is; 3: not in time; 6: held; 8: no daemon has it."""
    from ssyncd.commands import finding
    from ssyncd.progress import sentence

    ends = finding.wait(finding.folders(invocation.installation.places.runtime, folder), "wait", timeout)
    for one, code in ends:
        if code is not Exit.OK:
            output.note(sentence(one))
    return finding.worst(code for _, code in ends)


def _for_folders(command: str, summary: str) -> click.Command:
    @click.command(command, help=summary)
    @_FOLDER
    @_JSON
    @click.pass_obj
    def run(invocation: Invocation, folder: str | None, as_json: bool) -> int:
        from ssyncd.commands.finding import folders

        found = folders(invocation.installation.places.runtime, folder)
        _print([answer for one in found for answer in one.request(command)], as_json)
        return Exit.OK

    return run


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@_JSON
@click.pass_obj
def history(invocation: Invocation, path: Path, as_json: bool) -> int:
    """List the versions of PATH that the server keeps."""
    from ssyncd.commands.finding import with_path

    found, inside = with_path(invocation.installation.places.runtime, path)
    _print(found.request("history", path=inside), as_json)
    return Exit.OK


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """A time that is over, in seconds since the epoch: from ISO 8601, local if it does not say otherwise, or how long ago."""
    if value is None:
        return None
    now, span = time.time(), re.fullmatch(r"([0-9]{1,5})([mhdw])", value)
    try:
        then = now - int(span[1]) * _SPAN[span[2]] if span else datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(f"{value!r} is no time, as 2026-11-30T14:05, or 3h for three hours ago") from None
    if not 0 < then <= now:
        raise click.BadParameter(f"{value!r} is not over yet" if then > now else f"{value!r} is too long ago")
    return int(then)


@click.command()
@click.argument("path")
@click.option("--version", type=click.IntRange(1), help="Which one, as `ssyncd history PATH` numbers them.")
@click.option(
    "--at", metavar="TIME", callback=_moment, help="How it was then: 2026-11-30T14:05, or 20m, 3h, 2d, 1w ago."
)
@click.option("--dry-run", is_flag=True, help="Only list what would be brought back.")
@_JSON
@click.pass_obj
def restore(
    invocation: Invocation, path: str, version: int | None, at: int | None, dry_run: bool, as_json: bool
) -> int:
    """Bring PATH back: as it was in an earlier version, or, a whole directory too, --at a time. What it replaces stays in the
    history, what has come since stays there. Without either: what was deleted, of a directory all that was deleted in it."""
    from ssyncd.commands.finding import place

    if version and (at or dry_run):
        raise UsageError("--version does not go together with --at or --dry-run")
    found, inside = place(invocation.installation.places.runtime, path)
    asked = {"version": version or "", "time": at or "", "dry": 1 if dry_run else ""}
    answers = found.request("restore", path=inside, **{name: str(value) for name, value in asked.items()})
    _print(answers, as_json)
    return Exit.FAILED if any(answer.get("failed") for answer in answers) else Exit.OK


@click.command()
@click.argument("path", required=False)
@_JSON
@click.pass_obj
def deleted(invocation: Invocation, path: str | None, as_json: bool) -> int:
    """List what was deleted and `ssyncd restore` can bring back, the latest last: in every folder, or in PATH, which is a folder
    or inside of one."""
    from ssyncd.commands.finding import places

    found = places(invocation.installation.places.runtime, path)
    _print([answer for one, inside in found for answer in one.request("deleted", path=inside)], as_json)
    return Exit.OK


@click.command()
@click.argument("path")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_JSON
@click.pass_obj
def forget(invocation: Invocation, path: str, yes: bool, as_json: bool) -> int:
    """Have the server forget, for good, earlier versions of PATH, or of everything in it, and what was deleted there. What is
    there now stays."""
    from ssyncd.commands.finding import place

    found, inside = place(invocation.installation.places.runtime, path)
    if not yes:
        click.confirm(f"Forget all earlier versions of {path}, and what was deleted there?", abort=True, err=True)
    _print(found.request("forget", path=inside), as_json)
    return Exit.OK


@click.command()
@click.pass_obj
def stop(invocation: Invocation) -> int:
    """End every running daemon of this user."""
    from ssyncd.control import ask, daemons

    found = daemons(invocation.installation.places.runtime)
    if not found:
        raise NotRunningError("no daemon runs")
    for socket in found:
        ask(socket, {"command": "stop"})
    return Exit.OK


def _print(answers: list[dict[str, object]], as_json: bool) -> None:
    if as_json:
        output.say_json({"folders": answers})
        return
    for answer in answers:
        output.say_answer(answer)


COMMANDS = (
    status,
    wait,
    _for_folders("pause", "Stop sending and receiving, until `ssyncd resume`."),
    _for_folders("resume", "Go on after `ssyncd pause`."),
    _for_folders("approve", "Let a held plan go on: delete what `ssyncd status` says."),
    _for_folders("conflicts", "List the conflict copies."),
    history,
    deleted,
    restore,
    forget,
    _for_folders("verify", "Read every file again and compare it with what was synced."),
    stop,
)
