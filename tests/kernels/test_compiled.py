"""Compiled kernels that numba keeps: used again, but never after any kernel has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import fieldwise

_RUN = """
import numpy as np
from fieldwise.kernels import shuffle, threads
threads.run_each(shuffle.fisher_yates, [(np.zeros(3, np.uint64), np.arange(3))])
print(shuffle.fisher_yates.stats.cache_hits.total())
"""


def cache_hits(folder: Path) -> int:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", _RUN], env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_kernels_are_compiled_once_and_again_when_another_file_of_theirs_has_changed(tmp_path):
    package = Path(fieldwise.__file__).parent
    shutil.copytree(package, tmp_path / "fieldwise", ignore=shutil.ignore_patterns("__pycache__"))
    assert cache_hits(tmp_path) == 0
    assert cache_hits(tmp_path) == 1
    with (tmp_path / "fieldwise/kernels/decode.py").open("a") as file:
        file.write("# another version\n")
    assert cache_hits(tmp_path) == 0
    assert cache_hits(tmp_path) == 1
