"""What a file gets from where it is put, compared with what the kernel gives to one that is made there."""

import errno
import os
import stat
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssyncd.disk.heritage import ACCESS, DEFAULT
from ssyncd.disk.real import RealDisk
from tests.disk.contract_disk import put, there

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NOBODY = 0xFFFFFFFF

Facts = tuple[int, int, int, bytes | None]


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


PRIVATE = acl((USER_OBJ, 7, NOBODY), (USER, 7, 12), (GROUP_OBJ, 5, NOBODY), (MASK, 7, NOBODY), (OTHER, 0, NOBODY))


def set_list(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            pytest.skip("no access control lists here")
        raise


def list_of(path: Path) -> bytes | None:
    with suppress(OSError):
        return os.getxattr(path, ACCESS)
    return None


def facts(path: Path) -> Facts:
    seen = path.stat()
    return stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, list_of(path)


def other_group() -> int:
    """One that a file of ours may be given to."""
    groups = {12} if os.getuid() == 0 else set(os.getgroups()) - {os.getgid()}
    if not groups:
        pytest.skip("there is no second group")
    return min(groups)


def test_a_replaced_file_keeps_its_owners_its_list_and_its_tags(disk: RealDisk, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    os.chown(file, 12 if os.getuid() == 0 else -1, other_group())
    set_list(
        file,
        ACCESS,
        acl((USER_OBJ, 6, NOBODY), (USER, 4, 12), (GROUP_OBJ, 0, NOBODY), (MASK, 4, NOBODY), (OTHER, 0, NOBODY)),
    )
    with suppress(OSError):
        os.setxattr(file, "user.tag", b"red")
    before, tags = facts(file), set(os.listxattr(file))
    put(disk, "file", b"new", there(disk, "file"))
    assert (file.read_bytes(), facts(file), set(os.listxattr(file))) == (b"new", before, tags)
    put(disk, "file", b"newer", there(disk, "file"), exec=True)
    assert facts(file) == (0o750, *before[1:3], list_of(file))


def test_what_gives_rights_to_a_content_does_not_stay_for_another(disk: RealDisk, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    capability = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
    try:
        os.setxattr(file, "security.capability", capability)
    except OSError:
        pytest.skip("no capabilities can be given here")
    put(disk, "file", b"new", there(disk, "file"))
    assert "security.capability" not in os.listxattr(file)


def test_a_new_file_belongs_to_the_group_of_a_directory_that_says_so(disk: RealDisk, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    os.chown(tmp_path / "shared", -1, other_group())
    (tmp_path / "shared").chmod(0o2775)
    (tmp_path / "shared/made").touch()
    put(disk, "shared/put", b"1")
    assert facts(tmp_path / "shared/put") == facts(tmp_path / "shared/made")


RIGHTS = st.integers(0, 7)


@st.composite
def lists(draw: st.DrawFn) -> bytes:
    named = [(USER, draw(RIGHTS), who) for who in sorted(draw(st.sets(st.integers(1, 99), max_size=3)))]
    groups = [(GROUP, draw(RIGHTS), who) for who in sorted(draw(st.sets(st.integers(1, 99), max_size=3)))]
    mask = [(MASK, draw(RIGHTS), NOBODY)] if named or groups or draw(st.booleans()) else []
    return acl(
        (USER_OBJ, draw(RIGHTS), NOBODY), *named, (GROUP_OBJ, draw(RIGHTS), NOBODY), *groups, *mask, (OTHER, draw(RIGHTS), NOBODY)
    )  # fmt: skip


@given(default=lists(), number=st.integers(0, 1 << 60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_new_file_gets_the_list_that_its_directory_has_for_it(
    disk: RealDisk, tmp_path: Path, default: bytes, number: int
) -> None:
    directory = tmp_path / f"d{number}"
    directory.mkdir(exist_ok=True)
    set_list(directory, DEFAULT, default)
    for name in ("made", "put", "tool"):
        (directory / name).unlink(missing_ok=True)
    (directory / "made").touch()
    put(disk, f"{directory.name}/put", b"1")
    assert facts(directory / "put") == facts(directory / "made")
    put(disk, f"{directory.name}/tool", b"1", exec=True)
    assert facts(directory / "tool")[0] & 0o111 == 0o100 | (facts(directory / "made")[0] & 0o444) >> 2


def test_what_the_folder_itself_gives_is_not_taken_to_where_it_is_not_so(tmp_path: Path) -> None:
    set_list(tmp_path, DEFAULT, PRIVATE)
    (tmp_path / "open").mkdir()
    os.removexattr(tmp_path / "open", DEFAULT)
    disk = RealDisk(tmp_path)
    for directory in (tmp_path, tmp_path / "open"):
        (directory / "made").touch()
        put(disk, str((directory / "put").relative_to(tmp_path)), b"1")
        assert facts(directory / "put") == facts(directory / "made")
    disk.close()
