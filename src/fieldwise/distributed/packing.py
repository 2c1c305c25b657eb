"""Named arrays as bytes for another worker, and back."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["pack_arrays", "unpack_arrays"]


def pack_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return what `unpack_arrays` reads: numpy's own format, which holds no code.

    Examples
    --------
    >>> unpack_arrays(pack_arrays({"a": np.arange(3)}))
    {'a': array([0, 1, 2])}
    >>> unpack_arrays(pack_arrays({}))
    {}
    """
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpack_arrays(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of `pack_arrays`."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)
