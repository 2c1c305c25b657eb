"""Where training begins: the bias at the click rate, and logistic regression's weights where a model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.data.cache import Cache
from fieldwise.distributed.table import ShardedTable
from fieldwise.models.click import ClickModel
from fieldwise.optim.table import TableOptimizer
from fieldwise.training.dependence import Determined

__all__ = ["LrStart", "start_bias", "start_from_lr", "start_pairs"]

_SAMPLE_EXAMPLES = 100_000


class LrStart(NamedTuple):
    """A trained logistic regression: (D, O) weights and (O,) bias."""

    weights: npt.NDArray[np.floating]
    bias: npt.NDArray[np.floating]


def start_bias(model: ClickModel, train: Cache) -> None:
    """Set the bias to the log-odds of the click rate (for more classes: the logarithms of their shares).

    Taken from at most 100,000 examples, evenly spread. Without it the first steps move all weights the same way, to
    say the same thing many times: with 158 fields logistic regression never recovers from that (docs/experiments.md).
    """
    step = max(train.num_examples // _SAMPLE_EXAMPLES, 1)
    examples = train.gather(np.arange(0, train.num_examples, step))
    assert examples.labels is not None, "training needs labels"
    num_classes = max(model.num_outputs, 2)
    counts = np.bincount(examples.labels, weights=examples.weights, minlength=num_classes)
    logs = np.log((counts + 1.0) / (counts.sum() + num_classes))
    start = logs if num_classes > 2 else logs[1:] - logs[:1]
    with torch.no_grad():
        model.bias.copy_(torch.from_numpy(start))


def start_pairs(model: ClickModel, determined: Sequence[Determined]) -> None:
    """Leave out the pairs of fields of which one determines the other, where the model has pairs.

    A history says what its key says, so it is left out with whatever determines the key or is determined by it.
    """
    if model.pairs is None:
        return
    num_fields = model.table.layout.num_fields
    stands_for = list(range(num_fields))
    if model.histories is not None:
        for number, history in enumerate(model.histories.histories, start=model.histories.log_layout.num_fields):
            stands_for[number] = history.key
    told = {frozenset(pair) for pair in determined}
    model.pairs.leave_out(
        (f, g)
        for f in range(num_fields)
        for g in range(f + 1, num_fields)
        if stands_for[f] == stands_for[g] or frozenset((stands_for[f], stands_for[g])) in told
    )


def start_from_lr(model: ClickModel, rows: TableOptimizer | ShardedTable, start: LrStart) -> None:
    """Let logistic regression's weights be where training begins.

    They go into unit 0 of every field (unit o for class o where there are more classes) and into the wide part. The
    deep part's last matrix being zero, a model with a wide part or a skip starts with exactly LR's logits.
    """
    table, outputs = model.table, model.num_outputs
    # Histories have no weights in logistic regression; their rows come last.
    missing = table.layout.num_features - len(start.weights)
    start = start._replace(weights=np.pad(start.weights, ((0, missing), (0, 0))))
    for unit in range(min(outputs, table.num_local)):
        rows.start(unit, start.weights[:, unit])
    wide = model.config.kind in ("lr", "lc-wide-deep")
    if wide:
        for output in range(outputs):
            rows.start(table.num_local + output, start.weights[:, output])
    if wide or model.num_skip:
        with torch.no_grad():
            model.bias.copy_(torch.from_numpy(np.array(start.bias)))
