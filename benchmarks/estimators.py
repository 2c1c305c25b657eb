"""The estimators of `fieldwise.sklearn` beside the command line: the same rows have to make the same model.

    fieldwise datasets movielens-1m --out data
    python benchmarks/estimators.py data/movielens-1m.toml --models lr,lc-dnn [--epochs 2] [--units 1]

Training, validation and test rows are handed to the estimators as pandas frames; the command line reads the file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from sklearn.metrics import roc_auc_score

from fieldwise.config import load_config
from fieldwise.sklearn import LCDNNClassifier, LCWideDeepClassifier, LRClassifier

ESTIMATORS = {"lr": LRClassifier, "lc-dnn": LCDNNClassifier, "lc-wide-deep": LCWideDeepClassifier}


def of_command_line(config: Path, kind: str, epochs: int | None, units: int) -> float:
    """Return the test AUC that ``fieldwise train`` reports."""
    settings = [f"model.kind={kind}", f"model.units={units}"]
    settings += [f"train.epochs={epochs}"] if epochs and kind != "lr" else []
    words = [word for setting in settings for word in ("--set", setting)]
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "fieldwise", "train", str(config), "--out", f"{out}/run", "--json", *words]
        return float(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["test"]["auc"])


def of_estimator(config: Path, kind: str, epochs: int | None, units: int) -> float:
    """Return the AUC of an estimator's probabilities of the test rows."""
    given = load_config(config)
    [path] = given.paths("train")
    label, split = given.data.label, given.data.split
    assert split is not None, "the file says which rows are for what"
    frame = pd.read_parquet(path)
    parts = {name: rows.drop(columns=[split]) for name, rows in frame.groupby(split)}
    X = {name: rows.drop(columns=[label]) for name, rows in parts.items()}
    y = {name: rows[label].to_numpy() for name, rows in parts.items()}
    model = ESTIMATORS[kind](fields=given.fields)
    if kind != "lr":
        model.set_params(units=units, **({"epochs": epochs} if epochs else {}))
    model.fit(X["train"], y["train"], eval_set=(X["valid"], y["valid"]))
    return float(roc_auc_score(y["test"], model.predict_proba(X["test"])[:, 1]))


def main() -> None:
    """Print the two test AUCs of each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--models", default="lr,lc-dnn,lc-wide-deep")
    parser.add_argument("--epochs", type=int, help="of the networks")
    parser.add_argument("--units", type=int, default=0, help="per field, of the networks; 0 as for a configuration")
    chosen = parser.parse_args()
    print("| model | command line | estimator | difference |\n|---|---:|---:|---:|")
    for kind in chosen.models.split(","):
        both = [each(chosen.config, kind, chosen.epochs, chosen.units) for each in (of_command_line, of_estimator)]
        print(f"| {kind} | {both[0]:.5f} | {both[1]:.5f} | {both[1] - both[0]:+.5f} |", flush=True)


if __name__ == "__main__":
    main()
