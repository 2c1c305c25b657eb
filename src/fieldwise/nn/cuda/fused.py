"""The engine in Triton: four launches a step (`nn.cuda.kernels`)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fieldwise.kernels.numbering import WHOLE
from fieldwise.nn.cuda import kernels
from fieldwise.nn.cuda.batch import DeviceBatch, Merge
from fieldwise.nn.cuda.rule import Rule

__all__ = ["gather", "update"]

_LANES = 256
"""Numbers in a tile."""
_WIDTH = 64
"""Weights of a row in a tile, at most."""
_SLOTS = 16
"""Fields in a tile that adds up what one example has of each."""


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
        kernels.gather_local[_grid(num_cells, tile[0], num_local, tile[1])](
            *features, local, rows.shape[1], num_examples, num_fields, num_cells, num_local,
            **flags, CELLS=tile[0], UNITS=tile[1],
        )  # fmt: skip
    if full.numel():
        units = _tile(num_full)[1]
        kernels.gather_full[_grid(num_examples, 1, num_full, units)](
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
    kernels.sum_chunks[_grid(num_chunks, tile[0], n, tile[1])](
        local, full, merge.order, _or(batch.cells, rows), _or(batch.inputs, rows), merge.chunks, sums,
        batch.num_examples, num_fields, num_local, num_full, num_chunks,
        HAS_INPUTS=batch.inputs is not None, HAS_CELLS=batch.cells is not None, CHUNKS=tile[0], UNITS=tile[1],
    )  # fmt: skip
    kernels.sum_rows[_grid(num_rows, tile[0], n, tile[1])](
        sums, merge.firsts, gradients, num_rows, n, ROWS=tile[0], UNITS=tile[1]
    )
    checks = local.new_empty(num_rows)
    bfloat16 = rows.dtype == torch.int16
    whole = rule.numbering.of(merge.rows.long()) if bfloat16 and rule.numbering != WHOLE else merge.rows
    kernels.move_rows[(-(-num_rows // tile[0]),)](
        rows, gradients, merge.rows, whole, checks, rows.shape[1], num_rows, len(rows) - 1, n, rule.key,
        *_settings(rule), RULE=rule.name, BFLOAT16=bfloat16, ROWS=tile[0], UNITS=tile[1],
    )  # fmt: skip
    return checks.sum()


def _settings(rule: Rule) -> list[float]:
    """Return the five settings of `kernels.move_rows`."""
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
