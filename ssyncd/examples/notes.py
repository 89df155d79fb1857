"""`python -m ssyncd.examples.notes [NOTE]`: each line typed is appended to a shared note, and what others do to it is shown.

Start it in two terminals. Text travels as deltas, so two who type at once both stay; without a connection lines wait in memory,
or with --state in a file.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from ssyncd import Change, Secrets, SsyncdError, start_syncing

TEXT = "text"


class Notes:
    """Shows one note of the bucket."""

    name = "notes"

    def __init__(self, note: str) -> None:
        self.note = note

    def init(self, version: str, entities: dict[str, dict[str, Any]]) -> None:
        if not version:
            say("(the server was never reached)\n")
        text = text_of(entities.get(self.note))
        say(text or f"(the note {self.note} is empty: type a line)\n")

    def update(self, change: Change) -> None:
        # No flag to ignore the next update: what we typed is in `before` already, so only what others did is new.
        before, now = text_of(change.before), text_of(change.data)
        if change.key != self.note or now == before:
            return
        if now.startswith(before):
            say(now[len(before) :])
        else:
            say(f"--- {self.note} is now:\n{now}---\n")


def text_of(data: dict[str, Any] | None) -> str:
    text = (data or {}).get(TEXT)
    return text if isinstance(text, str) else ""


def with_line(data: dict[str, Any] | None, line: str) -> dict[str, Any]:
    return {**(data or {}), TEXT: f"{text_of(data)}{line}\n"}


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ssyncd.examples.notes", description=(__doc__ or "").split("\n")[2])
    parser.add_argument("note", nargs="?", default="notes", help="the note's key")
    parser.add_argument("--url", default="", help="the server, if not that of the latest ssyncd login")
    parser.add_argument("--state", type=Path, help="a file to keep unsent lines in")
    options = parser.parse_args(arguments)
    try:
        with start_syncing(Notes(options.note), Secrets.from_login(options.url), state=options.state) as handle:
            for line in sys.stdin:
                handle.edit(options.note, partial(with_line, line=line.rstrip("\n")))
    except SsyncdError as error:
        sys.stderr.write(f"notes: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
