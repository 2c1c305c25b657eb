"""Arrow's view types (string_view, list_view, ...), as polars hands them out: few of Arrow's functions know them.

Nor do they know columns that are encoded by the length of their runs.

Whatever reads a log turns them into the types that they are views of, so that nothing behind it meets one.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["type_without_views", "without_views"]


def type_without_views(kind: pa.DataType) -> pa.DataType:
    """Return the type that holds the same values without views.

    Examples
    --------
    >>> type_without_views(pa.string_view()), type_without_views(pa.list_(pa.binary_view()))
    (DataType(large_string), ListType(list<item: large_binary>))
    """
    types = pa.types
    if types.is_run_end_encoded(kind):
        return type_without_views(kind.value_type)
    if types.is_string_view(kind):
        return pa.large_string()
    if types.is_binary_view(kind):
        return pa.large_binary()
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, type_without_views(kind.value_type), kind.ordered)
    if types.is_struct(kind):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        return pa.struct([field.with_type(type_without_views(field.type)) for field in fields])
    if types.is_fixed_size_list(kind):
        return pa.list_(_item(kind), kind.list_size)
    if types.is_list(kind):
        return pa.list_(_item(kind))
    if types.is_large_list(kind) or types.is_list_view(kind) or types.is_large_list_view(kind):
        return pa.large_list(_item(kind))
    return kind


def _item(kind: pa.DataType) -> pa.Field:
    field: pa.Field = kind.value_field
    return field.with_type(type_without_views(field.type))


def without_views(table: pa.Table) -> pa.Table:
    """Return the table with columns of `type_without_views`."""
    for place, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        kind = type_without_views(column.type)
        if kind != column.type:
            chunks = [_cast(chunk, kind) for chunk in column.chunks]
            table = table.set_column(place, name, pa.chunked_array(chunks, type=kind))
    return table


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):  # which Arrow does not cast
        return pa.DictionaryArray.from_arrays(
            array.indices, array.dictionary.cast(kind.value_type), ordered=kind.ordered
        )
    if pa.types.is_run_end_encoded(array.type):
        places = np.searchsorted(array.run_ends.to_numpy(), array.offset + np.arange(len(array)), side="right")
        values = array.values if array.values.type == kind else _cast(array.values, kind)
        return values.take(pa.array(places))
    if pa.types.is_list_view(array.type) or pa.types.is_large_list_view(array.type):
        # Arrow 26 casts these to lists whose last offset is wrong.
        lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
        return pa.LargeListArray.from_arrays(ends, array.flatten().cast(kind.value_type), mask=array.is_null())
    return array.cast(kind)
