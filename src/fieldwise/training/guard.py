"""What stops a training that has gone wrong: numbers that are not finite, and a loss that has left the ground.

Every step is checked, and a step whose loss or gradients are not finite does not reach the weights. The checks are
sums: a sum over numbers of which one is NaN or infinite is not finite itself. What they cost is in docs/reliability.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from fieldwise.data.cache import Examples
from fieldwise.files import write_bytes

__all__ = ["Divergence", "NotFinite", "all_finite", "write_batch"]

_TIMES_CONSTANT = 4.0
_WINDOW_BATCHES, _WINDOW_EXAMPLES = 20, 4_096
_NUM_WINDOWS = 3


class NotFinite(Exception):
    """Something in a step is NaN or infinite: `what`; and the loss of the step."""

    def __init__(self, what: str, loss: float) -> None:
        super().__init__(what)
        self.what, self.loss = what, loss


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether all numbers are finite.

    Examples
    --------
    >>> all_finite([torch.ones(2), torch.tensor([1.0, math.inf])]), all_finite([torch.full((9,), 3e38)])
    (False, True)
    """
    tensors = [tensor.detach() for tensor in tensors]
    if math.isfinite(sum(tensor.sum().item() for tensor in tensors)):
        return True
    # Large finite numbers have a sum that is not: look at each.
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


class Divergence:
    """Notices a loss that stays far above that of a model which says the same of every example.

    Saying the share of each class, as seen so far, is where training starts. Both losses are taken over the same
    examples, so batches with many or few clicks, rare clicks and example weights do not matter. Training has diverged
    when its loss was more than 4 times the other in 3 windows one after the other, each of 20 batches and 4,096
    examples or more.
    """

    def __init__(self, num_classes: int) -> None:
        self.seen = np.zeros(num_classes)
        self.ratios: list[float] = []
        self._reset()

    def _reset(self) -> None:
        self.num_batches = self.num_examples = 0
        self.loss = self.constant = 0.0

    def add(self, loss: float, labels: npt.NDArray[np.int32], weights: npt.NDArray[np.float32] | None) -> bool:
        """Take in the mean loss of a batch, and return whether training has diverged."""
        counts = np.bincount(labels, weights, minlength=len(self.seen))
        self.seen += counts
        shares = (self.seen + 1.0) / (self.seen.sum() + len(self.seen))
        self.loss += loss * float(counts.sum())
        self.constant -= float(counts @ np.log(shares))
        self.num_batches += 1
        self.num_examples += len(labels)
        if self.num_batches < _WINDOW_BATCHES or self.num_examples < _WINDOW_EXAMPLES:
            return False
        self.ratios = [*self.ratios[1 - _NUM_WINDOWS :], self.loss / max(self.constant, 1e-300)]
        self._reset()
        return len(self.ratios) == _NUM_WINDOWS and min(self.ratios) > _TIMES_CONSTANT


def write_batch(
    path: Path, logits: Tensor, examples: Examples, rows: npt.NDArray[np.int64], facts: dict[str, Any]
) -> None:
    """Write the batch at which training stopped: a line of facts, then a line for each example.

    A line holds where the example lies in the cache, its label and weight, and the logits (B, O) and the loss that the
    model as it is now gives it; numbers that are not finite are texts.
    """
    labels = examples.labels
    assert labels is not None
    of = torch.from_numpy(labels)
    if logits.shape[1] == 1:
        losses = functional.binary_cross_entropy_with_logits(logits[:, 0], of.to(logits.dtype), reduction="none")
    else:
        losses = functional.cross_entropy(logits, of.long(), reduction="none")
    lines = [{name: _plain(fact) for name, fact in facts.items()}]
    for number, row in enumerate(rows.tolist()):
        lines.append(
            {
                "example": row,
                "label": int(labels[number]),
                "weight": 1.0 if examples.weights is None else _plain(float(examples.weights[number])),
                "logits": [_plain(logit) for logit in logits[number].tolist()],
                "loss": _plain(losses[number].item()),
            }
        )
    write_bytes(path, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def _plain(value: Any) -> Any:
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value
