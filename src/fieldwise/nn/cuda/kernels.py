"""The engine in Triton: gather, merge and update in four kernels, for float32 and for bfloat16 weights.

One lane of a block works on one number; a block is a tile of cells, chunks or rows (`nn.cuda.batch`) by weights. Every
number is summed by one lane in a fixed order, without atomics, so a step has one result.

The tests run them in Triton's interpreter against the processor's kernels, and compile them for GPUs of two
generations. On a GPU they have not been run yet.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fieldwise.nn.cuda.batch import DeviceBatch, Merge
from fieldwise.nn.cuda.rule import Rule

try:
    import triton
    from triton import language as tl

    _jit: Any = triton.jit
except ImportError:  # this module can be looked at without it
    triton = tl = None

    def _jit(function: Any = None, **_: Any) -> Any:
        return function if function is not None else lambda of: of


__all__ = ["gather", "is_here", "is_interpreted", "update"]

_LANES = 256
"""Numbers in a tile."""
_WIDTH = 64
"""Weights of a row in a tile, at most."""
_SLOTS = 16
"""Fields in a tile that adds up what one example has of each."""


def is_here() -> bool:
    """Return whether Triton can be imported."""
    return triton is not None


def is_interpreted() -> bool:
    """Return whether the kernels run in Triton's interpreter, on tensors of the processor."""
    return triton is not None and bool(triton.knobs.runtime.interpret)


# --- the kernels ---


@_jit
def _weight(rows: Any, at: Any, mask: Any, BFLOAT16: tl.constexpr) -> Any:
    """Return weights as float32."""
    stored = tl.load(rows + at, mask=mask, other=0)
    if BFLOAT16:
        return (stored.to(tl.int32) << 16).to(tl.float32, bitcast=True)
    return stored


@_jit
def _state(rows: Any, row: Any, n: Any, j: Any, mask: Any, BFLOAT16: tl.constexpr) -> Any:
    """Return number j of the states of rows that begin at `row`."""
    if BFLOAT16:
        low = tl.load(rows + row + n + 2 * j, mask=mask, other=0).to(tl.int32)
        high = tl.load(rows + row + n + 2 * j + 1, mask=mask, other=0).to(tl.int32)
        return ((low & 0xFFFF) | (high << 16)).to(tl.float32, bitcast=True)
    return tl.load(rows + row + n + j, mask=mask, other=0)


@_jit
def _set_state(rows: Any, row: Any, n: Any, j: Any, number: Any, mask: Any, BFLOAT16: tl.constexpr) -> None:
    if BFLOAT16:
        bits = number.to(tl.int32, bitcast=True)
        tl.store(rows + row + n + 2 * j, bits.to(tl.int16), mask=mask)
        tl.store(rows + row + n + 2 * j + 1, (bits >> 16).to(tl.int16), mask=mask)
    else:
        tl.store(rows + row + n + j, number, mask=mask)


@_jit
def _set_weight(
    rows: Any, row: Any, number: Any, k: Any, weight: Any, key: Any, mask: Any, BFLOAT16: tl.constexpr
) -> None:
    """Set weight k of the rows of a `number` that begin at `row`, rounded as `kernels.storage` rounds."""
    if BFLOAT16:
        z = (key.to(tl.uint64) ^ number.to(tl.uint64)) * 0x9E3779B97F4A7C15 + k.to(tl.uint64) * 0xD6E8FEB86659FD93
        z = (z ^ (z >> 32)) * 0xBF58476D1CE4E5B9
        noise = ((z >> 32) & 0xFFFF).to(tl.uint32)
        bits = weight.to(tl.uint32, bitcast=True) + noise
        tl.store(rows + row + k, (bits >> 16).to(tl.int16), mask=mask)
    else:
        tl.store(rows + row + k, weight, mask=mask)


@_jit
def _cells(
    table: Any,
    rows: Any,
    inputs: Any,
    offsets: Any,
    columns: Any,
    cell: Any,
    unit: Any,
    cell_mask: Any,
    unit_mask: Any,
    HAS_INPUTS: tl.constexpr,
    HAS_BAGS: tl.constexpr,
    BFLOAT16: tl.constexpr,
) -> Any:
    """Return the sums of some units over the features of some cells, (cells, units)."""
    if HAS_BAGS:
        begin = tl.load(offsets + cell, mask=cell_mask, other=0)
        end = tl.load(offsets + cell + 1, mask=cell_mask, other=0)
    else:
        begin, end = cell, cell + cell_mask.to(cell.dtype)
    total = (cell_mask[:, None] & unit_mask[None, :]).to(tl.float32) * 0.0
    longest = tl.max(end - begin, axis=0)
    j = longest * 0
    while j < longest:
        here = begin + j < end
        row = tl.load(rows + begin + j, mask=here, other=0).to(tl.int64)
        at = row[:, None] * columns + unit[None, :]
        weight = _weight(table, at, here[:, None] & unit_mask[None, :], BFLOAT16)
        if HAS_INPUTS:
            weight *= tl.load(inputs + begin + j, mask=here, other=0)[:, None]
        total += weight
        j += 1
    return total


@_jit(do_not_specialize=["num_examples", "num_cells"])
def _gather_local(
    table: Any,
    rows: Any,
    inputs: Any,
    offsets: Any,
    out: Any,
    columns: Any,
    num_examples: Any,
    num_fields: Any,
    num_cells: Any,
    num_local: Any,
    HAS_INPUTS: tl.constexpr,
    HAS_BAGS: tl.constexpr,
    BFLOAT16: tl.constexpr,
    CELLS: tl.constexpr,
    UNITS: tl.constexpr,
) -> None:
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    unit = tl.program_id(1) * UNITS + tl.arange(0, UNITS)
    cell_mask, unit_mask = cell < num_cells, unit < num_local
    total = _cells(
        table, rows, inputs, offsets, columns, cell, unit, cell_mask, unit_mask, HAS_INPUTS, HAS_BAGS, BFLOAT16
    )
    # Cells lie field by field, outputs example by example.
    place = (cell % num_examples).to(tl.int64) * num_fields + cell // num_examples
    at = place[:, None] * num_local + unit[None, :]
    tl.store(out + at, total, mask=cell_mask[:, None] & unit_mask[None, :])


@_jit(do_not_specialize=["num_examples"])
def _gather_full(
    table: Any,
    rows: Any,
    inputs: Any,
    offsets: Any,
    out: Any,
    columns: Any,
    num_examples: Any,
    num_fields: Any,
    num_local: Any,
    num_full: Any,
    HAS_INPUTS: tl.constexpr,
    HAS_BAGS: tl.constexpr,
    BFLOAT16: tl.constexpr,
    FIELDS: tl.constexpr,
    UNITS: tl.constexpr,
) -> None:
    example = tl.program_id(0)
    unit = tl.program_id(1) * UNITS + tl.arange(0, UNITS)
    unit_mask = unit < num_full
    total = tl.zeros((FIELDS, UNITS), tl.float32)
    for first in range(0, num_fields, FIELDS):
        field = first + tl.arange(0, FIELDS)
        cell, cell_mask = field * num_examples + example, field < num_fields
        total += _cells(
            table,
            rows,
            inputs,
            offsets,
            columns,
            cell,
            num_local + unit,
            cell_mask,
            unit_mask,
            HAS_INPUTS,
            HAS_BAGS,
            BFLOAT16,
        )
    at = example.to(tl.int64) * num_full + unit
    tl.store(out + at, tl.sum(total, axis=0), mask=unit_mask)


@_jit(do_not_specialize=["num_examples", "num_chunks"])
def _sum_chunks(
    local: Any,
    full: Any,
    order: Any,
    cells: Any,
    inputs: Any,
    chunks: Any,
    out: Any,
    num_examples: Any,
    num_fields: Any,
    num_local: Any,
    num_full: Any,
    num_chunks: Any,
    HAS_INPUTS: tl.constexpr,
    HAS_CELLS: tl.constexpr,
    CHUNKS: tl.constexpr,
    UNITS: tl.constexpr,
) -> None:
    chunk = tl.program_id(0) * CHUNKS + tl.arange(0, CHUNKS)
    unit = tl.program_id(1) * UNITS + tl.arange(0, UNITS)
    mask, n = chunk < num_chunks, num_local + num_full
    begin = tl.load(chunks + chunk, mask=mask, other=0)
    end = tl.load(chunks + chunk + 1, mask=mask, other=0)
    total = tl.zeros((CHUNKS, UNITS), tl.float32)
    longest = tl.max(end - begin, axis=0)
    j = longest * 0
    while j < longest:
        here = begin + j < end
        feature = tl.load(order + begin + j, mask=here, other=0)
        cell = feature
        if HAS_CELLS:
            cell = tl.load(cells + feature, mask=here, other=0)
        example, field = cell % num_examples, cell // num_examples
        of_local = (example * num_fields + field)[:, None] * num_local + unit[None, :]
        gradient = tl.load(local + of_local, mask=here[:, None] & (unit < num_local)[None, :], other=0)
        of_full = example[:, None] * num_full + (unit - num_local)[None, :]
        is_full = (unit >= num_local) & (unit < n)
        gradient += tl.load(full + of_full, mask=here[:, None] & is_full[None, :], other=0)
        if HAS_INPUTS:
            gradient *= tl.load(inputs + feature, mask=here, other=0)[:, None]
        total += gradient
        j += 1
    at = chunk.to(tl.int64)[:, None] * n + unit[None, :]
    tl.store(out + at, total, mask=mask[:, None] & (unit < n)[None, :])


@_jit(do_not_specialize=["num_rows"])
def _sum_rows(sums: Any, firsts: Any, out: Any, num_rows: Any, n: Any, ROWS: tl.constexpr, UNITS: tl.constexpr) -> None:
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    unit = tl.program_id(1) * UNITS + tl.arange(0, UNITS)
    mask, unit_mask = row < num_rows, unit < n
    begin = tl.load(firsts + row, mask=mask, other=0)
    end = tl.load(firsts + row + 1, mask=mask, other=0)
    total = tl.zeros((ROWS, UNITS), tl.float32)
    longest = tl.max(end - begin, axis=0)
    j = longest * 0
    while j < longest:
        here = begin + j < end
        total += tl.load(
            sums + (begin + j)[:, None] * n + unit[None, :], mask=here[:, None] & unit_mask[None, :], other=0
        )
        j += 1
    at = row.to(tl.int64)[:, None] * n + unit[None, :]
    tl.store(out + at, total, mask=mask[:, None] & unit_mask[None, :])


@_jit(do_not_specialize=["num_rows", "spare_row", "key"])
def _move_rows(
    table: Any,
    gradients: Any,
    numbers: Any,
    checks: Any,
    columns: Any,
    num_rows: Any,
    spare_row: Any,
    n: Any,
    key: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    e: Any,
    RULE: tl.constexpr,
    BFLOAT16: tl.constexpr,
    ROWS: tl.constexpr,
    UNITS: tl.constexpr,
) -> None:
    """Move rows by the sums of their gradients.

    The settings are a, b, c, d, e: rate, epsilon, l2 (Adagrad); these, 1 - beta1 and 1 - beta2 (Adam, with its
    correction in the rate); alpha, beta, l1, l2 (FTRL).
    """
    place = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    number = tl.load(numbers + place, mask=place < num_rows, other=spare_row).to(tl.int64)
    is_row, row = number < spare_row, (number * columns)[:, None]
    line = place.to(tl.int64)[:, None] * n
    moving = tl.zeros((ROWS,), tl.int32)
    squares = tl.zeros((ROWS,), tl.float32)
    for first in range(0, n, UNITS):
        unit = first + tl.arange(0, UNITS)
        mask = is_row[:, None] & (unit < n)[None, :]
        g = tl.load(gradients + line + unit[None, :], mask=mask, other=0)
        moving = tl.maximum(moving, tl.max((g != 0).to(tl.int32), axis=1))
        if RULE == "rowwise-adagrad":
            g += c * _weight(table, row + unit[None, :], mask, BFLOAT16)
            squares += tl.sum(tl.where(mask, g * g, 0.0), axis=1)
    moves = is_row & (moving > 0)
    check = tl.zeros((ROWS,), tl.float32)
    step = tl.zeros((ROWS, 1), tl.float32)
    if RULE == "rowwise-adagrad":
        zero, one = tl.zeros((ROWS, 1), tl.int32), moves[:, None]
        s = _state(table, row, n, zero, one, BFLOAT16) + (squares / n)[:, None]
        _set_state(table, row, n, zero, s, one, BFLOAT16)
        check += tl.sum(s * 0.0, axis=1)
        step = a / (tl.sqrt(s) + b)
    for first in range(0, n, UNITS):
        unit = first + tl.arange(0, UNITS)[None, :]
        mask = moves[:, None] & (unit < n)
        g = tl.load(gradients + line + unit, mask=mask, other=0)
        w = _weight(table, row + unit, mask, BFLOAT16)
        other = w
        if RULE == "adagrad":
            g += c * w
            other = _state(table, row, n, unit, mask, BFLOAT16) + g * g
            w -= a * g / (tl.sqrt(other) + b)
            _set_state(table, row, n, unit, other, mask, BFLOAT16)
        elif RULE == "rowwise-adagrad":
            w -= step * (g + c * w)
        elif RULE == "adam":
            g += c * w
            m = _state(table, row, n, unit, mask, BFLOAT16)
            other = _state(table, row, n, n + unit, mask, BFLOAT16)
            m += d * (g - m)
            other += e * (g * g - other)
            w -= a * m / (tl.sqrt(other) + b)
            _set_state(table, row, n, unit, m, mask, BFLOAT16)
            _set_state(table, row, n, n + unit, other, mask, BFLOAT16)
        else:
            s = _state(table, row, n, n + unit, mask, BFLOAT16)
            root = tl.sqrt(s + g * g)
            other = _state(table, row, n, unit, mask, BFLOAT16) + g - (root - tl.sqrt(s)) / a * w
            _set_state(table, row, n, unit, other, mask, BFLOAT16)
            _set_state(table, row, n, n + unit, s + g * g, mask, BFLOAT16)
            shrunk = tl.abs(other) - c
            w = tl.where(shrunk <= 0, 0.0, tl.where(other > 0, -shrunk, shrunk) / ((b + root) / a + d))
        _set_weight(table, row, number[:, None], unit, w, key, mask, BFLOAT16)
        check += tl.sum(tl.where(mask, (w + other) * 0.0, 0.0), axis=1)
    tl.store(checks + place, tl.where(moves, check, 0.0), mask=place < num_rows)


# --- their launch ---


def gather(
    rows: Tensor, batch: DeviceBatch, num_fields: int, num_local: int, num_full: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """As `operations.gather`."""
    num_examples = batch.num_examples
    local = rows.new_empty(num_examples, num_fields * num_local, dtype=dtype)
    full = rows.new_empty(num_examples, num_full, dtype=dtype)
    features = (rows, batch.rows, _or(batch.inputs, rows), _or(batch.offsets, rows))
    flags = {
        "HAS_INPUTS": batch.inputs is not None,
        "HAS_BAGS": batch.offsets is not None,
        "BFLOAT16": rows.dtype == torch.int16,
    }
    if local.numel():
        num_cells = num_examples * num_fields
        tile = _tile(num_local)
        _gather_local[_grid(num_cells, tile[0], num_local, tile[1])](
            *features, local, rows.shape[1], num_examples, num_fields, num_cells, num_local,
            **flags, CELLS=tile[0], UNITS=tile[1],
        )  # fmt: skip
    if full.numel():
        units = _tile(num_full)[1]
        _gather_full[_grid(num_examples, 1, num_full, units)](
            *features, full, rows.shape[1], num_examples, num_fields, num_local, num_full,
            **flags, FIELDS=_SLOTS, UNITS=units,
        )  # fmt: skip
    return local, full


def update(
    rows: Tensor, batch: DeviceBatch, merge: Merge, local: Tensor, full: Tensor, num_fields: int, rule: Rule
) -> Tensor:
    """As `operations.update`."""
    num_rows, num_chunks = len(merge.rows), len(merge.chunks) - 1
    num_local, num_full = local.shape[1] // max(num_fields, 1), full.shape[1]
    n = num_local + num_full
    if not num_rows:
        return local.new_zeros(())
    tile = _tile(n)
    sums, gradients = local.new_empty(num_chunks, n), local.new_empty(num_rows, n)
    _sum_chunks[_grid(num_chunks, tile[0], n, tile[1])](
        local, full, merge.order, _or(batch.cells, rows), _or(batch.inputs, rows), merge.chunks, sums,
        batch.num_examples, num_fields, num_local, num_full, num_chunks,
        HAS_INPUTS=batch.inputs is not None, HAS_CELLS=batch.cells is not None, CHUNKS=tile[0], UNITS=tile[1],
    )  # fmt: skip
    _sum_rows[_grid(num_rows, tile[0], n, tile[1])](
        sums, merge.firsts, gradients, num_rows, n, ROWS=tile[0], UNITS=tile[1]
    )
    checks = local.new_empty(num_rows)
    _move_rows[(-(-num_rows // tile[0]),)](
        rows, gradients, merge.rows, checks, rows.shape[1], num_rows, len(rows) - 1, n, rule.key, *_settings(rule),
        RULE=rule.name, BFLOAT16=rows.dtype == torch.int16, ROWS=tile[0], UNITS=tile[1],
    )  # fmt: skip
    return checks.sum()


def _settings(rule: Rule) -> list[float]:
    """Return the five settings of `_move_rows`."""
    settings = list(rule.settings)
    if rule.name == "adam":
        rate, epsilon, l2, beta1, beta2, step = settings
        rate *= math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step)
        settings = [rate, epsilon, l2, 1.0 - beta1, 1.0 - beta2]
    return [float(number) for number in (*settings, 0.0, 0.0)][:5]


def _tile(width: int) -> tuple[int, int]:
    """Return the lines and the units of a tile for lines of so many units, both powers of two.

    Examples
    --------
    >>> _tile(1), _tile(17), _tile(2048)
    ((256, 1), (8, 32), (4, 64))
    """
    units = min(1 << max(width - 1, 0).bit_length(), _WIDTH)
    return _LANES // units, units


def _grid(lines: int, of_tile: int, width: int, units: int) -> tuple[int, int]:
    return -(-lines // of_tile), -(-width // units)


def _or(tensor: Tensor | None, other: Tensor) -> Tensor:
    """Return something that has an address; a flag says that nobody looks there."""
    return other if tensor is None else tensor
