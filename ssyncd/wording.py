"""Numbers and names as people read them."""

import time

_UNITS = ("B", "KB", "MB", "GB", "TB")


def shown(text: str) -> str:
    """A text that a terminal can take: a file name may hold control characters or bytes that are no UTF-8."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def size(count: float) -> str:
    """Bytes, in units of 1000."""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"


def many(count: int, one: str, more: str = "") -> str:
    """ "1 entry", "2,000 entries"."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def duration(seconds: float) -> str:
    """ "40 s", "16 min", "2.5 h", "3 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"


def moment(seconds: float) -> str:
    """Local time of seconds since the epoch; "never" for 0."""
    if not seconds:
        return "never"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "unknown"
