import pytest

from ssyncd.server.storage.memory import MemoryAccounts, MemoryChanges
from tests.server.contract_storage import RETENTION, AccountsContract, ChangesContract


class TestMemoryChanges(ChangesContract):
    @pytest.fixture
    def storage(self) -> MemoryChanges:
        return MemoryChanges(RETENTION)


class TestMemoryAccounts(AccountsContract):
    @pytest.fixture
    def storage(self) -> MemoryAccounts:
        return MemoryAccounts()
