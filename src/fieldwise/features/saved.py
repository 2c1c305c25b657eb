"""Arrays that come from a file, looked at before they are believed.

A checksum says that bytes are those that were written, not that whoever wrote them meant well. What would become an
index into memory, or a size, is compared with what it is to fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.errors import ArtefactError

__all__ = ["take"]


def take(
    arrays: Mapping[str, npt.NDArray[Any]], name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """Return the array of a name.

    Raises
    ------
    ArtefactError
        There is none, or it is of another type or shape; None in `shape` stands for any number.

    Examples
    --------
    >>> take({"counts": np.zeros(3, np.int64)}, "counts", np.int64, (3,)).tolist()
    [0, 0, 0]
    >>> take({"counts": np.zeros(3, np.int64)}, "counts", np.int64, (4,))
    Traceback (most recent call last):
    ...
    fieldwise.errors.ArtefactError: an array does not fit
      where: counts
      expected: int64 (4,)
      got: int64 (3,)
    """
    array = arrays.get(name)
    fits = array is not None and array.dtype == dtype and len(array.shape) == len(shape)
    if array is None or not fits or any(b not in (None, a) for a, b in zip(array.shape, shape, strict=True)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ArtefactError(
            "an array does not fit",
            where=name,
            expected=f"{np.dtype(dtype)} ({expected}{',' * (len(shape) == 1)})",
            got="none" if array is None else f"{array.dtype} {array.shape}",
        )
    return array
