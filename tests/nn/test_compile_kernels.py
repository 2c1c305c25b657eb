"""The Triton kernels become machine code of GPUs, Ampere's and Hopper's, though none is here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton (CONTRIBUTING.md)")


def compiled(folder: Path, *options: str) -> list[tuple[int, str, int]]:
    environment = {
        **os.environ,
        "TRITON_INTERPRET": "0",
        "TRITON_DEFAULT_FP_FUSION": "1",
        "TRITON_CACHE_DIR": str(folder),
    }
    command = [sys.executable, "-W", "error", "-m", "tests.nn.compile_kernels", *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_kernel_compiles_for_a_gpu(tmp_path):
    found = compiled(tmp_path, "--capabilities", "90")
    names = {"gather_local", "gather_full", "sum_chunks", "sum_rows", "move_rows"}
    assert {name for _, name, _ in found} == names
    assert all(size > 1000 for *_, size in found)


@pytest.mark.long
def test_every_variant_compiles_for_gpus_of_two_generations(tmp_path):
    found = compiled(tmp_path, "--every")
    assert {capability for capability, *_ in found} == {80, 90}
    assert len(found) == 2 * (16 + 4 + 1 + 16)
