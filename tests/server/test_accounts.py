from pathlib import Path

import pytest

from ssyncd.errors import SignInError, UsageError
from ssyncd.server.accounts import Accounts, open_accounts
from ssyncd.server.storage.base import User
from ssyncd.server.storage.memory import MemoryAccounts
from tests.server.running import CHEAP


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(clock: Clock) -> Accounts:
    accounts = Accounts(MemoryAccounts(), hasher=CHEAP, now=clock)
    accounts.add("bob", "secret")
    return accounts


def test_a_user_signs_in_by_name_in_any_case(accounts: Accounts) -> None:
    assert accounts.verify(" BOB ", "secret").name == "bob"


@pytest.mark.parametrize(
    ("name", "password"), [("bob", "Secret"), ("bob", ""), ("eve", "secret"), ("", ""), ("bob", "x" * 9999)]
)
def test_a_wrong_name_and_a_wrong_password_look_the_same(accounts: Accounts, name: str, password: str) -> None:
    with pytest.raises(SignInError, match="wrong name or password"):
        accounts.verify(name, password)


def test_a_password_is_kept_as_argon2id_and_nowhere_else() -> None:
    storage = MemoryAccounts()
    user = Accounts(storage).add("bob", "secret")
    assert user.password_hash.startswith("$argon2id$")
    assert "secret" not in str(storage.users("ssyncd"))


def test_an_old_hash_is_renewed_at_the_next_sign_in() -> None:
    storage = MemoryAccounts()
    storage.add_user(User("u1", "ssyncd", "bob", CHEAP.hash("secret")), 0)
    Accounts(storage).verify("bob", "secret")
    renewed = storage.user("ssyncd", "bob")
    assert renewed is not None
    assert "m=8," not in renewed.password_hash


def test_a_broken_hash_lets_nobody_in() -> None:
    storage = MemoryAccounts()
    storage.add_user(User("u1", "ssyncd", "bob", "broken"), 0)
    with pytest.raises(SignInError, match="broken"):
        Accounts(storage, hasher=CHEAP).verify("bob", "broken")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 257, "{bob", "\x00"])
def test_a_bad_name_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(UsageError, match="user name"):
        accounts.add(name, "secret")


@pytest.mark.parametrize("password", ["", "x" * 1025])
def test_a_bad_password_is_refused(accounts: Accounts, password: str) -> None:
    with pytest.raises(UsageError, match="password"):
        accounts.add("eve", password)
    with pytest.raises(UsageError, match="password"):
        accounts.set_password("bob", password)


def test_names_are_taken_once(accounts: Accounts) -> None:
    with pytest.raises(UsageError, match="there is one already"):
        accounts.add("Bob", "other")
    accounts.add("eve", "secret")
    with pytest.raises(UsageError, match="there is one already"):
        accounts.rename("eve", "BOB")
    assert accounts.names() == ["bob", "eve"]


def test_one_name_can_be_a_user_of_each_application(accounts: Accounts) -> None:
    others = accounts.of("notes")
    bob = others.add("bob", "other")
    with pytest.raises(SignInError):
        others.verify("bob", "secret")
    token = others.token("bob", "phone")
    found = accounts.check(token)
    assert found is not None
    assert (found.user, found.app) == (bob.id, "notes")
    assert accounts.devices("bob") == []
    accounts.rename("bob", "robert")
    accounts.remove("robert")
    assert others.verify("bob", "other") == bob
    assert others.check(token) == found


def test_nobody_can_be_changed_who_is_not_there(accounts: Accounts) -> None:
    for act in (accounts.remove, accounts.token, accounts.devices, lambda name: accounts.set_password(name, "x")):
        with pytest.raises(UsageError, match="user eve: there is none"):
            act("eve")


def test_tokens_are_random_and_long_and_known_until_revoked(accounts: Accounts, clock: Clock) -> None:
    tokens = {accounts.token("bob", "laptop") for _ in range(10)}
    assert len(tokens) == 10
    assert all(len(token) >= 32 and token.isascii() and token.isalnum() for token in tokens)
    clock.now = 2000
    phone = accounts.token("bob", "phone")
    found = accounts.check(phone)
    assert found is not None
    assert (found.user_name, found.app, found.device, found.created) == ("bob", "ssyncd", "phone", 2000)
    assert len(accounts.revoke("bob", "laptop")) == 10
    assert [accounts.check(token) for token in tokens] == [None] * 10
    assert [device.name for device in accounts.devices("bob")] == ["phone"]
    assert accounts.check("") is None
    assert accounts.check("\ud83d") is None


def test_a_device_name_is_made_fit_for_a_terminal(accounts: Accounts) -> None:
    accounts.token("bob", "lap\x1b[31mtop\n")
    accounts.token("bob", "\n")
    assert sorted(device.name for device in accounts.devices("bob")) == ["lap[31mtop", "token"]


def test_the_accounts_of_a_data_directory_outlive_the_process(tmp_path: Path) -> None:
    with open_accounts(tmp_path / "new") as accounts:
        accounts.add("bob", "secret")
        token = accounts.token("bob")
    with open_accounts(tmp_path / "new") as accounts:
        assert accounts.check(token)
        assert accounts.verify("bob", "secret")
        accounts.set_password("bob", "other")
        with pytest.raises(SignInError):
            accounts.verify("bob", "secret")
        accounts.remove("bob")
        assert accounts.check(token) is None
        assert accounts.names() == []


def test_a_database_that_is_not_built_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not built"), open_accounts(tmp_path, "postgres://x/y"):
        pass
