"""Memory of the process."""

from __future__ import annotations

import resource
import subprocess
import sys

import numpy as np
import pytest

from fieldwise.io import memory
from fieldwise.io.memory import available_bytes, freed_memory_kept, held_bytes, peak_bytes, resident_bytes


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


@pytest.mark.parametrize(
    ("limit", "used", "stat", "left"),
    [
        ("1000", "900", "anon 300\nactive_file 250\ninactive_file 350\n", 700),
        ("1000", "900", "anon 900\n", 100),
        ("1000", "1200", "anon 1200\n", 0),
        ("max", "900", "anon 900\n", None),
    ],
)
def test_a_container_may_use_what_it_has_not_and_what_files_that_were_read_hold(
    tmp_path, monkeypatch, limit, used, stat, left
):
    for name, text in (("memory.max", limit), ("memory.current", used), ("memory.stat", stat)):
        (tmp_path / name).write_text(f"{text}\n")
    of_machine = available_bytes()
    monkeypatch.setattr(memory, "_GROUPS", ((str(tmp_path), "memory.max", "memory.current"),))
    if left is None:
        assert of_machine is None or abs(available_bytes() - of_machine) < 1 << 32
    else:
        assert available_bytes() == left


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process does not begin with the memory of its parent")
def test_a_peak_is_of_the_process_itself_though_its_parent_is_larger():
    large = np.ones(30 << 20)  # 240 MB
    program = "from fieldwise.io.memory import peak_bytes; print(peak_bytes())"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert int(found.stdout) < large.nbytes < peak_bytes()


def test_memory_counts_what_is_held_now_and_was_held_before():
    before = held_bytes()
    large = np.ones(8 << 20)
    assert held_bytes() - before > 0.9 * large.nbytes
    assert held_bytes() <= (resident_bytes() or peak_bytes()) <= peak_bytes() * 1.01
