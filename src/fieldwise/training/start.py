"""Where training begins: the bias at the click rate, and what a model takes from logistic regression or a posterior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.data.cache import Cache
from fieldwise.distributed.table import ShardedTable
from fieldwise.errors import ConfigError
from fieldwise.kernels.layout import VALUE, Layout
from fieldwise.models.click import ClickModel
from fieldwise.models.config import ModelConfig
from fieldwise.optim.table import TableOptimizer
from fieldwise.training.config import PretrainConfig, TrainConfig
from fieldwise.training.dependence import Determined
from fieldwise.training.posterior import PosteriorMean

__all__ = [
    "LrStart",
    "keep_posterior",
    "start_bias",
    "start_from_lr",
    "start_pairs",
    "starts_from_posterior",
]

_SAMPLE_EXAMPLES = 100_000
_MOST_WORK = 1e12
"""Products of two numbers in all sweeps that are asked of nobody who has not chosen them: some minutes of two cores."""


class LrStart(NamedTuple):
    """A trained logistic regression: (D, O) weights and (O,) bias."""

    weights: npt.NDArray[np.floating]
    bias: npt.NDArray[np.floating]


def start_bias(model: ClickModel, train: Cache) -> None:
    """Set the bias to the log-odds of the click rate (for more classes: the logarithms of their shares).

    Taken from at most 100,000 examples, evenly spread. Without it the first steps move all weights the same way, to
    say the same thing many times: with 158 fields logistic regression never recovers from that
    (docs/log/2026-11.md#where-should-the-bias-start).
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
    if model.posterior is not None:
        model.posterior.pairs.leave_out(sorted((min(pair), max(pair)) for pair in told))
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
        rows.start(model.num_posterior + unit, start.weights[:, unit])
    wide = model.config.kind in ("lr", "lc-wide-deep")
    if wide:
        for output in range(outputs):
            rows.start(table.num_local + output, start.weights[:, output])
    if wide or model.num_skip:
        with torch.no_grad():
            model.bias.copy_(torch.from_numpy(np.array(start.bias)))


def starts_from_posterior(
    model: ModelConfig,
    train: TrainConfig,
    pretrain: PretrainConfig,
    layout: Layout,
    num_examples: int,
    *,
    num_classes: int = 2,
    weighted: bool = False,
) -> bool:
    """Whether a model starts from a posterior: where it says so, or says ``auto``, can, and has no more than some
    minutes of work before it.

    Parameters
    ----------
    model, train, pretrain
        The configuration.
    layout, num_examples, num_classes, weighted
        Of the training part; `weighted` where examples have weights. All workers know them, and decide alike.

    Raises
    ------
    ConfigError
        The model says so, and cannot.

    Examples
    --------
    >>> from fieldwise.kernels.layout import SINGLE
    >>> layout = Layout.of([SINGLE] * 7, [1400] * 7)
    >>> [starts_from_posterior(ModelConfig(), TrainConfig(), PretrainConfig(), layout, n) for n in (600_000, 10**8)]
    [True, False]
    >>> many = Layout.of([SINGLE] * 2, [1400, 10**9])
    >>> starts_from_posterior(ModelConfig(), TrainConfig(), PretrainConfig(), many, 1000)
    False
    """
    if model.start not in ("auto", "posterior") or not model.locally_connected:
        return False
    obstacles = {
        "it has no pairs of fields": not model.has_pairs(layout.num_fields),
        "there are more than two classes": num_classes > 2,
        "examples have weights": weighted,
        "train.negative_rate leaves examples out": train.negative_rate < 1.0,
    }
    if model.start == "posterior":
        for reason, is_so in obstacles.items():
            if is_so:
                raise ConfigError(
                    f"this model cannot start from a posterior: {reason}",
                    where="model.start",
                    got=model.start,
                    fix='model.start = "lr"',
                )
        return True
    # A field of an example adds a square of its feature's P numbers; a feature solves P equations.
    squares = num_examples * layout.num_fields + layout.num_features * model.posterior_units
    work = float(squares) * model.posterior_units**2 * pretrain.sweeps
    # A number's heavy tail, as it is, makes a poor factor.
    return not any(obstacles.values()) and VALUE not in layout.form and work <= _MOST_WORK


def keep_posterior(model: ClickModel, rows: TableOptimizer | ShardedTable, mean: PosteriorMean) -> None:
    """Give the model the mean of a posterior to keep; histories have no part in it."""
    assert model.posterior is not None, "the model keeps no posterior"
    missing = model.table.layout.num_features - len(mean.sampled)
    for number in range(model.num_posterior):
        rows.start(number, np.pad(mean.numbers(number), (0, missing)))
    model.posterior.bias.fill_(mean.bias)
