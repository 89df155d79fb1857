import gc
import platform

import pytest

from ssyncd.tuning import COLLECT_AFTER, keep_memory, rare_collections


def test_collections_are_rare_for_the_time_of_the_block_only() -> None:
    before = gc.get_threshold()
    with rare_collections():
        assert gc.get_threshold() == COLLECT_AFTER
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_glibc_takes_the_bounds() -> None:
    assert keep_memory()
