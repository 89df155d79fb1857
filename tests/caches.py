"""What is worth keeping from one run of the tests to the next."""

import os
from pathlib import Path


def cache() -> Path:
    """What the tests keep for the next run."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ssyncd-tests"


def keep_bytecode() -> None:
    """Where Python is told to write no bytecode beside the modules, the processes to be started keep it elsewhere, and together:
    what pip installs is compiled once, not at each start."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(cache() / "bytecode"))
