"""One small artefact of every kind, to be damaged and verified."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.logs import config_text, make_table, write

import fieldwise as fw

MORE = """
[model]
kind = "lc-wide-deep"
units = 2
hidden = [4]
[train]
epochs = 2
batch_size = 100
threads = 1
checkpoint_steps = 2
stop_on = "pr_auc"
[pretrain]
epochs = 1
"""


def make_artefacts(folder: Path) -> Path:
    """Make a prepared log, a finished run, an unfinished one with checkpoints, and return their folder."""
    write(make_table(600), folder / "log.parquet")
    (folder / "fieldwise.toml").write_text(config_text("log.parquet", more=MORE))
    config = fw.load_config(folder / "fieldwise.toml")
    fw.train(config, folder / "runs" / "finished")
    stop_early(config, folder / "runs" / "unfinished")
    return folder


def stop_early(config: fw.Config, run: Path) -> None:
    """Train until the first epoch of the network is over, and stop with some checkpoints."""

    def listen(event: object) -> None:
        if list(run.glob("checkpoints/[0-9]*")) and type(event).__name__ == "BestSaved":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fw.train(config, run, listen=listen)


def copied(folder: Path, to: Path) -> Path:
    """Copy a folder of artefacts, so that it can be damaged."""
    for path in folder.rglob("*"):
        if path.is_file():
            (to / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            (to / path.relative_to(folder)).write_bytes(path.read_bytes())
    return to
