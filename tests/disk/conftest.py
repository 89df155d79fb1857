from collections.abc import Iterator
from pathlib import Path

import pytest

from ssyncd.disk.real import RealDisk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[RealDisk]:
    disk = RealDisk(tmp_path)
    yield disk
    disk.close()
