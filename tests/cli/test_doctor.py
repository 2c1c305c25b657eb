"""``fieldwise doctor``: the machine, and kernels compiled before anyone waits for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fieldwise.cli import main
from fieldwise.kernels import kept

_COUNTED = """
import sys
from numba.core import event
with event.install_recorder("numba:compile") as recorder:
    from fieldwise.cli import main
    for words in {words!r}:
        code = main(words, standalone_mode=False)
        assert not code, (words, code)
for _, entry in recorder.buffer:
    sys.stderr.write(f"compiled: {{entry.data['dispatcher']}}\\n")
"""


def test_doctor_says_where_compiled_kernels_lie():
    result = CliRunner().invoke(main, ["doctor", "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert found["machine"]["cores"] >= 1
    assert [folder["path"] for folder in found["folders"]] == [str(folder) for folder in kept.folders()]
    assert found["problems"] == []
    assert found["compilation"] is None


def test_doctor_says_what_to_do_where_compiled_kernels_can_be_kept_nowhere(monkeypatch):
    monkeypatch.setattr(kept, "folders", lambda: (Path("/dev/null/a"),))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 2
    assert "/dev/null/a: 0 kernels, not writable" in result.stdout
    assert "error: compiled kernels can be kept nowhere" in result.stderr
    assert "set NUMBA_CACHE_DIR" in result.stderr


@pytest.mark.long
def test_after_doctor_has_compiled_all_kernels_no_verb_compiles_one(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    command = [sys.executable, "-m", "fieldwise", "doctor", "--compile", "--json", "-q"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["compilation"]["num_kernels"] > 50
    log, config, run = tmp_path / "log.csv", tmp_path / "fieldwise.toml", tmp_path / "run"
    times = [f"2026-11-08 0{n % 9}:30:00" for n in range(600)]  # which Arrow reads; with fractions our kernel does
    rows = [f"{n % 2},u{n % 7},{n % 50},{n}.5,a|b{n % 3},{time},{time}.5" for n, time in enumerate(times)]
    log.write_text("\n".join(["click,user,age,price,tags,at,seen", *rows]) + "\n")
    small = ["--set", "train.epochs=1", "--set", "pretrain.epochs=1", "--set", "train.sampler.sweeps=3"]
    small += ["--set", "train.sampler.burn_in=1", "-q"]
    words = [
        ["init", str(log), "--label", "click", "--out", str(config)],
        ["check", str(config)],
        ["prepare", str(config)],
        ["train", str(config), "--out", str(run), *small],
        ["evaluate", str(run), "--data", str(log)],
        ["predict", str(run), "--data", str(log), "--out", str(tmp_path / "predictions.csv")],
        ["compare", str(config), "--out", str(tmp_path / "runs"), "--models", "lr,dnn,lc-wide-deep:1", *small],
    ]
    counted = [sys.executable, "-c", _COUNTED.format(words=words)]
    done = subprocess.run(counted, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "compiled:" not in done.stderr, done.stderr
