"""How accurate are the models on a log: the mean and spread over training seeds, and each against the first in pairs.

    python benchmarks/accuracy.py data/movielens-1m.toml --models lr,lc-dnn:1,lc-wide-deep:1,lc-dnn:8 --seeds 0,1,2

Prints a line a model: parameters, test AUC and logloss (mean and standard deviation over the seeds), the difference in
AUC to the first model, and how many standard errors of the paired difference (DeLong) that is; epochs and seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import fieldwise as fw
from fieldwise.data.batches import Batches
from fieldwise.metrics import delong
from fieldwise.models.load import load_model
from fieldwise.training.score import predict_batches


def main() -> None:
    """Parse, train what is not trained yet, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--models", default="lr,lc-dnn:1,lc-wide-deep:1,lc-dnn:8")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--out", type=Path, help="folder of the runs; runs/accuracy/CONFIG unless given")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    out = arguments.out or Path("runs/accuracy") / arguments.config.stem
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    rows: dict[str, list[dict[str, Any]]] = {}
    for seed in seeds:
        config = fw.load_config(arguments.config, [*arguments.set, f"train.seed={seed}"])
        comparison = fw.compare(
            config, out / f"seed-{seed}", models=arguments.models.split(","), overwrite=arguments.overwrite
        )
        test = fw.prepare(config).parts["test"]
        labels = test.gather(np.arange(test.num_examples)).labels
        first: npt.NDArray[np.floating] | None = None
        for result in comparison.models:
            print(f"seed {seed}: {result.model} {result.test.auc:.4f}", file=sys.stderr)
            predicted = probabilities(Path(result.folder), Batches(test, 8192, shuffle=False))
            first = predicted if first is None else first
            pair = delong(labels, predicted, first) if predicted.ndim == 1 and predicted is not first else None
            name = result.model if result.units is None else f"{result.model}:{result.units}"
            rows.setdefault(name, []).append(
                {
                    "parameters": result.parameters,
                    "auc": result.test.auc,
                    "logloss": result.test.logloss,
                    "calibration_error": result.test.calibration_error,
                    "difference": pair.difference if pair else 0.0,
                    "standard_error": pair.standard_error if pair else 0.0,
                    "best_epoch": result.best_epoch,
                    "seconds_per_epoch": result.seconds_per_epoch,
                }
            )
    summary = [summarise(name, runs) for name, runs in rows.items()]
    if arguments.json:
        print(json.dumps({"config": str(arguments.config), "set": arguments.set, "seeds": seeds, "models": summary}))
    else:
        show(summary)


def probabilities(folder: Path, batches: Batches) -> npt.NDArray[np.floating]:
    """Return a run's probabilities of all rows, in order."""
    model = load_model(fw.open_bundle(folder))
    return np.concatenate(list(predict_batches(model, (examples.batch for examples in batches.epoch(0)))))


def summarise(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of every figure over the seeds, and the spread of AUC and logloss."""
    summary: dict[str, Any] = {"model": name, "num_seeds": len(runs)}
    summary |= {key: statistics.fmean(run[key] for run in runs) for key in runs[0]}
    for key in ("auc", "logloss"):
        summary[f"{key}_deviation"] = statistics.stdev(run[key] for run in runs) if len(runs) > 1 else 0.0
    return summary


def show(summary: list[dict[str, Any]]) -> None:
    """Print the table."""
    heads = (("test AUC", 17), ("logloss", 17), ("AUC - first", 13), ("errors", 8), ("epoch", 7), ("s/epoch", 9))
    print(f"{'model':18}{'parameters':>12}" + "".join(f"{head:>{width}}" for head, width in heads))
    for row in summary:
        errors = row["difference"] / row["standard_error"] if row["standard_error"] else 0.0
        auc, loss = (f"{row[key]:.4f} ± {row[f'{key}_deviation']:.4f}" for key in ("auc", "logloss"))
        print(
            f"{row['model']:18}{row['parameters']:12,.0f}{auc:>17}{loss:>17}{row['difference']:+13.4f}{errors:+8.1f}"
            f"{row['best_epoch']:7.1f}{row['seconds_per_epoch']:9.2f}"
        )


if __name__ == "__main__":
    main()
