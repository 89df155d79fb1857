"""Asking for passwords: without an echo, or from standard input for programs."""

import sys

import click

from ssyncd.errors import UsageError

_LONGEST = 1024


def known_password(user: str, from_stdin: bool) -> str:
    """The password of somebody who has one. UsageError if it is empty or nobody can be asked."""
    return _first_line() if from_stdin else _prompt(f"Password of {user}", confirm=False)


def new_password(user: str, from_stdin: bool) -> str:
    """A password to set, asked for twice."""
    return _first_line() if from_stdin else _prompt(f"New password of {user}", confirm=True)


def _first_line() -> str:
    line = sys.stdin.readline(_LONGEST + 2).rstrip("\r\n")
    if not line:
        raise UsageError("standard input has no password")
    return line


def _prompt(text: str, confirm: bool) -> str:
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked for the password here: use --password-stdin")
    password: str = click.prompt(text, hide_input=True, confirmation_prompt=confirm, err=True)
    return password
