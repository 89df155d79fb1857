"""A server at another URL, a folder at another path: both are what they were."""

import pytest

from ssyncd.errors import Exit
from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import agree, start, stop, until

FILES = {"edited": b"1", "deleted": b"2", "kept/inside": b"3", "there": b"4"}


def test_a_server_that_has_moved_goes_on_with_what_happened_meanwhile(site: Site) -> None:
    server = site.own_server()
    server.start()
    one, other = site.filled_pair(FILES)
    server.stop()
    other.write("edited", b"offline")
    other.path("deleted").unlink()
    one.write("there", b"too")
    server.data = server.data.rename(server.home / "elsewhere")
    server.url = ""
    server.start()
    for machine in (one, other):
        done = machine.run("login", server.url, "--user", "anna", "--password-stdin", input=server.password + "\n")
        assert done.returncode == 0, done.stderr
        until(lambda machine=machine: machine.status().server == server.url, "the daemon goes there")
    assert agree(one, other) == {"edited": b"offline", "kept/": "dir", "kept/inside": b"3", "there": b"too"}


def test_a_folder_that_was_moved_goes_on_with_what_happened_meanwhile(site: Site) -> None:
    one, other = site.filled_pair(FILES)
    one.stop()
    one.folder = one.folder.rename(one.home / "New name")
    one.write("edited", b"offline")
    one.path("deleted").unlink()
    other.write("there", b"too")
    one.running = one.launch("start", str(one.folder))
    one.wait()
    assert agree(one, other) == {"edited": b"offline", "kept/": "dir", "kept/inside": b"3", "there": b"too"}


def test_a_folder_that_is_removed_from_the_server_stays_on_machines_and_can_begin_anew(site: Site) -> None:
    if site.plain:
        pytest.skip("plain Simperium removes no buckets; network/test_login has what is said then")
    one, other = site.filled_pair(FILES)
    stop(other)
    remove = ("folders", "remove", one.bucket, "--yes")
    busy = one.run(*remove)
    assert (busy.returncode, busy.stderr) == (1, f"ssyncd: {one.bucket}: a machine syncs it now: end that first\n")
    stop(one)
    assert one.run(*remove).stdout == f"{one.bucket}: removed\n"
    assert one.run(*remove).returncode == Exit.USAGE
    assert one.bucket not in one.run("folders").stdout.split()
    one.write("new", b"5")
    other.write("other", b"6")
    start(one, other)
    assert agree(one, other) == {**FILES, "kept/": "dir", "new": b"5", "other": b"6"}
    assert one.bucket in one.run("folders").stdout.split()
