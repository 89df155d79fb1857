"""A server of one's own, signing in, what the commands answer, and every exit code that a program may rely on."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ssyncd.errors import Exit
from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import COMMAND, Machine, agree, start, until


@pytest.mark.slow
def test_two_machines_sign_in_with_the_password_and_sync(site: Site) -> None:
    server = site.server
    one, other = site.bare_machine("alpha"), site.bare_machine("beta")
    for machine in (one, other):
        wrong = machine.run("login", server.url, "--user", "anna", "--password-stdin", input="wrong\n")
        assert wrong.returncode == Exit.SIGN_IN
        done = machine.run("login", server.url, "--user", "anna", "--password-stdin", input=server.password + "\n")
        assert done.returncode == 0, done.stderr
        machine.write(f"of {machine.name}", machine.name)
    start(one, other)
    assert agree(one, other) == {"of alpha": b"alpha", "of beta": b"beta"}
    folders = json.loads(one.run("folders", "--json").stdout)["folders"]
    assert {"name": one.bucket, "here": [str(one.folder)]} in folders
    assert f"{one.bucket}.chunks" not in {folder["name"] for folder in folders}


@pytest.mark.slow
def test_a_machine_whose_access_is_taken_away_ends_and_says_why(site: Site) -> None:
    if site.plain:
        pytest.skip("plain Simperium has no list of devices; test_hosted.py has what is said then")
    server = site.server
    one, other = site.bare_machine("alpha"), site.bare_machine("beta")
    for machine in (one, other):
        done = machine.run("login", server.url, "--user", "anna", "--password-stdin", input=server.password + "\n")
        assert done.returncode == 0, done.stderr
    start(one, other)
    devices = json.loads(one.run("devices", "--json").stdout)["devices"]
    assert {"alpha", "beta"} <= {device["name"] for device in devices}
    assert one.run("devices", "revoke", "beta").returncode == 0
    assert other.ended() == Exit.SIGN_IN
    assert one.run("logout").returncode == 0
    assert one.ended() == Exit.SIGN_IN


@pytest.mark.slow
def test_users_are_added_listed_and_removed_while_the_server_runs(site: Site) -> None:
    server = site.server
    data = ("--data", str(server.data))
    assert server.run("user", "add", "berta", "--password-stdin", *data, input="pw\n").returncode == 0
    assert server.run("user", "add", "berta", "--password-stdin", *data, input="pw\n").returncode != 0
    assert server.run("user", "passwd", "berta", "--password-stdin", *data, input="other\n").returncode == 0
    listed = server.run("user", "list", *data).stdout.split()
    assert {"anna", "berta"} <= set(listed)
    machine = site.bare_machine("alpha")
    signed = machine.run("login", server.url, "--user", "berta", "--password-stdin", input="other\n")
    assert signed.returncode == 0, signed.stderr
    machine.write("small", b"s" * 1000)
    machine.write("large", os.urandom(100_000))
    assert machine.run("sync", machine.folder).returncode == 0
    used = {
        one["name"]: one["size"] for one in json.loads(server.run("user", "usage", "--json", *data).stdout)["users"]
    }
    assert used.keys() == set(listed)
    assert 100_000 < used["berta"] < 150_000
    assert server.run("user", "usage", *data).stdout.splitlines()[0].split() == ["NAME", "SIZE"]
    assert server.run("user", "remove", "berta", "--yes", *data).returncode == 0
    assert "berta" not in server.run("user", "list", *data).stdout.split()
    refused = machine.run("sync", machine.folder)
    assert refused.returncode == Exit.SIGN_IN, refused


@pytest.mark.slow
def test_status_and_wait_tell_programs_how_it_is(site: Site) -> None:
    machine = site.machine("alpha")
    for words in (("status",), ("status", "--json"), ("wait",), ("pause",), ("stop",)):
        assert machine.run(*words).returncode == Exit.NOT_RUNNING
    machine.write("f", "1234")
    machine.start()
    [daemon] = json.loads(machine.run("status", "--json").stdout)["daemons"]
    [folder] = daemon["folders"]
    assert (folder["phase"], folder["entries"], folder["size"], folder["path"]) == (
        "in sync",
        1,
        4,
        str(machine.folder),
    )
    assert "in sync" in machine.run("status").stdout
    assert machine.run("wait", machine.folder, "--timeout", "20").returncode == 0
    assert machine.run("wait", "/nowhere", "--timeout", "1").returncode == Exit.NOT_RUNNING
    machine.run("pause")
    machine.write("paused", "p")
    assert machine.phase("paused")
    assert machine.run("wait", "--timeout", "0.2").returncode == Exit.NOT_IN_SYNC
    assert machine.run("resume").returncode == 0
    assert machine.run("wait", "--timeout", "20").returncode == 0
    assert machine.run("verify").returncode == 0
    history = json.loads(machine.run("history", machine.path("f"), "--json").stdout)
    assert [row["version"] for row in history["folders"][0]["versions"]] == [1]


@pytest.mark.slow
def test_an_earlier_version_comes_back(site: Site) -> None:
    one, other = site.pair()
    start(one, other)
    one.write("f", "first")
    agree(one, other)
    other.write("f", "second")
    agree(one, other)
    assert one.run("restore", one.path("f"), "--version", version_of(one, "f", 5)).returncode == 0
    assert agree(one, other) == {"f": b"first"}
    # What nobody has but this file is not replaced.
    one.run("pause")
    one.write("f", "just now")
    assert one.run("restore", one.path("f"), "--version", version_of(one, "f", 6)).returncode == Exit.FAILED
    assert one.read("f") == b"just now"
    one.run("resume")
    assert agree(one, other) == {"f": b"just now"}
    one.path("f").unlink()
    assert agree(one, other) == {}
    assert one.run("restore", one.path("f"), "--version", version_of(one, "f", 6)).returncode == 0
    assert agree(one, other) == {"f": b"second"}


@pytest.mark.slow
def test_what_was_deleted_comes_back(site: Site) -> None:
    one, other = site.pair()
    large = random.Random(5).randbytes(3_000_000)
    one.write("kept/large", large)
    one.write("kept/sub/small", "first")
    one.write("kept/sub/tool", "#!", exec=True)
    one.path("kept/link").symlink_to("sub/small")
    one.path("kept/empty").mkdir()
    os.utime(one.path("kept/large"), (10**9, 10**9))
    start(one, other)
    before = agree(one, other)
    one.write("kept/sub/small", "second")
    agree(one, other)
    shutil.rmtree(other.path("kept"))
    assert agree(one, other) == {}
    told = json.loads(one.run("deleted", "--json").stdout)["folders"][0]["deletions"]
    assert {row["path"] for row in told} == {path.rstrip("*") for path in before}
    assert (
        one.run("restore", one.path("kept/sub/small"), "--version", version_of(one, "kept/sub/small", 5)).returncode
        == 0
    )
    assert one.run("restore", one.path("kept")).returncode == 0
    assert agree(one, other) == before
    assert one.path("kept/large").stat().st_mtime == other.path("kept/large").stat().st_mtime == 10**9
    assert "no deletions" in one.run("deleted").stdout
    assert one.run("restore", one.path("kept"), "--dry-run").returncode == Exit.USAGE
    # What has come to its place meanwhile is not replaced.
    other.path("kept/sub/tool").unlink()
    agree(one, other)
    one.path("kept/sub/tool").mkdir()
    agree(one, other)
    assert one.run("restore", one.path("kept/sub/tool")).returncode == Exit.USAGE


@pytest.mark.slow
def test_the_server_forgets_what_is_not_there_any_more(site: Site) -> None:
    one, other = site.pair()
    for path in ("d/edited", "d/deleted", "d/again", "d/secret", "e/edited"):
        one.write(path, "first")
    start(one, other)
    agree(one, other)
    other.write("d/edited", "second")
    other.write("e/edited", "second")
    other.path("d/deleted").unlink()
    other.path("d/again").unlink()
    agree(one, other)
    other.write("d/again", "second")
    before = agree(one, other)
    if site.plain:
        assert one.run("forget", one.path("d"), "--yes").returncode == Exit.USAGE
        return
    other.stop()
    one.write("e/edited", "third of one")
    one.write("d/edited", "third of one")
    one.path("d/secret").unlink()
    one.wait()
    assert one.run("forget", one.path("d"), input="n\n").returncode != Exit.OK
    assert one.run("deleted", one.path("d"), "--json").stdout.count('"deleted":') == 2
    done = one.run("forget", one.path("d"), "--yes", "--json")
    assert done.returncode == Exit.OK
    assert json.loads(done.stdout)["folders"][0]["forgotten"] >= 3
    assert "no deletions" in one.run("deleted", one.folder).stdout
    assert len(versions_of(one, "d/edited")) == 1
    assert len(versions_of(one, "e/edited")) > 1
    # Who was away meanwhile brings back nothing; what was edited there in what is forgotten is an edit like any other.
    other.write("d/edited", "third of other")
    other.path("d/again").unlink()
    other.start()
    after = agree(one, other)
    assert set(before) - set(after) == {"d/again", "d/secret"}
    assert after["e/edited"] == b"third of one"
    conflict = {path: what for path, what in after.items() if path.startswith("d/edited")}
    assert sorted(conflict.values()) == [b"third of one", b"third of other"]


@pytest.mark.slow
def test_a_directory_comes_back_as_it_was_at_a_time(site: Site) -> None:
    one, other = site.pair(settings="hold_least = 1000\n")
    one.write("docs/a", "first")
    one.write("docs/large", random.Random(5).randbytes(3_000_000))
    one.write("docs/tool", "#!", exec=True)
    one.write("docs/sub/deep", "deep")
    one.path("docs/link").symlink_to("a")
    one.write("docs/kept", "kept")
    one.write("old/x", "x")
    start(one, other)
    before, then = agree(one, other), int(time.time())
    until(lambda: time.time() >= then + 1, "a second later")
    for path in ("docs/a", "docs/large", "docs/tool"):
        other.write(path, f"spoiled {path}")
    other.path("docs/large").rename(other.path("docs/large.locked"))
    other.path("docs/tool").chmod(0o644)
    shutil.rmtree(other.path("docs/sub"))
    other.path("docs/link").unlink()
    other.path("docs/link").symlink_to("nowhere")
    other.write("docs/new", "new")
    other.path("old").rename(other.path("renamed"))
    after = agree(one, other)
    rest = {path: what for path, what in after.items() if path != "docs/tool"}  # that it runs is in its name there

    def restore(*words: str | Path) -> tuple[int, dict[str, Any]]:
        done = one.run("restore", *words, "--at", datetime.fromtimestamp(then).isoformat(), "--json")
        return done.returncode, json.loads(done.stdout)["folders"][0] if done.stdout else {}

    if site.plain:
        assert restore(one.path("docs"))[0] == Exit.USAGE
        return
    one.run("pause")
    one.write("docs/kept", "edited just now")
    assert restore(one.path("docs"))[0] == Exit.USAGE
    one.write("docs/kept", "kept")
    one.run("resume")
    assert agree(one, other) == after
    paths = ["docs/a", "docs/large", "docs/link", "docs/sub", "docs/sub/deep", "docs/tool"]
    assert restore(one.path("docs"), "--dry-run")[1]["differences"] == paths
    assert agree(one, other) == after
    code, told = restore(one.path("docs"))
    assert (code, told["restored"]) == (Exit.OK, 6)
    inside = {path: what for path, what in before.items() if path.startswith("docs")}
    assert agree(one, other) == rest | inside
    assert "docs/large.locked" in after
    # The whole folder; and what is as it was is left alone.
    code, told = restore(one.folder)
    assert (code, told["restored"]) == (Exit.OK, 2)
    assert agree(one, other) == rest | before
    assert restore(one.folder)[1]["restored"] == 0
    # What is of another kind now is not replaced.
    shutil.rmtree(other.path("docs/sub"))
    other.write("docs/sub", "a file")
    agree(one, other)
    code, told = restore(one.path("docs"))
    assert code == Exit.FAILED
    assert any("docs/sub" in line for line in told["failed"])
    assert one.read("docs/sub") == b"a file"
    assert restore(one.path("nothing"))[0] == Exit.USAGE


def version_of(machine: Machine, path: str, size: int) -> str:
    """The version that has this many bytes. What a program had just cut to nothing may be a version of its own."""
    return next(str(row["version"]) for row in versions_of(machine, path) if row.get("size") == size)


def versions_of(machine: Machine, path: str) -> list[dict[str, Any]]:
    history = json.loads(machine.run("history", machine.path(path), "--json").stdout)
    rows: list[dict[str, Any]] = history["folders"][0]["versions"]
    return rows


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("hold_shar = 0.5\n", "hold_shar"),
        ("[server]\nuri = 'x'\n", "server.uri"),
        ("workers = 'two'\n", "workers"),
        ("hold_share = 7\n", "hold_share"),
        ("[[folder]]\nname = 'x'\n", "folder.path"),
        ("device = \n", "config.toml"),
    ],
)
def test_a_wrong_setting_is_named(site: Site, text: str, named: str) -> None:
    machine = site.bare_machine("alpha")
    machine.config.write_text(text)
    refused = machine.run("sync")
    assert refused.returncode == Exit.USAGE
    assert named in refused.stderr
    assert str(machine.config) in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.slow
def test_another_settings_file_and_all_its_folders(site: Site) -> None:
    machine = site.machine("alpha")
    second = machine.home / "Second"
    second.mkdir()
    machine.write("one", "1")
    (second / "two").write_text("2")
    other = machine.home / "other.toml"
    other.write_text(
        f'device = "zeta"\n[[folder]]\npath = "{machine.folder}"\nname = "{machine.bucket}"\n'
        f'[[folder]]\npath = "{second}"\nname = "{machine.bucket}-2"\n'
    )
    machine.running = machine.launch("--config", str(other), "start")
    machine.wait()
    assert machine.run("wait", second, "--timeout", "20").returncode == 0
    assert machine.run("wait", machine.bucket + "-2", "--timeout", "20").returncode == 0
    [version] = site.server.versions(machine.bucket + "-2")
    assert (version.data["name"], version.data["content"]["by"]) == ("two", "zeta")


@pytest.mark.slow
def test_a_second_daemon_on_one_folder_is_refused_and_a_stale_lock_is_not(site: Site) -> None:
    one, other = site.pair()
    one.start()
    # Another user of this machine, so to say: it does not find the first by its control socket.
    other.folder.rmdir()
    other.folder = one.folder
    refused = other.run("start", one.folder, "--name", one.bucket)
    assert refused.returncode == Exit.BUSY
    assert f"pid {one.running.pid if one.running else 0}" in refused.stderr
    assert other.run("sync", one.folder, "--name", one.bucket).returncode == Exit.BUSY
    one.write("still", "works")
    one.wait()
    one.kill()
    one.start()
    assert one.holds("still", "works")
    nested = one.path("inside")
    nested.mkdir()
    assert other.run("sync", nested, "--name", "nested").returncode != 0


@pytest.mark.slow
def test_words_that_make_no_sense_are_told_in_one_line(site: Site) -> None:
    machine = site.bare_machine("alpha")
    for words in (
        ("start", "--nam", "x"),
        ("strat",),
        ("sync",),
        ("login", "ftp://x", "--user", "u", "--password-stdin"),
        ("serve", "--listen", "nonsense"),
        ("serve", "--tls-cert", "x"),
    ):
        refused = machine.run(*words, input="pw\n")
        assert refused.returncode == Exit.USAGE, (words, refused)
        assert refused.stderr.count("\n") == 1, refused.stderr
    file = machine.home / "a file"
    file.write_text("x")
    refused = machine.run("pull", file / "below")
    assert refused.returncode != 0
    assert refused.stderr.count("Traceback") == 0


@pytest.mark.slow
def test_one_folder_by_another_path_and_one_inside_another_are_refused_with_the_reason(site: Site) -> None:
    machine = site.machine("alpha")
    machine.write("inside/f", "1")
    machine.start()
    link = machine.home / "link"
    link.symlink_to(machine.folder)
    same = machine.run("start", link, "--name", "other")
    assert (same.returncode, "another ssyncd has this folder" in same.stderr) == (Exit.BUSY, True), same.stderr
    inside = machine.run("start", machine.path("inside"), "--name", "inside")
    assert inside.returncode == Exit.FAILED
    assert f"is inside {machine.folder}, which is synced as a folder of its own" in inside.stderr
    # By a bind mount too, where no path tells.
    other = machine.home / "other"
    other.mkdir()
    if subprocess.run(["mount", "--bind", machine.folder, other], capture_output=True, check=False).returncode == 0:
        try:
            bound = machine.run("start", other, "--name", "other")
        finally:
            subprocess.run(["umount", other], check=True)
        assert (bound.returncode, "another ssyncd has this folder" in bound.stderr) == (Exit.BUSY, True), bound.stderr
    machine.wait()


@pytest.mark.slow
def test_ctrl_c_ends_a_daemon_in_order(site: Site) -> None:
    machine = site.machine("alpha")
    machine.start()
    assert machine.stop(signal.SIGINT) == 0
    assert not list((machine.home / "run" / "ssyncd").glob("*.sock"))


@pytest.mark.slow
def test_progress_is_shown_on_a_terminal(site: Site) -> None:
    machine = site.machine("alpha")
    machine.write("f", os.urandom(2_000_000))
    master, slave = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, "sync", str(machine.folder), "--name", machine.bucket],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**machine.environment, "TERM": "xterm"},
        cwd=machine.home,
    )
    os.close(slave)
    shown = _read_all(master)
    assert process.wait(30) == 0
    assert b"Traceback" not in shown


def _read_all(terminal: int) -> bytes:
    """Until the last program on it has ended."""
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # EIO: nobody has the other end any more
            piece = b""
        if not piece:
            os.close(terminal)
            return shown
        shown += piece


@pytest.mark.slow
def test_a_server_with_a_taken_port_or_taken_data_says_so(site: Site) -> None:
    machine = site.bare_machine("alpha")
    address = site.server.url.removeprefix("http://").rstrip("/")
    refused = machine.run("serve", "--listen", address, "--data", machine.home / "mine")
    assert refused.returncode == Exit.BUSY, refused
    assert refused.stderr.count("\n") == 1, refused.stderr
    busy = machine.run("serve", "--listen", "127.0.0.1:0", "--data", site.server.data)
    assert busy.returncode == Exit.BUSY, busy
