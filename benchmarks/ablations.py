"""What is each part of a model worth? One change at a time, over training seeds, against the configuration as it is.

    python benchmarks/ablations.py data/movielens-1m.toml --seeds 0,1,2
    python benchmarks/ablations.py data/movielens-1m.toml --only initial,leak --json

Groups of changes (`GROUPS`): ``stack`` (what a Bayesian factorisation machine brings), and, of LC-DNN alone where
nothing else is said, ``initial`` (logistic regression first or random weights, with and without the standardisation,
K = 1, 4, 8, 16), ``frozen`` (LR's weights kept as they are, or trained on), ``wide`` (a wide part, a skip, neither),
``regularisation``, and ``leak``: the network learns from one half of the training rows and begins with a logistic
regression that learnt from the same half, or from the other (by example weights of 0 and 1, so that the features are
the same).

The first line of a group is what the others are compared with, in pairs on the test rows and over the seeds
(`fieldwise.metrics.paired_auc`). Runs are kept and not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from hashlib import sha256
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

import fieldwise as fw
from fieldwise.data.batches import Batches
from fieldwise.jobs.train.train import pretrain
from fieldwise.metrics import evaluate_predictions, paired_auc
from fieldwise.models.load import load_model
from fieldwise.training.score import predict_batches

_FROZEN = "train.table.learning_rate=1e-12"
_LR = 'model.kind="lc-dnn"'


class Change(NamedTuple):
    """A line of the table: settings of the configuration, and for ``leak`` which half of the rows LR learnt from."""

    name: str
    settings: list[str]
    halves: str = ""


def _initial() -> list[Change]:
    return [
        Change(
            f"K = {units}, {initial}, {'standardised' if standardise == 'true' else 'as it is'}",
            [_LR, f"model.units={units}", f'model.initial_model="{initial}"', f"model.standardise={standardise}"],
        )
        for units in (16, 8, 4, 1)
        for initial in ("lr", "random")
        for standardise in ("true", "false")
    ]


GROUPS: dict[str, list[Change]] = {
    "stack": [
        Change("LC-DNN + Bayesian FM", ['model.kind="lc-dnn+bayesian-fm"']),
        Change("LC-DNN", [_LR]),
        Change("LC-DNN, random weights", [_LR, 'model.initial_model="random"']),
    ],
    "initial": _initial(),
    "frozen": [
        Change("K = 1, trained jointly", [_LR, "model.units=1"]),
        Change("K = 1, LR's weights frozen", [_LR, "model.units=1", _FROZEN]),
        Change("K = 1, wide, trained jointly", [_LR, "model.units=1", 'model.kind="lc-wide-deep"']),
        Change("K = 1, wide, LR's weights frozen", [_LR, "model.units=1", 'model.kind="lc-wide-deep"', _FROZEN]),
    ],
    "wide": [
        Change("skip from unit 0", [_LR]),
        Change("neither", [_LR, "model.skip=false"]),
        Change("wide part", [_LR, 'model.kind="lc-wide-deep"']),
        Change("K = 1, skip from unit 0", [_LR, "model.units=1"]),
        Change("K = 1, neither", [_LR, "model.units=1", "model.skip=false"]),
        Change("K = 1, wide part", [_LR, "model.units=1", 'model.kind="lc-wide-deep"']),
    ],
    "regularisation": [
        Change("as configured", [_LR]),
        Change("no L2 on units", [_LR, "model.unit_l2=0"]),
        Change("unit_l2 a third", [_LR, "model.unit_l2=0.003"]),
        Change("unit_l2 three times", [_LR, "model.unit_l2=0.03"]),
        Change("no dropout of units", [_LR, "model.unit_dropout=0"]),
        Change("dropout of units .3", [_LR, "model.unit_dropout=0.3"]),
        Change("dropout of hidden units .2", [_LR, "model.dropout=0.2"]),
        Change("weights not averaged", [_LR, "train.average_epochs=0"]),
        Change("no interactions", [_LR, "model.fm_interactions=false"]),
    ],
    "leak": [
        Change("K = 1, LR of the other half", [_LR, "model.units=1"], "ab"),
        Change("K = 1, LR of the same half", [_LR, "model.units=1"], "bb"),
        Change("K = 1, no LR", [_LR, "model.units=1", 'model.initial_model="random"'], "bb"),
        Change("LR of the other half", [_LR], "ab"),
        Change("LR of the same half", [_LR], "bb"),
        Change("no LR", [_LR, 'model.initial_model="random"'], "bb"),
    ],
}


def main() -> None:
    """Parse, train what is not trained yet, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--only", default=",".join(GROUPS), help="groups of changes")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--out", type=Path, help="folder of the runs; runs/ablations/CONFIG unless given")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    out = arguments.out or Path("runs/ablations") / arguments.config.stem
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    tables = {
        group: table(arguments.config, GROUPS[group], arguments.set, seeds, out) for group in arguments.only.split(",")
    }
    if arguments.json:
        print(json.dumps({"config": str(arguments.config), "set": arguments.set, "seeds": seeds, "groups": tables}))
        return
    for group, rows in tables.items():
        print(f"\n{group}")
        print(f"{'':38}{'test AUC':>17}{'logloss':>17}{'AUC - first (95 %)':>31}{'p':>9}{'epoch':>7}")
        for row in rows:
            auc, loss = (f"{row[key]:.4f} ± {row[f'{key}_deviation']:.4f}" for key in ("auc", "logloss"))
            pair = f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})" if "low" in row else ""
            p_value = f"{row['p_value']:.1g}" if "low" in row else ""
            print(f"{row['change']:38}{auc:>17}{loss:>17}{pair:>31}{p_value:>9}{row['best_epoch']:7.1f}", flush=True)


def table(path: Path, changes: list[Change], settings: list[str], seeds: list[int], out: Path) -> list[dict[str, Any]]:
    """Return the figures of a group's changes."""
    rows: list[dict[str, Any]] = []
    first: list[npt.NDArray[np.floating]] = []
    for change in changes:
        source = halves(path, out) if change.halves else path
        runs = [run(source, change, [*settings, f"train.seed={seed}"], out) for seed in seeds]
        metrics = [evaluate_predictions(each, labels) for _, each, labels in runs]
        row: dict[str, Any] = {"change": change.name, "settings": change.settings}
        for key in ("auc", "logloss", "calibration_error"):
            values = [float(getattr(metric, key)) for metric in metrics]
            row[key], row[f"{key}_deviation"] = fmean(values), stdev(values) if len(values) > 1 else 0.0
        row["best_epoch"] = fmean(float(result.best_epoch or 0) for result, _, _ in runs)
        predictions = [each for _, each, _ in runs]
        if first:
            pair = paired_auc(runs[0][2], predictions, first)
            row |= {"difference": pair.difference, "low": pair.low, "high": pair.high, "p_value": pair.p_value}
        first = first or predictions
        rows.append(row)
        print(f"{change.name}: {row['auc']:.4f} / {row['logloss']:.4f}", file=sys.stderr, flush=True)
    return rows


def run(
    path: Path, change: Change, settings: list[str], out: Path
) -> tuple[fw.Result, npt.NDArray[np.floating], npt.NDArray[np.int32]]:
    """Train unless it was done; return the result, the probabilities of the test rows, and their labels."""
    own = [*change.settings, *settings]
    if change.halves:
        own.append(f'data.weight="half_{change.halves[1]}"')
    config = fw.load_config(path, own)
    # One folder for each configuration, whichever group names it.
    folder = out / _key(config, change)
    starting = started_from(path, change, settings, out) if change.halves == "ab" else nullcontext()
    with starting:
        result = fw.train(config, folder)
    test = fw.prepare(config).parts["test"]
    labels = test.gather(np.arange(test.num_examples)).labels
    assert labels is not None
    model = load_model(fw.open_bundle(folder))
    batches = (examples.batch for examples in Batches(test, 8192, shuffle=False).epoch(0))
    return result, np.concatenate(list(predict_batches(model, batches))), labels


def _key(config: fw.Config, change: Change) -> str:
    return sha256(msgspec.json.encode([config, change.halves])).hexdigest()[:16]


@contextmanager
def started_from(path: Path, change: Change, settings: list[str], out: Path) -> Iterator[None]:
    """Let training start from a logistic regression that learnt from the other half of the rows."""
    config = fw.load_config(path, [*settings, f'data.weight="half_{change.halves[0]}"'])
    folder = out / f"lr-{_key(config, change)}"
    other = pretrain(config, folder, fw.prepare(config))
    with patch("fieldwise.jobs.train.train.pretrain", return_value=other):
        yield


def halves(path: Path, out: Path) -> Path:
    """Write the log once more, with a weight of 1 for a random half of the training rows in one column, for the other
    half in another, and for all other rows in both; return its configuration.
    """
    target = out / f"halves-{path.name}"
    if target.exists():
        return target
    config = fw.load_config(path)
    if len(config.data.train) != 1 or config.data.split is None or config.data.weight is not None:
        raise SystemExit("leak needs a log in one Parquet file, with a split column and without weights")
    log = pq.read_table(path.parent / config.data.train[0])
    is_train = np.array(log[config.data.split]) == "train"
    in_a = np.random.default_rng(0).random(len(log)) < 0.5
    for name, chosen in (("half_a", in_a), ("half_b", ~in_a)):
        log = log.append_column(name, pa.array((chosen | ~is_train).astype(np.float32)))
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(log, out / "halves.parquet")
    text = path.read_text().replace(f'"{config.data.train[0]}"', '"halves.parquet"')
    target.write_text(text)
    return target


if __name__ == "__main__":
    main()
