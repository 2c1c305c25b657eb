"""Memory of the process."""

from __future__ import annotations

import resource
import sys

import numpy as np
import pytest

from fieldwise.io.memory import freed_memory_kept


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_what_is_freed_in_the_block_is_used_again():
    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            np.ones(1 << 20)  # 8 MiB, 2,048 pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with freed_memory_kept():
        np.ones(1 << 20)
        assert faults() < 4 * 2048
    assert faults() >= 0
