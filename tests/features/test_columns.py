import pyarrow as pa
import pytest

from fieldwise.errors import DataError
from fieldwise.features.columns import Columns, Reject, shown


def test_a_missing_column_is_named_with_its_nearest_neighbour():
    with pytest.raises(DataError, match=r"expected: column user_id\n  hint: did you mean userid\?"):
        Columns(pa.table({"userid": [1], "item": [2]})).array("user_id")


def test_two_columns_of_one_name_are_refused():
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(DataError, match="duplicate column names"):
        Columns(table).array("a")


def test_a_type_without_text_is_refused_by_name():
    with pytest.raises(DataError, match="where: column a"):
        Columns(pa.table({"a": [[1]]})).text("a")


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.dictionary(pa.int8(), pa.string())])
def test_a_column_in_pieces_is_one_array(kind):
    pieces = [pa.array(values, pa.int64()).cast(pa.string()).cast(kind) for values in ([1, 2], [], [2, None])]
    assert Columns(pa.table({"a": pa.chunked_array(pieces)})).text("a").to_pylist() == ["1", "2", "2", None]
    assert Columns(pa.table({"a": pa.chunked_array([], kind)})).text("a").to_pylist() == []


@pytest.mark.parametrize(("value", "expected"), [(1.5, "1.5"), (None, ""), (b"\xff", "\ufffd"), ([1, 2], "[1, 2]")])
def test_a_reject_shows_the_cell(value, expected):
    columns = Columns(pa.table({"a": [value]}))
    assert columns.reject(0, "a", "why") == Reject(0, "a", expected, "why")


@pytest.mark.parametrize(
    ("kind", "number", "expected"),
    [
        (pa.timestamp("us", "Nowhere/None"), 0, "1970-01-01 00:00:00.000000"),
        (pa.timestamp("us"), 2**62, "<value out of range: 4611686018427387904>"),
        (pa.date32(), 2**31 - 1, "<value out of range: 2147483647>"),
    ],
)
def test_a_time_that_python_does_not_hold_is_shown_as_arrow_writes_it(kind, number, expected):
    assert shown(pa.array([number], kind)[0]) == expected
    assert shown(pa.array([[number]], pa.list_(kind))[0])
