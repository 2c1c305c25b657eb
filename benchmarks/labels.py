"""Is a rare label learned better beside a frequent one? Conversions beside the clicks that they depend on, and alone.

    python benchmarks/labels.py --folder runs/labels --json

A log with a known truth is drawn: one row in twelve is clicked, by users and items that go together, and one click in
thirty converts, by users, items and sites::

    p(click) = sigmoid(a + u_user + v_item + p_user . q_item + s_site)
    p(conversion) = p(click) sigmoid(b + u'_user + v'_item + s'_site)       u', v', s' of their own

Three models learn the conversion with the same settings, from the same rows: one of conversions alone, one of both
labels with conversions counted among clicks, and one with both counted among all rows. Each is trained with three
seeds and stops by its AUC of conversions on valid. The AUC and logloss of conversions on test, minus those of the
model of its own, are paired tests (`metrics.paired`) over test rows and training seeds. `best` is what the truth
reaches. All trainings together take some two minutes of one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import fieldwise as fw
from fieldwise.config import config_of
from fieldwise.metrics import evaluate_predictions, paired_auc, paired_logloss

Floats = npt.NDArray[np.float64]

_USERS, _ITEMS, _SITES, _RANK = 300, 100, 20, 3
_CLICK, _CONVERSION = 1 / 12, 1 / 30
_PARTS = {"train": 80_000, "valid": 40_000, "test": 100_000}
_MODELS: dict[str, list[Any]] = {
    "conversion alone": ["conversion"],
    "among clicks": ["click", {"label": "conversion", "among": "click"}],
    "among all rows": ["click", "conversion"],
}


def main() -> None:
    """Draw the log, train, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/labels"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    log, truth = draw()
    test, best = log["test"]["conversion"].to_numpy(), truth["test"]
    answers = {
        name: [
            answer(labels, log, arguments, f"{name.replace(' ', '-')}-{seed}", seed) for seed in range(arguments.seeds)
        ]
        for name, labels in _MODELS.items()
    }
    own = answers["conversion alone"]
    found: dict[str, Any] = {
        "conversions": {part: int(rows["conversion"].to_numpy().sum()) for part, rows in log.items()}
    }
    found["best"] = figures(best, test)
    for name, predicted in answers.items():
        of_seeds = [figures(each, test) for each in predicted]
        found[name] = {metric: float(np.mean([each[metric] for each in of_seeds])) for metric in ("auc", "logloss")}
        if predicted is not own:
            found[name]["minus_alone"] = {
                "auc": paired_auc(test, predicted, own)._asdict(),
                "logloss": paired_logloss(test, predicted, own)._asdict(),
            }
    print(json.dumps(found, indent=1) if arguments.json else told(found))


def draw() -> tuple[dict[str, pa.Table], dict[str, Floats]]:
    """Return the rows of each part, and the true probability of a conversion in each of them."""
    rng = np.random.default_rng(0)
    of_users, of_items, of_sites = (rng.normal(size=(count, 2)) for count in (_USERS, _ITEMS, _SITES))
    users_like, items_are = (rng.normal(size=(count, _RANK)) for count in (_USERS, _ITEMS))
    log, truth = {}, {}
    for part, num in _PARTS.items():
        user, item = ((rng.random(num) ** 2 * count).astype(int) for count in (_USERS, _ITEMS))
        site = rng.integers(0, _SITES, num)
        linear = 0.8 * of_users[user] + 0.8 * of_items[item] + 0.5 * of_sites[site]
        click = at_rate(linear[:, 0] + 0.9 * (users_like[user] * items_are[item]).sum(axis=1), _CLICK)
        converts = at_rate(linear[:, 1], _CONVERSION)
        clicked = rng.random(num) < click
        bought = clicked & (rng.random(num) < converts)
        columns = {"user": user, "item": item, "site": site}
        texts = {name: pa.array([f"{name[0]}{value}" for value in values]) for name, values in columns.items()}
        log[part] = pa.table({**texts, "click": clicked.astype(int), "conversion": bought.astype(int)})
        truth[part] = click * converts
    return log, truth


def at_rate(logits: Floats, rate: float) -> Floats:
    """Return probabilities with these logits but for a constant, and this mean."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-logits - middle))).mean() < rate else (low, middle)
    return np.asarray(1 / (1 + np.exp(-logits - low)))


def answer(
    labels: list[Any], log: dict[str, pa.Table], arguments: argparse.Namespace, name: str, seed: int
) -> npt.NDArray[np.floating[Any]]:
    """Train a model, and return its probabilities of a conversion on test."""
    alone = labels == ["conversion"]
    config = config_of(
        {
            "data": {"labels": labels, "cache": str(arguments.folder / "cache"), "exclude": ["click"] if alone else []},
            "model": {"kind": "lc-dnn"},
            "train": {
                "seed": seed,
                "threads": arguments.threads,
                "stop_on": "auc" if alone else "auc:conversion",
            },
        }
    )
    result = fw.train(config, arguments.folder / name, data=log)
    probabilities = fw.Predictor(result.folder).predict(log["test"])
    return probabilities if alone else probabilities[:, 1]


def figures(
    probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.integer[Any]]
) -> dict[str, float | None]:
    """Return AUC and logloss."""
    metrics = evaluate_predictions(probabilities, labels)
    return {"auc": metrics.auc, "logloss": metrics.logloss}


def told(found: dict[str, Any]) -> str:
    """Return a table."""
    lines = [
        f"conversions: {found['conversions']}",
        f"{'model':<18}{'AUC':>8}{'logloss':>10}   AUC and logloss minus those alone",
    ]
    for name in ("best", *_MODELS):
        of = found[name]
        line = f"{name:<18}{of['auc']:>8.4f}{of['logloss']:>10.5f}"
        for metric, places in (("auc", 4), ("logloss", 5)) if "minus_alone" in of else ():
            shown = of["minus_alone"][metric]
            low, high = (f"{shown[end]:+.{places}f}" for end in ("low", "high"))
            line += f"   {shown['difference']:+.{places}f} ({low} to {high}, p = {shown['p_value']:.2g})"
        lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
