import errno
import fcntl
import os
import threading

import pytest

from ssyncd import places
from ssyncd.errors import SsyncdError


def test_the_xdg_variables_move_everything(tmp_path, monkeypatch):
    for name in ("CONFIG_HOME", "STATE_HOME", "DATA_HOME", "RUNTIME_DIR"):
        monkeypatch.setenv(f"XDG_{name}", str(tmp_path / name))
    found = places.find()
    assert found.config == tmp_path / "CONFIG_HOME" / "ssyncd" / "config.toml"
    assert found.state == tmp_path / "STATE_HOME" / "ssyncd"
    assert found.data == tmp_path / "DATA_HOME" / "ssyncd" / "server"
    assert found.runtime == tmp_path / "RUNTIME_DIR" / "ssyncd"
    assert found.credentials.parent == found.state
    assert list(tmp_path.iterdir()) == []


def test_a_runtime_directory_that_others_can_read_still_isolates(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir(mode=0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert places.find().runtime == tmp_path / "run" / "ssyncd"


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_a_runtime_directory_that_is_none_falls_back(monkeypatch, value):
    monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    assert places.find().runtime.is_absolute()


def test_the_settings_file_can_be_chosen(tmp_path):
    assert places.find(tmp_path / "mine.toml").config == tmp_path / "mine.toml"


def test_a_private_directory_is_closed_to_others(tmp_path):
    open_one = tmp_path / "a" / "b"
    open_one.mkdir(parents=True, mode=0o755)
    assert places.private(open_one).stat().st_mode & 0o777 == 0o700
    assert places.private(tmp_path / "new" / "one").stat().st_mode & 0o777 == 0o700


def test_a_runtime_directory_that_cannot_be_looked_at_is_an_error_of_whoever_uses_it(monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/" + "x" * 300)
    with pytest.raises(SsyncdError, match="File name too long"):
        places.private(places.find().runtime)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SsyncdError, match="file"):
        places.private(tmp_path / "file")
    with pytest.raises(SsyncdError, match="below"):
        places.private(tmp_path / "file" / "below")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "f"
    places.write_private(file, b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SsyncdError, match="No space"):
        places.write_private(file, b"new")
    assert file.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["f"]


def test_one_at_a_time_holds_a_lock(tmp_path):
    inside, most = [], []

    def hold():
        with places.locked(tmp_path / "lock"):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_a_disk_that_cannot_lock_is_named(tmp_path, monkeypatch):
    """As NFS without its lock service."""

    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with (
        pytest.raises(SsyncdError, match="lock: cannot be locked: No locks available"),
        places.locked(tmp_path / "lock"),
    ):
        pass
