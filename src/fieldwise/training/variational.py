"""The posterior of a Bayesian factorisation machine (`models.bayesian_fm`) in passes over shuffled batches.

What `training.gibbs` samples is approximated by a normal distribution, a mean and a variance for each number of each
feature, all independent (mean field). The model is logistic here, so that its logits need no scale::

    P(y = 1) = sigmoid(z),    z = bias + sum over f of w_f + sum over pairs f < g that are not left out of v_f . v_g
    w_r ~ N(0, 1 / prior[f, 0]),   v_r[k] ~ N(0, 1 / prior[f, k])

The first pass is assumed-density filtering (Opper 1998; AdPredictor, Graepel et al. 2010; Matchbox, Stern et al. 2009):
each example adds to the precisions what it says. In later passes, what an example says takes the place of what it is
taken to have said before, its share of the sum, as in stochastic expectation propagation (Li et al. 2015), so that
the passes go to a stationary point of the variational bound. `kernels.variational` has the equations. After each pass
the priors become those under which the features are likeliest (MacKay 1992): nobody sets them. The rate of the
means falls to nearly nothing, for at a constant one they would wander about by as much as half of their variance.

Memory is the features' alone: 16 (K + 1) + 8 bytes each. Examples with weights count by them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.counted import counted
from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache, Examples
from fieldwise.events import Listener, Noted, Sampling, ignore
from fieldwise.io.memory import require_memory
from fieldwise.kernels import variational as kernels
from fieldwise.kernels.layout import Batch, Layout, without_repeats
from fieldwise.kernels.threads import num_threads, run_each
from fieldwise.training.checkpoint import Checkpoint, Checkpoints
from fieldwise.training.interrupt import Interrupt, Interrupted

__all__ = ["VariationalFM", "run_passes", "variational_memory"]

Floats = npt.NDArray[np.floating[Any]]

_PIECES, _MOST, _FIRST_PIECE, _GROWS = 256, 2048, 32, 64
"""Examples that are answered by the same numbers: a 256th of all, 2,048 at most; in the first pass a 64th of those seen
before, at least 32, for what the first ones say is a lot."""
_READ, _FIRST_BATCHES = 8192, 12
_SMALL = 0.1
_PRIOR = (4.0, 25.0)
"""Precisions of weights and factors before anything is known."""
_RATE, _LAST_RATE = 1.5, 0.1


class VariationalFM:
    """The posterior.

    Parameters
    ----------
    layout
        Of the fields.
    left_out
        Pairs of fields f < g that have no term.
    num_factors
        K >= 1.
    base_rate
        The share of label 1, where the bias begins; 0 < base_rate < 1.
    seed
        Of the factors that it begins with.
    num_examples
        In a pass.

    Attributes
    ----------
    rows
        (D, 2 K + 2): the means of a feature's weight and factors, then their precisions.
    bias
        (2,): mean and precision.
    prior
        (F, K + 1) precisions.
    counts
        (D,) examples of each feature, by weight, after the first pass.
    num_passes
        Done so far.
    """

    def __init__(
        self,
        layout: Layout,
        left_out: Iterable[tuple[int, int]],
        num_factors: int,
        base_rate: float,
        seed: int,
        num_examples: int,
    ) -> None:
        self.layout, self.num_passes = layout, 0
        self._piece = min(max(num_examples // _PIECES, _FIRST_PIECE), _MOST)
        d, num_fields = num_factors + 1, layout.num_fields
        self.rows = np.zeros((layout.num_features, 2 * d))
        self.rows[:, 1:d] = np.random.default_rng(seed).normal(0.0, _SMALL, (layout.num_features, num_factors))
        self.prior = np.full((num_fields, d), _PRIOR[1])
        self.prior[:, 0] = _PRIOR[0]
        for f, (base, end) in enumerate(pairwise(layout.base.tolist())):
            self.rows[base:end, d:] = self.prior[f]
        self.bias = np.array([np.log(base_rate / (1.0 - base_rate)), 1.0])
        self.counts = np.zeros(layout.num_features)
        self._num_examples = 0.0
        apart: list[list[int]] = [[] for _ in range(num_fields)]
        for f, g in left_out:
            apart[f].append(g)
            apart[g].append(f)
        self._starts = np.cumsum([0, *map(len, apart)]).astype(np.int64)
        self._apart = np.array([g for fields in apart for g in sorted(fields)], dtype=np.int64)

    def learn(self, batches: Iterable[Examples], rate: float) -> None:
        """Make a pass over the examples, and find the prior that follows from it."""
        seen, of_pass = 0, 0.0
        room = (self._piece, self.layout.num_fields, self.prior.shape[1])
        slope, curve, of_bias = np.empty(room, np.float32), np.empty(room, np.float32), np.empty((self._piece, 2))
        for examples in batches:
            assert examples.labels is not None, "training needs labels"
            batch, num = without_repeats(examples.batch), examples.batch.num_examples
            weights = np.empty(0, np.float32) if examples.weights is None else examples.weights
            of_pass += float(num if examples.weights is None else examples.weights.sum(dtype=np.float64))
            first = 0
            while first < num:
                size = self._piece if self.num_passes else min(self._piece, _FIRST_PIECE + seen // _GROWS)
                size = min(size, num - first)
                self._learn(slope, curve, of_bias, batch, examples.labels, weights, first, size, rate)
                first, seen = first + size, seen + size
        self._num_examples = of_pass
        for f, (base, end) in enumerate(pairwise(self.layout.base.tolist())):
            now = kernels.likelier_prior(self.rows, self.counts, self.prior[f], base, end)
            kernels.change_prior(self.rows, self.counts, self.prior[f], now, base, end)
            self.prior[f] = now
        self.num_passes += 1

    def _learn(
        self,
        slope: Floats,
        curve: Floats,
        of_bias: Floats,
        batch: Batch,
        labels: npt.NDArray[np.integer[Any]],
        weights: Floats,
        first: int,
        size: int,
        rate: float,
    ) -> None:
        asked = (slope, curve, of_bias, self.rows, self.bias, batch, self.layout, self._starts, self._apart)
        run_each(kernels.slopes, [(*asked, labels, weights, first, *part) for part in _parts(size)])
        of_rows = (self.rows, self.counts, self.prior, slope, curve, batch, self.layout, weights, size, first, rate)
        is_first = self.num_passes == 0
        run_each(kernels.move_rows, [(*of_rows, is_first, *part) for part in _parts(self.layout.num_fields)])
        kernels.move_bias(self.bias, of_bias, weights, size, first, self._num_examples, rate)

    def predict(self, batch: Batch) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the mean and the variance of the logits (B,) of some examples."""
        batch = without_repeats(batch)
        mean, variance = np.empty((2, batch.num_examples))
        of_examples = (mean, variance, self.rows, self.bias, batch, self.layout, self._starts, self._apart)
        run_each(kernels.moments, [(*of_examples, *part) for part in _parts(batch.num_examples)])
        return mean, variance

    def save(self, checkpoints: Checkpoints, losses: Sequence[float] = (), seconds: float = 0.0) -> None:
        """Write the posterior as it is, as `training.gibbs.GibbsSampler.save` does a chain."""
        d = self.prior.shape[1]
        arrays = {
            "mean": np.ascontiguousarray(self.rows[:, :d]),
            "variance": 1.0 / self.rows[:, d:],
            "bias": np.array([0.0, self.bias[0], 1.0 / self.bias[1]]),
            "prior": self.prior,
            "counts": self.counts,
            "losses": np.array(losses),
        }
        state = {
            "num_sweeps": self.num_passes,
            "seconds": seconds,
            "num_examples": self._num_examples,
            "bias": self.bias.tolist(),
            "scale": 1.0,
        }
        checkpoints.save(self.num_passes, self.rows, arrays, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there, as if nothing had stopped."""
        self.rows[:], self.prior[:] = checkpoint.table, checkpoint.dense["prior"]
        self.counts[:], self.bias[:] = checkpoint.dense["counts"], checkpoint.state["bias"]
        self.num_passes, self._num_examples = checkpoint.state["num_sweeps"], checkpoint.state["num_examples"]


def variational_memory(num_features: int, num_fields: int, num_factors: int) -> int:
    """Return the bytes that the passes take beside the process: the features' numbers, also as they are saved.

    Examples
    --------
    >>> variational_memory(300_000, 20, 12) / 1e6
    131.4...
    """
    d = num_factors + 1
    return num_features * (32 * d + 8) + _MOST * num_fields * d * 8


def run_passes(
    train: Cache,
    valid: Cache | None,
    left_out: Iterable[tuple[int, int]],
    num_factors: int,
    num_passes: int,
    seed: int,
    checkpoints: Checkpoints,
    negative_rate: float = 1.0,
    *,
    minutes_between: float = 10.0,
    most_seconds: float | None = None,
    interrupt: Interrupt | None = None,
    listen: Listener = ignore,
) -> float:
    """Make all passes over the training examples, and return the seconds that they took; as `training.chain.run_chain`.

    Parameters
    ----------
    valid
        Rows whose logloss is told after each pass.
    negative_rate
        As in `data.batches.Batches`.
    most_seconds
        A budget: passes of a falling rate are as many as fit, by the time of the first.

    Raises
    ------
    Interrupted
        On request. What a pass that had begun has moved is lost, and passes since the last checkpoint, at most
        `minutes_between`.
    ResourceError
        The features' numbers do not fit in memory.
    """
    interrupt = interrupt or Interrupt()
    layout = train.layout
    require_memory(
        variational_memory(layout.num_features, layout.num_fields, num_factors),
        "a factorisation machine's posterior",
        "leave bayesian-fm out of model.kind, or use fewer factors",
    )
    batches = Batches(train, _READ, seed=seed, negative_rate=negative_rate)
    posterior = VariationalFM(layout, left_out, num_factors, _base_rate(batches), seed, batches.num_examples)
    seconds, losses = 0.0, []
    if (checkpoint := checkpoints.newest()) is not None:
        posterior.restore(checkpoint)
        losses = checkpoint.dense["losses"].tolist()
        seconds = float(checkpoint.state["seconds"])
    already, started, done = seconds, time.monotonic(), posterior.num_passes
    saved = started
    total = _fitting(num_passes, done, seconds, most_seconds)
    while posterior.num_passes < total:
        number = posterior.num_passes
        rate = _RATE + (_LAST_RATE - _RATE) * number / max(total - 1, 1)
        posterior.learn(interrupt.watch(batches.epoch(number, keep=0)), rate)
        if valid is not None:
            losses.append(_held_out_loss(posterior, valid))
        now = time.monotonic()
        seconds = already + now - started
        total = _fitting(num_passes, posterior.num_passes, seconds, most_seconds)
        left = total - posterior.num_passes
        pace = (now - started) / (posterior.num_passes - done)
        listen(Sampling(posterior.num_passes, total, left * pace, losses[-1] if losses else None))
        if not left or interrupt.requested or now - saved >= 60 * minutes_between:
            posterior.save(checkpoints, losses, seconds)
            saved = now
        if left and interrupt.requested:
            raise Interrupted
    if total < num_passes:
        listen(Noted(f"{counted(total, 'pass', 'passes')} in place of {num_passes}, for train.minutes"))
    return seconds


def _fitting(num_passes: int, done: int, seconds: float, most_seconds: float | None) -> int:
    """Return how many passes there will be, where those that are done took so many seconds of the budget.

    Examples
    --------
    >>> [_fitting(12, done, 10.0 * done, 45.0) for done in (0, 1, 3, 5)], _fitting(12, 1, 10.0, None)
    ([12, 4, 4, 5], 12)
    """
    if most_seconds is None or not done:
        return num_passes
    return min(num_passes, max(done, int(most_seconds * done / seconds)))


def _base_rate(batches: Batches) -> float:
    """Return the share of label 1 in the first batches of a pass, by weight."""
    ones = total = 0.0
    for number, examples in enumerate(batches.epoch(0, keep=0)):
        assert examples.labels is not None, "training needs labels"
        weights = np.ones(len(examples.labels)) if examples.weights is None else examples.weights
        ones += float((weights * (examples.labels > 0)).sum(dtype=np.float64))
        total += float(weights.sum(dtype=np.float64))
        if number == _FIRST_BATCHES - 1:
            break
    return (ones + 1.0) / (total + 2.0)


def _held_out_loss(posterior: VariationalFM, valid: Cache) -> float:
    """Return the logloss of labelled examples by the means, by weight."""
    loss = total = 0.0
    for examples in Batches(valid, _READ, shuffle=False).epoch(0, keep=0):
        assert examples.labels is not None, "validation rows have labels"
        z, _ = posterior.predict(examples.batch)
        each = np.logaddexp(0.0, z) - (examples.labels > 0) * z
        weights = np.ones(len(z)) if examples.weights is None else examples.weights
        loss, total = loss + float((weights * each).sum(dtype=np.float64)), total + float(weights.sum(dtype=np.float64))
    return loss / max(total, 1e-300)


def _parts(count: int) -> list[tuple[int, int]]:
    """Return ranges of `count` things, one for each thread."""
    cuts = [count * part // num_threads() for part in range(num_threads() + 1)]
    return [(begin, end) for begin, end in pairwise(cuts) if begin < end]
