"""What the kernels do, in torch's operations: on any device and in any precision.

Rows that do not move, and places of `batch.Merge` that stand for no row, are written to the spare row: nothing here
waits for a count.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fieldwise.tables.optimizer import Rule
from fieldwise.tables.torch_ops import storage
from fieldwise.tables.torch_ops.batch import DeviceBatch, Merge

__all__ = ["gather", "sums", "update"]

_WIDE = 64
"""Fully connected units from which on fields are taken one by one: (F, B, W) would fill the device."""


def gather(
    rows: Tensor, batch: DeviceBatch, num_fields: int, num_local: int, num_full: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return ``local`` (B, F K) and ``full`` (B, W), as the equations of `kernels.table` say."""
    weights = rows[:, : num_local + num_full]
    num_examples = batch.num_examples
    if num_full <= _WIDE:
        cells = _cells(weights, batch, 0, num_fields).view(num_fields, num_examples, weights.shape[1])
        local = cells[:, :, :num_local].transpose(0, 1).reshape(num_examples, num_fields * num_local)
        return local.to(dtype), cells[:, :, num_local:].sum(dim=0).to(dtype)
    local = rows.new_empty(num_examples, num_fields * num_local, dtype=dtype)
    full = rows.new_zeros(num_examples, num_full, dtype=dtype)
    for f in range(num_fields):
        cells = _cells(weights, batch, f, f + 1)
        local[:, f * num_local : (f + 1) * num_local] = cells[:, :num_local]
        full += cells[:, num_local:]
    return local, full


def _cells(weights: Tensor, batch: DeviceBatch, first: int, last: int) -> Tensor:
    """Return the sums of the cells of fields `first` to `last`, (cells, n)."""
    begin, end = first * batch.num_examples, last * batch.num_examples
    if batch.offsets is None:
        here = slice(begin, end)
    else:
        offsets = batch.offsets[begin : end + 1]
        here = (
            slice(0, None) if (begin, end + 1) == (0, len(batch.offsets)) else slice(int(offsets[0]), int(offsets[-1]))
        )
    numbers = storage.decode(weights[batch.rows[here]])
    if batch.inputs is not None:
        numbers = numbers * batch.inputs[here].unsqueeze(1)
    if batch.offsets is None:
        return numbers
    return torch.segment_reduce(numbers, "sum", offsets=offsets - offsets[0], axis=0)


def sums(batch: DeviceBatch, merge: Merge, local: Tensor, full: Tensor, num_fields: int) -> Tensor:
    """Return the gradients (U, K + W) of the rows of `merge`, summed over their features in order."""
    order, count = merge.order, max(batch.num_examples, 1)
    cell = order if batch.cells is None else batch.cells[order]
    field, example = torch.div(cell, count, rounding_mode="floor"), cell % count
    of_fields = local.view(batch.num_examples, num_fields, local.shape[1] // max(num_fields, 1))
    gradients = torch.cat((of_fields[example, field], full[example]), dim=1)
    if batch.inputs is not None:
        gradients = gradients * batch.inputs[order].unsqueeze(1)
    return torch.segment_reduce(gradients, "sum", offsets=merge.starts, axis=0)


def update(
    rows: Tensor, batch: DeviceBatch, merge: Merge, local: Tensor, full: Tensor, num_fields: int, rule: Rule
) -> Tensor:
    """Move every row that the batch touches once, by the sum of its gradients; in place.

    Returns
    -------
    Tensor
        A scalar: 0, or NaN where a weight or a state that was written is not finite.
    """
    gradients = sums(batch, merge, local, full, num_fields)
    moves = (gradients != 0).any(dim=1)
    at = torch.where(moves, merge.rows, len(rows) - 1)
    weights, state = storage.load(rows, at, gradients.shape[1])
    weights, state = _RULES[rule.name](weights, state, gradients, *rule.settings)
    storage.store(rows, at, weights, state, rule.key, rule.numbering)
    check = (weights * 0).sum(dim=1) + (state * 0).sum(dim=1)
    return torch.where(moves, check, 0).sum()


def _adagrad(w: Tensor, s: Tensor, g: Tensor, rate: float, epsilon: float, l2: float) -> tuple[Tensor, Tensor]:
    g = g + l2 * w
    s = s + g * g
    return w - rate * g / (torch.sqrt(s) + epsilon), s


def _rowwise_adagrad(w: Tensor, s: Tensor, g: Tensor, rate: float, epsilon: float, l2: float) -> tuple[Tensor, Tensor]:
    g = g + l2 * w
    s = s + (g * g).mean(dim=1, keepdim=True)
    return w - rate / (torch.sqrt(s) + epsilon) * g, s


def _adam(
    w: Tensor, state: Tensor, g: Tensor, rate: float, epsilon: float, l2: float, beta1: float, beta2: float, step: float
) -> tuple[Tensor, Tensor]:
    m, v = state.chunk(2, dim=1)
    rate = rate * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step)
    g = g + l2 * w
    m = m + (1.0 - beta1) * (g - m)
    v = v + (1.0 - beta2) * (g * g - v)
    return w - rate * m / (torch.sqrt(v) + epsilon), torch.cat((m, v), dim=1)


def _ftrl(
    w: Tensor, state: Tensor, g: Tensor, alpha: float, beta: float, l1: float, l2: float
) -> tuple[Tensor, Tensor]:
    z, s = state.chunk(2, dim=1)
    # A unit whose gradient is zero has its weight derived anew too, as in `kernels.optimizers`.
    root = torch.sqrt(s + g * g)
    z = z + g - (root - torch.sqrt(s)) / alpha * w
    moved = -(z - torch.sign(z) * l1) / ((beta + root) / alpha + l2)
    return torch.where(z.abs() <= l1, 0.0, moved), torch.cat((z, s + g * g), dim=1)


_RULES: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "adagrad": _adagrad,
    "rowwise-adagrad": _rowwise_adagrad,
    "adam": _adam,
    "ftrl": _ftrl,
}
