"""Whatever call of the system fails while a log is prepared and a model trained, the same command then succeeds."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.logs import config_text, make_table, write

import fieldwise as fw

MORE = """
[model]
kind = "dnn"
hidden = [4]
[train]
epochs = 3
batch_size = 256
threads = 1
checkpoint_steps = 2
"""
CALLS = ("fsync", "rename", "replace")
"""Writes are in `test_full_disk`."""


def fail_at(patch: pytest.MonkeyPatch, number: int | None, code: int) -> list[str]:
    """Let the `number`-th of the calls, from 0, fail, and return the list that the names of all calls are put in."""
    made: list[str] = []

    def failing(name: str):
        function = getattr(os, name)

        def call(*arguments, **options):
            made.append(name)
            if len(made) - 1 == number:
                raise OSError(code, os.strerror(code))
            return function(*arguments, **options)

        return call

    for name in CALLS:
        patch.setattr(os, name, failing(name))
    return made


def bundle(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "bundle").iterdir()}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("count", [pytest.param(10, id="some"), pytest.param(None, id="all", marks=pytest.mark.long)])
def test_a_call_that_fails_is_a_message_and_the_same_command_then_succeeds(tmp_path, count, code):
    write(make_table(1500), tmp_path / "log.parquet")
    (tmp_path / "fieldwise.toml").write_text(config_text("log.parquet", more=MORE))
    config, cache = fw.load_config(tmp_path / "fieldwise.toml"), tmp_path / ".fieldwise"
    # Kernels that are compiled for the first time go to numba's cache, through calls of the same names.
    fw.train(config, tmp_path / "compiled")
    shutil.rmtree(cache)
    with pytest.MonkeyPatch.context() as patch:
        made = fail_at(patch, None, code)
        fw.train(config, tmp_path / "whole")
    assert set(made) == set(CALLS)
    whole = bundle(tmp_path / "whole")
    for number in np.unique(np.linspace(0, len(made) - 1, count or len(made)).astype(int)).tolist():
        run = tmp_path / f"run-{number}"
        shutil.rmtree(cache)
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, number, code)
            with pytest.raises(fw.ResourceError if code == errno.ENOSPC else fw.ArtefactError, match="where: "):
                fw.train(config, run)
        fw.train(config, run)
        assert bundle(run) == whole
        assert not list(run.rglob(".*.tmp"))
        assert not list(cache.glob(".*.tmp"))
