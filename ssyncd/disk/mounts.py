"""Where file systems are mounted, as the kernel tells it: proc_pid_mountinfo(5)."""

import os
import re
from pathlib import Path

MOUNTS = "/proc/self/mountinfo"
_POINT = 4
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def mounted_in(directory: str) -> frozenset[str]:
    """The places in a directory, as paths relative to it, where other file systems are mounted."""
    try:
        lines = Path(MOUNTS).read_bytes().splitlines()
        above = os.fsencode(os.path.realpath(directory)).rstrip(b"/") + b"/"
    except OSError:
        return frozenset()
    points = (_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), line.split()[_POINT]) for line in lines)
    return frozenset(os.fsdecode(point[len(above) :]) for point in points if point.startswith(above))
