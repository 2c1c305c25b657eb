"""Our models, the target-encoding baseline and other people's models on one log: one table, differences in pairs.

    python benchmarks/baselines.py data/movielens-100k.toml --seeds 3 --peers lightgbm,catboost
    python benchmarks/baselines.py data/adult.toml --models lr,lc-dnn --variant cross:auto:model.deep=cross

Ours are trained as `fieldwise compare` trains them, with the settings of the configuration, and each variant with what
it replaces; target encoding by `target_encoding.py`, the peers by `peers.py`. For each model: parameters, seconds of
training (all epochs, logistic regression included), and on the test rows AUC, logloss and calibration error, mean and
standard deviation over the seeds; then its AUC minus that of the best of ours on valid, with the interval and the
p-value of `fieldwise.metrics.paired_auc`, not corrected for the number of models. What is done is not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))  # the files beside this one, however it is started

import peers
import target_encoding

import fieldwise as fw
from fieldwise.jobs.compare.differences import Contender
from fieldwise.metrics import Metrics, evaluate_predictions, paired_auc

_BASELINE = "target-encoding"
_MODELS = (
    "lr,target-encoding,dnn,lc-dnn:1,lc-wide-deep:1,lc-dnn+bayesian-fm,lc-wide-deep+bayesian-fm,lc-resnet+bayesian-fm"
)
Probabilities = npt.NDArray[np.floating[Any]]


class Row(NamedTuple):
    """A model: what it took, and its probabilities of the test rows for each seed."""

    name: str
    parameters: float
    seconds: float
    valid_auc: float
    test: list[Probabilities]


def main() -> None:
    """Parse, train what is not trained yet, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--models", default=_MODELS)
    parser.add_argument("--variant", action="append", default=[], metavar="NAME:MODEL:KEY=VALUE[;KEY=VALUE]")
    parser.add_argument("--peers", default="", help="as in peers.py")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--out", type=Path, help="folder of the runs; runs/baselines/CONFIG unless given")
    parser.add_argument("--settings", type=int, help="of each peer, as in peers.py")
    parser.add_argument("--environment", type=Path, default=Path("runs/peers/env"), help="of LightGBM and CatBoost")
    parser.add_argument("--model-zoo", type=Path, help="the model_zoo folder of FuxiCTR's repository")
    parser.add_argument("--peers-out", type=Path, help="results of peers.py; OUT/peers unless given")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    out = arguments.out or Path("runs/baselines") / arguments.config.stem
    models = arguments.models.split(",")
    rows = ours(arguments.config, out / "models", [m for m in models if m != _BASELINE], arguments.seeds, arguments.set)
    if _BASELINE in models:
        rows.append(baseline(arguments.config, out / _BASELINE, arguments.seeds, arguments.set))
    for variant in arguments.variant:
        name, model, changes = variant.rsplit(":", 2)
        overrides = [*arguments.set, *changes.split(";")]
        rows += [
            row._replace(name=name) for row in ours(arguments.config, out / name, [model], arguments.seeds, overrides)
        ]
    best = max(rows, key=lambda row: row.valid_auc)
    if arguments.peers:
        rows += theirs(arguments, out)
    test = fw.prepare(fw.load_config(arguments.config, arguments.set)).parts["test"]
    columns = test.gather(np.arange(test.num_examples))
    table = [summarise(row, best, columns.labels, columns.weights, columns.groups) for row in rows]
    if arguments.json:
        print(json.dumps({"config": str(arguments.config), "set": arguments.set, "best": best.name, "models": table}))
    else:
        show(table, best.name)


def ours(path: Path, out: Path, models: list[str], num_seeds: int, overrides: list[str]) -> list[Row]:
    """Train our models and return what they are."""
    config = fw.load_config(path, overrides)
    by_model: dict[str, list[fw.Result]] = {}
    for seed in range(num_seeds):  # the same folders as `compare --seeds` uses, without its own comparison
        of_seed = fw.load_config(path, [*overrides, f"train.seed={seed}"])
        comparison = fw.compare(of_seed, out if seed == 0 else out / f"seed-{seed}", models=models)
        for spread, result in zip(comparison.spreads, comparison.models, strict=True):
            print(f"{spread.model} seed {seed}: valid {result.valid.auc:.4f}", file=sys.stderr, flush=True)
            by_model.setdefault(spread.model, []).append(result)
    test = fw.prepare(config).parts["test"]
    return [
        Row(
            name,
            fmean(run.parameters for run in runs),
            fmean(run.epochs * run.seconds_per_epoch + (run.pretrain_seconds or 0.0) for run in runs),
            fmean(run.valid.auc for run in runs),
            Contender(name, runs).probabilities(test),
        )
        for name, runs in by_model.items()
    ]


def baseline(path: Path, out: Path, num_seeds: int, overrides: list[str]) -> Row:
    """Train target encoding and a perceptron, and return what it is."""
    runs = []
    for seed in range(num_seeds):
        kept = out / f"seed-{seed}.npz"
        if not kept.exists():
            trained = target_encoding.train(fw.load_config(path, [*overrides, f"train.seed={seed}"]))
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(kept, **trained._asdict())
        with np.load(kept) as arrays:
            runs.append({name: arrays[name] for name in arrays.files})
    figures = [fmean(float(run[key]) for run in runs) for key in ("parameters", "seconds", "valid_auc")]
    return Row(_BASELINE, *figures, [run["test"] for run in runs])


def theirs(arguments: argparse.Namespace, out: Path) -> list[Row]:
    """Train the peers and return what they are."""
    folder = arguments.peers_out or out / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    log = peers.export(arguments.config, folder)
    runner = peers.Runner(folder, log, arguments.environment, None, arguments.model_zoo)
    rows = []
    for name in arguments.peers.split(","):
        best = runner.best(name, arguments.settings)
        runs = [runner.run(name, seed, best["settings"]) for seed in range(arguments.seeds)]
        figures = [fmean(float(run[key]) for run in runs) for key in ("parameters", "seconds", "valid_auc")]
        rows.append(Row(name, *figures, [peers.probabilities(run) for run in runs]))
    return rows


def summarise(
    row: Row,
    best: Row,
    labels: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32] | None,
    groups: npt.NDArray[np.uint64] | None,
) -> dict[str, Any]:
    """Return the figures of one model."""
    metrics: list[Metrics] = [evaluate_predictions(each, labels, weights, groups) for each in row.test]
    summary: dict[str, Any] = {"model": row.name, "parameters": row.parameters, "seconds": row.seconds}
    for key in ("auc", "logloss", "calibration_error"):
        values = [float(getattr(metric, key)) for metric in metrics]
        summary[key], summary[f"{key}_deviation"] = fmean(values), stdev(values) if len(values) > 1 else 0.0
    if row is not best:
        own, reference = ([each.astype(np.float64) for each in both.test] for both in (row, best))
        pair = paired_auc(labels, own, reference, weights)
        summary |= {"difference": pair.difference, "low": pair.low, "high": pair.high, "p_value": pair.p_value}
    return summary


def show(table: list[dict[str, Any]], best: str) -> None:
    """Print the table, as Markdown."""
    print(f"| model | parameters | seconds | test AUC | logloss | ECE | AUC - {best} | p |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for row in table:
        auc, loss = (f"{row[key]:.4f} ± {row[f'{key}_deviation']:.4f}" for key in ("auc", "logloss"))
        difference = p_value = ""
        if "difference" in row:
            difference = f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
            p_value = f"{row['p_value']:.2g}"
        print(
            f"| {row['model']} | {row['parameters']:,.0f} | {row['seconds']:.0f} | {auc} | {loss} "
            f"| {row['calibration_error']:.4f} | {difference} | {p_value} |"
        )


if __name__ == "__main__":
    main()
