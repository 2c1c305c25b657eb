"""What estimators take as `X`, and the Arrow table that it becomes.

=====================================================  ==============  =================================================
X                                                      kind            fields
=====================================================  ==============  =================================================
pandas, polars, Arrow; dict of columns, list of dicts  ``columns``     one for each column, types inferred
numpy array, list of lists                             ``columns``     ``x0``, ``x1`` and so on: numbers
scipy sparse matrix or array                           ``sparse``      bags of column numbers, weighted by the entries
paths of files                                         ``paths``       one for each column, types inferred
=====================================================  ==============  =================================================

NaN, None and their like are missing. A sparse matrix is one bag, ``x``, unless `groups` says how many columns each
field has (those of one column that was encoded one-hot): the bags are then ``g0``, ``g1`` and so on. Dense rows are
answered by a model of sparse ones, and the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse
from sklearn.utils.validation import validate_data

from fieldwise.counted import counted
from fieldwise.data.tables import as_table, is_paths

__all__ = ["Kind", "is_frame", "kind_of", "read", "sparse_fields"]

Kind = Literal["columns", "sparse", "paths"]
Fields = dict[str, dict[str, Any]]


def kind_of(X: Any) -> Kind:
    """Return what X is; an array of texts is no list of paths."""
    if not isinstance(X, np.ndarray) and is_paths(X):
        return "paths"
    return "sparse" if scipy.sparse.issparse(X) else "columns"


def is_frame(X: Any) -> bool:
    """Whether X has columns with names: a data frame, a dict of columns, a list of dicts, a structured array."""
    if isinstance(X, np.ndarray):
        return X.dtype.names is not None
    if isinstance(X, (list, tuple)):
        return bool(X) and all(isinstance(row, Mapping) for row in X)
    if scipy.sparse.issparse(X):  # one kind of which is a dict
        return False
    if len(getattr(X, "shape", (0, 0))) != 2:  # a column
        return False
    return isinstance(X, Mapping) or hasattr(X, "__arrow_c_stream__") or type(X).__qualname__ == "DataFrame"


def read(estimator: Any, X: Any, kind: Kind, groups: Sequence[int] | None, *, reset: bool) -> tuple[pa.Table, Fields]:
    """Return rows as a table, and what is known of its fields without looking at values.

    Parameters
    ----------
    estimator
        Gets ``n_features_in_`` and ``feature_names_in_``, or has them and X has to agree.
    X
        No paths.
    kind
        Of the rows that the model is fitted on.
    groups
        Columns of each field of sparse rows.
    reset
        Whether X is what the model is fitted on.

    Raises
    ------
    ValueError
        X is empty, holds an infinity, or has other columns than those that the model was fitted on.
    """
    if type(X).__name__ == "LazyFrame":
        as_table(X)  # says what to do
    if is_frame(X):
        table = _of_frame(estimator, X, reset=reset)
        if not table.num_rows:
            raise ValueError("X has no rows")
        return table, {}
    X = validate_data(estimator, X, reset=reset, dtype=None, accept_sparse="csr", ensure_all_finite="allow-nan")
    if kind == "sparse":
        return _of_sparse(scipy.sparse.csr_array(X), groups)
    if scipy.sparse.issparse(X):
        X = X.toarray()
    given = getattr(estimator, "feature_names_in_", None)
    names = [f"x{number}" for number in range(X.shape[1])] if given is None else list(given)
    if X.dtype.kind == "O":
        return as_table({name: list(X[:, number]) for number, name in enumerate(names)}), {}
    if X.dtype.kind == "b" or X.dtype == np.longdouble:  # which are no numbers to Arrow
        X = X.astype(np.float64)
    columns = [pa.array(np.ascontiguousarray(X[:, number]), from_pandas=True) for number in range(X.shape[1])]
    is_number = X.dtype.kind in "fiub"
    return pa.Table.from_arrays(columns, names=names), {name: {"type": "number"} for name in names if is_number}


def _of_frame(estimator: Any, X: Any, *, reset: bool) -> pa.Table:
    if hasattr(X, "set_axis"):  # pandas
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        names = list(X.columns)
        if not hasattr(estimator, "feature_names_in_"):  # the model's rows are arrays, or this is a frame of an array
            names = [f"x{number}" for number in range(len(names))]
        return as_table(X.set_axis(names, axis=1)).select(names)  # without the levels of its index
    table = as_table(X)
    validate_data(estimator, table, reset=reset, skip_check_array=True)
    if not hasattr(estimator, "feature_names_in_"):
        table = table.rename_columns([f"x{number}" for number in range(table.num_columns)])
    return table


def sparse_fields(num_columns: int, groups: Sequence[int] | None) -> dict[str, tuple[int, int]]:
    """Return the first and the last column but one of each field of sparse rows.

    Examples
    --------
    >>> sparse_fields(9, None), sparse_fields(9, [4, 5])
    ({'x': (0, 9)}, {'g0': (0, 4), 'g1': (4, 9)})
    """
    if groups is None:
        return {"x": (0, num_columns)}
    ends = np.cumsum([0, *groups]).tolist()
    if ends[-1] != num_columns or min(groups) < 1:
        have = counted(ends[-1], "column")
        raise ValueError(f"sparse_groups have {have}, 1 or more each expected, and X has {num_columns}")
    return {f"g{number}": span for number, span in enumerate(pairwise(ends))}


def _of_sparse(X: Any, groups: Sequence[int] | None) -> tuple[pa.Table, Fields]:
    X.sum_duplicates()
    columns: dict[str, pa.Array] = {}
    fields: Fields = {}
    for name, (first, last) in sparse_fields(X.shape[1], groups).items():
        part = X if groups is None else X[:, first:last]
        offsets = part.indptr.astype(np.int64)
        columns[name] = _lists(offsets, pa.array(part.indices))
        columns[f"{name}_weights"] = _lists(offsets, pa.array(part.data.astype(np.float64)))
        as_they_are = {"norm": "none", "weight_scale": "none", "max_length": max(last - first, 1)}
        fields[name] = {"type": "bag", "weights": f"{name}_weights", **as_they_are}
    return pa.table(columns), fields


def _lists(offsets: npt.NDArray[np.int64], values: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array(offsets), values)
