"""A server at another URL, a folder at another path: both are what they were."""

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import agree, stop, until

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
    stop(one)
    assert one.bucket in one.run("folders").stdout.split()
