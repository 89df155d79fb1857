"""Names of entries: which may be, and what a conflict copy is called."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

OURS = ".ssyncd"
MAX_NAME = 255

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_DEVICE = 40
_CONFLICT = re.compile(r" \(conflict (\d{4}-\d{2}-\d{2} \d{2}-\d{2}-\d{2} )?[^/()]+\)")
_PACKED = re.compile(r"\.(gz|bz2|xz|zst|lz4|lzma|br|gpg|asc|age)", re.IGNORECASE)
_EXTENSION = re.compile(r"\.[^\s.()]{1,16}")
_UNFIT = re.compile(r"[^\w.+-]+")


def valid_name(name: str, top: bool = False) -> str | None:
    """Why this cannot be the name of an entry, or None if it can; `top`: directly in the folder.

    What the server sends is judged by this before it comes near a disk, what the disk shows before it is sent.
    """
    if name in ("", ".", ".."):
        return f"{name!r} is no name"
    if "/" in name or "\0" in name:
        return "a name with a slash or a NUL"
    if top and name.casefold() == OURS:
        return "the name is kept for ssyncd itself"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "the name is not UTF-8"
    return f"the name has {size} bytes, {MAX_NAME} are possible" if size > MAX_NAME else None


def moved_inside(paths: Iterable[str], old: str, new: str) -> list[tuple[str, str]]:
    """Of these paths those inside the directory `old`, which is at `new` now: each as it was, and as it is."""
    return [(path, new + path.removeprefix(old)) for path in paths if path.startswith(f"{old}/")]


def conflict_name(name: str, when: int | None, device: str, taken: Callable[[str], bool]) -> str:
    """The name of a conflict copy: `report (conflict 2026-11-22 14-03-05 laptop).txt`.

    `when` is in microseconds since 1970 and shown in UTC, so every machine finds the same name; it is left out where an entry has
    no time. A number follows the device while `taken` says that a name is in use. A conflict copy of a conflict copy does not
    grow longer: its mark is replaced.
    """
    plain = _CONFLICT.sub("", name) or name
    stem, extension = _split(plain)
    mark = f"(conflict {_moment(when)}{_device(device)}"
    number = 1
    while True:
        ending = f"{mark})" if number == 1 else f"{mark} {number})"
        found = _fit(stem, f" {ending}{extension}")
        if not taken(found):
            return found
        number += 1


def is_conflict_name(name: str) -> bool:
    """Whether this looks like a conflict copy's name."""
    return " (conflict " in name and _CONFLICT.search(name) is not None


def _split(name: str) -> tuple[str, str]:
    """Stem and extension, as a person sees them: `.tar.gz` is one, a dot file has none."""
    stem, extension = _cut_extension(name)
    if _PACKED.fullmatch(extension):
        inner, second = _cut_extension(stem)
        return inner, second + extension
    return stem, extension


def _cut_extension(name: str) -> tuple[str, str]:
    at = name.rfind(".")
    if at <= 0 or not name[:at].strip(".") or not _EXTENSION.fullmatch(name[at:]):
        return name, ""
    return name[:at], name[at:]


def _moment(when: int | None) -> str:
    if when is None:
        return ""
    try:
        moment = _EPOCH + timedelta(microseconds=when)
    except OverflowError:
        moment = _EPOCH
    # strftime does not pad years before 1000 everywhere.
    return f"{moment.year:04}-{moment:%m-%d %H-%M-%S} "


def _device(device: str) -> str:
    clean = _UNFIT.sub("-", device).strip("-.")
    return shorten(clean, _MAX_DEVICE) or "unknown"


def _fit(stem: str, ending: str) -> str:
    return shorten(stem, MAX_NAME - len(ending.encode(errors="surrogateescape"))).rstrip() + ending


def shorten(text: str, size: int) -> str:
    """The longest beginning of at most `size` UTF-8 bytes that ends on a whole character."""
    raw = text.encode(errors="surrogateescape")
    if len(raw) <= size:
        return text
    return raw[:size].decode(errors="ignore")
