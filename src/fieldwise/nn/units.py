"""What a network reads of the units, as one function that passes over them twice forward and twice backward.

Letters: B examples, N numbers of an example, I of them that the deep part reads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fieldwise.kernels import units as kernels
from fieldwise.kernels.random import draw_mask
from fieldwise.nn.blocks import cut, run_blocks
from fieldwise.nn.standardise import Standardise

__all__ = ["UnitColumns", "read_units"]

_EXAMPLES = 256
"""Examples in a block."""


class UnitColumns(NamedTuple):
    """Which of the N numbers of an example a model reads.

    Attributes
    ----------
    skip
        The first of those that are summed as they are, and the distance to the next; None where none are.
    columns
        (I,), those that the deep part reads; None where it reads all.
    moves
        (I,), whether the deep part's gradient moves them.
    """

    skip: tuple[int, int] | None
    columns: npt.NDArray[np.int64] | None
    moves: npt.NDArray[np.bool_]


def read_units(units: Tensor, reading: UnitColumns, standardise: Standardise, p: float) -> tuple[Tensor, Tensor]:
    """Return the sum of the skip (B,), and the deep part's input (B, I), standardised and then dropped with the
    probability p, in training.

    The same as the modules one by one (`nn.standardise`, `nn.dropout`), but for the last bits. Sums over the examples
    are taken by blocks, and then in order, so nothing depends on the number of threads.

    Parameters
    ----------
    units
        (B, N), on the CPU.
    standardise
        Its statistics take this batch in.
    p
        0 <= p < 1.
    """
    read: tuple[Tensor, Tensor] = _Read.apply(units, reading, standardise, p)  # type: ignore[no-untyped-call]
    return read


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, units: Tensor, reading: UnitColumns, standardise: Standardise, p: float
    ) -> tuple[Tensor, Tensor]:
        units = units.contiguous()
        num_examples, num_inputs = len(units), standardise.num_features
        blocks = cut(num_examples, _EXAMPLES)
        skip, x = units.new_zeros(num_examples), units.new_empty(num_examples, num_inputs)
        sums = np.empty((len(blocks), 2, num_inputs))
        kept = np.empty((num_examples, num_inputs), np.uint8) if p else None
        key, below = (int(torch.randint(1 << 62, ())), min(round(p * 2**32), 2**32 - 1)) if p else (0, 0)
        numbers, of_skip, of_x = units.numpy(), skip.numpy(), x.numpy()

        def measure(of: slice) -> None:
            kernels.sum_inputs(numbers[of], reading.columns, sums[of.start // _EXAMPLES])
            if reading.skip is not None:
                kernels.sum_skip(numbers[of], reading.skip[0], reading.skip[1], of_skip[of])

        def write(of: slice) -> None:
            if kept is not None:
                draw_mask(kept[of].reshape(-1), of.start * num_inputs, key, below, 1)
            line = None if kept is None else kept[of]
            kernels.standardise(numbers[of], reading.columns, mean, scale, line, 1 / (1 - p), of_x[of])

        run_blocks(measure, blocks)
        measured = standardise.measured(torch.from_numpy(sums.sum(axis=0)), num_examples)
        mean, scale = measured[0].numpy(), measured[1].numpy()
        run_blocks(write, blocks)
        ctx.save_for_backward(units)
        ctx.reading, ctx.standardise, ctx.kept, ctx.p = reading, standardise, kept, p
        ctx.statistics, ctx.count = (mean, scale), measured[2]
        return skip, x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (units,) = ctx.saved_tensors
        reading, kept, (mean, scale) = ctx.reading, ctx.kept, ctx.statistics
        of_skip, dx = (each.contiguous().numpy() for each in gradients)
        blocks, gradient = cut(len(units), _EXAMPLES), torch.empty_like(units)
        sums = np.empty((len(blocks), 2, len(mean)))
        numbers, out = units.numpy(), gradient.numpy()
        grown, columns = 1 / (1 - ctx.p), reading.columns

        def measure(of: slice) -> None:
            line, total = None if kept is None else kept[of], sums[of.start // _EXAMPLES]
            kernels.sum_gradients(dx[of], numbers[of], columns, mean, scale, line, grown, total)

        def write(of: slice) -> None:
            line = None if kept is None else kept[of]
            kernels.unit_gradients(dx[of], numbers[of], columns, mean, scale, line, grown, means, outer, out[of])
            if reading.skip is not None:
                kernels.add_skip(out[of], reading.skip[0], reading.skip[1], of_skip[of])

        run_blocks(measure, blocks)
        means = (ctx.standardise.over_all(torch.from_numpy(sums.sum(axis=0))).numpy() / ctx.count).astype(mean.dtype)
        outer = scale * reading.moves
        run_blocks(write, blocks)
        return gradient, None, None, None
