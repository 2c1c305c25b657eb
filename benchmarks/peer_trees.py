"""LightGBM or CatBoost on exported rows; run by `peers.py` in an environment of its own, which has no fieldwise."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import pandas as pd

MAX_TREES, PATIENCE = 1500, 50


def main() -> None:
    """Read the rows, train, write probabilities of valid and test, print the figures."""
    name, log, out, seed, settings = sys.argv[1:]
    chosen = {key: value for key, value in json.loads(settings).items() if key != "setting"}
    with np.load(log) as arrays:
        parts = {part: columns(arrays, part) for part in ("train", "valid", "test")}
        labels = {part: arrays[f"{part}_labels"] for part in parts}
    started = time.perf_counter()
    model, num_leaves = (lightgbm if name == "lightgbm" else catboost)(parts, labels, int(seed), chosen)
    seconds = time.perf_counter() - started
    predicted = {part: model(parts[part]) for part in ("valid", "test")}
    np.savez(out, **predicted)
    print(
        json.dumps(
            {"valid_auc": auc(labels["valid"], predicted["valid"]), "parameters": num_leaves, "seconds": seconds}
        )
    )


def columns(arrays: Any, part: str) -> pd.DataFrame:
    """Return one part as a table: c0, c1, ... categories, n0, ... numbers, b0, ... one per value of a bag."""
    frame = {f"c{i}": column for i, column in enumerate(arrays[f"{part}_ids"].T)}
    frame |= {f"n{i}": column for i, column in enumerate(arrays[f"{part}_values"].T)}
    frame |= {f"b{i}": column for i, column in enumerate(arrays[f"{part}_bags"].T)}
    return pd.DataFrame(frame)


def lightgbm(parts: dict[str, pd.DataFrame], labels: dict[str, Any], seed: int, chosen: dict[str, Any]) -> Any:
    """Train LightGBM; return its probabilities as a function, and its number of leaves."""
    import lightgbm as lgb

    categories = [name for name in parts["train"] if name.startswith("c")]
    data = {
        part: lgb.Dataset(parts[part], labels[part], categorical_feature=categories, free_raw_data=False)
        for part in ("train", "valid")
    }
    data["valid"].reference = data["train"]
    parameters = {
        "objective": "binary", "metric": "auc", "learning_rate": 0.1, "num_threads": 1, "seed": seed,
        "feature_fraction": 0.9, "bagging_fraction": 0.9, "bagging_freq": 1, "verbose": -1, **chosen,
    }  # fmt: skip
    stop = lgb.early_stopping(PATIENCE, verbose=False)
    booster = lgb.train(parameters, data["train"], MAX_TREES, valid_sets=[data["valid"]], callbacks=[stop])
    used = booster.best_iteration
    leaves = booster.trees_to_dataframe().query("tree_index < @used and split_feature.isnull()")
    return (lambda frame: booster.predict(frame, num_iteration=used, num_threads=1)), len(leaves)


def catboost(parts: dict[str, pd.DataFrame], labels: dict[str, Any], seed: int, chosen: dict[str, Any]) -> Any:
    """Train CatBoost; return its probabilities as a function, and its number of leaves."""
    from catboost import CatBoostClassifier, Pool

    categories = [name for name in parts["train"] if name.startswith("c")]
    pools = {part: Pool(parts[part], labels[part], cat_features=categories) for part in ("train", "valid")}
    model = CatBoostClassifier(
        iterations=MAX_TREES, learning_rate=0.15, eval_metric="AUC", od_type="Iter", od_wait=PATIENCE,
        thread_count=1, random_seed=seed, verbose=False, allow_writing_files=False, **chosen,
    )  # fmt: skip
    model.fit(pools["train"], eval_set=pools["valid"], use_best_model=True)
    leaves = int(model.get_tree_leaf_counts().sum())
    return (lambda frame: model.predict_proba(Pool(frame, cat_features=categories), thread_count=1)[:, 1]), leaves


def auc(labels: Any, predicted: Any) -> float:
    """Return the AUC by ranks."""
    from scipy.stats import rankdata

    ranks, positive = rankdata(predicted), labels == 1
    num_positive = int(positive.sum())
    above = ranks[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * (len(labels) - num_positive)))


if __name__ == "__main__":
    main()
