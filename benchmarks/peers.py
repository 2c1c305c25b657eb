"""Other people's models on exactly our rows: LightGBM, CatBoost, DCNv2 and FinalMLP, chosen on valid, tested once.

    python benchmarks/peers.py data/movielens-1m.toml --peers lightgbm,catboost,dcnv2,finalmlp --seeds 0,1,2
    python benchmarks/peers.py data/movielens-1m.toml --peers fuxictr-dcnv2,fuxictr-finalmlp --model-zoo model_zoo

The prepared log is exported once: categories as numbers, bags as one column per value, numbers as they are. Each peer
tries a few settings with seed 0 (`SETTINGS`), the best on valid is trained with every seed, and its probabilities of
the test rows are kept, in the order of the cache, so that our models can be compared with them in pairs
(`baselines.py`). What is done is not done again.

LightGBM and CatBoost run in an environment that is made for them. DCNv2 (Wang et al., WWW 2021) and FinalMLP (Mao et
al., AAAI 2023) are written in plain PyTorch in `peer_networks.py` from their papers, for FuxiCTR, the authors' library,
leaves the models out of its package; with a checkout of its repository (`--model-zoo`) its own run too, in an
environment of their own (`peer_fuxictr.py`). All on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from environment import peer_python

import fieldwise as fw
from fieldwise.metrics import evaluate_predictions

TREES = {"lightgbm": ("lightgbm==4.7.0",), "catboost": ("catboost==1.2.10",)}
NETWORKS = ("dcnv2", "finalmlp")
FUXICTR = ("fuxictr==2.3.7", "numpy<2", "pandas<3", "polars<2", "torch==2.13.0")
_NETWORK: list[dict[str, Any]] = [
    {"embedding_l2": 0.0, "dropout": 0.0},
    {"embedding_l2": 1e-6, "dropout": 0.2},
    {"embedding_l2": 1e-5, "dropout": 0.0},
    {"embedding_l2": 1e-5, "dropout": 0.2},
    {"embedding_l2": 1e-5, "dropout": 0.4, "batch_norm": True},
]
_FUXICTR: list[dict[str, Any]] = [  # the most promising first
    {"embedding_l2": 1e-3, "dropout": 0.2},
    {"embedding_l2": 3e-3, "dropout": 0.2},
    {"embedding_l2": 1e-2, "dropout": 0.2},
    {"embedding_l2": 3e-4, "dropout": 0.2},
    {"embedding_l2": 1e-4, "dropout": 0.2},
    {"embedding_l2": 3e-5, "dropout": 0.2},
    {"embedding_l2": 1e-5, "dropout": 0.2},
    {"embedding_l2": 1e-5, "dropout": 0.0},
]
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "lightgbm": [{"num_leaves": 31}, {"num_leaves": 127}, {"num_leaves": 127, "cat_smooth": 50, "cat_l2": 20}],
    "catboost": [{"depth": 6}, {"depth": 8}],
    "dcnv2": _NETWORK,
    "finalmlp": [_NETWORK[number] for number in (2, 3, 1)],
    "fuxictr-dcnv2": _FUXICTR,
    "fuxictr-finalmlp": [*_FUXICTR, {**_FUXICTR[0], "context": ["f0", "f1"]}],
}


def main() -> None:
    """Parse, run what is not done yet, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--peers", default="lightgbm,catboost,dcnv2,finalmlp")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--settings", type=int, help="try only so many settings of each")
    parser.add_argument("--out", type=Path, help="folder of the results; runs/peers/CONFIG unless given")
    parser.add_argument("--environment", type=Path, help="of LightGBM and CatBoost; runs/peers/env unless given")
    parser.add_argument("--model-zoo", type=Path, help="the model_zoo folder of FuxiCTR's repository")
    parser.add_argument("--trainings", type=int, help="stop with exit code 3 where more than so many are left")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    out = arguments.out or Path("runs/peers") / arguments.config.stem
    out.mkdir(parents=True, exist_ok=True)
    log = export(arguments.config, out)
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    runner = Runner(out, log, arguments.environment or Path("runs/peers/env"), arguments.trainings, arguments.model_zoo)
    rows = [peer(name, runner, seeds, arguments.settings) for name in arguments.peers.split(",")]
    if arguments.json:
        print(json.dumps({"config": str(arguments.config), "seeds": seeds, "peers": rows}))
    else:
        show(rows)


def export(path: Path, out: Path) -> Path:
    """Write the encoded rows of every part as plain arrays: what every peer reads."""
    target = out / "log.npz"
    if target.exists():
        return target
    config = fw.load_config(path)
    plain = {
        name: msgspec.structs.replace(field, bins=None, edges=None, scale="none") if field.type == "number" else field
        for name, field in config.fields.items()
    }
    prepared = fw.prepare(msgspec.structs.replace(config, fields=plain))
    layout = prepared.encoder.layout
    arrays: dict[str, npt.NDArray[Any]] = {"rows": np.diff(layout.base)[layout.single >= 0]}
    for part, cache in prepared.parts.items():
        examples = cache.gather(np.arange(cache.num_examples))
        batch = examples.batch
        is_value = (layout.value >= 0)[layout.single >= 0]
        values = batch.values.astype(np.float32).copy()
        values[batch.ids[is_value] == 0] = np.nan
        bags = [np.zeros((cache.num_examples, 0), np.float32)]
        for field, line in enumerate(layout.bag):
            if line >= 0:
                offsets = batch.offsets[line]
                many = np.zeros((cache.num_examples, layout.base[field + 1] - layout.base[field]), np.float32)
                owner = np.repeat(np.arange(cache.num_examples), np.diff(offsets))
                inside = slice(offsets[0], offsets[-1])
                np.add.at(many, (owner, batch.bag_ids[inside]), batch.bag_weights[inside])
                bags.append(many)
        arrays |= {
            f"{part}_ids": batch.ids[~is_value].T.astype(np.int32),
            f"{part}_values": values.T,
            f"{part}_bags": np.concatenate(bags, axis=1),
            f"{part}_labels": examples.labels,
        }
        arrays["bag_widths"] = np.array([bag.shape[1] for bag in bags[1:]], dtype=np.int64)
        arrays["rows"] = np.diff(layout.base)[layout.single >= 0][~is_value]
    temporary = target.with_suffix(".tmp.npz")
    np.savez(temporary, **arrays)
    temporary.rename(target)
    return target


class Runner:
    """Trains peers in processes of their own, unless that was done; `left` trainings at most."""

    def __init__(
        self, out: Path, log: Path, environment: Path, left: int | None, model_zoo: Path | None = None
    ) -> None:
        self.out, self.log, self.environment, self.left, self.model_zoo = out, log, environment, left, model_zoo

    def run(self, name: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
        """Return what the training of one peer wrote."""
        stem = self.out / f"{name}-setting-{settings['setting']}-seed-{seed}"
        report = stem.with_suffix(".json")
        if not report.exists():
            if self.left is not None and self.left <= 0:
                raise SystemExit(3)
            self.left = None if self.left is None else self.left - 1
            figures = self._train(name, seed, settings, stem.with_suffix(".npz"))
            temporary = report.with_suffix(".tmp")
            temporary.write_text(json.dumps(figures))
            temporary.rename(report)
            print(f"{name} {settings} seed {seed}: valid {figures['valid_auc']:.4f}", file=sys.stderr, flush=True)
        return {**json.loads(report.read_text()), "file": str(stem.with_suffix(".npz"))}

    def best(self, name: str, num_settings: int | None = None) -> dict[str, Any]:
        """Return the run with seed 0 whose settings are the best on valid."""
        numbered = [{**settings, "setting": number} for number, settings in enumerate(SETTINGS[name][:num_settings])]
        return max((self.run(name, 0, each) for each in numbered), key=lambda result: float(result["valid_auc"]))

    def _program(self, name: str) -> tuple[Path, str]:
        if name in TREES:
            return python_of(self.environment), "peer_trees.py"
        if not name.startswith("fuxictr"):
            return Path(sys.executable), "peer_networks.py"
        if self.model_zoo is None:
            raise SystemExit(f"{name} needs --model-zoo: the model_zoo folder of a checkout of FuxiCTR's repository")
        return peer_python("fuxictr", *FUXICTR), "peer_fuxictr.py"

    def _train(self, name: str, seed: int, settings: dict[str, Any], file: Path) -> dict[str, Any]:
        python, script = self._program(name)
        one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
        command = [python, Path(__file__).with_name(script), name, self.log, file, str(seed), json.dumps(settings)]
        command += [str(self.model_zoo)] if name.startswith("fuxictr") else []
        started = time.perf_counter()
        done = subprocess.run(command, env={**os.environ, **one_thread}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return {**figures, "settings": settings, "seed": seed, "whole_seconds": time.perf_counter() - started}


def peer(name: str, runner: Runner, seeds: list[int], num_settings: int | None) -> dict[str, Any]:
    """Choose the settings of one peer on valid, train it with every seed, and return its figures."""
    best = runner.best(name, num_settings)
    runs = [runner.run(name, seed, best["settings"]) for seed in seeds]
    with np.load(runner.log) as arrays:
        labels = arrays["test_labels"]
    metrics = [evaluate_predictions(probabilities(result), labels) for result in runs]
    summary: dict[str, Any] = {"peer": name, "settings": best["settings"]}
    for key in ("auc", "logloss", "calibration_error"):
        values = [float(getattr(metric, key)) for metric in metrics]
        summary[key], summary[f"{key}_deviation"] = fmean(values), stdev(values) if len(values) > 1 else 0.0
    for key in ("parameters", "seconds", "valid_auc"):
        summary[key] = fmean(float(result[key]) for result in runs)
    return summary


def probabilities(result: dict[str, Any]) -> npt.NDArray[np.floating[Any]]:
    """Return the kept probabilities of the test rows."""
    with np.load(result["file"]) as arrays:
        kept: npt.NDArray[np.floating[Any]] = arrays["test"].astype(np.float64)
    return kept


def python_of(environment: Path) -> Path:
    """Return the interpreter of the environment of the trees, made where it is missing."""
    python = environment / "bin" / "python"
    if not (environment / ".complete").exists():
        venv.create(environment, with_pip=True, clear=True)
        packages = ["numpy", "scipy", "pandas", "narwhals", "six", "graphviz", "matplotlib", "plotly", "scikit-learn"]
        for words in ([*packages], ["--no-deps", *(name for names in TREES.values() for name in names)]):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *words], check=True)
        (environment / ".complete").touch()
    return python


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    print(f"{'peer':10}{'parameters':>12}{'test AUC':>17}{'logloss':>17}{'ECE':>8}{'seconds':>9}  settings")
    for row in rows:
        auc, loss = (f"{row[key]:.4f} ± {row[f'{key}_deviation']:.4f}" for key in ("auc", "logloss"))
        print(
            f"{row['peer']:10}{row['parameters']:12,.0f}{auc:>17}{loss:>17}{row['calibration_error']:8.4f}"
            f"{row['seconds']:9.0f}  {row['settings']}"
        )


if __name__ == "__main__":
    main()
