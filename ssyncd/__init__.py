"""ssyncd keeps folders the same on all of a person's machines, through a server they own.

As a library it keeps JSON objects, or one dataclass, the same in all programs that have the same `Secrets`:

start_syncing   a bucket of objects: `init` once, `update` for every state received, a `Handle` to change them (`ssyncd.bucket`)
Shared          a dataclass that is equal everywhere (`ssyncd.shared`)
Secrets         where the server is, and the token
errors          everything that is raised; `SsyncdError` is the base

`python -m ssyncd.examples.notes` and `python -m ssyncd.examples.tictactoe` show them at work. The map of the whole package is in
the README.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssyncd.bucket import Bucket, Change, Handle, Refusal, Secrets, start_syncing
    from ssyncd.errors import SsyncdError
    from ssyncd.shared import Shared

__version__ = "0.1.0"

__all__ = [
    "Bucket",
    "Change",
    "Handle",
    "Refusal",
    "Secrets",
    "Shared",
    "SsyncdError",
    "__version__",
    "start_syncing",
]

_HOMES = {"Shared": "ssyncd.shared", "SsyncdError": "ssyncd.errors"}


def __getattr__(name: str) -> Any:
    """What is in __all__, loaded when it is first used: the command line needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "ssyncd.bucket")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
