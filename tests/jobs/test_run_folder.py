from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.logs import config_text, make_table, write

import fieldwise as fw

MORE = """
[model]
kind = "{kind}"
[train]
epochs = 2
batch_size = 256
threads = 1
checkpoint_steps = 2
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run-folder")
    write(make_table(1500), folder / "log.parquet")
    for kind in ("lr", "dnn"):
        (folder / f"{kind}.toml").write_text(config_text("log.parquet", more=MORE.format(kind=kind)))
    return folder


def weights(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "bundle").iterdir()}


def test_training_without_room_is_refused_with_the_figures_before_it_begins(log, tmp_path, monkeypatch):
    config = fw.load_config(log / "lr.toml")
    prepared = fw.prepare(config)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=1, f_frsize=1000))
    stages: list[object] = []
    with pytest.raises(fw.ResourceError, match=r"does not fit on the disk(.|\n)*B free(.|\n)*1.00 kB"):
        fw.train(config, tmp_path / "run", prepared=prepared, listen=stages.append)
    assert stages == []
    monkeypatch.undo()
    assert fw.train(config, tmp_path / "run").epochs >= 1


def test_what_a_killed_process_was_writing_is_removed_by_the_next_one(log, tmp_path):
    config, run = fw.load_config(log / "lr.toml"), tmp_path / "run"
    fw.train(config, tmp_path / "whole")
    (run / "bundle").mkdir(parents=True)
    (run / ".lock").touch()
    for half in (".run.json.0a1b2c3d.tmp", "bundle/.encoder.safetensors.0a1b2c3d.tmp"):
        (run / half).write_bytes(b"half")
    fw.train(config, run)
    assert not list(run.rglob("*.tmp"))
    assert weights(run) == weights(tmp_path / "whole")


class Crash(BaseException):
    """The process dies."""


CALLS = [(os, "rename"), (os, "unlink"), (shutil, "rmtree")]


def crash_at(patch: pytest.MonkeyPatch, number: int) -> None:
    """Let the process die in the `number`-th call, from 1, that removes or renames something."""
    left = [number]

    def crashing(function):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] <= 0:  # and nothing that is called afterwards, as it would be by a handler, is done
                raise Crash
            return function(*arguments, **options)

        return call

    for module, name in CALLS:
        patch.setattr(module, name, crashing(getattr(module, name)))


@pytest.mark.parametrize("finished", [True, False])
def test_a_crash_at_any_moment_of_overwriting_leaves_a_run_that_any_configuration_can_replace(log, tmp_path, finished):
    old, new = fw.load_config(log / "dnn.toml"), fw.load_config(log / "lr.toml")
    fw.train(new, tmp_path / "whole")
    fw.train(old, tmp_path / "old")
    if not finished:
        unfinish(old, tmp_path / "old")
    crashes = 0
    while True:
        run = tmp_path / f"run-{crashes}"
        shutil.copytree(tmp_path / "old", run)
        with pytest.MonkeyPatch.context() as patch:
            crash_at(patch, crashes + 1)
            try:
                fw.train(new, run, overwrite=True, listen=stop_at_start)
            except Crash:
                crashes += 1
            except Begun:
                break
        if (run / "run.json").exists() and result_of(run):
            fw.open_bundle(run)  # what says that it is finished has its bundle
        if not (run / "run.json").exists():
            assert not (run / "checkpoints").exists(), "the new configuration would go on from them"
        fw.train(new, run, overwrite=(run / "run.json").exists())
        assert weights(run) == weights(tmp_path / "whole")
    assert crashes >= 3


class Begun(BaseException):
    """Overwriting is over."""


def stop_at_start(event: object) -> None:
    if type(event).__name__ == "StageStart":
        raise Begun


def unfinish(config: fw.Config, run: Path) -> None:
    """Make an unfinished run with checkpoints of a finished one."""
    shutil.rmtree(run)

    def stop(event: object) -> None:
        if list(run.glob("checkpoints/[0-9]*")):
            raise KeyboardInterrupt

    from fieldwise.training import meter

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meter, "_SECONDS_BETWEEN_REPORTS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            fw.train(config, run, listen=stop)
    assert list(run.glob("checkpoints/[0-9]*"))


def result_of(run: Path) -> object:
    return json.loads((run / "run.json").read_text())["content"]["result"]


def test_a_checkpoint_of_another_run_is_passed_by_and_not_gone_on_from(log, tmp_path):
    one, other = (fw.load_config(log / "dnn.toml", [f"train.seed={seed}"]) for seed in (1, 2))
    fw.train(one, tmp_path / "whole")
    for config, name in ((one, "one"), (other, "other")):
        (tmp_path / name).mkdir()
        unfinish(config, tmp_path / name)
    shutil.rmtree(tmp_path / "one" / "checkpoints")
    shutil.copytree(tmp_path / "other" / "checkpoints", tmp_path / "one" / "checkpoints")
    said: list[str] = []
    with pytest.raises(fw.ArtefactError, match="no checkpoint is complete"):
        fw.train(one, tmp_path / "one", listen=lambda event: said.append(getattr(event, "text", "")))
    assert any("of another training" in text for text in said)
    fw.train(one, tmp_path / "one", overwrite=True)
    assert weights(tmp_path / "one") == weights(tmp_path / "whole")
