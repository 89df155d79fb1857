"""`pull` and `sync`, with and without a daemon."""

import pytest

from ssyncd.errors import Exit
from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import agree, until


@pytest.mark.slow
def test_pull_brings_the_servers_state_keeps_local_edits_and_does_nothing_the_second_time(site: Site) -> None:
    one, other = site.pair()
    one.write("edited on both", b"\0 1")
    one.write("d/only there", "t")
    one.write("to be deleted", "x")
    one.start()
    pulled = other.run("pull", other.folder, "--name", other.bucket)
    assert pulled.returncode == 0, pulled.stderr
    assert other.picture() == one.picture()
    # Edits on both sides, and a deletion there. What happened a moment before `wait` may not have been noticed by then.
    sent = site.server.count(one.bucket) + 3
    one.write("edited on both", b"\0 of alpha")
    one.path("to be deleted").unlink()
    one.write("new", "n")
    until(lambda: site.server.count(one.bucket) >= sent, lambda: "all three are sent")
    count = site.server.count(one.bucket)
    other.write("edited on both", b"\0 of beta")
    other.write("never sent", "mine")
    assert other.run("pull", other.folder, "--name", other.bucket).returncode == 0
    shown = other.picture()
    [copy] = [path for path in shown if "(conflict " in path]
    assert shown[copy] == b"\0 of beta"
    assert shown["edited on both"] == b"\0 of alpha"
    assert shown["never sent"] == b"mine"
    assert shown["new"] == b"n"
    assert "to be deleted" not in shown
    assert site.server.count(one.bucket) == count, "a pull sends nothing"
    stamps = {path: other.path(path).lstat().st_ctime_ns for path in shown}
    assert other.run("pull", other.folder, "--name", other.bucket).returncode == 0
    assert other.picture() == shown
    assert {path: other.path(path).lstat().st_ctime_ns for path in shown} == stamps
    # What a pull kept back goes out with the first sync.
    assert other.run("sync", other.folder, "--name", other.bucket).returncode == 0
    assert agree(one, other) == shown


@pytest.mark.slow
def test_pull_and_sync_while_the_daemon_runs_on_the_folder(site: Site) -> None:
    one, other = site.pair()
    one.start()
    other.start()
    for command in ("pull", "sync"):
        one.write(command, command)
        one.wait()
        assert one.run("sync", one.folder).returncode == 0
        assert other.run(command, other.folder, "--name", other.bucket).returncode == 0
        assert other.holds(command, command)
    assert agree(one, other) == {"pull": b"pull", "sync": b"sync"}


@pytest.mark.slow
def test_sync_goes_both_ways_and_ends(site: Site) -> None:
    one, other = site.pair()
    for machine in (one, other, one, other):
        machine.write(f"of {machine.name}/f", machine.name)
        done = machine.run("sync", machine.folder, "--name", machine.bucket)
        assert done.returncode == 0, done.stderr
    assert one.run("sync", one.folder, "--name", one.bucket).returncode == 0
    assert one.picture() == other.picture()
    assert set(one.picture()) == {"of alpha/", "of alpha/f", "of beta/", "of beta/f"}


@pytest.mark.slow
def test_one_shots_end_when_the_server_is_not_there(site: Site) -> None:
    server = site.own_server()
    server.start()
    machine = site.machine("alpha")
    server.stop()
    for command in ("pull", "sync"):
        for more in ((), ("--timeout", "1")):
            done = machine.run(command, machine.folder, *more)
            assert done.returncode == Exit.UNREACHABLE, (command, more, done)
            assert done.stderr.count("Traceback") == 0
