"""Whatever call of the system fails while a log is prepared and a model trained, the same command then succeeds."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests.logs import config_text, make_table, write

import fieldwise as fw
from fieldwise.io import files

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


def fail_at(patch: pytest.MonkeyPatch, number: int | None, code: int) -> list[str]:
    """Let the `number`-th of the calls, from 0, fail, and return the list that the names of all calls are put in.

    No fsync is carried out: no power fails here, and a disk would need minutes for all of them.
    """
    made: list[str] = []

    def failing(name: str):
        function = getattr(os, name)

        def call(*arguments, **options):
            made.append(name)
            if len(made) - 1 == number:
                raise OSError(code, os.strerror(code))
            return None if name == "fsync" else function(*arguments, **options)

        return call

    for name in CALLS:
        patch.setattr(os, name, failing(name))
    write = files._NewFile.write

    def failing_write(file, data):
        made.append("write")
        if len(made) - 1 == number:
            with files.explaining(file.path):
                raise OSError(code, os.strerror(code))
        return write(file, data)

    patch.setattr(files._NewFile, "write", failing_write)
    return made


def assert_what_is_there_is_whole(folder: Path) -> None:
    """See that no artefact in a folder is damaged; there may be none."""
    with suppress(fw.ArtefactError):
        assert fw.verify(folder).damages == []


def bundle(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "bundle").iterdir()}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("count", [pytest.param(8, id="some"), pytest.param(None, id="all", marks=pytest.mark.long)])
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
    assert set(made) == {*CALLS, "write"}
    whole = bundle(tmp_path / "whole")
    for number in np.unique(np.linspace(0, len(made) - 1, count or len(made)).astype(int)).tolist():
        run = tmp_path / f"run-{number}"
        shutil.rmtree(cache)
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, number, code)
            with pytest.raises(fw.ResourceError if code == errno.ENOSPC else fw.ArtefactError, match="where: "):
                fw.train(config, run)
        assert_what_is_there_is_whole(tmp_path)
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, None, code)
            fw.train(config, run)
        assert bundle(run) == whole
        assert not list(run.rglob(".*.tmp"))
        assert not list(cache.glob(".*.tmp"))
    sys.stdout.write(f"{len(made)} calls\n")
