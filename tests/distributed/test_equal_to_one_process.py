"""Several workers train the model that one process trains, from the same global batches."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

WORKER = Path(__file__).with_name("worker.py")
TOLERANCE = {"float64": 1e-11, "float32": 2e-4}


def run(out: Path, num_workers: int | None) -> dict[str, np.ndarray]:
    """Run `worker.py` once, or as so many workers, and return what it saved."""
    clean = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    environments = [{}]
    if num_workers is not None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        shared = {"WORLD_SIZE": str(num_workers), "LOCAL_WORLD_SIZE": str(num_workers)}
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environments = [{**shared, "RANK": str(rank)} for rank in range(num_workers)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(out)],
            env={**clean, "OMP_NUM_THREADS": "1", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        for environment in environments
    ]
    try:
        for process in processes:
            _, messages = process.communicate(timeout=400)
            assert process.returncode == 0, messages
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stderr.close()
    with np.load(out) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[str, np.ndarray]:
    return run(tmp_path_factory.mktemp("alone") / "out.npz", None)


@pytest.mark.parametrize("num_workers", [2, pytest.param(3, marks=pytest.mark.long)])
def test_losses_table_and_dense_weights_are_those_of_one_process(alone, tmp_path, num_workers):
    found = run(tmp_path / "out.npz", num_workers)
    assert found.keys() == alone.keys()
    for name, expected in alone.items():
        tolerance = TOLERANCE["float64" if "float64" in name else "float32"]
        np.testing.assert_allclose(found[name], expected, rtol=tolerance, atol=tolerance, err_msg=name)
        assert np.isfinite(expected).all()
