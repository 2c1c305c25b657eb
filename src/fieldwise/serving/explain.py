"""What each field adds to the logit of a row.

For a row and the base b, an average row, and for a model of two classes::

    logit = base + sum over f of contribution_f + residual

before calibration. The base is the logit of a row whose every field has the count-weighted mean of its features' rows
(a co-occurrence bag: nothing; a number or vector: its mean). Of the terms of a model,

* linear ones (logistic regression, wide part, skip) are exact: ``w_f - b_f``;
* so are interactions: ``1/2 (u_f - b_f) . sum over g of (u_g + b_g)``, half of a pair's product to each of its fields;
* a deep part d is told by integrated gradients (Sundararajan et al. 2017), x being its standardised input::

      (x_f - b_f) . integral from 0 to 1 of  d'(b + t (x - b)) dt

  by the midpoint rule; intervals are halved where it does not give the change of d. What is left over is the residual:
  it is reported, and not shared out. A co-occurrence bag counts for its key.

For linear models and interactions these are the Shapley values.

Letters: B rows, F fields of the log, P fields with bags, n numbers of a row of the table.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.bundle import Bundle
from fieldwise.errors import ConfigError
from fieldwise.kernels.layout import Batch
from fieldwise.kernels.storage import num_weights
from fieldwise.serving.gradients import DeepPart
from fieldwise.serving.members import Head, read_members
from fieldwise.serving.network import Network

__all__ = ["Explainer", "Explanation"]

Floats = npt.NDArray[np.float64]
_INTERVALS, _ROUNDS = 16, 14
"""Of the integral: so many intervals at first, and how often those are halved in which the gradient changes."""
_CLOSE = 1e-5
"""How much of the change in an interval may be left over: the value has kinks where a unit falls silent."""
_AT_ONCE = 1 << 14
"""So many intervals times numbers are told at once: enough to share the cost of a call, few enough for a cache."""
_SLAB = 1 << 18


class Explanation(NamedTuple):
    """What the fields add to the logits of B rows.

    Attributes
    ----------
    contributions
        (B, F + 1): of each field; last, the base. What `shap`'s plots take, and what LightGBM and CatBoost call so.
    logits
        (B,): before calibration.
    residuals
        (B,): logit - sum of the contributions; 0 but for rounding where there is no deep part.
    fields
        The names of the F fields.
    """

    contributions: Floats
    logits: Floats
    residuals: Floats
    fields: tuple[str, ...]


class Explainer:
    """Says what each field adds to the logits of a model of two classes.

    Parameters
    ----------
    bundle, network
        An opened bundle, and its rows.

    Raises
    ------
    ConfigError
        The model has more than two classes, several labels, or a part of somebody else's.
    """

    def __init__(self, bundle: Bundle, network: Network) -> None:
        if outputs := bundle.encoder.schema.outputs:
            raise ConfigError("only models of one label of two classes are explained", got=", ".join(outputs))
        if "fm_interactions" not in bundle.model:
            raise ConfigError(
                "a model of an earlier version is not explained", where=bundle.folder, fix="train it anew"
            )
        self._bundle, self._network = bundle, network
        self.fields = tuple(field.name for field in bundle.encoder.schema.fields)
        self._constant, self._heads = read_members(bundle, network)
        self._base = self._mean_rows()

    def explain(self, batch: Batch) -> Explanation:
        """Return what the fields add to the logits of encoded rows."""
        rows = self._network.by_field(batch).astype(np.float64)
        num_rows, num_fields = len(rows), len(self.fields)
        found = np.zeros((num_rows, rows.shape[1]))
        base, logits = np.full(num_rows, self._constant), np.full(num_rows, self._constant)
        for head in self._heads:
            self._add(head, rows, found, base, logits)
        for number, bag in enumerate(self._network.bags):
            found[:, bag.key] += found[:, num_fields + number]
        contributions = np.concatenate([found[:, :num_fields], base[:, None]], axis=1)
        return Explanation(contributions, logits, logits - contributions.sum(axis=1), self.fields)

    def _add(self, head: Head, rows: Floats, found: Floats, base: Floats, logits: Floats) -> None:
        """Add what one member says."""
        num_log, weight, of_base = len(self.fields), head.weight, self._base
        linear = slice(0, num_log), head.linear
        found[:, :num_log] += weight * (rows[:, *linear] - of_base[linear]).sum(axis=2)
        base += weight * of_base[linear].sum()
        logits += weight * rows[:, *linear].sum(axis=(1, 2))
        fields = slice(0, head.num_fields)
        if head.unit is not None:
            found[:, fields] += weight * (rows[:, fields, head.unit] - of_base[fields, head.unit])
            base += weight * of_base[fields, head.unit].sum()
            logits += weight * rows[:, fields, head.unit].sum(axis=1)
        if head.pairs is not None:
            units, mask = head.pairs
            u, b = rows[:, fields, units], of_base[fields, units]
            others = np.einsum("fg,bgk->bfk", mask, u + b)
            found[:, fields] += weight * 0.5 * ((u - b) * others).sum(axis=2)
            base += weight * 0.5 * (b * (mask @ b)).sum()
            logits += weight * 0.5 * (u * np.einsum("fg,bgk->bfk", mask, u)).sum(axis=(1, 2))
        if head.deep is not None:
            self._add_deep(head, rows, found, base, logits)

    def _add_deep(self, head: Head, rows: Floats, found: Floats, base: Floats, logits: Floats) -> None:
        assert head.deep is not None
        part, columns, fields, mean, scale = head.deep
        weight = head.weight
        u, b = rows[:, fields, columns], self._base[fields, columns]
        if head.summed:  # a bias, and the sum over the fields, go through the activation and what follows
            start, moves = b.sum(axis=0) + mean, u - b
            wholes = moves.sum(axis=1)
        else:
            start, moves = ((b.reshape(-1) - mean) * scale), (u - b) * scale.reshape(b.shape)
            wholes = moves.reshape(len(rows), b.size)
        start, along = part.line(start, wholes)
        base += weight * part.rest(start[None])[0]
        at_once = max(1, _AT_ONCE // (_INTERVALS * len(start)))
        for first in range(0, len(rows), at_once):
            some = slice(first, first + at_once)
            logits[some] += weight * part.rest(start + along[some])[0]
            slopes = part.back(_mean_gradients(part, start, along[some]))
            slopes = slopes[:, None] if head.summed else slopes.reshape(moves[some].shape)
            found[some, fields] += weight * (moves[some] * slopes).sum(axis=2)

    def _mean_rows(self) -> Floats:
        """Return the count-weighted mean of the rows of each field (P, n); nothing for co-occurrence bags."""
        encoder, network = self._bundle.encoder, self._network
        layout = encoder.layout
        means = np.zeros((network.layout.num_fields, num_weights(self._bundle.table)))
        for number, of_field in enumerate(encoder.fields.values()):
            inputs = of_field.mean_inputs()
            begin = int(layout.base[number])
            for first in range(0, len(inputs), _SLAB):
                some = inputs[first : first + _SLAB]
                means[number] += some @ network.rows(begin + first, begin + first + len(some))
        return means


def _mean_gradients(part: DeepPart, start: Floats, moves: Floats) -> Floats:
    """Return the means (S, H) of the gradient of ``part.rest`` on the lines from `start` (H,) to ``start + moves``."""
    edges = np.linspace(0, 1, _INTERVALS + 1)
    values = part.rest((start + edges[:, None] * moves[:, None]).reshape(-1, len(start)))[0].reshape(len(moves), -1)
    begins, ends = np.tile(edges[:-1], len(moves)), np.tile(edges[1:], len(moves))
    firsts, lasts = values[:, :-1].reshape(-1), values[:, 1:].reshape(-1)
    lines = np.repeat(np.arange(len(moves)), _INTERVALS)
    found = np.zeros(moves.shape)
    for left in reversed(range(_ROUNDS)):
        middles, width, is_on = (begins + ends) / 2, ends - begins, np.eye(len(moves))[lines]
        of_middles, gradient = part.rest(start + (middles[:, None] * is_on) @ moves)
        gradients = gradient()
        change = ((gradients @ moves.T) * is_on).sum(axis=1)
        open_ = (np.abs(lasts - firsts - width * change) > _CLOSE / _INTERVALS) & (left > 0)
        found += (np.where(open_, 0, width)[:, None] * is_on).T @ gradients
        if not open_.any():
            break
        begins, ends = np.r_[begins[open_], middles[open_]], np.r_[middles[open_], ends[open_]]
        firsts, lasts = np.r_[firsts[open_], of_middles[open_]], np.r_[of_middles[open_], lasts[open_]]
        lines = np.r_[lines[open_], lines[open_]]
    return found
