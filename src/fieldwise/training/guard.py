"""What stops a training that has gone wrong: numbers that are not finite, and a diverging loss.

Every step is checked, and a step whose loss or gradients are not finite does not reach the weights. The checks are
sums: a sum over numbers of which one is NaN or infinite is not finite itself. What they cost is in docs/reliability.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldwise.data.cache import Examples
from fieldwise.io.files import write_bytes
from fieldwise.kernels.joint_labels import label_states
from fieldwise.models.config import LabelHead
from fieldwise.training.loss import losses_of

__all__ = ["Divergence", "NotFinite", "all_finite", "class_weights", "sum_all", "write_batch"]

_TIMES_BASE = 4.0
_TINY = 1e-30
_WINDOW_BATCHES, _WINDOW_EXAMPLES = 20, 4_096
_NUM_WINDOWS = 3

Float64s = npt.NDArray[np.float64]


class NotFinite(Exception):
    """Something in a step is NaN or infinite: `what`; and the loss of the step, which is the one before this where
    `before` is true.
    """

    def __init__(self, what: str, loss: float, before: bool = False) -> None:
        super().__init__(what)
        self.what, self.loss, self.before = what, loss, before


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


def sum_all(tensors: Sequence[Tensor]) -> Tensor | float:
    """Return the sum of all numbers: where one of them is not finite, nor is the sum.

    Nobody waits for a device.

    Examples
    --------
    >>> sum_all([torch.ones(2), torch.tensor([1.0, math.inf])]), sum_all([])
    (tensor(inf), 0.0)
    """
    sums = [tensor.detach().sum() for tensor in tensors]
    return torch.stack(sums).sum() if len(sums) > 1 else sums[0] if sums else 0.0


def class_weights(examples: Examples, num_classes: int, heads: Sequence[LabelHead] = ()) -> Float64s:
    """Return the sum of the weights of the examples of each class, (classes,); their number where they have none.

    Of L labels, (2 L + 1,): for each the sums of negative and positive, times the label's own weight, and then that of
    all examples.
    """
    assert examples.labels is not None, "training needs labels"
    if heads:
        weights = np.ones(len(examples.labels)) if examples.weights is None else examples.weights
        of_heads = [
            head.weight * np.bincount(label_states(examples.labels, number), weights, minlength=2)[:2]
            for number, head in enumerate(heads)
        ]
        return np.array([*np.concatenate(of_heads), weights.sum(dtype=float)])
    if examples.weights is None and num_classes == 2:  # ten times as fast as to count them all
        clicks = np.count_nonzero(examples.labels)
        return np.array([len(examples.labels) - clicks, clicks], dtype=np.float64)
    counted = np.bincount(examples.labels, examples.weights, minlength=num_classes)
    return counted.astype(np.float64, copy=False)


class Divergence(msgspec.Struct, kw_only=True):
    """Notices a loss that stays far above that of predicting the base rate.

    The base rate, the share of each class as seen so far, is where training starts. Both losses are taken over the same
    examples, so batches with many or few clicks, rare clicks and example weights do not matter. Training has diverged
    when its loss was more than 4 times the other in 3 windows one after the other, each of 20 batches and 4,096
    examples or more. Windows before a second class has come are not judged. All of it is plain values, which a
    checkpoint holds: training that goes on stops where it would have stopped unbroken.

    Attributes
    ----------
    seen
        Sum of the weights of each class; of several labels as `class_weights` has it.
    ratios
        Loss by loss of the base rate, of the last windows.
    num_batches, num_examples, loss, base_loss
        Of the window under way; losses are sums over its examples.
    """

    seen: list[float]
    ratios: list[float] = []
    num_batches: int = 0
    num_examples: int = 0
    loss: float = 0.0
    base_loss: float = 0.0

    @classmethod
    def of(cls, num_classes: int) -> Divergence:
        """Return one that has seen nothing."""
        return cls(seen=[0.0] * num_classes)

    def add(self, loss: float, num_examples: int, weights: Float64s, num_labels: int = 0) -> bool:
        """Take in the mean loss of a batch and its `class_weights`, and return whether training has diverged.

        `num_labels` is 0 where there is one.
        """
        seen = np.array(self.seen) + weights
        self.seen = seen.tolist()
        if num_labels:
            of_labels = seen[:-1].reshape(num_labels, 2) + 1.0
            shares = (of_labels / of_labels.sum(axis=1, keepdims=True)).reshape(-1)
            total, weights = float(weights[-1]), weights[:-1]
        else:
            shares, total = (seen + 1.0) / (seen.sum() + len(seen)), float(weights.sum())
        self.loss += loss * total
        self.base_loss -= float(weights @ np.log(shares))
        self.num_batches += 1
        self.num_examples += num_examples
        if self.num_batches < _WINDOW_BATCHES or self.num_examples < _WINDOW_EXAMPLES:
            return False
        if np.count_nonzero(seen) > 1:  # of one class the base rate leaves no loss to compare with
            self.ratios = [*self.ratios[1 - _NUM_WINDOWS :], self.loss / max(self.base_loss, _TINY)]
        self.num_batches = self.num_examples = 0
        self.loss = self.base_loss = 0.0
        return len(self.ratios) == _NUM_WINDOWS and min(self.ratios) > _TIMES_BASE


def write_batch(
    path: Path,
    logits: Tensor,
    examples: Examples,
    rows: npt.NDArray[np.int64],
    facts: dict[str, Any],
    heads: Sequence[LabelHead] = (),
) -> None:
    """Write the batch at which training stopped: a line of facts, then a line for each example.

    A line holds where the example lies in the cache, its label (of several, their code) and weight, and
    the logits (B, O) and the loss that the model as it is now gives it; numbers that are not finite are texts.
    """
    labels = examples.labels
    assert labels is not None
    losses = losses_of(logits, torch.from_numpy(labels), heads)
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
