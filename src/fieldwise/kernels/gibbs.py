"""Kernels that draw a factorisation machine from its posterior, one field after the other (`training.gibbs`).

Letters: n examples, D features, K factors, d = K + 1 numbers of a feature: its weight, then its factors.

With x the input of feature r in example e (1, a number's value or the weight in a bag), q_e = (1, the factors of the
fields that r's field meets, summed), t_e what the latent number of e leaves for r and v_r the d numbers of r, these are
drawn from ::

    N(A^-1 b, A^-1),     A = diag(precision) + sum over e of x^2 q_e q_e^T,     b = sum over e of x q_e t_e

given all other fields. With s_e what the latent number leaves after all fields, t_e = s_e + x q_e . v_r, so what v_r
moves by has the same A, and a b without large terms that cancel: sum over e of x q_e s_e - precision v_r.

An example has one feature of a field, so the features of a field are independent of one another and may be drawn at the
same time (`draw_rows`); only those of a bag come one after the other. A feature of very many examples is summed up in
parts of a fixed length (`add_parts`), drawn (`draw_row`), and told to its examples in parts (`move_parts`): a field of
two features keeps all threads busy, and sums do not depend on how many there are. Draws come from a counter, not from a
stream: they depend on the key, the feature or the example alone, whichever thread makes them.

The rows of examples and of weights are those of `kernels.factors`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.by_feature import FieldExamples
from fieldwise.kernels.factors import add_fields
from fieldwise.kernels.gram import add_scaled, add_square, dot
from fieldwise.kernels.instructions import prefetch_line
from fieldwise.kernels.jit import kernel, part
from fieldwise.kernels.lanes import LANES, copy_lanes
from fieldwise.kernels.layout import Batch, Layout
from fieldwise.kernels.random import STEP, mixed, normal

__all__ = ["add_parts", "draw_row", "draw_rows", "move_parts"]

Floats = npt.NDArray[np.floating[Any]]
Int64s = npt.NDArray[np.int64]

_U = np.uint64
_AHEAD = 16
_TILE_BYTES, _SUMMED = 1 << 17, 64
"""Of examples at a time, which stay in the second cache, so that most features' are read once; and the examples whose
products are summed in float32."""


@part
def _fill(
    q: Floats,
    old: Floats,
    place: int,
    state: Floats,
    weights: Floats,
    batch: Batch,
    field: FieldExamples,
    apart: Layout,
    begin: int,
    count: int,
    d: int,
) -> None:
    """Set line u of `q` to ``(x, x times the factors that are met, s, 0 ...)`` for ``field.examples[begin + u]``, of a
    feature whose row is ``old[place]``.
    """
    width, examples, inputs = q.shape[1], field.examples, field.inputs
    for u in range(count):
        if begin + u + _AHEAD < len(examples):
            prefetch_line(state, np.int64(examples[begin + u + _AHEAD]))
        for k in range(0, width, LANES):
            copy_lanes(q, u, k, state, examples[begin + u], k)
    add_fields(q, -1.0, weights, batch, apart, 0, len(apart.form), examples, begin, count)
    if len(inputs):
        for u in range(count):
            x = inputs[begin + u]
            if not field.is_bag:
                add_scaled(q, u, old, place, -x, width)
            q[u, 0] = x
            for k in range(1, d):
                q[u, k] *= x
            q[u, d] = state[examples[begin + u], 0]
    else:
        for u in range(count):
            if not field.is_bag:
                add_scaled(q, u, old, place, np.float32(-1.0), width)
            q[u, 0] = 1.0
            q[u, d] = state[examples[begin + u], 0]


@part
def _add_squares(a: Floats, q: Floats, count: int) -> None:
    """Add the products of the first lines of `q` to `a`, on and below the diagonal."""
    for some in range(0, count, _SUMMED):
        until = min(some + _SUMMED, count)
        for k in range(0, q.shape[1], LANES):
            for j in range(0, k + 1, LANES):
                add_square(a, q, some, until, k, j)


@part
def _move(state: Floats, q: Floats, moved: Floats, place: int, field: FieldExamples, begin: int, count: int) -> None:
    """Take what a feature has moved by, ``moved[place]``, into the rows of its examples."""
    width, inputs = q.shape[1], field.inputs
    for u in range(count):
        e = field.examples[begin + u]
        left = state[e, 0] - dot(q, u, moved, place, width)
        if not field.is_bag:
            x = inputs[begin + u] if len(inputs) else np.float32(1.0)
            add_scaled(state, e, moved, place, x, width)
        state[e, 0] = left


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _solve(a: Floats, b: Floats, d: int, state: np.uint64) -> None:
    """Draw b from ``N(A^-1 b, A^-1)``; of A the lower triangle is read, and replaced by Cholesky's L."""
    # L y = b, and v = L^-T (y + noise).
    for k in range(d):
        for j in range(k):
            total = a[k, j]
            for m in range(j):
                total -= a[k, m] * a[j, m]
            a[k, j] = total / a[j, j]
        total = a[k, k]
        for m in range(k):
            total -= a[k, m] * a[k, m]
        a[k, k] = math.sqrt(total)
        total = b[k]
        for m in range(k):
            total -= a[k, m] * b[m]
        b[k] = total / a[k, k]
    for k in range(d):
        b[k] += normal(state)
        state += STEP + STEP
    for k in range(d - 1, -1, -1):
        total = b[k]
        for m in range(k + 1, d):
            total -= a[m, k] * b[m]
        b[k] = total / a[k, k]


@part
def _draw(
    weights: Floats,
    row: int,
    a: Floats,
    b: Floats,
    old: Floats,
    moved: Floats,
    place: int,
    precision: Floats,
    key: np.uint64,
    number: int,
) -> None:
    """Draw feature `number` from the sums `a`, and set ``moved[place]`` to what its row moves by; `b` is room."""
    d = len(precision)
    for k in range(d):
        b[k] = a[d, k] - precision[k] * old[place, k]
        a[k, k] += precision[k]
    _solve(a, b, d, mixed(key + _U(number) * STEP))
    for k in range(d):
        weights[row, k] = old[place, k] + b[k]
        moved[place, k] = weights[row, k] - old[place, k]  # as stored, or what is left drifts away from the weights


@kernel(allocates=True)
def draw_rows(
    state: Floats,
    weights: Floats,
    batch: Batch,
    field: FieldExamples,
    apart: Layout,
    most: int,
    precision: Floats,
    key: np.uint64,
    first: int,
    last: int,
) -> None:
    """Draw the features `first` to `last` of a field, and bring what is known of their examples up to date.

    Parameters
    ----------
    state
        (n, row_width(d)).
    weights
        (D, row_width(d)) float32. Features without examples are set to zero, the mean of what is believed of them.
    batch, field
        All examples, and those of each feature. The factors of a field that is no bag are in the sums of `state`, of
        one feature each: they are left out of q, and are the new ones afterwards. Of a bag nothing but s changes.
    apart
        The other fields whose factors are in these sums, and that this field does not meet.
    most
        Features of more examples are left alone, for `draw_row`.
    precision
        (d,) of the normal prior around zero.
    key
        Of these draws.
    """
    d, width = len(precision), state.shape[1]
    a, b = np.empty((width, width)), np.empty(d)
    tile = _TILE_BYTES // (4 * width)
    q = np.empty((tile, width), np.float32)
    old, moved = np.zeros((1, width), np.float32), np.zeros((1, width), np.float32)
    for r in range(first, last):
        begin, end = field.starts[r], field.starts[r + 1]
        row = field.base + r
        if begin == end:
            weights[row] = 0.0
        if begin == end or end - begin > most:
            continue
        old[0] = weights[row]
        a[:] = 0.0
        for at in range(begin, end, tile):
            count = min(tile, end - at)
            _fill(q, old, 0, state, weights, batch, field, apart, at, count, d)
            _add_squares(a, q, count)
        _draw(weights, row, a, b, old, moved, 0, precision, key, r)
        for at in range(begin, end, tile):
            count = min(tile, end - at)
            if end - begin > tile:
                _fill(q, old, 0, state, weights, batch, field, apart, at, count, d)
            _move(state, q, moved, 0, field, at, count)


@kernel(allocates=True)
def add_parts(
    parts: Int64s,
    sums: Floats,
    old: Floats,
    state: Floats,
    weights: Floats,
    batch: Batch,
    field: FieldExamples,
    apart: Layout,
    d: int,
    first: int,
    last: int,
) -> None:
    """Sum up the parts `first` to `last` of features of many examples.

    Parameters
    ----------
    parts
        (P, 3): which line of `old`, and from where to where in ``field.examples``.
    sums
        (P, row_width(d), row_width(d)), written: of x^2 q q^T and, in line d, of x q s, on and below the diagonal.
    old
        (H, row_width(d)) the rows of these features.
    state, weights, batch, field, apart
        As in `draw_rows`.
    """
    width = state.shape[1]
    tile = _TILE_BYTES // (4 * width)
    q = np.empty((tile, width), np.float32)
    for p in range(first, last):
        place, begin, end = parts[p]
        sums[p] = 0.0
        for at in range(begin, end, tile):
            count = min(tile, end - at)
            _fill(q, old, place, state, weights, batch, field, apart, at, count, d)
            _add_squares(sums[p], q, count)


@kernel(allocates=True)
def draw_row(
    weights: Floats,
    row: int,
    sums: Floats,
    old: Floats,
    moved: Floats,
    place: int,
    precision: Floats,
    key: np.uint64,
    number: int,
) -> None:
    """Draw feature `number` of a field, whose row was ``old[place]``, from the sums of its parts (P, width, width), one
    after the other, and set ``moved[place]`` to what it moves by.
    """
    a, b = np.zeros(sums.shape[1:]), np.empty(len(precision))
    for p in range(len(sums)):
        a += sums[p]
    _draw(weights, row, a, b, old, moved, place, precision, key, number)


@kernel(allocates=True)
def move_parts(
    parts: Int64s,
    old: Floats,
    moved: Floats,
    state: Floats,
    weights: Floats,
    batch: Batch,
    field: FieldExamples,
    apart: Layout,
    d: int,
    first: int,
    last: int,
) -> None:
    """Bring the examples of the parts `first` to `last` up to date, of features that moved by ``moved`` (H, width)."""
    width = state.shape[1]
    tile = _TILE_BYTES // (4 * width)
    q = np.empty((tile, width), np.float32)
    for p in range(first, last):
        place, begin, end = parts[p]
        for at in range(begin, end, tile):
            count = min(tile, end - at)
            _fill(q, old, place, state, weights, batch, field, apart, at, count, d)
            _move(state, q, moved, place, field, at, count)
