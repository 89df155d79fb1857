import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from ssyncd.config import FolderConfig
from ssyncd.disk.root import Root
from ssyncd.errors import BusyError, ConfigError, RootError, SignInError, UsageError
from ssyncd.folder import Direction
from ssyncd.folder.record import Record
from ssyncd.folder.states import State, identify
from ssyncd.installation import Installation
from ssyncd.network.login import Account
from ssyncd.places import Places

ANNA = Account("https://s.example", "ssyncd", "anna", "u1", "t1")


@pytest.fixture
def installation(tmp_path):
    return Installation(
        Places(tmp_path / "config.toml", tmp_path / "state", tmp_path / "data", tmp_path / "run"),
    )


def configure(installation, text):
    installation.places.config.write_text(text)


def test_the_latest_sign_in_is_used_unless_the_settings_name_a_server(installation):
    assert installation.server_url() == ""
    installation.keep(ANNA)
    assert installation.server_url() == "https://s.example"
    assert installation.account("https://s.example/") == ANNA
    configure(installation, '[server]\nurl = "https://other.example"')
    installation.reload()
    assert installation.server_url() == "https://other.example"
    with pytest.raises(SignInError, match=r"https://other\.example: this machine is not signed in there"):
        installation.account(installation.server_url())


def test_a_saved_account_that_lacks_something_asks_for_a_new_sign_in(installation):
    installation.credentials.put("https://s.example", {"url": "https://s.example", "token": "t", "more": 1})
    with pytest.raises(SignInError, match="incomplete"):
        installation.account("https://s.example")


def test_the_websocket_is_where_the_settings_say_else_where_it_was_at_the_sign_in(installation):
    installation.keep(replace(ANNA, websocket_url="wss://old.example"))
    assert installation.account(ANNA.url).socket == "wss://old.example"
    configure(installation, '[server]\nwebsocket_url = "wss://new.example"')
    installation.reload()
    assert installation.account(ANNA.url).socket == "wss://new.example"


def test_wrong_settings_at_a_reload_leave_the_old_ones(installation):
    configure(installation, 'device = "one"')
    assert installation.config.device == "one"
    configure(installation, "device = 1")
    with pytest.raises(ConfigError):
        installation.reload()
    assert installation.config.device == "one"


def test_a_folder_of_the_command_line_takes_what_the_settings_say_of_it(installation, tmp_path):
    configure(installation, f'[[folder]]\npath = "{tmp_path}/a"\nname = "A"\nignore = ["*.o"]')
    assert installation.chosen(tmp_path / "a", None) == [FolderConfig(tmp_path / "a", "A", ("*.o",))]
    assert installation.chosen(tmp_path / "a", "B") == [FolderConfig(tmp_path / "a", "B", ("*.o",))]
    assert installation.chosen(tmp_path / "c", None) == [FolderConfig(tmp_path / "c")]
    assert installation.chosen(None, None) == [FolderConfig(tmp_path / "a", "A", ("*.o",))]


def test_every_setting_reaches_the_folder(installation, tmp_path):
    configure(
        installation,
        'device = "d"\ntext_merge = false\nhold_share = 0.1\nhold_least = 5\nworkers = 7\n[server]\nca_file = "ca.pem"\n'
        "object_limit = 200000",
    )
    wanted = installation.wanted(FolderConfig(tmp_path / "Sync", "", ("x",)), ANNA, pull=True)
    settings = wanted.settings
    assert (settings.name, settings.path, wanted.account) == ("Sync", tmp_path / "Sync", ANNA)
    assert settings.direction is Direction.PULL
    assert (settings.device, settings.text_merge, settings.hold_share, settings.hold_least) == ("d", False, 0.1, 5)
    assert (settings.workers, settings.ca_file, settings.ignore) == (7, tmp_path / "ca.pem", ("x",))
    assert settings.object_limit == 200_000
    assert not (tmp_path / "Sync").exists()


def test_what_is_known_of_one_account_is_not_mixed_with_another(installation, tmp_path):
    folder = FolderConfig(tmp_path / "Sync")

    def state(account=ANNA, of=folder):
        return installation.wanted(of, account).settings.state

    others = [
        state(replace(ANNA, url="https://other.example")),
        state(replace(ANNA, user_id="u2")),
        state(of=FolderConfig(tmp_path / "Sync", "Other")),
        state(of=FolderConfig(tmp_path / "Sync2", "Sync")),
    ]
    assert len({state(), *others}) == 5
    assert state() == state(replace(ANNA, token="new", user="renamed"))


def test_a_server_that_has_moved_is_known_by_the_user_s_id(installation, tmp_path):
    here = replace(ANNA, user_id="0123456789abcdef" * 2)
    there = replace(here, url="https://other.example")
    assert len({installation.wanted(FolderConfig(tmp_path), one).settings.state for one in (here, there)}) == 1


def test_a_strange_name_makes_a_plain_directory(installation, tmp_path):
    state = installation.wanted(FolderConfig(tmp_path / "x", "../a/b\n" + "ä" * 200), ANNA).settings.state
    assert state.parent == tmp_path / "state" / "folders"
    assert len(state.name) < 80


def test_a_folder_without_a_name_is_refused(installation):
    with pytest.raises(UsageError, match="--name"):
        installation.wanted(FolderConfig(Path("/")), ANNA)


def test_a_new_folder_is_made_and_a_missing_one_is_not(installation, tmp_path):
    first = installation.wanted(FolderConfig(tmp_path / "a" / "Sync"), ANNA)
    installation.make_ready(first)
    assert first.path.is_dir()
    first.path.rmdir()
    first.settings.state.mkdir(parents=True)
    installation.make_ready(first)
    assert not first.path.exists()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("file/Sync", "file/Sync: cannot be used"),
        ("file", "file: this is no directory"),
        ("x" * 300, "cannot be used: File name too long"),
    ],
)
def test_a_folder_that_cannot_be_made_is_named(installation, tmp_path, path, words):
    (tmp_path / "file").touch()
    with pytest.raises(RootError, match=words):
        installation.make_ready(installation.wanted(FolderConfig(tmp_path / path), ANNA))


# A folder that was moved.


class Kept:
    """What is remembered of a folder of this path and name, as if it had been synced."""

    def __init__(self, installation, path, name=""):
        self.wanted = installation.wanted(FolderConfig(path, name), ANNA)
        installation.make_ready(self.wanted)
        root = Root(str(path))
        root.close()
        self.identity = root.identity
        self.state = State(self.wanted.settings.state, path)
        begin(self.state, self.identity, self.wanted)

    def close(self):
        self.state.close()
        return self


def begin(state, identity, wanted):
    record = Record(state.database)
    identify(record, identity, wanted.settings)
    record.commit()


def go_on(installation, path, name=""):
    """Which folder a start at this path goes on with, and whether anything is remembered of it."""
    wanted = installation.wanted(FolderConfig(path, name), ANNA)
    installation.make_ready(wanted)
    return wanted.name, wanted.settings.state.exists()


@pytest.mark.parametrize("name", ["", "Sync"])
def test_what_is_remembered_follows_a_folder_that_is_moved(installation, tmp_path, name):
    Kept(installation, tmp_path / "Sync").close()
    (tmp_path / "Sync").rename(tmp_path / "Other")
    for _ in range(2):  # the second time as if the first had not reached its server
        assert go_on(installation, tmp_path / "Other", name) == ("Sync", True)
    assert len(list((tmp_path / "state" / "folders").iterdir())) == 1


def test_a_folder_started_without_the_name_it_was_given_is_still_that_one(installation, tmp_path):
    Kept(installation, tmp_path / "Sync", "Given").close()
    assert go_on(installation, tmp_path / "Sync") == ("Given", True)
    assert go_on(installation, tmp_path / "Sync", "New") == ("New", False)


def test_a_copy_is_a_folder_of_its_own(installation, tmp_path):
    Kept(installation, tmp_path / "Sync").close()
    shutil.copytree(tmp_path / "Sync", tmp_path / "Copy")
    assert go_on(installation, tmp_path / "Copy") == ("Copy", False)
    assert go_on(installation, tmp_path / "Sync") == ("Sync", True)


def test_two_folders_that_changed_places_are_still_the_same(installation, tmp_path):
    Kept(installation, tmp_path / "A").close()
    Kept(installation, tmp_path / "B").close()
    (tmp_path / "A").rename(tmp_path / "tmp")
    (tmp_path / "B").rename(tmp_path / "A")
    (tmp_path / "tmp").rename(tmp_path / "B")
    assert go_on(installation, tmp_path / "A") == ("B", True)
    assert go_on(installation, tmp_path / "B") == ("A", True)


def test_what_another_folder_left_where_one_comes_back_to_is_put_aside(installation, tmp_path):
    first = Kept(installation, tmp_path / "Sync").close()
    (tmp_path / "Sync").rename(tmp_path / "Other")
    assert go_on(installation, tmp_path / "Other") == ("Sync", True)
    there = installation.wanted(FolderConfig(tmp_path / "Other"), ANNA)
    with closing(State(there.settings.state, there.path)) as state:
        begin(state, first.identity, there)
    second = Kept(installation, tmp_path / "Sync").close()
    shutil.rmtree(second.wanted.path)
    (tmp_path / "Other").rename(tmp_path / "Sync")
    assert go_on(installation, tmp_path / "Sync") == ("Sync", True)
    with closing(State(second.wanted.settings.state, tmp_path)) as state:
        assert state.database.meta()["folder"] == first.identity
    assert len(list((tmp_path / "state" / "folders").iterdir())) == 2


def test_another_account_knows_nothing_of_it(installation, tmp_path):
    Kept(installation, tmp_path / "Sync").close()
    (tmp_path / "Sync").rename(tmp_path / "Other")
    assert installation.wanted(FolderConfig(tmp_path / "Other"), replace(ANNA, user_id="u2")).name == "Other"


@pytest.mark.parametrize("fact", ["path", "name"])
@pytest.mark.parametrize("nonsense", [None, "7", "{", "\\0"])
def test_what_is_remembered_may_be_damaged(installation, tmp_path, fact, nonsense):
    kept = Kept(installation, tmp_path / "Sync")
    record = Record(kept.state.database)
    record.set_meta(fact, nonsense)
    record.commit()
    kept.close()
    (tmp_path / "Sync").rename(tmp_path / "Other")
    assert go_on(installation, tmp_path / "Other") == ("Other", False)


def test_a_moved_folder_is_not_taken_from_who_has_it_open(installation, tmp_path):
    kept = Kept(installation, tmp_path / "Sync")
    (tmp_path / "Sync").rename(tmp_path / "Other")
    with pytest.raises(BusyError, match=rf"Sync: another ssyncd has this folder \(pid {os.getpid()}\)"):
        go_on(installation, tmp_path / "Other")
    kept.close()
    assert go_on(installation, tmp_path / "Other") == ("Sync", True)
