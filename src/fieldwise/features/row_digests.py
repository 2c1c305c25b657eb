"""A digest of every row's content: the same for the same row, wherever it stands and whoever wrote its file.

The digest of a row is the xxh64 of the fingerprints of its cells' canonical texts (`features.canonical`), column by
column. A list counts as the sum of those of its values and their number, for a bag has no order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.features.canonical import canonical, fingerprints, is_list
from fieldwise.features.columns import Columns, reading
from fieldwise.kernels.fingerprint import combine

__all__ = ["digest_of_rows", "row_digests"]

Uint64s = npt.NDArray[np.uint64]

_MISSING = np.uint64(1)


def row_digests(table: pa.Table, columns: Sequence[str]) -> Uint64s:
    """Return the digest of each row of R, (R,).

    Parameters
    ----------
    table
        A chunk of a log.
    columns
        One or more, in the order that is digested.

    Raises
    ------
    DataError
        The table lacks a column, or its type has no text.

    Examples
    --------
    >>> one = row_digests(pa.table({"city": ["Rome", "Oslo", None], "age": [5, 7, 7]}), ["city", "age"])
    >>> other = row_digests(pa.table({"age": ["7.0", "5"], "city": ["Oslo", "Rome"]}), ["city", "age"])
    >>> one[:2].tolist() == other[::-1].tolist()
    True
    """
    read = Columns(table)
    parts = np.empty((table.num_rows, len(columns)), dtype=np.uint64)
    for place, name in enumerate(columns):
        with reading(name):
            parts[:, place] = _cells(read.array(name))
    return combine(_known(parts), 0)


def digest_of_rows(digests: Uint64s) -> str:
    """Return one digest of any number of rows, whatever their order: their number, sum and exclusive or, hexadecimal.

    Examples
    --------
    >>> digest_of_rows(np.array([3, 5], dtype=np.uint64))
    '200000000000000080000000000000006'
    """
    return f"{len(digests):x}{int(digests.sum(dtype=np.uint64)):016x}{int(np.bitwise_xor.reduce(digests)):016x}"


def _cells(array: pa.Array) -> Uint64s:
    if pa.types.is_map(array.type):
        array = array.cast(pa.list_(pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])))
    if pa.types.is_struct(array.type):
        return combine(_known(np.stack([_cells(part) for part in array.flatten()], axis=1)), 0)
    if not is_list(array.type):
        return fingerprints(canonical(array), 0)
    lists = array.cast(pa.large_list(array.type.value_type))
    sizes = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    sums = np.append(np.uint64(0), np.cumsum(_cells(lists.flatten()), dtype=np.uint64))
    ends = np.cumsum(sizes)
    return combine(_known(np.stack([sums[ends] - sums[ends - sizes], sizes.astype(np.uint64)], axis=1)), 0)


def _known(parts: Uint64s) -> Uint64s:
    """Return parts of which none is 0, for with a part that is missing the whole would be."""
    return np.where(parts == 0, _MISSING, parts)
