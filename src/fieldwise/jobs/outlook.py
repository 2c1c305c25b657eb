"""The time that training is expected to take: what `compare` prints before it begins, and what `train.minutes` keeps.

The machine is measured for some hundredths of a second under its current load: a matrix product, and random reads from
a table. The estimate is the time that the products and reads of training take at these rates, times the overhead
measured on MovieLens-1M (docs/results.md#how-accurate-is-it-on-movielens-1m). The number of epochs is not known in
advance, so the result is a range: from the minimum that early stopping needs to the maximum that is allowed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from fieldwise.config import Config
from fieldwise.events import SecondsRange
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.kernels.factors import row_width
from fieldwise.kernels.layout import BAG
from fieldwise.kernels.threads import num_threads
from fieldwise.models.sizes import count_parameters, num_outputs
from fieldwise.nn.product import product
from fieldwise.training.chain import LOOKS, SWEEPS_BETWEEN
from fieldwise.training.config import TrainConfig
from fieldwise.training.initial import posterior_method

__all__ = ["Rates", "measure_rates", "sampling_seconds", "solving_seconds", "training_seconds"]

_BATCH, _WIDTH = 1024, 256
_TABLE, _ROWS, _NUMBERS = 1 << 18, 1 << 16, 16
_PRODUCTS = 3.5
"""Of a layer's product: with both of its gradients, and what is done to its outputs."""
_TOUCHED = 5.0
"""Of the reading of a row: its gradient, and its optimizer's state read and written."""
_SAMPLED = 11.0
"""Of the reading of a row: what a draw does with an example (`kernels.gibbs`)."""
_PASSED = 20.0
"""Of the reading of a number: what a pass does with it (`kernels.variational`)."""
_EXAMPLE = 300.0
"""Of the reading of a number: what an example takes whatever the model, in batches and metrics."""
_LIKELY_EPOCHS = 12
"""Where more are allowed, until one brings nothing."""
_PASSES, _READ_TWICE, _SUMS = (100, 300), 4.0, 10.0
"""Over the examples until logistic regression is solved for all penalties; what a pass takes of a feature, and of an
example: readings of a number."""
_SLOWER = 1.5
"""By how much all of it may be slower."""


class Rates(NamedTuple):
    """Multiply-adds per second with all threads, and numbers of table rows read per second by one thread."""

    products: float
    numbers: float


def measure_rates() -> Rates:
    """Measure this machine under its current load."""
    one, other = torch.ones(_BATCH, _WIDTH), torch.ones(_WIDTH, _WIDTH)
    table = np.zeros((_TABLE, _NUMBERS), np.float32)
    places = np.random.default_rng(0).integers(0, _TABLE, _ROWS)
    return Rates(
        one.numel() * _WIDTH / _seconds(lambda: product(one, other)),
        places.size * _NUMBERS / _seconds(lambda: table.take(places, axis=0)),
    )


def training_seconds(config: Config, settings: TrainConfig, prepared: Prepared, rates: Rates) -> SecondsRange:
    """Return what training the model of a configuration takes, without what comes before it.

    Parameters
    ----------
    config
        What is trained.
    settings
        How; those of logistic regression are its own.
    prepared, rates
        The log and the machine.
    """
    model, layout = config.model, prepared.encoder.layout
    size = count_parameters(
        model, layout.num_features, layout.num_fields, num_outputs(len(prepared.encoder.schema.classes))
    )
    n = size.row_weights
    products = _PRODUCTS * size.dense / rates.products
    rows = (_TOUCHED * n * _ids_per_example(prepared) + _EXAMPLE) / rates.numbers / num_threads()
    epoch = prepared.parts["train"].num_examples * settings.negative_rate * (products + rows)
    fewest = min(settings.patience + 1, settings.epochs)
    most = min(settings.epochs, max(_LIKELY_EPOCHS, fewest))
    return SecondsRange(fewest * epoch, most * epoch * _SLOWER)


def solving_seconds(prepared: Prepared, rates: Rates) -> SecondsRange:
    """Return what solving logistic regression takes (`training.solvable`)."""
    of_example = _READ_TWICE * _ids_per_example(prepared) + _SUMS
    one = prepared.parts["train"].num_examples * of_example / rates.numbers / num_threads()
    return SecondsRange(_PASSES[0] * one, _PASSES[1] * one * _SLOWER)


def sampling_seconds(config: Config, prepared: Prepared, rates: Rates) -> SecondsRange:
    """Return what finding the posterior of a Bayesian factorisation machine takes."""
    train, sampler = prepared.parts["train"], config.train.sampler
    width = row_width(config.model.factors + 1)
    examples = train.num_examples * _ids_per_example(prepared)
    if posterior_method(config.model, config.train, train.layout, train.num_examples, config.weighted) == "variational":
        passes = sampler.passes * examples * config.train.negative_rate
        seconds = passes * _PASSED * (config.model.factors + 1) / rates.numbers / num_threads()
        return SecondsRange(seconds, _SLOWER * seconds)
    draw = _SAMPLED * width / rates.numbers / num_threads() + width * (width + 8) / 2 / rates.products
    fewest = sampler.sweeps
    if sampler.tolerance and "valid" in prepared.parts:
        fewest = min(sampler.burn_in + (LOOKS + 1) * SWEEPS_BETWEEN, fewest)
    return SecondsRange(fewest * examples * draw, _SLOWER * sampler.sweeps * examples * draw)


def _ids_per_example(prepared: Prepared) -> float:
    """Return the features of an example, from some at the beginning of the log."""
    train = prepared.parts["train"]
    some = train.gather(np.arange(min(train.num_examples, 1000)))
    in_bags = len(some.batch.bag_ids) / some.batch.num_examples
    return float((train.layout.form != BAG).sum()) + in_bags


def _seconds(action: Callable[[], object]) -> float:
    """Return what an action takes: the median of some times, after one that counts for nothing."""
    action()
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        action()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))
