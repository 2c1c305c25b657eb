"""Kernels that move a factorisation machine's Gaussian posterior by a piece of the examples (`training.variational`).

Letters: B examples of a piece, F fields, D features, K factors, d = K + 1 numbers of a feature: its weight, then its
factors. Each number has a mean m and a precision p of its own.

With a_f and s_f the means and variances of field f in an example (its features' m and 1 / p, times x and x^2), A_f and
S_f the sums of a and s over the fields that f meets, the logit has the mean and variance ::

    z   = bias + sum over f of a_f0 + 1/2 sum over f, k of a_fk A_fk
    var = 1 / p_bias + sum over f of s_f0 + sum over f, k of s_fk (A_fk^2 + S_fk / 2)

The expected loss of the example, whose label is y, is that of a logistic curve under this normal, by MacKay's
approximation (1992)::

    E sigmoid = q = sigmoid(c z),    E sigmoid' = h = c q (1 - q),    c = 1 / sqrt(1 + pi var / 8)

so that it asks of the numbers of f to move and to be known better by ::

    slope_f0 = y - q                                  curve_f0 = h
    slope_fk = (y - q) A_fk - h sum of s_gk A_gk      curve_fk = h (A_fk^2 + S_fk)          the sum over g that f meets

Slopes are divided by 1 + h var, for all numbers of an example move at once: this is what a single example asks for
where it is all that is known, as in assumed-density filtering (Graepel et al. 2010, Stern et al. 2009).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel, part
from fieldwise.kernels.layout import BAG, VALUE, Batch, Layout

__all__ = ["change_prior", "likelier_prior", "moments", "move_bias", "move_rows", "slopes"]

Floats = npt.NDArray[np.floating[Any]]
Int64s = npt.NDArray[np.int64]

_PI_8 = math.pi / 8.0
_FAST = {"contract", "reassoc", "nsz"}


@part
def _read_fields(means: Floats, variances: Floats, rows: Floats, batch: Batch, layout: Layout, e: int, d: int) -> None:
    """Set a and s, (F, d) each, of an example; a line of `rows` has the means, then the precisions."""
    for f in range(len(layout.form)):
        base, x = layout.base[f], 1.0
        if layout.form[f] == BAG:
            for k in range(d):
                means[f, k] = variances[f, k] = 0.0
            offsets = batch.offsets[layout.bag[f]]
            for i in range(offsets[e], offsets[e + 1]):
                r, x = base + batch.bag_ids[i], float(batch.bag_weights[i])
                for k in range(d):
                    means[f, k] += x * rows[r, k]
                    variances[f, k] += x * x / rows[r, d + k]
        else:
            r = base + batch.ids[layout.single[f], e]
            if layout.form[f] == VALUE:
                x = float(batch.values[layout.value[f], e])
            for k in range(d):
                means[f, k] = x * rows[r, k]
                variances[f, k] = x * x / rows[r, d + k]


@part
def _meet(met: Floats, own: Floats, starts: Int64s, apart: Int64s, d: int) -> None:
    """Set line f of `met` to the sum of `own` over the fields that f meets: all others but those it is apart from."""
    for k in range(1, d):
        total = 0.0
        for f in range(len(own)):
            total += own[f, k]
        for f in range(len(own)):
            met[f, k] = total - own[f, k]
    for f in range(len(own)):
        for i in range(starts[f], starts[f + 1]):
            for k in range(1, d):
                met[f, k] -= own[apart[i], k]


@part
def _of_logit(
    means: Floats,
    variances: Floats,
    met: Floats,
    unsure: Floats,
    bias: Floats,
    starts: Int64s,
    apart: Int64s,
    d: int,
) -> tuple[float, float]:
    """Return z and var of an example, and set A and S, (F, d) each."""
    _meet(met, means, starts, apart, d)
    _meet(unsure, variances, starts, apart, d)
    z, var = bias[0], 1.0 / bias[1]
    for f in range(len(means)):
        z += means[f, 0]
        var += variances[f, 0]
        for k in range(1, d):
            z += 0.5 * means[f, k] * met[f, k]
            var += variances[f, k] * (met[f, k] * met[f, k] + 0.5 * unsure[f, k])
    return z, var


@kernel(fastmath=_FAST, allocates=True)
def slopes(
    slope: Floats,
    curve: Floats,
    of_bias: Floats,
    rows: Floats,
    bias: Floats,
    batch: Batch,
    layout: Layout,
    starts: Int64s,
    apart: Int64s,
    labels: npt.NDArray[np.integer[Any]],
    weights: Floats,
    first: int,
    begin: int,
    end: int,
) -> None:
    """Say what the examples ``first + begin`` to ``first + end`` of a batch ask for.

    Parameters
    ----------
    slope, curve
        (B, F, d), lines `begin` to `end` are written.
    of_bias
        (B, 2): slope and curve of the bias, written.
    rows
        (D, 2 d): the means, then the precisions.
    bias
        (2,): mean and precision.
    batch, layout
        Examples, no bag with a feature twice (`layout.without_repeats`), and their fields.
    starts, apart
        The fields that field f does not meet, ``apart[starts[f] : starts[f + 1]]``, but itself.
    labels, weights
        Of the batch; no weights at all where each is 1.
    """
    num_fields, d = len(layout.form), rows.shape[1] // 2
    means, variances = np.zeros((num_fields, d)), np.zeros((num_fields, d))
    met, unsure = np.zeros((num_fields, d)), np.zeros((num_fields, d))
    pulls, pulled = np.zeros((num_fields, d)), np.zeros((num_fields, d))
    for b in range(begin, end):
        e = first + b
        _read_fields(means, variances, rows, batch, layout, e, d)
        z, var = _of_logit(means, variances, met, unsure, bias, starts, apart, d)
        for f in range(num_fields):
            for k in range(1, d):
                pulls[f, k] = variances[f, k] * met[f, k]
        _meet(pulled, pulls, starts, apart, d)
        c = 1.0 / math.sqrt(1.0 + _PI_8 * var)
        q = 1.0 / (1.0 + math.exp(-c * z))
        weight = weights[e] if len(weights) else 1.0
        h = weight * c * q * (1.0 - q)
        damped = 1.0 / (1.0 + h * var)
        g = weight * ((1.0 if labels[e] else 0.0) - q) * damped
        of_bias[b, 0], of_bias[b, 1] = g, h
        for f in range(num_fields):
            slope[b, f, 0], curve[b, f, 0] = g, h
            for k in range(1, d):
                slope[b, f, k] = g * met[f, k] - h * damped * pulled[f, k]
                curve[b, f, k] = h * (met[f, k] * met[f, k] + unsure[f, k])


@part
def _learn_row(rows: Floats, r: int, x: float, curve: Floats, b: int, f: int, d: int) -> None:
    for k in range(d):
        rows[r, d + k] += x * x * curve[b, f, k]


@part
def _move_row(rows: Floats, r: int, x: float, slope: Floats, b: int, f: int, rate: float, d: int) -> None:
    for k in range(d):
        rows[r, k] += rate * x * slope[b, f, k] / rows[r, d + k]


@part
def _renew_row(
    rows: Floats,
    r: int,
    x: float,
    slope: Floats,
    curve: Floats,
    b: int,
    f: int,
    share: float,
    prior: Floats,
    rate: float,
) -> None:
    d = len(prior)
    for k in range(d):
        own, mean = prior[k], rows[r, k]
        known = rows[r, d + k] + x * x * curve[b, f, k]
        known -= share * (known - own)
        rows[r, d + k] = known
        rows[r, k] = mean + rate * (x * slope[b, f, k] - share * own * mean) / known


@kernel(fastmath=_FAST)
def move_rows(
    rows: Floats,
    counts: Floats,
    prior: Floats,
    slope: Floats,
    curve: Floats,
    batch: Batch,
    layout: Layout,
    weights: Floats,
    num: int,
    first: int,
    rate: float,
    is_first_pass: bool,
    first_field: int,
    last_field: int,
) -> None:
    """Move the features of the fields `first_field` to `last_field` by what `num` examples, from `first` on, ask for.

    In the first pass what they ask for is added to the precisions, and examples are counted; afterwards it takes the
    place of its share of what was there: of a feature with n examples, 1 / n each. In the first pass all precisions
    come before the means: those of a frequent feature would go too far by the precision after its first example.

    Parameters
    ----------
    rows
        (D, 2 d), as in `slopes`.
    counts
        (D,): the examples of each feature, by weight.
    prior
        (F, d): its precisions.
    rate
        Of the means, 1: as far as the precision says.
    """
    d = prior.shape[1]
    for f in range(first_field, last_field):
        base, x = layout.base[f], 1.0
        for step in range(2 if is_first_pass else 1):
            for b in range(num):
                e = first + b
                weight = weights[e] if len(weights) else 1.0
                if weight == 0.0:
                    continue
                begin, end = 0, 1
                if layout.form[f] == BAG:
                    offsets = batch.offsets[layout.bag[f]]
                    begin, end = offsets[e], offsets[e + 1]
                elif layout.form[f] == VALUE:
                    x = float(batch.values[layout.value[f], e])
                for i in range(begin, end):
                    if layout.form[f] == BAG:
                        r, x = base + np.int64(batch.bag_ids[i]), float(batch.bag_weights[i])
                    else:
                        r = base + np.int64(batch.ids[layout.single[f], e])
                    if not is_first_pass:
                        _renew_row(rows, r, x, slope, curve, b, f, weight / counts[r], prior[f], rate)
                    elif step == 0:
                        counts[r] += weight
                        _learn_row(rows, r, x, curve, b, f, d)
                    else:
                        _move_row(rows, r, x, slope, b, f, rate, d)


@kernel
def move_bias(bias: Floats, of_bias: Floats, weights: Floats, num: int, first: int, total: float, rate: float) -> None:
    """Move the bias by what `num` examples of `total` (by weight; 0 in the first pass) ask for, as in `move_rows`."""
    slope = curve = weight = 0.0
    for b in range(num):
        slope += of_bias[b, 0]
        curve += of_bias[b, 1]
        weight += weights[first + b] if len(weights) else 1.0
    bias[1] += curve - (weight / total * bias[1] if total > 0.0 else 0.0)
    bias[0] += rate * slope / bias[1]


@kernel(fastmath=_FAST, allocates=True)
def moments(
    mean: Floats,
    variance: Floats,
    rows: Floats,
    bias: Floats,
    batch: Batch,
    layout: Layout,
    starts: Int64s,
    apart: Int64s,
    begin: int,
    end: int,
) -> None:
    """Set mean and variance of the logits, (B,) each, of the examples `begin` to `end`; the rest as in `slopes`."""
    num_fields, d = len(layout.form), rows.shape[1] // 2
    means, variances = np.zeros((num_fields, d)), np.zeros((num_fields, d))
    met, unsure = np.zeros((num_fields, d)), np.zeros((num_fields, d))
    for e in range(begin, end):
        _read_fields(means, variances, rows, batch, layout, e, d)
        mean[e], variance[e] = _of_logit(means, variances, met, unsure, bias, starts, apart, d)


# Plain loops: the last bits of numpy's sums depend on where an array lies.


@kernel(allocates=True)
def likelier_prior(rows: Floats, counts: Floats, prior: Floats, base: int, end: int) -> Floats:
    """Return the precisions (d,) of a field's prior that go half of the way, in logarithms, to the likeliest.

    With gamma what the examples determine of the field's features, from row `base` to `end` (MacKay 1992)::

        gamma = sum of 1 - prior / p,    likeliest = (gamma + 2) / (sum of m^2 + 2)

    over the features that have examples. The 2 keep fields of few features from extremes.
    """
    d = len(prior)
    found = np.empty(d)
    for k in range(d):
        gamma, squares = 2.0, 2.0
        for r in range(base, end):
            if counts[r] > 0.0:
                gamma += 1.0 - prior[k] / rows[r, d + k]
                squares += rows[r, k] * rows[r, k]
        found[k] = math.sqrt(prior[k] * gamma / squares)
    return found


@kernel
def change_prior(rows: Floats, counts: Floats, before: Floats, now: Floats, base: int, end: int) -> None:
    """Let a field's features have the prior `now` in place of `before`; those without examples have nothing else."""
    d = len(now)
    for r in range(base, end):
        for k in range(d):
            if counts[r] > 0.0:
                rows[r, d + k] = max(rows[r, d + k] + now[k] - before[k], now[k])
            else:
                rows[r, k], rows[r, d + k] = 0.0, now[k]
