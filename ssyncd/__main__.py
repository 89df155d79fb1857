"""`python -m ssyncd` is the `ssyncd` command."""

import sys

from ssyncd.cli import main

if __name__ == "__main__":
    sys.exit(main())
