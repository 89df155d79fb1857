"""OSError to our errors, with the path it happened at."""

import errno
import os

from ssyncd.disk.base import Stat
from ssyncd.errors import ChangedError, DiskError, GoneError, NoSpaceError, UnreadableError

_KINDS: dict[int, type[DiskError]] = {
    errno.ENOENT: GoneError,
    errno.ENOTDIR: GoneError,
    # A link where a directory should be: openat2 refuses to go through it.
    errno.ELOOP: GoneError,
    errno.EEXIST: ChangedError,
    errno.ENOTEMPTY: ChangedError,
    errno.EISDIR: ChangedError,
    errno.ENOSPC: NoSpaceError,
    errno.EDQUOT: NoSpaceError,
    errno.ENAMETOOLONG: DiskError,
    errno.EINVAL: DiskError,
    errno.EILSEQ: DiskError,
    errno.EFBIG: DiskError,
}
UNFIT = {
    "mount": "another file system is mounted there, or it is a subvolume",
    "root": "a synced folder of its own",
    "other": "not a file, directory or link",
}
"""What cannot be an entry, by the kind of `Stat`."""
_WORDS = {
    errno.ELOOP: "a symbolic link is in the way",
    # openat2 says so of the first, rename of the second: mergerfs, or directories encrypted or limited by themselves.
    errno.EXDEV: "another file system is mounted there, or this one moves nothing there (see README, mergerfs)",
    errno.ENAMETOOLONG: "the name is too long for this disk",
    errno.EILSEQ: "this disk cannot hold such a name",
    # What FAT, exFAT, NTFS and SMB say to a name with a colon or a question mark.
    errno.EINVAL: "this disk does not take it: it may not be able to hold such a name",
    errno.EMFILE: "too many open files in this process (see `ulimit -n`)",
    errno.ENFILE: "too many open files on this machine",
    errno.EROFS: "the disk is read-only",
    # FUSE.
    errno.ENOTCONN: "the program that shows this disk has ended: mount it again",
}


def disk_error(error: OSError, path: str) -> DiskError:
    """What `error` means for the path. All that is not known to say "gone", "changed" or "full" is unreadable: never deleted."""
    number = error.errno or errno.EIO
    kind = _KINDS.get(number, UnreadableError)
    return kind(path, reason_of(error))


def reason_of(error: OSError) -> str:
    number = error.errno or errno.EIO
    return _WORDS.get(number) or os.strerror(number).lower()


def check_names(path: str) -> None:
    """DiskError for a path that is no chain of real names, or that leads to our own directory.

    The comparison is caseless, because on a disk that folds case another spelling would lead there too.
    """
    names = path.split("/")
    if not _NO_NAMES.isdisjoint(names) or "\0" in path or names[0].casefold() == OWN:
        raise DiskError(path.replace("\0", "\\0"), "not a path of this folder")


def check_utf8(path: str, text: str) -> None:
    """DiskError if the text of a link holds bytes that nobody can be told of."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DiskError(path, "what the link says is not UTF-8") from error


def is_own(path: str) -> bool:
    """Whether a path is our own directory, or in it."""
    return path == OWN or path.startswith(f"{OWN}/")


OWN = ".ssyncd"
_NO_NAMES = frozenset(("", ".", ".."))


def refuse_special(found: Stat, path: str) -> None:
    """What is no regular file is not opened: UnreadableError, or ChangedError if it is a directory or a link."""
    if found.kind == "other":
        raise UnreadableError(path, "not a regular file")
    if found.kind != "file":
        raise ChangedError(path, f"a {found.kind} where a file is expected")
