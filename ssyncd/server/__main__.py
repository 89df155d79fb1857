"""`python -m ssyncd.server --data DIR`: the bare server, as tests run it. `ssyncd serve` is for people."""

import argparse
import sys
from pathlib import Path

from ssyncd.errors import SsyncdError
from ssyncd.server.app import ServerSettings, serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ssyncd.server")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--open", action="store_true", help="anyone may make an account")
    parser.add_argument("--plain", action="store_true", help="without extensions")
    options = parser.parse_args()
    settings = ServerSettings(options.data, options.listen, open_accounts=options.open, plain=options.plain)
    try:
        serve(settings, _say)
    except SsyncdError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _say(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
