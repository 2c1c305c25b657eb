"""Rows of the table for those who only answer: half or a quarter of the bytes, as `kernels.storage` has them.

::

    float16    w to the nearest of 11 bits                          2 n bytes
    int8       w = q s, q = -127 .. 127, one s for a row            n + 2 bytes

s is the row's largest weight over 127, rounded up to a bfloat16, so that no q is beyond 127.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from fieldwise.errors import ConfigError

__all__ = ["Compact", "compacted", "kind_for", "width_of"]

Compact = Literal["float16", "int8"]
_LARGEST: dict[Compact, float] = {"float16": 65_504.0, "int8": 1e38}
_LEAST_UNITS = 8
"""Rows of fewer numbers are float16: a scale of their own costs what int8 saves, or more of the precision."""


def kind_for(wanted: Compact, num_weights: int) -> Compact:
    """Return what rows of so many numbers are stored as.

    Examples
    --------
    >>> kind_for("int8", 1), kind_for("int8", 16)
    ('float16', 'int8')
    """
    return "float16" if num_weights < _LEAST_UNITS else wanted


def width_of(kind: Compact, num_weights: int) -> tuple[int, np.dtype[np.generic]]:
    """Return how many numbers of which type a row takes in its file."""
    return (num_weights, np.dtype(np.float16)) if kind == "float16" else (num_weights + 2, np.dtype(np.int8))


def compacted(weights: npt.NDArray[np.floating], kind: Compact) -> npt.NDArray[np.float16] | npt.NDArray[np.int8]:
    """Return rows (R, n) as they are stored.

    Raises
    ------
    ConfigError
        A weight is beyond what the kind can hold.

    Examples
    --------
    >>> compacted(np.array([[1.0, -0.5]], np.float32), "float16").tolist()
    [[1.0, -0.5]]
    >>> rows = compacted(np.array([[127.0, -63.5]], np.float32), "int8")  # q, then the bytes of s = 1
    >>> rows.view(np.uint8).tolist()
    [[127, 192, 128, 63]]
    """
    largest = np.abs(weights).max(axis=1, initial=0.0, keepdims=True)
    limit = _LARGEST[kind]
    if not (largest <= limit).all():
        raise ConfigError(f"a weight is beyond {kind}", expected=f"at most {limit:.6g}", got=largest.max())
    if kind == "float16":
        return weights.astype(np.float16)
    out = np.zeros((len(weights), weights.shape[1] + 2), dtype=np.int8)
    bits = (largest.astype(np.float64) / 127).astype(np.float32).view(np.uint32)
    scale = (bits + 0xFFFF) >> 16  # up to the next bfloat16
    exact = (scale << 16).view(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        q = np.where(exact > 0, np.rint(weights / exact), 0.0)
    out[:, :-2] = np.clip(q, -127, 127)
    out.view(np.uint8)[:, -2:] = np.concatenate([scale & 0xFF, scale >> 8], axis=1)
    return out
