import pytest

from ssyncd.server.blobs.base import Blobs, Scope
from ssyncd.server.blobs.memory import MemoryBlobs
from tests.server.contract_blobs import Age, BlobsContract


class Clock(Age):
    now = 1000.0

    def __call__(self, _blobs: Blobs, _scope: Scope, _ids: list[bytes]) -> float:
        self.now += 86_400
        return self.now


class TestMemoryBlobs(BlobsContract):
    @pytest.fixture
    def age(self) -> Clock:
        return Clock()

    @pytest.fixture
    def blobs(self, age: Clock) -> MemoryBlobs:
        return MemoryBlobs(lambda: age.now)
