"""The `ssyncd` command. Errors become one line and an exit code here; each command is a few lines in `ssyncd.commands`.

Of other libraries only click and msgspec are imported before a command runs, so that `ssyncd --help` is quick.
"""

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ssyncd import __version__
from ssyncd.commands import applications, asking, running, serving, signing, system
from ssyncd.commands.invocation import Invocation
from ssyncd.errors import (
    BusyError,
    Exit,
    NetworkError,
    RefusedError,
    SignInError,
    SsyncdError,
    StateError,
    UntrustedError,
    UsageError,
)
from ssyncd.tuning import keep_memory, open_many_files, rare_collections

_INTERRUPTED = 130  # what shells report for a program ended by SIGINT
# What to do about it, where the error's own text does not say; the first class that fits.
_ADVICE: tuple[tuple[type[SsyncdError], str], ...] = (
    (SignInError, "ssyncd login URL --user NAME"),
    (UntrustedError, "`ca_file` under [server] in the settings can name who is to be trusted"),
    (BusyError, "end the other one, or ask it: ssyncd status"),
    (RefusedError, ""),
    (NetworkError, "check the URL and whether the server runs"),
    (StateError, "move the file away to start anew; nothing in your folder is lost"),
    (UsageError, ""),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--config", type=click.Path(path_type=Path), help="Settings file instead of the user's own.")
@click.option("-v", "--verbose", is_flag=True, help="Log more; show a traceback with an error.")
@click.version_option(__version__, prog_name="ssyncd")
@click.pass_context
def cli(context: click.Context, config: Path | None, verbose: bool) -> None:
    """Keep folders the same on all your machines, through a server you own."""
    from ssyncd.installation import Installation
    from ssyncd.places import find

    context.obj = Invocation(Installation(find(config and config.absolute())), verbose)


for part in (running, asking, signing, serving, applications, system):
    for command in part.COMMANDS:
        cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, or that of this process; the exit code."""
    words = _words_of_process() if arguments is None else list(arguments)
    verbose = bool({"-v", "--verbose"} & set(words))
    try:
        keep_memory()
        open_many_files()
        with rare_collections():
            result = cli.main(words, prog_name="ssyncd", standalone_mode=False)
        return int(result) if isinstance(result, int) else Exit.OK
    except SsyncdError as error:
        return _failed(sentence(error), error.exit_code, verbose)
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "ssyncd"
        return _failed(f"{error.format_message().rstrip('.')}: {where} --help", Exit.USAGE, False)
    except (click.Abort, KeyboardInterrupt):
        return _failed("interrupted", _INTERRUPTED, False)
    except BrokenPipeError:
        # Nobody reads on; without this Python complains about the same thing while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    except Exception as error:  # noqa: BLE001 - the top of the main thread: people get one line
        return _failed(
            f"internal error: {error!r}: please report it, with what `ssyncd -v` shows", Exit.FAILED, verbose
        )


def _words_of_process() -> list[str]:
    """The arguments, once the process can read and show every name."""
    words = sys.argv[1:]
    if not sys.flags.utf8_mode and sys.getfilesystemencoding() != "utf-8":
        # Names are UTF-8 whatever the locale says (design section 3), and Python settles how it reads them when it starts.
        os.execv(sys.executable, [sys.executable, "-X", "utf8", "-P", "-m", "ssyncd", *words])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return words


def sentence(error: SsyncdError) -> str:
    """What happened, and what to do."""
    advice = next((text for kind, text in _ADVICE if isinstance(error, kind)), "")
    return f"{error}: {advice}" if advice and advice not in str(error) else str(error)


def _failed(text: str, code: int, verbose: bool) -> int:
    from ssyncd.wording import shown

    if verbose:
        import traceback

        traceback.print_exc()
    click.echo(f"ssyncd: {shown(text)}", err=True)
    return code
