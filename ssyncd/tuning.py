"""How this process uses its memory, and how many files it may have open."""

import contextlib
import ctypes
import gc
import resource
from collections.abc import Callable, Iterator

# New objects before the youngest are looked through for cycles, and how often that happens before older ones are.
COLLECT_AFTER = (50_000, 20, 50)
# Bytes. Pieces up to the first (a window that a file is cut in, with what was left of the one before) are taken from memory that
# the process has; of that, so much may lie idle.
OF_OUR_OWN = 6 * 1024 * 1024
IDLE = 16 * 1024 * 1024
# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Look for cycles seldom: hardly anything here makes any, and looking at all objects took a fifth of the server's time, and a
    tenth of the daemon's."""
    before = gc.get_threshold()
    # What was there at the start stays: it is not looked at again.
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def keep_memory() -> bool:
    """Keep the memory of buffers for the next ones. By itself glibc gets each from the kernel, zeroed, and gives it back.

    For the rest of the life of the process; False where the C library has nothing of the kind.
    """
    mallopt = _of_glibc("mallopt")
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, OF_OUR_OWN) and mallopt(_TRIM_THRESHOLD, IDLE))


def give_memory_back() -> bool:
    """Memory that is not used goes back to the system, which glibc seldom does by itself; False for another C library."""
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)
    return trim is not None


def open_many_files() -> None:
    """As many as this process may. What it is given at first, 1,024 as a rule, is for programs that use select(2): fifty folders
    need as many, or a thousand clients of a server."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # More than the system can count to now was allowed once.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _of_glibc(name: str) -> Callable[..., int] | None:
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
    return function
