"""Training that is killed, stopped or finds its files damaged goes on, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.logs import config_text, make_table, write

import fieldwise as fw
from fieldwise.data.cache import Cache
from fieldwise.events import StageStart

ROOT = Path(__file__).parents[2]

MORE = """
[model]
kind = "lc-wide-deep"
units = 2
hidden = [8]
dropout = 0.2
[train]
epochs = 4
batch_size = 64
threads = 1
patience = 9
checkpoint_steps = 3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A log, prepared, and a run that was never interrupted."""
    folder = tmp_path_factory.mktemp("crash")
    write(make_table(), folder / "log.parquet")
    (folder / "fieldwise.toml").write_text(config_text("log.parquet", more=MORE))
    fw.train(fw.load_config(folder / "fieldwise.toml"), folder / "whole")
    return folder


def weights(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "bundle").iterdir()}


def outcome(run: Path) -> dict[str, object]:
    result = json.loads((run / "run.json").read_text())["content"]["result"]
    return {key: result[key] for key in ("valid", "test", "epochs", "best_epoch")}


KILLS = [
    pytest.param(20, 12, id="20 kills"),
    pytest.param(200, 90, id="200 kills", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("num_kills", "num_at_points"), KILLS)
def test_a_run_that_is_killed_again_and_again_ends_bit_identical(folder, num_kills, num_at_points):
    counts = [num_kills, num_at_points, 7]
    arguments = [str(folder / "fieldwise.toml"), str(folder / f"killed-{num_kills}"), *map(str, counts)]
    command = [sys.executable, "-m", "tests.crash.killer", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["kills"] == num_kills
    in_checkpoints = [count for point, count in report["at"].items() if point.startswith("checkpoint:")]
    assert sum(in_checkpoints) >= min(50, num_at_points - 2)
    assert report["resumed"] >= num_kills // 4
    assert report["unfinished"] >= 1
    assert weights(folder / f"killed-{num_kills}") == weights(folder / "whole")


def test_training_on_a_table_goes_on_after_a_kill_when_the_table_is_given_again(folder, tmp_path):
    config = fw.load_config(folder / "fieldwise.toml", [f"data.cache={str(tmp_path / 'cache')!r}"])
    table = make_table(1500)
    fw.train(config, tmp_path / "whole", data=table)
    script = """if True:
        import sys, fieldwise as fw
        from tests.logs import make_table
        config = fw.load_config(sys.argv[1], [f"data.cache={sys.argv[2]!r}"])
        fw.train(config, sys.argv[3], data=make_table(1500))
    """
    arguments = [str(folder / "fieldwise.toml"), str(tmp_path / "cache"), str(tmp_path / "killed")]
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=ROOT)
    while process.poll() is None and not list(tmp_path.glob("killed/checkpoints/[0-9]*/manifest.json")):
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was done before it was killed"
    for path in tmp_path.glob("cache/tables/*"):  # as later tables make room
        path.unlink()
    with pytest.raises(fw.UserError):
        fw.train(config, tmp_path / "killed", data=table.slice(1))
    fw.train(config, tmp_path / "killed", data=table)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_a_damaged_checkpoint_is_passed_by_loudly_for_the_one_before(folder):
    config = fw.load_config(folder / "fieldwise.toml")
    run = folder / "damaged"
    stop_after(config, run, steps=8)
    newest = max((run / "checkpoints").iterdir())
    data = bytearray((newest / "table.safetensors").read_bytes())
    data[len(data) // 2] ^= 4
    (newest / "table.safetensors").write_bytes(data)
    said: list[str] = []
    fw.train(config, run, listen=lambda event: said.append(getattr(event, "text", "")))
    assert any(newest.name in text and "damaged" in text for text in said)
    assert weights(run) == weights(folder / "whole")


def stop_after(config: fw.Config, run: Path, steps: int) -> None:
    """Train until `steps` checkpoints were saved, then stop as on SIGTERM."""
    seen: set[str] = set()

    def listen(event: object) -> None:
        seen.update(path.name for path in run.glob("checkpoints/[0-9]*"))
        if len(seen) >= steps // 3:
            os.kill(os.getpid(), signal.SIGTERM)

    from fieldwise.training import meter

    before = meter._SECONDS_BETWEEN_REPORTS
    meter._SECONDS_BETWEEN_REPORTS = 0.0
    try:
        with pytest.raises(fw.Stopped):
            fw.train(config, run, listen=listen)
    finally:
        meter._SECONDS_BETWEEN_REPORTS = before


def test_a_cache_that_cannot_be_read_any_more_costs_nothing_of_what_was_learned(folder, monkeypatch):
    config, run, gather = fw.load_config(folder / "fieldwise.toml"), folder / "vanished", Cache.gather
    stages: list[StageStart] = []
    read: list[int] = []

    def vanishing(cache, *arguments):
        is_train = cache.folder.name == "train"  # valid is read by looks at it, too
        if is_train and stages and stages[-1] == StageStart("train", "lc-wide-deep"):
            read.append(1)
            if len(read) > 21:  # the first are rows that the network is compared on
                raise fw.ArtefactError("the cache has vanished", where=cache.folder)
        return gather(cache, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Cache, "gather", vanishing)
        with pytest.raises(fw.ArtefactError, match="the cache has vanished"):
            fw.train(config, run, listen=lambda event: stages.append(event) if isinstance(event, StageStart) else None)
    assert max(path.name for path in run.glob("checkpoints/[0-9]*")) == "00000020", "not that of three steps"
    fw.train(config, run)
    assert weights(run) == weights(folder / "whole")
