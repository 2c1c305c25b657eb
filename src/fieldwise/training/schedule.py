"""The factor on all learning rates, step by step."""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["Schedule"]


class Schedule:
    """Rise over the warm-up, then stay or fall to zero.

    With t the share of the steps after the warm-up that are done: ``constant`` 1, ``linear`` 1 - t, ``cosine``
    (1 + cos(pi t)) / 2.

    Examples
    --------
    >>> [round(Schedule("linear", num_steps=5, warmup=0.2).factor(step), 2) for step in range(5)]
    [1.0, 1.0, 0.75, 0.5, 0.25]
    >>> [Schedule("constant", num_steps=4, warmup=0.5).factor(step) for step in range(4)]
    [0.5, 1.0, 1.0, 1.0]
    """

    def __init__(self, name: Literal["constant", "linear", "cosine"], num_steps: int, warmup: float = 0.0) -> None:
        self.name = name
        self.num_warmup = int(num_steps * warmup)
        self.num_decay = max(num_steps - self.num_warmup, 1)

    def factor(self, step: int) -> float:
        """Return the factor of step 0, 1, ..."""
        if step < self.num_warmup:
            return (step + 1) / self.num_warmup
        done = min((step - self.num_warmup) / self.num_decay, 1.0)
        match self.name:
            case "linear":
                return 1.0 - done
            case "cosine":
                return (1.0 + math.cos(math.pi * done)) / 2.0
            case _:
                return 1.0
