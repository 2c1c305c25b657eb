"""The Triton kernels of a table: gather, merge and update, for float32 and for bfloat16 weights.

One lane of a program works on one number; a program is a tile of cells, chunks or rows (`nn.cuda.batch`) by weights.
Every number is summed by one lane in a fixed order, without atomics, so a step has one result.

The tests run them in Triton's interpreter against the processor's kernels, and compile them for GPUs of two
generations. On a GPU they have not been run yet. (Triton reads annotations of a kernel's arguments as types of its own,
so there are none.)
"""

from __future__ import annotations

import triton
from triton import language as tl

__all__ = ["gather_full", "gather_local", "move_rows", "sum_chunks", "sum_rows"]


@triton.jit
def _weight(rows, at, mask, BFLOAT16: tl.constexpr):
    """Return weights as float32."""
    stored = tl.load(rows + at, mask=mask, other=0)
    if BFLOAT16:
        weight = (stored.to(tl.int32) << 16).to(tl.float32, bitcast=True)
    else:
        weight = stored
    return weight


@triton.jit
def _state(rows, row, n, j, mask, BFLOAT16: tl.constexpr):
    """Return number j of the states of rows that begin at `row`."""
    if BFLOAT16:
        low = tl.load(rows + row + n + 2 * j, mask=mask, other=0).to(tl.int32)
        high = tl.load(rows + row + n + 2 * j + 1, mask=mask, other=0).to(tl.int32)
        number = ((low & 0xFFFF) | (high << 16)).to(tl.float32, bitcast=True)
    else:
        number = tl.load(rows + row + n + j, mask=mask, other=0)
    return number


@triton.jit
def _set_state(rows, row, n, j, number, mask, BFLOAT16: tl.constexpr):
    if BFLOAT16:
        bits = number.to(tl.int32, bitcast=True)
        tl.store(rows + row + n + 2 * j, bits.to(tl.int16), mask=mask)
        tl.store(rows + row + n + 2 * j + 1, (bits >> 16).to(tl.int16), mask=mask)
    else:
        tl.store(rows + row + n + j, number, mask=mask)


@triton.jit
def _set_weight(rows, row, number, k, weight, key, mask, BFLOAT16: tl.constexpr):
    """Set weight k of the rows of a `number` that begin at `row`, rounded as `kernels.storage` rounds."""
    if BFLOAT16:
        z = (key.to(tl.uint64) ^ number.to(tl.uint64)) * 0x9E3779B97F4A7C15 + k.to(tl.uint64) * 0xD6E8FEB86659FD93
        z = (z ^ (z >> 32)) * 0xBF58476D1CE4E5B9
        noise = ((z >> 32) & 0xFFFF).to(tl.uint32)
        bits = weight.to(tl.uint32, bitcast=True) + noise
        tl.store(rows + row + k, (bits >> 16).to(tl.int16), mask=mask)
    else:
        tl.store(rows + row + k, weight, mask=mask)


@triton.jit
def _cells(
    table,
    rows,
    inputs,
    offsets,
    columns,
    cell,
    unit,
    cell_mask,
    unit_mask,
    HAS_INPUTS: tl.constexpr,
    HAS_BAGS: tl.constexpr,
    BFLOAT16: tl.constexpr,
):
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


@triton.jit(do_not_specialize=["num_examples", "num_cells"])
def gather_local(
    table,
    rows,
    inputs,
    offsets,
    out,
    columns,
    num_examples,
    num_fields,
    num_cells,
    num_local,
    HAS_INPUTS: tl.constexpr,
    HAS_BAGS: tl.constexpr,
    BFLOAT16: tl.constexpr,
    CELLS: tl.constexpr,
    UNITS: tl.constexpr,
):
    """Write the units of every cell."""
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


@triton.jit(do_not_specialize=["num_examples"])
def gather_full(
    table,
    rows,
    inputs,
    offsets,
    out,
    columns,
    num_examples,
    num_fields,
    num_local,
    num_full,
    HAS_INPUTS: tl.constexpr,
    HAS_BAGS: tl.constexpr,
    BFLOAT16: tl.constexpr,
    FIELDS: tl.constexpr,
    UNITS: tl.constexpr,
):
    """Write, for one example, the sums of its cells over all fields."""
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


@triton.jit(do_not_specialize=["num_examples", "num_chunks"])
def sum_chunks(
    local,
    full,
    order,
    cells,
    inputs,
    chunks,
    out,
    num_examples,
    num_fields,
    num_local,
    num_full,
    num_chunks,
    HAS_INPUTS: tl.constexpr,
    HAS_CELLS: tl.constexpr,
    CHUNKS: tl.constexpr,
    UNITS: tl.constexpr,
):
    """Sum the gradients of the features of every chunk."""
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


@triton.jit(do_not_specialize=["num_rows"])
def sum_rows(sums, firsts, out, num_rows, n, ROWS: tl.constexpr, UNITS: tl.constexpr):
    """Sum the chunks of every row."""
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


@triton.jit(do_not_specialize=["num_rows", "spare_row", "key"])
def move_rows(
    table,
    gradients,
    numbers,
    whole,
    checks,
    columns,
    num_rows,
    spare_row,
    n,
    key,
    a,
    b,
    c,
    d,
    e,
    RULE: tl.constexpr,
    BFLOAT16: tl.constexpr,
    ROWS: tl.constexpr,
    UNITS: tl.constexpr,
):
    """Move rows by the sums of their gradients; `whole` are their numbers in the whole table, which rounding goes by.

    The settings are a, b, c, d, e: rate, epsilon, l2 (Adagrad); these, 1 - beta1 and 1 - beta2 (Adam, with its
    correction in the rate); alpha, beta, l1, l2 (FTRL).
    """
    place = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    number = tl.load(numbers + place, mask=place < num_rows, other=spare_row).to(tl.int64)
    is_row, row = number < spare_row, (number * columns)[:, None]
    rounded_as = number
    if BFLOAT16:
        rounded_as = tl.load(whole + place, mask=place < num_rows, other=0).to(tl.int64)
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
        _set_weight(table, row, rounded_as[:, None], unit, w, key, mask, BFLOAT16)
        check += tl.sum(tl.where(mask, (w + other) * 0.0, 0.0), axis=1)
    tl.store(checks + place, tl.where(moves, check, 0.0), mask=place < num_rows)
