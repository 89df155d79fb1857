import gc
import os
import platform
import resource
from pathlib import Path

import pytest

from ssyncd.tuning import COLLECT_AFTER, give_memory_back, keep_memory, open_many_files, rare_collections


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_is_not_used_goes_back_to_the_system() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    kept = [os.urandom(5000) for _ in range(10_000)]
    full, last = resident(), kept.pop()
    kept.clear()
    assert give_memory_back()
    assert resident() < full - 30_000_000
    assert last


def test_as_many_files_as_are_allowed_can_be_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[1] - 1, before[1]))
        open_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
