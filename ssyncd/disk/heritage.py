"""What a file gets from where it is put: all but its content from the file it replaces, or what its directory gives to new ones.

It is made in the stage, where neither is so. See acl(5) for access control lists, inode(7) for the set-group-ID bit.
"""

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from ssyncd.disk.system import OPEN_FILES

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
# linux/posix_acl.h: ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_MASK and ACL_OTHER.
_OWNER, _GROUP, _MASK, _OTHER = 0x01, 0x04, 0x10, 0x20
_STAYS = -1


class Heritage(NamedTuple):
    """Permission bits; user and group, -1 for those it has; and extended attributes by name."""

    mode: int
    user: int = _STAYS
    group: int = _STAYS
    attributes: tuple[tuple[str, bytes], ...] = ()


def of_file(directory: int, name: str) -> Heritage:
    """Neither setuid nor the like, nor attributes that give rights to its content (capabilities)."""
    seen = os.lstat(name, dir_fd=directory)
    return Heritage(seen.st_mode & 0o777, seen.st_uid, seen.st_gid, tuple(_attributes(_path(directory, name))))


def of_directory(directory: int, mode: int) -> Heritage:
    """`mode`: of a new file where no list says it."""
    seen = os.fstat(directory)
    group = seen.st_gid if seen.st_mode & stat.S_ISGID else _STAYS
    try:
        default = os.getxattr(_path(directory), DEFAULT)
    except OSError:
        return Heritage(mode, group=group)
    mode, access = _inherited(default)
    return Heritage(mode, group=group, attributes=((ACCESS, access),))


def give(heritage: Heritage, directory: int, name: str, user: int, group: int) -> None:
    """To a file that belongs to `user` and `group`, as far as the system lets us; its mode is not changed but by a list."""
    # A group that we are not in, or another user's file: only root can.
    with suppress(OSError):
        if heritage.group not in (_STAYS, group):
            os.chown(name, _STAYS, heritage.group, dir_fd=directory, follow_symlinks=False)
        if heritage.user not in (_STAYS, user):
            os.chown(name, heritage.user, _STAYS, dir_fd=directory, follow_symlinks=False)
    for attribute, value in heritage.attributes:
        with suppress(OSError):
            os.setxattr(_path(directory, name), attribute, value, follow_symlinks=False)


def _attributes(path: str) -> Iterator[tuple[str, bytes]]:
    with suppress(OSError):
        for name in os.listxattr(path, follow_symlinks=False):
            if name == ACCESS or name.startswith("user."):
                yield name, os.getxattr(path, name, follow_symlinks=False)


def _path(directory: int, name: str = ".") -> str:
    """These calls know no open directories."""
    return f"{OPEN_FILES}/{directory}/{name}"


def _inherited(default: bytes) -> tuple[int, bytes]:
    """The mode and the list of a file that nobody may execute, in a directory with this default list."""
    entries = list(_ENTRY.iter_unpack(default[_HEADER.size :]))
    masked = any(tag == _MASK for tag, _, _ in entries)
    bound = {_OWNER, _OTHER, _MASK if masked else _GROUP}
    entries = [(tag, rights & 6 if tag in bound else rights, who) for tag, rights, who in entries]
    found = {tag: rights for tag, rights, _ in entries}
    mode = found[_OWNER] << 6 | found[_MASK if masked else _GROUP] << 3 | found[_OTHER]
    return mode, default[: _HEADER.size] + b"".join(_ENTRY.pack(*entry) for entry in entries)
