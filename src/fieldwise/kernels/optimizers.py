"""The optimizers of the table: one visit to every row that a batch touched.

Each kernel takes work items until none is left, sums the gradients of an item (`kernels.gradients.merge`), and moves
every row that the item touches once, by the sum over all of its occurrences in the batch. A row whose summed
gradient is exactly zero stays as it is.

Each returns its *check*: 0, or NaN where a weight or a state that it has written is not finite. The check is a sum of
``0 x``, which is 0 for every finite x: it costs a multiplication per number, and the caller one comparison.

With n weights in a row, numbers of its state are counted from 0 (`kernels.storage`). L2 enters as g + l2 weight, for
the rows of the batch only. For storage that rounds, `key` is that of the step, and `numbering` says which rows of the
whole table those of `rows` are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from fieldwise.kernels.gradients import merge
from fieldwise.kernels.instructions import next_ticket, prefetch_row
from fieldwise.kernels.jit import kernel
from fieldwise.kernels.lanes import LANES, adam_lanes
from fieldwise.kernels.layout import Batch, Layout
from fieldwise.kernels.numbering import Numbering
from fieldwise.kernels.storage import in_whole, load_state, load_weight, noise, store_state, store_weight
from fieldwise.kernels.work import Work, WorkItems

__all__ = ["NUM_STATES", "adagrad", "adagrad_number", "adam", "adam_number", "ftrl", "rowwise_adagrad"]

Rows = npt.NDArray[Any]
Floats = npt.NDArray[np.floating]
Tickets = npt.NDArray[np.int64]
Index = int | np.uint64
Number = Any
"""float32 or float64, as the rows are."""

NUM_STATES: dict[str, Callable[[int], int]] = {
    "adagrad": lambda n: n,
    "rowwise-adagrad": lambda n: 1,
    "adam": lambda n: 2 * n,
    "ftrl": lambda n: 2 * n,
}
"""How many numbers of state each rule keeps for a row of n weights."""

_U = np.uint64
_LANES = _U(LANES)
_AHEAD = _U(16)
"""How many rows ahead one is asked for: roots and quotients keep the processor from looking that far."""
# Indices are unsigned and arithmetic stays in the gradients' own type (a float64 rate would make every product and root
# float64): see `kernels.table` for the first, docs/log/2026-11/table.md#which-habits-do-the-kernels-need for both.


@njit(inline="always")
def _moves(gradients: Floats, u: Index, n: Index) -> bool:
    for k in range(n):
        if gradients[u, k] != 0:
            return True
    return False


@njit(inline="always")
def _adagrad(w: Number, s: Number, g: Number, rate: Number, epsilon: Number) -> tuple[Number, Number]:
    s += g * g
    return w - rate * g / (math.sqrt(s) + epsilon), s


@njit(inline="always")
def _adam(
    w: Number, m: Number, v: Number, g: Number, rate: Number, epsilon: Number, new1: Number, new2: Number
) -> tuple[Number, Number, Number]:
    m += new1 * (g - m)
    v += new2 * (g * g - v)
    return w - rate * m / (math.sqrt(v) + epsilon), m, v


@kernel
def adagrad_number(number: Floats, gradient: float, learning_rate: float, epsilon: float) -> None:
    """As `adagrad`, for a weight alone: ``number`` (2,) is the weight and its state."""
    number[0], number[1] = _adagrad(number[0], number[1], gradient, learning_rate, epsilon)


@kernel
def adam_number(
    number: Floats, gradient: float, learning_rate: float, epsilon: float, beta1: float, beta2: float, step: int
) -> None:
    """As `adam`, for a weight alone: ``number`` (3,) is the weight and its two moments."""
    rate = learning_rate * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step)
    number[0], number[1], number[2] = _adam(
        number[0], number[1], number[2], gradient, rate, epsilon, 1.0 - beta1, 1.0 - beta2
    )


@kernel
def adagrad(
    rows: Rows,
    batch: Batch,
    layout: Layout,
    local: Floats,
    full: Floats,
    items: WorkItems,
    tickets: Tickets,
    work: Work,
    key: np.uint64,
    numbering: Numbering,
    learning_rate: float,
    epsilon: float,
    l2: float,
) -> float:
    """Adagrad (Duchi et al. 2011): s += g^2, weight -= learning_rate g / (sqrt(s) + epsilon), for each weight."""
    gradients, distinct, number = work.gradients, work.distinct, work.gradients.dtype.type
    n = _U(gradients.shape[1])
    rate, tiny, decay, zero = number(learning_rate), number(epsilon), number(l2), number(0)
    check = zero
    item = next_ticket(tickets)
    while item < len(items):
        f, part, parts = items[item]
        base, count = _U(layout.base[f]), merge(batch, layout, f, part, parts, local, full, work)
        for u in range(count):
            if u + _AHEAD < count:
                prefetch_row(rows, np.int64(base + _U(distinct[u + _AHEAD])), 0, rows.shape[1])
            if not _moves(gradients, u, n):
                continue
            r = base + _U(distinct[u])
            whole = in_whole(rows, numbering, r)
            for k in range(n):
                w = load_weight(rows, r, k)
                g = gradients[u, k] + decay * w
                w, s = _adagrad(w, load_state(rows, r, n, k), g, rate, tiny)
                store_state(rows, r, n, k, s)
                store_weight(rows, r, k, w, noise(rows, key, whole, k))
                check += zero * (w + s)
        item = next_ticket(tickets)
    return float(check)


@kernel
def rowwise_adagrad(
    rows: Rows,
    batch: Batch,
    layout: Layout,
    local: Floats,
    full: Floats,
    items: WorkItems,
    tickets: Tickets,
    work: Work,
    key: np.uint64,
    numbering: Numbering,
    learning_rate: float,
    epsilon: float,
    l2: float,
) -> float:
    """Adagrad with one state per row, the sum over steps of the mean square of g."""
    gradients, distinct, number = work.gradients, work.distinct, work.gradients.dtype.type
    n, first = _U(gradients.shape[1]), _U(0)
    rate, tiny, decay, zero = number(learning_rate), number(epsilon), number(l2), number(0)
    part_of_row = number(1 / gradients.shape[1])
    check = zero
    item = next_ticket(tickets)
    while item < len(items):
        f, part, parts = items[item]
        base, count = _U(layout.base[f]), merge(batch, layout, f, part, parts, local, full, work)
        for u in range(count):
            if u + _AHEAD < count:
                prefetch_row(rows, np.int64(base + _U(distinct[u + _AHEAD])), 0, rows.shape[1])
            if not _moves(gradients, u, n):
                continue
            r, total = base + _U(distinct[u]), zero
            whole = in_whole(rows, numbering, r)
            for k in range(n):
                g = gradients[u, k] + decay * load_weight(rows, r, k)
                gradients[u, k] = g
                total += g * g
            s = load_state(rows, r, n, first) + part_of_row * total
            store_state(rows, r, n, first, s)
            check += zero * s
            step = rate / (math.sqrt(s) + tiny)
            for k in range(n):
                w = load_weight(rows, r, k) - step * gradients[u, k]
                store_weight(rows, r, k, w, noise(rows, key, whole, k))
                check += zero * w
        item = next_ticket(tickets)
    return float(check)


@kernel
def adam(
    rows: Rows,
    batch: Batch,
    layout: Layout,
    local: Floats,
    full: Floats,
    items: WorkItems,
    tickets: Tickets,
    work: Work,
    key: np.uint64,
    numbering: Numbering,
    learning_rate: float,
    epsilon: float,
    l2: float,
    beta1: float,
    beta2: float,
    step: int,
) -> float:
    """Lazy Adam (Kingma and Ba 2015): moments of the rows of the batch alone, bias correction by the global step."""
    gradients, distinct, number = work.gradients, work.distinct, work.gradients.dtype.type
    n = _U(gradients.shape[1])
    rate = number(learning_rate * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step))
    tiny, decay, zero = number(epsilon), number(l2), number(0)
    new1, new2 = number(1.0 - beta1), number(1.0 - beta2)
    check = zero
    item = next_ticket(tickets)
    while item < len(items):
        f, part, parts = items[item]
        base, count = _U(layout.base[f]), merge(batch, layout, f, part, parts, local, full, work)
        for u in range(count):
            if u + _AHEAD < count:
                prefetch_row(rows, np.int64(base + _U(distinct[u + _AHEAD])), 0, rows.shape[1])
            if not _moves(gradients, u, n):
                continue
            r = base + _U(distinct[u])
            whole = in_whole(rows, numbering, r)
            k = _U(0)
            while rows.itemsize > 2 and k + _LANES <= n:  # not bfloat16
                check += adam_lanes(rows, r, n, gradients, u, k, rate, tiny, decay, new1, new2)
                k += _LANES
            while k < n:
                w = load_weight(rows, r, k)
                g = gradients[u, k] + decay * w
                m, v = load_state(rows, r, n, k), load_state(rows, r, n, n + k)
                w, m, v = _adam(w, m, v, g, rate, tiny, new1, new2)
                store_state(rows, r, n, k, m)
                store_state(rows, r, n, n + k, v)
                store_weight(rows, r, k, w, noise(rows, key, whole, k))
                check += zero * (w + v)  # v is finite only where m is
                k += _U(1)
        item = next_ticket(tickets)
    return float(check)


@kernel
def ftrl(
    rows: Rows,
    batch: Batch,
    layout: Layout,
    local: Floats,
    full: Floats,
    items: WorkItems,
    tickets: Tickets,
    work: Work,
    key: np.uint64,
    numbering: Numbering,
    alpha: float,
    beta: float,
    l1: float,
    l2: float,
) -> float:
    """FTRL-proximal (McMahan et al. 2013, algorithm 1): state z, then the sum of squares s.

    ``sigma = (sqrt(s + g^2) - sqrt(s)) / alpha; z += g - sigma weight; s += g^2;``
    ``weight = 0 if abs(z) <= l1 else -(z - sign(z) l1) / ((beta + sqrt(s)) / alpha + l2)``
    """
    gradients, distinct, number = work.gradients, work.distinct, work.gradients.dtype.type
    n = _U(gradients.shape[1])
    rate, offset, sparsity, decay, zero = number(alpha), number(beta), number(l1), number(l2), number(0)
    check = zero
    item = next_ticket(tickets)
    while item < len(items):
        f, part, parts = items[item]
        base, count = _U(layout.base[f]), merge(batch, layout, f, part, parts, local, full, work)
        for u in range(count):
            if u + _AHEAD < count:
                prefetch_row(rows, np.int64(base + _U(distinct[u + _AHEAD])), 0, rows.shape[1])
            if not _moves(gradients, u, n):
                continue
            r = base + _U(distinct[u])
            whole = in_whole(rows, numbering, r)
            for k in range(n):
                g, s = gradients[u, k], load_state(rows, r, n, n + k)
                root = math.sqrt(s + g * g)
                z = load_state(rows, r, n, k) + g - (root - math.sqrt(s)) / rate * load_weight(rows, r, k)
                store_state(rows, r, n, k, z)
                store_state(rows, r, n, n + k, s + g * g)
                w = zero
                if not abs(z) <= sparsity:
                    w = -(z - math.copysign(sparsity, z)) / ((offset + root) / rate + decay)
                store_weight(rows, r, k, w, noise(rows, key, whole, k))
                check += zero * (w + z)
        item = next_ticket(tickets)
    return float(check)
