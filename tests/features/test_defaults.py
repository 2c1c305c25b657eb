import math

import pyarrow as pa
import pytest

from fieldwise.errors import ConfigError
from fieldwise.features.encoder import Encoder
from fieldwise.schema import Field, Schema


def fitted(field: Field, values: pa.Array) -> tuple[Encoder, pa.Table]:
    table = pa.table({"x": values, "click": [i % 2 for i in range(len(values))]})
    return Encoder(Schema(fields=(field,), label="click")).fit([table]), table


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int8(), pa.string())])
def test_a_missing_cell_of_a_category_is_the_default(kind):
    encoder, table = fitted(Field(name="x", column="x", default="a"), pa.array(["b", None, "", "a"]).cast(kind))
    assert encoder.transform(table).batch.ids[0].tolist() == [3, 2, 2, 2]
    assert encoder.counts.tolist() == [0, 0, 3, 1]
    assert encoder.feature_texts("x", [2, 3]) == ["a", "b"]


def test_a_default_that_no_cell_holds_is_a_value_all_the_same():
    encoder, table = fitted(Field(name="x", column="x", default="none"), pa.array(["b", None, "b"]))
    assert encoder.transform(table).batch.ids[0].tolist() == [2, 3, 2]
    assert encoder.feature_texts("x", [3]) == ["none"]


@pytest.mark.parametrize(("default", "cell"), [(5, "5"), (5.0, "5"), (0.25, "0.25"), (True, "true"), ("5.0", "5")])
def test_a_default_is_spelled_as_the_values_are(default, cell):
    encoder, _ = fitted(Field(name="x", column="x", default=default), pa.array([cell, None]))
    assert encoder.counts.tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    "array",
    [pa.array(["|", "a|b", None]), pa.array([[], ["a", "b"], None]), pa.array([[None], ["a", None, "b"], []])],
)
def test_a_bag_without_any_value_holds_the_default(array):
    encoder, table = fitted(Field(name="x", type="bag", column="x", default="b"), array)
    batch = encoder.transform(table).batch
    texts = encoder.feature_texts("x", batch.bag_ids.tolist())
    assert (texts, batch.offsets[0].tolist()) == (["b", "a", "b", "b"], [0, 1, 3, 4])


def test_a_bag_that_is_empty_in_every_row_holds_the_default_alone():
    encoder, table = fitted(Field(name="x", type="bag", column="x", default="b", weighted=True), pa.array([None, ""]))
    batch = encoder.transform(table).batch
    assert (batch.bag_ids.tolist(), batch.bag_weights.tolist()) == ([2, 2], [1.0, 1.0])
    assert encoder.feature_texts("x", [2]) == ["b"]


def test_a_missing_number_is_the_default_and_no_number_is_still_a_reject():
    values = pa.array(["1", None, "nan", "five"])
    encoder, table = fitted(Field(name="x", type="number", column="x", default=3, scale="none"), values)
    encoded = encoder.transform(table)
    assert encoded.batch.values[0].tolist() == [1.0, 3.0, 3.0]
    assert encoder.counts.tolist() == [0, 3]
    assert [(reject.row, reject.value) for reject in encoded.rejects] == [(3, "five")]


def test_a_bag_whose_value_has_no_weight_is_a_reject_and_not_the_default():
    encoder, table = fitted(
        Field(name="x", type="bag", column="x", default="b", weighted=True), pa.array(["a:1", None, "a"])
    )
    assert [reject.row for reject in encoder.transform(table).rejects] == [2]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"type": "number", "column": "x", "default": "3"}, "must be a number"),
        ({"type": "number", "column": "x", "default": True}, "must be a number"),
        ({"type": "number", "column": "x", "default": math.inf}, "must be a valid value"),
        ({"column": "x", "default": math.nan}, "must be a valid value"),
        ({"column": "x", "default": ""}, "must be a valid value"),
        ({"type": "time", "part": "hour", "column": "x", "default": 3}, "only allowed for"),
        ({"type": "cross", "parts": ("a", "b"), "default": "3"}, "only allowed for"),
    ],
)
def test_defaults_that_are_none_are_refused(settings, says):
    with pytest.raises(ConfigError, match=says):
        Field(name="x", **settings).check()
