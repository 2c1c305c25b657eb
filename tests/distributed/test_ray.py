"""The same training on a local Ray cluster, with a worker killed; run where Ray is installed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from tests.distributed import runs
from tests.helpers import PATIENCE

pytest.importorskip("ray")


def actors_of(pid: int) -> list[int]:
    """Return the workers among what a process has started: Ray names its processes by what they do."""
    found = []
    for child in runs.workers_of(pid):
        if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"ray::_Worker"):
            found.append(child)
        found += actors_of(child)
    return found


@pytest.mark.long
def test_ray_trains_the_same_model_also_when_a_worker_is_killed(tmp_path):
    config, out = runs.make_log(tmp_path), tmp_path / "ray"
    with runs.started(config, out, "--workers", "2", "--ray", "local") as process:
        assert runs.wait_until(lambda: runs.checkpoints(out), process, seconds=240)
        assert len(actors_of(process.pid)) == 2
        os.kill(actors_of(process.pid)[-1], signal.SIGKILL)
        output, messages = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, messages
    assert "restarting all workers from the last checkpoint" in messages
    expected = runs.train(config, tmp_path / "two", "--workers", "2")
    assert json.loads(output)["test"] == expected["test"]
    for name, array in runs.weights(tmp_path / "two").items():
        assert runs.weights(out)[name].tobytes() == array.tobytes(), name
