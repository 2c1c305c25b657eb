"""Several labels of an example as one number, so that whatever carries a label carries all of them.

Letters: B examples, L labels. A label has a state: 0 negative, 1 positive, 2 missing::

    code = sum over l of  state_l 4^l
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BITS", "MISSING_LABEL", "join_labels", "label_states"]

BITS = 2
"""Of a state in a code."""
MISSING_LABEL = 2
"""The state of a label of which an example says nothing."""


def join_labels(states: Sequence[npt.NDArray[np.integer[Any]]]) -> npt.NDArray[np.int32]:
    """Return the codes (B,) of L labels, (B,) states each.

    Examples
    --------
    >>> click, conversion = np.array([0, 1, 1]), np.array([0, 1, 2])
    >>> join_labels([click, conversion]).tolist()
    [0, 5, 9]
    """
    codes = np.zeros(len(states[0]), dtype=np.int32)
    for number, of_label in enumerate(states):
        codes |= of_label.astype(np.int32) << (BITS * number)
    return codes


def label_states(codes: npt.NDArray[np.integer[Any]], number: int) -> npt.NDArray[np.int32]:
    """Return the states (B,) of label `number` in codes (B,).

    Examples
    --------
    >>> label_states(np.array([0, 5, 9]), 1).tolist()
    [0, 1, 2]
    """
    return (codes.astype(np.int32) >> (BITS * number)) & ((1 << BITS) - 1)
