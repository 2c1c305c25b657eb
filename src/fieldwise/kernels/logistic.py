"""The forward pass of logistic regression: sums of weights, the loss, and its derivative, in one pass over the ids."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.decode import PIECE
from fieldwise.kernels.instructions import next_ticket
from fieldwise.kernels.jit import kernel
from fieldwise.kernels.layout import Batch, Layout
from fieldwise.kernels.table import gather_part
from fieldwise.kernels.threads import IDS_PER_THREAD, num_threads, run_each

__all__ = ["linear_errors", "logistic_errors"]

Rows = npt.NDArray[Any]
Floats = npt.NDArray[np.floating]
Int32s = npt.NDArray[np.int32]
Float32s = npt.NDArray[np.float32]

_ALL_ONE = np.empty(0, dtype=np.float32)


@kernel
def logistic_errors(
    sums: Floats, bias: float, labels: Int32s, weights: Float32s, scale: float, errors: Floats
) -> tuple[float, float]:
    """Write the derivative of the logloss by each example's logit, and return the loss and the derivatives' sum.

    With ``z[b] = sums[b] + bias``::

        loss      = sum over b of  scale weight[b] (log(1 + exp(z[b])) - y[b] z[b])
        errors[b] = scale weight[b] (sigmoid(z[b]) - y[b])

    Parameters
    ----------
    sums
        (B, 1): what the features add up to.
    bias
        Added to each; the sum that is returned is its gradient.
    labels
        (B,) 0 or 1.
    weights
        (B,), or (0,) where all are 1.
    scale
        One over the sum of the weights, where the loss is to be their mean.
    errors
        (B, 1), written.
    """
    weighted = len(weights) > 0
    loss = slope = 0.0
    for b in range(np.uint64(len(labels))):
        z = np.float64(sums[b, 0]) + bias
        small = math.exp(-abs(z))  # never overflows
        probability = (1.0 if z >= 0 else small) / (1.0 + small)
        weight = weights[b] * scale if weighted else scale
        loss += weight * (max(z, 0.0) + math.log1p(small) - labels[b] * z)
        error = weight * (probability - labels[b])
        slope += error
        errors[b, 0] = error
    return loss, slope


@kernel(allocates=True)
def _take_blocks(
    rows: Rows,
    batch: Batch,
    layout: Layout,
    bias: float,
    labels: Int32s,
    weights: Float32s,
    scale: float,
    none: Floats,
    sums: Floats,
    errors: Floats,
    found: npt.NDArray[np.float64],
    tickets: npt.NDArray[np.int64],
) -> None:
    """Work on blocks until none is left; ``found`` (blocks, 2) gets the loss and the slope of each."""
    block = next_ticket(tickets)
    while block < len(found):
        begin, end = block * PIECE, min((block + 1) * PIECE, len(labels))
        gather_part(rows, batch, layout, 0, none, sums, begin, end)
        of_block = weights[begin:end]  # empty where all are 1
        found[block] = logistic_errors(sums[begin:end], bias, labels[begin:end], of_block, scale, errors[begin:end])
        block = next_ticket(tickets)


def linear_errors(
    rows: Rows,
    batch: Batch,
    layout: Layout,
    bias: float,
    labels: Int32s,
    weights: Float32s | None,
    total: float,
    errors: Floats,
) -> tuple[float, float, Floats]:
    """Return the logloss of logistic regression over a batch, its derivative by the bias, and what the features of each
    example add up to, (B, 1).

    The loss is summed block by block of `decode.PIECE` examples, so it is the same for any number of threads.

    Parameters
    ----------
    rows
        (D, 1 + state): a table of K = 0, W = 1 (`kernels.table`).
    labels
        (B,) 0 or 1.
    weights
        (B,), or None where all are 1.
    total
        By which sums over the examples are divided: the sum of their weights, where means are wanted; where it is 0, so
        is the loss.
    errors
        (B, 1), written: the derivative of the loss by each example's logit.
    """
    scale = 1.0 / total if total > 0 else 0.0
    found = np.empty((-(-len(labels) // PIECE), 2))
    common = (rows, batch, layout, bias, labels, _ALL_ONE if weights is None else weights, scale)
    sums = np.empty_like(errors)
    work = (*common, errors[:, :0], sums, errors, found, np.zeros(1, dtype=np.int64))
    threads = (batch.ids.size + len(batch.bag_ids)) // IDS_PER_THREAD
    run_each(_take_blocks, [work] * max(min(num_threads(), threads, len(found)), 1))
    loss, slope = found.sum(axis=0).tolist()
    return loss, slope, sums
