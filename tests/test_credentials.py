import json
import os
import threading

import pytest

from ssyncd.credentials import EMBEDDED, Credentials
from ssyncd.errors import SsyncdError

ANNA = {"url": "https://a.example", "user": "anna", "token": "t1"}


@pytest.fixture
def credentials(tmp_path):
    return Credentials(tmp_path / "state" / "credentials.json")


def test_nothing_is_known_at_first_and_nothing_is_written(credentials, tmp_path):
    assert credentials.current == ""
    assert credentials.urls() == []
    assert credentials.get("https://a.example") is None
    assert list(tmp_path.iterdir()) == []


def test_an_account_is_found_again_and_is_current(credentials):
    credentials.put("https://a.example/", ANNA)
    assert credentials.get("https://a.example") == ANNA
    assert credentials.get("https://a.example/") == ANNA
    assert credentials.current == "https://a.example"


def test_the_latest_sign_in_is_current_and_the_others_stay(credentials):
    credentials.put("https://a.example", ANNA)
    credentials.put("https://b.example", {"token": "t2"})
    assert credentials.current == "https://b.example"
    assert credentials.get("https://a.example") == ANNA


def test_the_built_in_server_is_never_current(credentials):
    credentials.put(EMBEDDED, {"token": "t"})
    assert credentials.current == ""
    assert credentials.urls() == []
    assert credentials.get(EMBEDDED) == {"token": "t"}


def test_signing_out_forgets_the_token(credentials, tmp_path):
    credentials.put("https://a.example", ANNA)
    credentials.remove("https://a.example")
    assert credentials.current == ""
    assert credentials.get("https://a.example") is None
    assert "t1" not in (tmp_path / "state" / "credentials.json").read_text()


def test_only_its_owner_can_read_the_file(credentials, tmp_path):
    before = os.umask(0)
    try:
        credentials.put("https://a.example", ANNA)
    finally:
        os.umask(before)
    assert (tmp_path / "state" / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604])
def test_a_file_that_others_can_read_is_refused_with_what_to_do(credentials, tmp_path, mode):
    credentials.put("https://a.example", ANNA)
    (tmp_path / "state" / "credentials.json").chmod(mode)
    with pytest.raises(SsyncdError, match=r"credentials\.json.*chmod 600"):
        credentials.get("https://a.example")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 1, "accounts": []}', b"\xff"])
def test_a_damaged_file_is_named_and_left_alone(credentials, tmp_path, data):
    file = tmp_path / "state" / "credentials.json"
    file.parent.mkdir()
    file.write_bytes(data)
    file.chmod(0o600)
    with pytest.raises(SsyncdError, match=r"credentials\.json: damaged"):
        credentials.put("https://a.example", ANNA)
    assert file.read_bytes() == data


def test_a_file_of_a_newer_version_is_not_touched(credentials, tmp_path):
    credentials.put("https://a.example", ANNA)
    file = tmp_path / "state" / "credentials.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 2}))
    with pytest.raises(SsyncdError, match="another version"):
        credentials.get("https://a.example")


def test_a_link_in_place_of_the_file_is_refused(credentials, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "elsewhere").write_text("{}")
    (tmp_path / "state" / "credentials.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SsyncdError, match="cannot be read"):
        credentials.get("https://a.example")


def test_commands_at_the_same_time_do_not_undo_each_other(tmp_path):
    def sign_in(number):
        Credentials(tmp_path / "c.json").put(f"https://{number}.example", {"token": str(number)})

    threads = [threading.Thread(target=sign_in, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(Credentials(tmp_path / "c.json").urls()) == [f"https://{number}.example" for number in range(8)]
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []
