"""Trees beside a model, for comparison: LightGBM or CatBoost on out-of-fold target means, stacked with the model.

The stack says what trees would add. It cannot be served or updated: a bundle holds no trees, and is as it would be
without them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.bundle import open_bundle
from fieldwise.calibration import sigmoid
from fieldwise.config import Config
from fieldwise.data.batches import Batches
from fieldwise.distributed.world import World
from fieldwise.errors import ConfigError
from fieldwise.events import Listener, Noted
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.jobs.result import MemberResult, TreesResult
from fieldwise.jobs.train.members import minus
from fieldwise.kernels.threads import num_threads
from fieldwise.metrics import Metrics, evaluate_predictions
from fieldwise.models.load import load_model
from fieldwise.models.registry import model_label
from fieldwise.models.stack import Stacker
from fieldwise.training.initial import base_rate
from fieldwise.training.score import all_heads
from fieldwise.training.target_means import TreeRows, target_means

__all__ = ["check_trees", "refuse_trees_of", "stacked_with_trees"]

_MAX_TREES, _PATIENCE, _RATE = 1500, 50, 0.1
_BATCH = 8192
_TOLD = (
    'train.trees = "catboost" or "lightgbm" says what trees would add (pip install "fieldwise[trees]"); a stack with '
    "them cannot be served or updated"
)

Rows = dict[str, TreeRows]
Columns = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float64]


def refuse_trees_of(config: Config, verb: str) -> None:
    """Raise ConfigError where a verb has no stack with trees."""
    if config.train.trees != "none":
        raise ConfigError(
            f"{verb} has no stack with trees", where="train.trees", got=config.train.trees, fix="use fieldwise train"
        )


def check_trees(config: Config, prepared: Prepared, world: World, listen: Listener) -> None:
    """Raise ConfigError where trees are asked for, and cannot be had; the preset ``best`` is told of them."""
    kind = config.train.trees
    obstacles = {
        "there are no validation rows": "valid" not in prepared.parts,
        "there are more than two classes": len(prepared.encoder.schema.classes) > 2,
        "there are several labels": bool(config.model.labels),
        "train.negative_rate leaves examples out": config.train.negative_rate < 1.0,
        "several workers train together": world.size > 1,
    }
    reason = next((reason for reason, is_so in obstacles.items() if is_so), None)
    if kind == "none":
        if config.train.preset == "best" and config.model.kind != "lr" and reason is None:
            listen(Noted(_TOLD))
        return
    if find_spec(kind) is None:
        raise ConfigError(
            f"{model_label(kind)} is not installed", where="train.trees", fix="pip install 'fieldwise[trees]'"
        )
    if reason is not None:
        raise ConfigError(f"there is no stack with trees: {reason}", where="train.trees", got=kind)


def stacked_with_trees(
    config: Config, prepared: Prepared, folder: Path, alone: list[MemberResult], seconds: float
) -> TreesResult:
    """Train the trees of a configuration, and stack them with the model in a run's bundle.

    Parameters
    ----------
    config, prepared
        The configuration and the log.
    folder
        Of the bundle.
    alone
        The members of the model, if it is a stack; what they took is known from there.
    seconds
        What the model took as a whole.
    """
    kind, seed = config.train.trees, config.train.seed
    model = load_model(open_bundle(folder).verify())
    heads = {
        part: all_heads(model, Batches(cache, _BATCH, shuffle=False).epoch(0))
        for part, cache in prepared.parts.items()
        if part != "train"
    }
    began = time.perf_counter()
    rows = target_means(prepared.parts, prepared.encoder.schema.fields, seed)
    answer = (_lightgbm if kind == "lightgbm" else _catboost)(rows, seed, num_threads())
    of_trees = {part: answer(rows[part].columns) for part in heads}
    costs = {each.model: each.seconds for each in alone} or dict.fromkeys(model.members, seconds)
    costs[kind] = time.perf_counter() - began
    for part, columns in heads.items():
        joined = np.concatenate([columns["logits"], of_trees[part][:, None].astype(columns["logits"].dtype)], axis=1)
        heads[part] = {**columns, "logits": joined}
    counts = {**{name: member.num_heads for name, member in model.each()}, kind: 1}
    level = float(base_rate(prepared.parts["train"])[0])
    stacker = _fitted(list(counts.values()), heads["valid"], level)
    metrics = {part: _metrics(columns, _logits(stacker, columns)) for part, columns in heads.items()}
    members = [_member(name, counts, stacker, heads, metrics["valid"], costs[name]) for name in counts]
    stack = "+".join([model.config.kind, kind])
    return TreesResult(model=stack, valid=metrics["valid"], test=metrics.get("test"), members=members)


def _member(
    name: str,
    counts: dict[str, int],
    stacker: Stacker,
    heads: dict[str, Columns],
    whole: Metrics,
    seconds: float | None,
) -> MemberResult:
    """Return what one member reaches alone, and what the stack loses on valid without it."""
    is_own = np.repeat([other == name for other in counts], list(counts.values()))
    parts = {
        part: _metrics(columns, columns["logits"][:, is_own].mean(axis=1, dtype=np.float64))
        for part, columns in heads.items()
    }
    others = {**heads["valid"], "logits": heads["valid"]["logits"][:, ~is_own]}
    without = _fitted([count for other, count in counts.items() if other != name], others, stacker.level)
    lost = _metrics(others, _logits(without, others))
    return MemberResult(
        model=name,
        weights=stacker.weight[1:].numpy()[is_own].tolist(),
        valid=parts["valid"],
        test=parts.get("test"),
        seconds=seconds,
        auc_lost=minus(whole.auc, lost.auc),
        logloss_lost=minus(lost.logloss, whole.logloss),
    )


def _fitted(heads: list[int], columns: Columns, level: float) -> Stacker:
    stacker = Stacker(heads, level)
    stacker.fit(columns["logits"], columns["labels"], columns.get("weights"))
    return stacker


def _logits(stacker: Stacker, columns: Columns) -> Floats:
    offset, *weights = stacker.weight.double().tolist()
    logits: Floats = offset + (columns["logits"] * np.array(weights)).sum(axis=1)
    return logits


def _metrics(columns: Columns, logits: Floats) -> Metrics:
    return evaluate_predictions(sigmoid(logits), columns["labels"], columns.get("weights"), columns.get("groups"))


def _lightgbm(rows: Rows, seed: int, threads: int) -> Callable[[npt.NDArray[np.float32]], Floats]:
    """Train LightGBM, and return what gives its logits."""
    import lightgbm

    data = {
        part: lightgbm.Dataset(rows[part].columns, rows[part].labels, weight=rows[part].weights)
        for part in ("train", "valid")
    }
    data["valid"].reference = data["train"]
    parameters = {
        "objective": "binary", "learning_rate": _RATE, "feature_fraction": 0.9, "bagging_fraction": 0.9,
        "bagging_freq": 1, "num_threads": threads, "seed": seed, "deterministic": True, "force_row_wise": True,
        "verbose": -1,
    }  # fmt: skip
    stop = lightgbm.early_stopping(_PATIENCE, verbose=False)
    booster = lightgbm.train(parameters, data["train"], _MAX_TREES, valid_sets=[data["valid"]], callbacks=[stop])

    def answer(columns: npt.NDArray[np.float32]) -> Floats:
        return np.asarray(booster.predict(columns, raw_score=True), np.float64)

    return answer


def _catboost(rows: Rows, seed: int, threads: int) -> Callable[[npt.NDArray[np.float32]], Floats]:
    """Train CatBoost, and return what gives its logits."""
    from catboost import CatBoostClassifier, Pool

    pools = {
        part: Pool(rows[part].columns, rows[part].labels, weight=rows[part].weights) for part in ("train", "valid")
    }
    model = CatBoostClassifier(
        iterations=_MAX_TREES, learning_rate=_RATE, od_type="Iter", od_wait=_PATIENCE, thread_count=threads,
        random_seed=seed, verbose=False, allow_writing_files=False,
    )  # fmt: skip
    model.fit(pools["train"], eval_set=pools["valid"], use_best_model=True)

    def answer(columns: npt.NDArray[np.float32]) -> Floats:
        return np.asarray(model.predict(columns, prediction_type="RawFormulaVal"), np.float64)

    return answer
