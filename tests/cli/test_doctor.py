"""``fieldwise doctor``: the machine, and kernels compiled before anyone waits for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.serving.bundles import rows_of, save
from tests.serving.test_answers import VARIANTS

from fieldwise.cli import main
from fieldwise.jobs.compact import compact
from fieldwise.jobs.doctor import extras, hardware
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
    assert "error: there is no folder to keep compiled kernels in" in result.stderr
    assert "set NUMBA_CACHE_DIR" in result.stderr


def test_doctor_says_what_the_machine_has_and_what_each_extra_would_add():
    found = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    assert (found["hardware"]["vectors"] == "AVX-512") is ("avx512f" in flags)
    assert (found["hardware"]["bfloat16"] is not None) is ("bf16" in flags)
    assert {disk["what"] for disk in found["hardware"]["disks"]} >= {"data sets", "temporary files"}
    extras = {extra["name"]: extra for extra in found["extras"]}
    assert {"", "train", "serve", "tune", "ray"} <= set(extras)
    assert all(extra["adds"] for extra in extras.values())
    [torch] = [library for library in extras["train"]["libraries"] if library["name"] == "torch"]
    assert torch["recent"]
    text = CliRunner().invoke(main, ["doctor"]).stdout
    for word in ("speed:", "free disk space:", "kernel caches", "extras", "  tune: "):
        assert word in text


@pytest.mark.parametrize(
    ("declared", "there", "problem"),
    [
        ("numpy>=1.26", "1.20.3", "numpy 1.20.3 is installed, and fieldwise needs >=1.26: pip install 'numpy>=1.26'"),
        ("numpy>=1.26", None, "numpy is not installed, and fieldwise needs >=1.26: pip install 'numpy>=1.26'"),
        ('torch>=2.6; extra == "train"', "2.5.1", "torch 2.5.1 is installed, and fieldwise needs >=2.6"),
    ],
)
def test_doctor_says_which_library_is_too_old_and_what_to_do(monkeypatch, declared, there, problem):
    def version(name: str) -> str:
        if there is None:
            raise extras.PackageNotFoundError
        return there

    monkeypatch.setattr(extras, "requires", lambda name: [declared])
    monkeypatch.setattr(extras, "version", version)
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 2
    assert f"error: {problem}" in result.stderr


def test_an_extra_that_is_not_there_is_no_problem(monkeypatch):
    monkeypatch.setattr(extras, "requires", lambda name: ['no-such-library>=3; extra == "tune"'])
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0
    assert "  tune: tune; lacks no-such-library" in result.stdout


def test_doctor_says_where_room_is_short(monkeypatch):
    monkeypatch.setattr(hardware, "free_bytes", lambda folder: 1000)
    monkeypatch.setattr(hardware, "available_bytes", lambda: 1000)
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 2
    assert "only 1.00 kB of memory is available: end other programs" in result.stderr
    assert f"only 1.00 kB are free at {Path.cwd()} " in result.stderr


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


_WITHOUT_TORCH = """
import sys
for name in ("torch", "onnx", "matplotlib"):
    sys.modules[name] = None  # to import it is an ImportError
"""
_ASKED = """
import json
from pathlib import Path
import pyarrow as pa
import fieldwise
folder, rows = Path(sys.argv[1]), json.load(sys.stdin)
for path in sorted(folder.iterdir()):
    predictor = fieldwise.Predictor(path)
    predictor.warm()
    given = {{name: cells for name, cells in rows.items() if name != "click"}}
    records = pa.table(given).to_pylist()
    for asked in (records[0], records, given, pa.table(given)):
        predictor.predict(asked)
    if not predictor.outputs:
        predictor.rank(records[0], [{{"item": row["item"]}} for row in records])
        predictor.explain(records)
"""


@pytest.mark.long
def test_without_torch_doctor_compiles_all_that_answers(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    compile_ = [sys.executable, "-c", _WITHOUT_TORCH + "from fieldwise.cli import main; main()"]
    words = ["doctor", "--compile", "--json", "-q"]
    done = subprocess.run([*compile_, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["compilation"]["left_out"] == "training"
    models, rows = tmp_path / "models", rows_of(60)
    for name, settings in VARIANTS.items():
        save(models / name, **settings)
        if settings.get("dtype", "float32") == "float32" and not settings.get("narrow"):
            for kind in ("float16", "int8"):
                compact(models / name, models / f"{name}-{kind}", kind)
    pq.write_table(pa.table(rows), tmp_path / "log.parquet")
    pyarrow.csv.write_csv(pa.table(rows), tmp_path / "log.csv")
    words = []
    for name in sorted(path.name for path in models.iterdir()):
        words.append(
            ["predict", str(models / name), "--data", str(tmp_path / "log.csv"), "--out", str(tmp_path / "p.csv"), "-q"]
        )
        if VARIANTS[name.removesuffix("-int8").removesuffix("-float16")].get("num_classes", 2) == 2:
            words.append(["evaluate", str(models / name), "--data", str(tmp_path / "log.parquet"), "-q"])
    counted = _WITHOUT_TORCH + _COUNTED.replace("    for words", _ASKED.replace("\n", "\n    ") + "\n    for words")
    command = [sys.executable, "-c", counted.format(words=words), str(models)]
    done = subprocess.run(
        command, env=environment, input=json.dumps(rows), capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "compiled:" not in done.stderr, done.stderr
