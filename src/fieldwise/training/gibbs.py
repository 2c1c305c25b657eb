"""Gibbs sampling of a Bayesian factorisation machine (`models.bayesian_fm`).

With w_r and v_r the weight and the K factors of feature r, summed over the features of field f in an example (times
their inputs) to w_f and v_f, the model is ::

    P(y = 1) = Phi(z),    z = mu + sum over f of w_f + sum over pairs f < g that are not left out of v_f . v_g
    w_r ~ N(0, 1 / precision[f, 0]),   v_r[k] ~ N(0, 1 / precision[f, k]),   precision ~ Gamma(1, 1)

Each sweep draws a latent number for every example (Albert and Chib 1993), mu, the precisions, and then all features of
one field after the other, given the rest (`kernels.gibbs`). What is kept is the mean of the weights and factors
over the sweeps, each turned first to lie on the mean so far (factors may be rotated together without changing any dot
product; Schoenemann 1966). How strongly a feature is held back follows from how often it occurs and how much its
field's features differ, and is not set by hand; and a mean over what the data leave open generalises better than the
best single setting (Salakhutdinov and Mnih 2008; Rendle 2012).

The mean z is a logit of 1.6 z, within .02 in probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.kernels import factors, gibbs
from fieldwise.kernels.by_feature import FieldExamples, by_feature
from fieldwise.kernels.layout import Batch, Layout
from fieldwise.kernels.random import draw_latents
from fieldwise.kernels.threads import num_threads, run_each
from fieldwise.training.checkpoint import Checkpoint, Checkpoints

__all__ = [
    "FactorMeans",
    "GibbsSampler",
    "sampling_memory",
    "sampling_row_bytes",
]

Floats = npt.NDArray[np.floating[Any]]

_LOGITS = 1.6
"""A logistic curve of 1.6 z is Phi(z) within .02 (Gelman and Hill 2006, section 6.5)."""
_SMALL = 0.1
_PART = 1 << 14
"""Features of more examples are drawn in parts of so many, by all threads."""


class FactorMeans(NamedTuple):
    """A weight and K factors of each feature, and a bias: `sampled` (D, 1 + K) and `sampled_bias` those of z, and their
    variances, which may be maps of a file; `num_sweeps` that led to it; all else of a logit, which is `scale` times z.
    """

    sampled: Floats
    sampled_bias: float
    num_sweeps: int
    variance: Floats
    bias_variance: float
    scale: float = _LOGITS

    @property
    def bias(self) -> float:
        """The bias of the logit."""
        return self.scale * self.sampled_bias

    @property
    def num_numbers(self) -> int:
        """How many numbers a feature has: 1 + K."""
        return int(self.sampled.shape[1])

    def numbers(self, number: int) -> Floats:
        """Return (D,) the weight of every feature (0), or factor `number` (1 to K)."""
        column: Floats = self.sampled[:, number] * (self.scale if number == 0 else np.sqrt(self.scale))
        return column

    @property
    def logit_bias_variance(self) -> float:
        """The variance of the bias of the logit."""
        return self.scale**2 * self.bias_variance

    def spread(self, base: Iterable[int]) -> npt.NDArray[np.float32]:
        """Return (D, 1 + K) the variances of the numbers of the logit, of fields that begin at the rows `base`.

        Features without examples, which are zero in every draw, have what the others of their field have around zero.
        """
        found = self.variance.astype(np.float32)
        for begin, end in pairwise(base):
            never = ~found[begin:end].any(axis=1)
            if never.any():
                seen = begin + np.flatnonzero(~never)
                found[begin:end][never] = (self.variance[seen] + self.sampled[seen] ** 2).sum(axis=0) / max(
                    len(seen), 1
                )
        found *= np.float32(self.scale)
        found[:, 0] *= np.float32(self.scale)
        return found


class _Field(NamedTuple):
    """A field as it is drawn.

    Attributes
    ----------
    features
        The examples of each feature.
    apart
        The other fields that it does not meet; of a bag none, for `shifted` is taken out before.
    shifted
        Of a bag: the fields that it does not meet, itself included.
    heavy, parts
        (H,) the features of more than `_PART` examples, and (P, 3) their parts, as in `kernels.gibbs.add_parts`.
    """

    features: FieldExamples
    apart: Layout
    shifted: Layout
    heavy: npt.NDArray[np.int64]
    parts: npt.NDArray[np.int64]


class GibbsSampler:
    """The chain.

    Parameters
    ----------
    batch, labels
        All training examples, in memory, and their labels 0 and 1.
    layout
        Of their fields.
    left_out
        Pairs of fields f < g that have no term.
    num_factors
        K >= 1.
    seed
        Of all draws; the number of threads changes none.

    Attributes
    ----------
    num_sweeps, num_kept
        Done so far, and those in the mean.
    """

    def __init__(
        self,
        batch: Batch,
        labels: npt.NDArray[np.integer[Any]],
        layout: Layout,
        left_out: Iterable[tuple[int, int]],
        num_factors: int,
        seed: int,
    ) -> None:
        self.batch, self.labels, self.layout, self.seed = batch, labels, layout, seed
        self.num_sweeps = self.num_kept = 0
        num_features, num_fields, d = layout.num_features, layout.num_fields, num_factors + 1
        apart = np.eye(num_fields, dtype=bool)
        for f, g in left_out:
            apart[f, g] = apart[g, f] = True
        self._fields = [_field(batch, layout, f, np.flatnonzero(apart[f])) for f in range(num_fields)]
        generator = np.random.default_rng(seed)
        self._rows = _lines(num_features, factors.row_width(d))
        self.weights = self._rows[:, :d]
        self.weights[:] = generator.normal(0.0, _SMALL, (num_features, d))
        self.weights[:, 0] = 0.0
        share = (float(labels.sum()) + 1.0) / (len(labels) + 2.0)
        self.bias = float(np.log(share / (1.0 - share))) / _LOGITS
        self.mean = np.zeros((num_features, d))
        self.mean_bias = 0.0
        self.variance, self.variance_bias = np.zeros((num_features, d)), 0.0
        # As one kind of array, whatever their number: those of `argwhere` lie column by column.
        self._left_out = np.ascontiguousarray(np.argwhere(np.triu(apart, 1)))
        # Of the sweep under way (`kernels.gibbs`).
        self._state = _lines(len(labels), self._rows.shape[1])
        self._latent, self._predicted = np.empty(len(labels)), np.empty(len(labels))

    def sweep(self, keep: bool) -> None:
        """Draw everything once, and take it into the mean where `keep` says so."""
        number = self.num_sweeps
        generator = np.random.default_rng((self.seed, number))
        of_examples = (self._rows, self.batch, self.layout)
        self._spread(factors.predict, self._state, self._predicted, self.bias, *of_examples, self._left_out)
        key = _key(self.seed, number, 0)
        self._spread(draw_latents, self._predicted, self.labels, key, self._latent)
        self._draw_bias(generator)
        for field in range(len(self._fields)):
            self._draw_field(field, generator, _key(self.seed, number, field + 1))
        self.num_sweeps += 1
        if keep:
            self._keep()

    def predict(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Return the logits (B,) of some examples by the mean so far."""
        rows = _lines(*self._rows.shape)
        rows[:, : self.mean.shape[1]] = self.mean
        state, predicted = _lines(batch.num_examples, rows.shape[1]), np.empty(batch.num_examples)
        of_examples = (rows, batch, self.layout)
        self._spread(factors.predict, state, predicted, self.mean_bias, *of_examples, self._left_out)
        return _LOGITS * predicted

    def save(self, checkpoints: Checkpoints, losses: Sequence[float] = (), seconds: float = 0.0) -> None:
        """Write the chain as it is, the losses that were seen of its mean, and how long it took to come here."""
        arrays = {
            "mean": self.mean,
            "variance": self.variance,
            "bias": np.array([self.bias, self.mean_bias, self.variance_bias]),
            "losses": np.array(losses),
        }
        state = {"num_sweeps": self.num_sweeps, "num_kept": self.num_kept, "seconds": seconds}
        checkpoints.save(self.num_sweeps, np.ascontiguousarray(self.weights), arrays, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there, as if the chain had never stopped."""
        self.weights[:] = checkpoint.table
        self.mean[:] = checkpoint.dense["mean"]
        self.variance[:] = checkpoint.dense["variance"]
        self.bias, self.mean_bias, self.variance_bias = (float(number) for number in checkpoint.dense["bias"])
        self.num_sweeps, self.num_kept = checkpoint.state["num_sweeps"], checkpoint.state["num_kept"]

    def _draw_bias(self, generator: np.random.Generator) -> None:
        left = np.subtract(self._latent, self._predicted, out=self._predicted)
        moved = float(left.mean() + generator.normal() / np.sqrt(len(self.labels)))
        self.bias += moved
        np.subtract(left, moved, out=self._state[:, 0], casting="same_kind")

    def _draw_field(self, number: int, generator: np.random.Generator, key: np.uint64) -> None:
        """Draw the precisions of a field, then its features.

        What a field does not meet, itself included, is left out of each example's sums: one example after the other
        while it is drawn; for all features of a bag at once, which would meet the same example again and again.
        """
        field = self._fields[number]
        features = field.features
        count, squares = factors.row_squares(self.weights, features.base, features.starts)
        precision = generator.gamma(1.0 + 0.5 * count, 1.0 / (1.0 + 0.5 * squares))
        if features.is_bag:
            self._spread(factors.shift, self._state, -1.0, self._rows, self.batch, field.shifted)
        sizes = np.diff(features.starts)
        sizes[field.heavy] = 0
        ends = np.cumsum(sizes)
        threads = 1 if features.is_bag else num_threads()
        cuts = np.searchsorted(ends, np.linspace(0, ends[-1], threads + 1)[1:-1], side="right").tolist()
        light = (self._state, self._rows, self.batch, features, field.apart, _PART, precision, key)
        run_each(gibbs.draw_rows, [(*light, *cut) for cut in pairwise([0, *cuts, len(sizes)])])
        places = range(len(field.heavy))
        if features.is_bag:
            for place in places:
                self._draw_heavy(field, [place], precision, key)
            self._spread(factors.shift, self._state, 1.0, self._rows, self.batch, field.shifted)
        elif places:
            self._draw_heavy(field, places, precision, key)

    def _draw_heavy(self, field: _Field, places: Sequence[int], precision: Floats, key: np.uint64) -> None:
        """Draw features of very many examples at the same time, each by all threads."""
        features, rows = field.features, self._rows
        begin, end = np.searchsorted(field.parts[:, 0], (places[0], places[-1] + 1))
        parts = field.parts[begin:end]
        old = np.zeros((len(field.heavy), rows.shape[1]), np.float32)
        old[places] = rows[features.base + field.heavy[places]]
        moved = np.zeros_like(old)
        sums = np.empty((len(parts), rows.shape[1], rows.shape[1]))
        known = (self._state, rows, self.batch, features, field.apart, len(precision))
        self._spread(gibbs.add_parts, parts, sums, old, *known)
        for place in places:
            own = slice(*np.searchsorted(parts[:, 0], (place, place + 1)))
            number = int(field.heavy[place])
            gibbs.draw_row(rows, features.base + number, sums[own], old, moved, place, precision, key, number)
        self._spread(gibbs.move_parts, parts, old, moved, *known)

    def _keep(self) -> None:
        turn = np.eye(self.weights.shape[1] - 1)
        if self.num_kept:
            # The rotation that brings the factors closest to their mean.
            left, _, right = np.linalg.svd(factors.row_products(self.weights, self.mean))
            turn = (left[:, :, None] * right[None, :, :]).sum(axis=1)
        drawn = factors.rotate(self.weights, turn)
        self.num_kept += 1
        share, apart = 1.0 / self.num_kept, self.bias - self.mean_bias
        self.mean_bias += share * apart
        self.variance_bias += share * (apart * (self.bias - self.mean_bias) - self.variance_bias)
        moved = drawn - self.mean
        self.mean += moved / self.num_kept
        drawn -= self.mean
        drawn *= moved
        drawn -= self.variance
        self.variance += drawn / self.num_kept

    def _spread(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """Call a kernel for shares of its first argument's lines in as many threads."""
        num_lines = len(arguments[0])
        cuts = [num_lines * part // num_threads() for part in range(num_threads() + 1)]
        run_each(kernel, [(*arguments, begin, end) for begin, end in pairwise(cuts)])


def sampling_row_bytes(num_factors: int) -> int:
    """Return the bytes of a feature: a draw, the same turned, what that moved, mean and variance."""
    return 40 * (num_factors + 1) + 4 * factors.row_width(num_factors + 1)


def sampling_memory(num_examples: int, num_features: int, num_fields: int, num_factors: int) -> int:
    """Return the bytes that a chain takes beside the process: a sum of every example's factors, its latent number and
    its features twice, and the features' numbers.

    Examples
    --------
    >>> sampling_memory(600_000, 9_827, 7, 16) / 1e6
    113.2...
    """
    of_example = 4 * factors.row_width(num_factors + 1) + 24 + 8 * num_fields
    return num_examples * of_example + num_features * sampling_row_bytes(num_factors)


def _field(batch: Batch, layout: Layout, number: int, apart: npt.NDArray[np.int64]) -> _Field:
    features = by_feature(batch, layout, number)
    # A bag is taken out as a whole; of other fields the feature that is drawn is known.
    others, shifted = (apart[:0], apart) if features.is_bag else (apart[apart != number], apart[:0])
    starts = features.starts
    heavy = np.flatnonzero(np.diff(starts) > _PART)
    parts = [
        (place, first, min(first + _PART, int(starts[r + 1])))
        for place, r in enumerate(heavy)
        for first in range(int(starts[r]), int(starts[r + 1]), _PART)
    ]
    return _Field(
        features, _part(layout, others), _part(layout, shifted), heavy, np.array(parts, np.int64).reshape(-1, 3)
    )


def _lines(num_rows: int, width: int) -> npt.NDArray[np.float32]:
    """Return zeros (num_rows, width) that begin with a cache line."""
    numbers = np.zeros(num_rows * width + 16, np.float32)
    first = -numbers.ctypes.data % 64 // 4
    return numbers[first : first + num_rows * width].reshape(num_rows, width)


def _part(layout: Layout, fields: npt.NDArray[np.int64]) -> Layout:
    """Return the layout of some of the fields, whose rows stay where they are."""
    form, single, value, bag = (column[fields] for column in layout[:4])
    return Layout(form, single, value, bag, np.append(layout.base[fields], layout.base[-1]))


def _key(seed: int, sweep: int, field: int) -> np.uint64:
    words = np.random.SeedSequence((seed, sweep, field)).generate_state(2, np.uint32)
    return np.uint64((int(words[0]) << 32) | int(words[1]))
