"""What moves a row, as numbers."""

from __future__ import annotations

from typing import NamedTuple

from fieldwise.kernels.numbering import WHOLE, Numbering

__all__ = ["Rule"]


class Rule(NamedTuple):
    """One of the rules of `kernels.optimizers`, with the settings of a step.

    Attributes
    ----------
    name
        ``adagrad``, ``rowwise-adagrad``, ``adam`` or ``ftrl``.
    settings
        What the kernel of this name takes, in its order: learning rate, epsilon, l2; for Adam also the two decay
        rates and the number of the step; for FTRL alpha, beta, l1, l2.
    key
        Of the step, for storage that rounds.
    numbering
        Which rows of the whole table the rows here are; their weights are rounded by bits that depend on it.
    """

    name: str
    settings: tuple[float, ...]
    key: int
    numbering: Numbering = WHOLE
