"""Logistic regression at its optimum, for examples in memory: Newton's method, field by field.

With y the labels, a the example weights, x the inputs of features and w their weights, b the bias::

    minimise  sum over examples of a (log(1 + exp(z)) - y z)  +  1/2 sum over features of l2 w^2,    z = b + x . w

Each outer step replaces the sum by its second-order expansion at the present z, and minimises that by sweeps over the
fields. No example has two features of a field that is not a bag, so the block of the Hessian that belongs to one
field is diagonal, and all its features move at once, each to its own minimum; the features of a bag move one after
the other. A step that does not lower the objective is halved. Sums run in the order of the examples, whatever the
number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.by_feature import by_feature
from fieldwise.kernels.jit import kernel
from fieldwise.kernels.layout import Batch, Layout
from fieldwise.kernels.table import gather
from fieldwise.kernels.threads import num_threads, run_each

__all__ = ["LogisticProblem", "LogisticSolution", "logits_of"]

Float64s = npt.NDArray[np.float64]

_STEPS, _SWEEPS, _HALVINGS = 50, 10, 20
_CLOSE = 1e-7
_BLOCK, _EXAMPLES_PER_THREAD = 1 << 12, 1 << 15
_FLATTEST = 1e-8
"""The least second derivative: an example that is all but certain still has a say."""
_SHARE = 0.05
"""Sweeps end when they lower the expansion by less than this share of what the first of them did."""


class LogisticSolution(NamedTuple):
    """What was found: `weights` (D,), `bias`, the mean `objective` per unit of weight, and how many `steps` it took."""

    weights: Float64s
    bias: float
    objective: float
    steps: int


class LogisticProblem:
    """Examples in memory, ready to be solved for any penalties.

    Parameters
    ----------
    batch, layout
        The features.
    labels
        (B,) 0 and 1.
    weights
        (B,) >= 0; None where all are 1.

    Examples
    --------
    One field of two values, clicked 1 of 4 times and 3 of 4 times: with little penalty the weights are the log-odds.

    >>> ids = np.array([[0, 0, 0, 0, 1, 1, 1, 1]], np.uint32)
    >>> none = np.empty(0, np.float32)
    >>> batch = Batch(ids, none.reshape(0, 8), np.empty((0, 9), np.int64), none.astype(np.uint32), none)
    >>> problem = LogisticProblem(batch, Layout.of([0], [2]), np.array([0, 0, 0, 1, 0, 1, 1, 1]))
    >>> solution = problem.solve(np.array([1e-6]))
    >>> solution.weights.round(3).tolist(), abs(round(solution.bias, 3))
    ([-1.099, 1.099], 0.0)
    """

    def __init__(
        self,
        batch: Batch,
        layout: Layout,
        labels: npt.NDArray[np.integer],
        weights: npt.NDArray[np.floating] | None = None,
    ) -> None:
        self.layout = layout
        self.labels = labels.astype(np.float64)
        self.weights = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
        self.total = max(float(self.weights.sum()), 1e-300)
        self.fields = [by_feature(batch, layout, field) for field in range(layout.num_fields)]

    def solve(
        self,
        l2: npt.NDArray[np.floating],
        start: LogisticSolution | None = None,
        close: float = _CLOSE,
        look: Callable[[], None] = lambda: None,
    ) -> LogisticSolution:
        """Return the optimum.

        Parameters
        ----------
        l2
            (F,) > 0, the penalty of the features of each field, in examples.
        start
            Of other penalties, to go on from.
        close
            Steps end when one lowers the mean objective by less.
        look
            Called before every sweep: what it raises ends the search.
        """
        w = np.zeros(self.layout.num_features) if start is None else start.weights.copy()
        rate = (float((self.weights * self.labels).sum()) + 0.5) / (self.total + 1.0)
        bias = float(np.log(rate / (1.0 - rate))) if start is None else start.bias
        z = self._logits(w, bias)
        slope, bend, moved = np.empty_like(z), np.empty_like(z), np.zeros_like(z)
        objective = self._expand(z, w, l2, slope, bend)
        for step in range(1, _STEPS + 1):  # noqa: B007
            new, new_bias = w.copy(), bias
            moved[:] = 0.0
            first = 0.0
            for sweep in range(_SWEEPS):
                look()
                lowered, new_bias = self._sweep(new, new_bias, l2, slope, bend, moved)
                first = first or lowered
                if lowered <= _SHARE * first or (sweep and lowered < close * self.total):
                    break
            share = 1.0
            for _ in range(_HALVINGS):
                candidate = w + share * (new - w)
                found = self._expand(z + share * moved, candidate, l2, slope, bend)
                if found <= objective:
                    break
                share *= 0.5
            else:
                break  # rounding is all that is left
            gained, objective = objective - found, found
            w, bias = candidate, bias + share * (new_bias - bias)
            z += share * moved
            shifted, saved = self._centre(w, l2)
            bias, objective, gained = bias + shifted, objective - saved, gained + saved
            if gained < close * self.total:
                break
        return LogisticSolution(w, bias, objective / self.total, step)

    def curvatures(self, solution: LogisticSolution) -> Float64s:
        """Return the second derivative (D,) of the loss, without the penalty, by each weight."""
        z = self._logits(solution.weights, solution.bias)
        slope, bend, curvatures = np.empty_like(z), np.empty_like(z), np.zeros(self.layout.num_features)
        self._expand(z, solution.weights, np.zeros(self.layout.num_fields), slope, bend)
        for field in self.fields:
            common = (*field[1:4], bend, curvatures[field.base :])
            run_each(_curve_features, [(*common, *cut) for cut in _cuts(field.starts)])
        return curvatures

    def _centre(self, w: Float64s, l2: npt.NDArray[np.floating]) -> tuple[float, float]:
        """Let the weights of each field's features sum to 0, as they do at the optimum; return what the bias takes over
        and what the penalty loses.

        Every example has one feature of a field, so this moves no logit: sweeps go in such a direction by inches.
        """
        shifted = saved = 0.0
        for penalty, field in zip(l2.tolist(), self.fields, strict=True):
            if field.is_bag or len(field.inputs):
                continue
            seen = field.base + np.flatnonzero(np.diff(field.starts))
            mean = float(w[seen].mean()) if len(seen) else 0.0
            w[seen] -= mean
            shifted, saved = shifted + mean, saved + 0.5 * penalty * len(seen) * mean * mean
        return shifted, saved

    def _logits(self, w: Float64s, bias: float) -> Float64s:
        z = np.full(len(self.labels), bias)
        for field in self.fields:
            if field.is_bag:
                _add_weights(field.starts, field.examples, field.inputs, w[field.base :], z, 0, len(field.starts) - 1)
            else:
                run_each(_add_weights, [(*field[1:4], w[field.base :], z, *cut) for cut in _cuts(field.starts)])
        return z

    def _expand(self, z: Float64s, w: Float64s, l2: npt.NDArray[np.floating], slope: Float64s, bend: Float64s) -> float:
        """Set the first and second derivative at z, and return the objective there."""
        losses = np.empty(-(-len(z) // _BLOCK))
        parts = np.linspace(0, len(losses), num_threads() + 1).astype(np.int64).tolist()
        common = (z, self.labels, self.weights, slope, bend, losses)
        run_each(_derivatives, [(*common, *cut) for cut in pairwise(parts)])
        penalty = sum(
            float(penalty) * float(np.square(w[first:last]).sum())
            for penalty, (first, last) in zip(l2, pairwise(self.layout.base.tolist()), strict=True)
        )
        return float(losses.sum()) + 0.5 * penalty

    def _sweep(
        self,
        w: Float64s,
        bias: float,
        l2: npt.NDArray[np.floating],
        slope: Float64s,
        bend: Float64s,
        moved: Float64s,
    ) -> tuple[float, float]:
        """Move the bias, then the features of every field; return by how much that lowers the expansion."""
        total = float(bend.sum())
        step = float(slope.sum()) / max(total, 1e-300)
        slope -= bend * step
        moved += step
        lowered = 0.5 * step * step * total
        for penalty, field in zip(l2.tolist(), self.fields, strict=True):
            cuts = [(0, len(field.starts) - 1)] if field.is_bag else _cuts(field.starts)
            each = np.empty(len(field.starts) - 1)
            common = (*field[1:4], w[field.base :], penalty, slope, bend, moved, each)
            run_each(_move_features, [(*common, *cut) for cut in cuts])
            lowered += float(each.sum())
        return lowered, bias + step


def logits_of(solution: LogisticSolution, batch: Batch, layout: Layout) -> Float64s:
    """Return the logits (B,) of other examples."""
    num_full = np.empty((batch.num_examples, 0))
    out = np.empty((batch.num_examples, 1))
    gather(solution.weights[:, np.newaxis], batch, layout, num_full, out)
    logits: Float64s = out[:, 0] + solution.bias
    return logits


def _cuts(starts: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the features of a field in as many parts as there are threads, of about as many examples."""
    threads = num_threads() if starts[-1] > _EXAMPLES_PER_THREAD else 1
    cuts = np.searchsorted(starts, np.linspace(0, starts[-1], threads + 1))
    cuts[0], cuts[-1] = 0, len(starts) - 1
    return list(pairwise(cuts.tolist()))


@kernel
def _derivatives(
    z: Float64s, y: Float64s, a: Float64s, slope: Float64s, bend: Float64s, losses: Float64s, first: int, last: int
) -> None:
    """Set the negative first and the second derivative of each example's loss by its logit, and the loss of blocks of
    examples `first` to `last`.
    """
    for block in range(first, last):
        loss = 0.0
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, len(z))):
            e = np.exp(-abs(z[i]))
            larger = 1.0 / (1.0 + e)
            p = larger if z[i] > 0.0 else e * larger
            slope[i] = a[i] * (y[i] - p)
            bend[i] = a[i] * max(e * larger * larger, _FLATTEST)
            loss += a[i] * (np.log1p(e) + max(z[i], 0.0) - y[i] * z[i])
        losses[block] = loss


@kernel
def _move_features(
    starts: npt.NDArray[np.int64],
    examples: npt.NDArray[np.uint32],
    inputs: npt.NDArray[np.float32],
    w: Float64s,
    l2: float,
    slope: Float64s,
    bend: Float64s,
    moved: Float64s,
    lowered: Float64s,
    first: int,
    last: int,
) -> None:
    """Move features `first` to `last` to the minimum of the expansion, and set what each lowers it by."""
    plain = len(inputs) == 0
    for r in range(first, last):
        g, h = -l2 * w[r], l2
        for k in range(starts[r], starts[r + 1]):
            i = examples[k]
            x = 1.0 if plain else np.float64(inputs[k])
            g += x * slope[i]
            h += x * x * bend[i]
        step = g / h
        w[r] += step
        lowered[r] = 0.5 * g * step
        for k in range(starts[r], starts[r + 1]):
            i = examples[k]
            d = step if plain else step * np.float64(inputs[k])
            slope[i] -= bend[i] * d
            moved[i] += d


@kernel
def _curve_features(
    starts: npt.NDArray[np.int64],
    examples: npt.NDArray[np.uint32],
    inputs: npt.NDArray[np.float32],
    bend: Float64s,
    curvatures: Float64s,
    first: int,
    last: int,
) -> None:
    """Set the second derivatives by the weights of features `first` to `last`."""
    plain = len(inputs) == 0
    for r in range(first, last):
        for k in range(starts[r], starts[r + 1]):
            x = 1.0 if plain else np.float64(inputs[k])
            curvatures[r] += x * x * bend[examples[k]]


@kernel
def _add_weights(
    starts: npt.NDArray[np.int64],
    examples: npt.NDArray[np.uint32],
    inputs: npt.NDArray[np.float32],
    w: Float64s,
    z: Float64s,
    first: int,
    last: int,
) -> None:
    """Add each feature's weight, times its input, to the logits of its examples."""
    plain = len(inputs) == 0
    for r in range(first, last):
        for k in range(starts[r], starts[r + 1]):
            z[examples[k]] += w[r] if plain else w[r] * np.float64(inputs[k])
