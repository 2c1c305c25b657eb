r"""Draw the picture of README and docs/index.md from a comparison on MovieLens-1M.

::

    fieldwise compare data/movielens-1m.toml --out runs/demo --models lr,dnn,lc-dnn:1,lc-wide-deep:1,lc-dnn:16 \
        2> demo.log
    python scripts/demo_picture.py demo.log runs/demo docs/assets/demo.svg

On the left the validation AUC after each epoch, from the lines of progress; on the right the test AUC of the weights
that were kept, against their number, from the runs.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

_EPOCH = re.compile(r"^(?P<model>\S+) +epoch (?P<epoch>\d+) done .*valid AUC (?P<auc>[\d.]+)$")
_NAMES = {"lr": "LR", "dnn": "DNN", "lc-dnn": "LC-DNN", "lc-wide-deep": "LC-W&D", "lc-resnet": "LC-ResNet"}
_COLOURS = {"LR": "#777777", "DNN": "#d95f02", "LC-DNN": "#1b9e77", "LC-W&D": "#7570b3", "LC-ResNet": "#e7298a"}


def curves(log: Path) -> list[tuple[str, list[float]]]:
    """Return each model's validation AUC after each epoch, in the order of training."""
    found: list[tuple[str, list[float]]] = []
    for line in log.read_text().splitlines():
        matched = _EPOCH.match(line.strip())
        if matched:
            if matched["epoch"] == "1":
                found.append((matched["model"], []))
            found[-1][1].append(float(matched["auc"]))
    return found


def results(runs: Path) -> list[dict[str, Any]]:
    """Return the results of the runs of single models."""
    found = [json.loads(path.read_text())["content"]["result"] for path in sorted(runs.glob("*/run.json"))]
    return sorted((each for each in found if each["model"] in _NAMES), key=lambda each: each["parameters"])


def draw(log: Path, runs: Path, out: Path) -> None:
    """Write the picture."""
    plt.rcParams |= {"svg.hashsalt": "fieldwise", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    numbers = {"LC-DNN": 0, "LC-W&D": 0}
    for model, aucs in curves(log):
        numbers[model] = numbers.get(model, 0) + 1
        wide = numbers[model] > 1  # one unit comes first, then sixteen
        label = f"{model}, {'16 units' if wide else '1 unit'}" if model.startswith("LC-") else model
        epochs = range(1, len(aucs) + 1)
        line = "-" if wide or not model.startswith("LC-") else "--"
        left.plot(epochs, aucs, line, marker=".", color=_COLOURS.get(model), label=label)
        best = max(epochs, key=lambda epoch: aucs[epoch - 1])
        left.plot(best, aucs[best - 1], "o", markersize=8, markerfacecolor="none", color=_COLOURS.get(model))
    left.set(xlabel="epoch (circle: the weights that are kept)", ylabel="AUC on validation rows")
    left.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.85))
    for result in results(runs):
        name = _NAMES[result["model"]]
        text = f"{name}, {result['units']} unit{'s' if result['units'] > 1 else ''}" if result.get("units") else name
        place = (result["parameters"], result["test"]["auc"])
        right.plot(*place, "o", color=_COLOURS[name])
        aside = (-6, 4) if result["parameters"] > 1e6 else (6, 4)
        right.annotate(text, place, textcoords="offset points", xytext=aside, ha="right" if aside[0] < 0 else "left")
    right.set(xscale="log", xlabel="weights", ylabel="AUC on test rows")
    right.margins(0.12, 0.12)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.patch.set_facecolor("white")
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    draw(*map(Path, sys.argv[1:]))
