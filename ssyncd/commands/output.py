"""Printing: plain lines, JSON, and the status as a table."""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from ssyncd.status import FolderStatus, Hold, Trouble
from ssyncd.wording import many, moment, shown, size

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 240
ALIKE = 5
"""Paths that are named, each in a line, of those that are not in sync for the same reason."""


def say(text: str) -> None:
    click.echo(text)


def note(text: str) -> None:
    """For people only: not part of the output that programs read."""
    click.echo(text, err=True)


def say_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def console(stderr: bool = False) -> "Console":
    """Wide when nobody looks, so that programs find one line per row."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _PIPE_WIDTH, highlight=False)


def say_status(folders: Sequence[FolderStatus]) -> None:
    from rich.table import Table
    from rich.text import Text

    from ssyncd.progress import pending

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("FOLDER", "STATE", "ENTRIES", "SIZE", "PENDING", "PATH"):
        table.add_column(heading, overflow="fold")
    for folder in folders:
        cells = (
            folder.name,
            folder.phase.value,
            f"{folder.entries:,}",
            size(folder.size),
            pending(folder),
            folder.path,
        )
        table.add_row(*(Text(shown(cell)) for cell in cells))
    console().print(table)
    for folder in folders:
        for line in _details(folder):
            say(shown(line))


def _details(folder: FolderStatus) -> list[str]:
    lines = [f"{folder.name}: {_hold(folder, hold)}" for hold in folder.holds]
    lines += [f"{folder.name}: not in sync: {what}" for what in _troubles(folder.troubles)]
    if folder.conflicts:
        lines.append(f"{folder.name}: {many(folder.conflicts, 'conflict copy', 'conflict copies')}: `ssyncd conflicts`")
    if folder.last_error and not folder.in_sync:
        lines.append(f"{folder.name}: last error: {folder.last_error}")
    return lines


def _troubles(troubles: Sequence[Trouble]) -> Iterator[str]:
    """A full server is the trouble of everything that is new: its reason is told a few times only."""
    paths = dict[str, list[str]]()
    for trouble in troubles:
        paths.setdefault(trouble.reason, []).append(trouble.path)
    for reason, some in paths.items():
        yield from (f"{path}: {reason}" for path in some[:ALIKE])
        if len(some) > ALIKE:
            yield f"{len(some) - ALIKE} or more others (`--json` names them): {reason}"


def _hold(folder: FolderStatus, hold: Hold) -> str:
    entries, path = many(hold.entries, "entry", "entries"), shlex.quote(folder.path)
    return f"held: {hold.reason} ({entries}, {hold.where}): if that is meant, `ssyncd approve {path}`"


def say_answer(folder: dict[str, Any]) -> None:
    """What a folder answered to a command: lists of texts as lines, lists of objects as tables, the rest as `key: value`."""
    for key, value in folder.items():
        if key in ("name", "path"):
            continue
        if isinstance(value, list):
            _say_list(folder["name"], key, value)
        elif value is not None and value != "":
            say(shown(f"{folder['name']}: {key}: {value}"))


def _say_list(folder: str, key: str, rows: list[Any]) -> None:
    if not rows:
        say(shown(f"{folder}: no {key}"))
    elif all(isinstance(row, dict) for row in rows):
        _say_table(rows)
    else:
        for row in rows:
            say(shown(str(row)))


def _say_table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(_cell(column, row.get(column)))) for column in columns))
    console().print(table)


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column in ("created", "used", "time", "when", "deleted") and str(value).replace(".", "", 1).isdecimal():
        return moment(float(value))
    if column == "size" and isinstance(value, int | float):
        return size(value)
    if isinstance(value, bool):
        return "yes" if value else ""
    return ", ".join(value) if isinstance(value, list) else str(value)
