"""Arrow's views, which polars hands out, are read as what they are views of."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fieldwise as fw
from fieldwise.data.chunk import without_views
from fieldwise.data.log import open_log

TEXTS = pa.array(["a", None, "b"], pa.string_view())
WORDS = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.uint32()), pa.array(["no", "yes"], pa.string_view()))
LISTS = pa.array([["a"], None, ["b", "c"]], pa.list_(pa.string_view()))
STRUCTS = pa.array(
    [{"value": "a", "weight": 1.0}, None, {"value": "b", "weight": 2.0}],
    pa.struct([("value", pa.string_view()), ("weight", pa.float64())]),
)
COLUMNS = {
    "texts": TEXTS,
    "bytes": pa.array([b"a", None, b"b"], pa.binary_view()),
    "words": WORDS,
    "lists": LISTS,
    "views of lists": pa.array([["a"], None, ["b"]], pa.list_view(pa.string())),
    "structs": STRUCTS,
    "numbers": pa.array([1, 2, 3]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_no_view_is_left_and_no_value_lost(name):
    column = without_views(pa.table({"x": COLUMNS[name]}).slice(0, 2))["x"]
    assert "view" not in str(column.type)
    assert column.to_pylist() == COLUMNS[name].to_pylist()[:2]
    column.take(pa.array([1, 0]))


def test_a_file_of_views_is_read(tmp_path):
    pq.write_table(pa.table({"texts": TEXTS, "lists": LISTS}), tmp_path / "log.parquet")
    [chunk] = open_log(tmp_path / "log.parquet").chunks()
    assert chunk.table.schema.types == [pa.large_string(), pa.list_(pa.large_string())]
    assert chunk.table["lists"].to_pylist() == LISTS.to_pylist()


def test_a_label_of_views_and_categories_as_polars_hands_out_are_trained_on(tmp_path):
    config = fw.parse_config('[data]\ntrain = "-"\nlabel = "y"\n[fields.x]\n[fields.c]\n', base=tmp_path)
    classes, numbers = ["no", "yes", "no"] * 20, pa.array([0, 1, 1] * 20, pa.uint32())
    table = pa.table({
        "y": pa.array(classes, pa.string_view()),
        "x": pa.array(["u", "v", "w"] * 20, pa.string_view()),
        "c": pa.DictionaryArray.from_arrays(numbers, WORDS.dictionary),
    })  # fmt: skip
    prepared = fw.prepare(config, data=table)
    assert prepared.summary["classes"] == ["no", "yes"]
    assert prepared.read.rows_used == 60


def test_views_of_lists_and_run_ends_hold_the_values_that_they_stand_for():
    lists = [["a", None], None, [], ["b"]]
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3, 4]), pa.array(["u", None, "v"], pa.string_view()))
    views = pa.array(lists, pa.list_view(pa.string_view()))
    table = without_views(pa.table({"tags": views, "user": runs}))
    table.validate(full=True)
    assert table.to_pydict() == {"tags": lists, "user": ["u", "u", None, "v"]}
    assert without_views(pa.table({"tags": views[1:3]})).to_pydict() == {"tags": lists[1:3]}
