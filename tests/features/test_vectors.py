"""Vectors: lists of one length, as scaled inputs, wherever rows are read."""

import itertools
import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from fieldwise.data.column_types import concatenated
from fieldwise.errors import ConfigError, DataError
from fieldwise.features.columns import Columns
from fieldwise.features.encoder import Encoder
from fieldwise.profile.infer.guess import guess_column
from fieldwise.schema import Field, Schema
from fieldwise.serving.encode import RowEncoder

FLOATS = pa.list_(pa.float32())
VECTORS = [[1.0, 20.0, -3.0], [3.0, None, 5.0], None, [5.0, 40.0, float("nan")], [], [None, None, None]]
FIELD = Field(name="v", type="vector", column="v", length=3)


def schema_of(*fields):
    return Schema(label="click", fields=fields, classes=("0", "1"))


def table_of(vectors, kind=FLOATS):
    return pa.table({"v": pa.array(vectors, kind), "click": [0, 1] * (len(vectors) // 2) + [1] * (len(vectors) % 2)})


def fitted(vectors=VECTORS, field=FIELD):
    return Encoder(schema_of(field)).fit([table_of(vectors)])


def rows_of(batch):
    bounds = batch.offsets[0]
    return [(batch.bag_ids[a:b].tolist(), batch.bag_weights[a:b].tolist()) for a, b in itertools.pairwise(bounds)]


def scaled(column):
    """By hand: minus the mean, over the deviation and the root of 3; the mean where it is missing."""
    known = [x for x in column if x is not None and x == x]
    mean = sum(known) / len(known)
    std = math.sqrt(sum((x - mean) ** 2 for x in known) / len(known))
    return [0.0 if x is None or x != x else (x - mean) / (std * math.sqrt(3)) for x in column]


def test_each_number_is_the_scaled_input_of_its_own_feature_and_a_missing_vector_is_one_feature():
    encoder = fitted()
    found = rows_of(encoder.transform(table_of(VECTORS)).batch)
    columns = [scaled(column) for column in ([1, 3, 5], [20, None, 40], [-3, 5, math.nan])]
    for place, row in enumerate((0, 1, 3)):
        ids, inputs = found[row]
        assert ids == [2, 3, 4]
        assert inputs == pytest.approx([column[place] for column in columns], abs=1e-6)
    assert [found[row] for row in (2, 4, 5)] == [([0], [1.0])] * 3
    assert encoder.counts.tolist() == [3, 0, 3, 2, 2]
    assert encoder.training_shares()["v"] == (0.5, 0.0)


def test_scale_none_leaves_numbers_as_they_are_and_puts_means_in_gaps():
    encoder = fitted(field=Field(name="v", type="vector", column="v", length=3, scale="none"))
    assert rows_of(encoder.transform(table_of(VECTORS)).batch)[1] == ([2, 3, 4], [3.0, 30.0, 5.0])


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        ([1.0, 2.0], "expected 3 numbers, got 2"),
        ([1.0, 2.0, 3.0, 4.0], "expected 3 numbers, got 4"),
        ([1.0, math.inf, 3.0], "not a finite number: number 2 of the vector"),
    ],
)
def test_another_length_and_infinity_are_rejected_with_the_reason(vector, reason):
    encoded = fitted().transform(table_of([VECTORS[0], vector, VECTORS[1]]))
    assert [(reject.row, reject.column, reject.reason) for reject in encoded.rejects] == [(1, "v", reason)]
    assert encoded.accepted.tolist() == [0, 2]


def test_of_a_long_vector_that_is_rejected_the_beginning_is_shown():
    [reject] = fitted().transform(table_of([VECTORS[0], [0.125] * 5_000])).rejects
    assert reject.reason == "expected 3 numbers, got 5000"
    assert reject.value.startswith("[0.125, 0.125, ")
    assert len(reject.value) == 103


def test_the_order_of_rows_and_chunks_changes_nothing():
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(999, 3)) * 10.0 ** rng.integers(-6, 6, (999, 1))).tolist()
    whole, other, half = fitted(vectors), Encoder(schema_of(FIELD)), Encoder(schema_of(FIELD))
    for begin in (600, 333):
        other.fit_chunk(table_of(vectors[begin : begin + 399][::-1]) if begin == 600 else table_of(vectors[333:600]))
    half.fit_chunk(table_of(vectors[:333]))
    other.add_learned(half.learned())
    other.finish()
    for name, array in whole.arrays().items():
        assert array.tolist() == other.arrays()[name].tolist(), name


def test_a_saved_encoder_and_one_that_grows_scale_alike():
    encoder = fitted()
    again = Encoder.from_arrays(encoder.describe(), encoder.arrays())
    grown = encoder.partial_fit([table_of([[100.0, 200.0, 300.0], None])])
    expected = rows_of(encoder.transform(table_of(VECTORS)).batch)
    assert rows_of(again.transform(table_of(VECTORS)).batch) == expected
    assert rows_of(grown.transform(table_of(VECTORS)).batch) == expected
    assert grown.counts.tolist() == [4, 0, 4, 3, 3]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32(), 3), pa.large_list(pa.float64()), pa.list_(pa.float16()), pa.list_(pa.string())]
)
def test_lists_of_any_type_and_texts_are_read_alike(kind):
    given = [[0.5, -2.0, 4.0], None, [1.5, 8.0, 0.25]]
    written = [None if each is None else str(each) for each in given]
    expected = rows_of(fitted(given).transform(table_of(given)).batch)
    lists = [each and [str(x) if kind == pa.list_(pa.string()) else np.float16(x) for x in each] for each in given]
    assert rows_of(fitted(given).transform(table_of(lists, kind)).batch) == expected
    text = Field(name="v", type="vector", column="v", length=3, separator=",", brackets=True)
    encoder = Encoder(schema_of(text)).fit([table_of(written, pa.string())])
    assert rows_of(encoder.transform(table_of(written, pa.string())).batch) == expected


ROWS = [
    {"city": "Rome", "v": [1.0, 2.5, 3.0], "tags": ["a", "b"], "click": 0},
    {"city": "Oslo", "v": None, "tags": [], "click": 1},
    {"city": "Bern", "v": [4, None, 0.1], "tags": ["b"], "click": 1},
    {"city": "Rome", "v": [], "tags": ["a"], "click": 0},
    {"city": "Rome", "v": [math.nan, 1e-300, -7], "tags": ["a"], "click": 0},
]
ODD = [
    [None, math.nan, None],
    ["1", "2.5", ""],
    "1|2|3",
    "[1, 2, 3]",
    "",
    (1.0, 2.0, 3.0),
    [True, 1.0, 2.0],
    [1e39, 0.0, 0.0],
]


@pytest.fixture(scope="module")
def of_several():
    fields = (Field(name="city", column="city"), FIELD, Field(name="tags", type="bag", column="tags"))
    return Encoder(schema_of(*fields)).fit([pa.Table.from_pylist(ROWS)])


def same(found, expected):
    return [each.tolist() for each in found] == [each.tolist() for each in expected]


def test_a_request_has_the_features_of_a_prepared_row_without_the_encoders_own_way(of_several, monkeypatch):
    expected = of_several.transform(pa.Table.from_pylist(ROWS)).batch
    alone = [
        of_several.transform(pa.Table.from_pylist([row], schema=pa.Table.from_pylist(ROWS).schema)) for row in ROWS
    ]
    rows, as_arrays = RowEncoder(of_several), [dict(row) for row in ROWS]
    as_arrays[0]["v"] = np.array(ROWS[0]["v"], np.float32)
    monkeypatch.setattr(Encoder, "transform", None)
    for given in (ROWS, as_arrays, {name: [row[name] for row in ROWS] for name in ROWS[0]}, pa.Table.from_pylist(ROWS)):
        assert same(rows.encode(given), expected)
    for row, encoded in zip(ROWS, alone, strict=True):
        assert same(rows.encode([row]), encoded.batch)


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_vectors_are_read_or_refused_as_in_preparing(of_several, odd):
    row = {**ROWS[0], "v": odd}
    try:
        table = pa.Table.from_pylist([row])
        expected = of_several.transform(table)
        refused = [reject.reason for reject in expected.rejects]
    except (DataError, pa.ArrowInvalid) as error:
        refused = [str(error)]
    if refused:
        with pytest.raises((DataError, TypeError)):
            RowEncoder(of_several).encode([row])
    else:
        assert same(RowEncoder(of_several).encode([row]), expected.batch)


def test_an_integer_beyond_64_bits_is_a_number_like_others(of_several):
    one, other = ({**ROWS[0], "v": [large, 0, 0]} for large in (10**20, 1e20))
    assert same(RowEncoder(of_several).encode([one]), RowEncoder(of_several).encode([other]))


def test_a_vector_of_the_context_is_read_once_and_is_every_candidates(of_several):
    columns = {"city": ["Rome", "Bern", "Oslo"], "v": [[1.0, 2.0, 3.0]] * 3, "tags": [["a"], [], ["b"]]}
    rows = RowEncoder(of_several)
    shared = frozenset(["v"])
    assert same(rows.encode_columns(columns, shared), rows.encode_columns(columns))
    assert rows.fields_alike(shared).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("values", "type_", "left_out"),
    [
        (pa.array([[0.5, 1.0], None, [0.25, 2.0]]), "vector", False),
        (pa.array([[1.0, 1.0], [0.0, 2.0]], pa.list_(pa.float32(), 2)), "vector", False),
        (pa.array([[1.0, 1.0], [0.0, 2.0]]), "bag", False),
        (pa.array([[0.5, 1.0], [0.25]]), "bag", True),
        (pa.array([[0.5, 1.0]] * 3), "vector", True),
        (pa.array(["[0.5, 1.25]", "[0.125, -3]", "[]"]), "vector", False),
        (pa.array(["[0.5, 1.25]", "[0.125]", "[7.5]"]), "bag", True),
    ],
)
def test_lists_of_fractions_of_one_length_are_guessed_to_be_vectors(values, type_, left_out):
    guess = guess_column("embedding", values)
    assert (guess.type, guess.left_out) == (type_, left_out)
    assert guess.length == (2 if type_ == "vector" else None)


@pytest.mark.parametrize(
    "settings",
    [{"length": None}, {"scale": "log"}, {"min_count": 2}, {"bins": 3}, {"weighted": True}, {"serve_as": 1}],
)
def test_settings_that_vectors_do_not_have_are_refused(settings):
    with pytest.raises(ConfigError):
        schema_of(Field(**{"name": "v", "type": "vector", "column": "v", "length": 3, **settings})).check()


def test_a_cross_with_a_vector_is_refused():
    with pytest.raises(ConfigError, match="cannot combine vectors"):
        schema_of(FIELD, Field(name="c", column="c"), Field(name="x", type="cross", parts=("c", "v"))).check()


def test_a_column_without_numbers_is_refused():
    encoder = fitted()
    with pytest.raises(Exception, match="holds no vectors"):
        encoder.fields["v"].read(Columns(pa.table({"v": pa.array([[True, False, True]])})), {})


@pytest.mark.parametrize("separator", ["|", ",", " ", "\\"])
def test_text_in_brackets_is_a_list_whatever_stands_between_the_numbers_of_other_texts(separator):
    given = [[0.5, -2.0, 4.0], [1.5, 8.0, 0.25], None, [3.0, None, 1e-3], [0.5, -2.0, 4.0], None, [7.0, 1.0, 2.0]]
    written = [
        *("[0.5, -2.0, 4.0]", "[ 1.5  8.\n 0.25]", "[]", "[3.0, null, 0.001]", "{0.5,-2,4}", ""),
        "7|1|2".replace("|", separator),
    ]
    encoder = fitted(given, Field(name="v", type="vector", column="v", length=3, separator=separator))
    found, expected = (encoder.transform(table_of(*each)).batch for each in ((written, pa.string()), (given,)))
    assert rows_of(found) == rows_of(expected)
    alone = [rows_of(encoder.transform(table_of([text], pa.large_string())).batch)[0] for text in written]
    assert alone == rows_of(expected)


@pytest.mark.parametrize("text", ["[1, 2]", "[[1, 2], [3]]", "[1, 2, x]", "[1, 2, inf]", "[1,, 2, 3]"])
def test_a_list_in_text_that_is_no_vector_is_rejected(text):
    assert len(fitted().transform(table_of([text], pa.string())).rejects) == 1


@pytest.mark.parametrize("other", [pa.list_(pa.float64()), pa.list_(pa.float16()), pa.list_(pa.decimal128(9, 3))])
def test_files_whose_lists_are_of_several_types_make_one_vector(other):
    first = pa.array([[0.5, 1.25, 3.0], None], pa.list_(pa.float32(), 3))
    second = [[2.5, 1.0, 0.0], [0.125, 4.0, 1.0]]
    if pa.types.is_decimal(other.value_type):
        second = [[Decimal(str(x)) for x in row] for row in second]
    elif pa.types.is_float16(other.value_type):
        second = [[np.float16(x) for x in row] for row in second]
    column = concatenated([first, pa.array(second, other)]).combine_chunks()
    guess = guess_column("embedding", column)
    assert (guess.type, guess.length) == ("vector", 3)


@pytest.mark.parametrize(
    ("values", "type_", "left_out", "length"),
    [
        (pa.array([["0.5", "1.25"], ["0.125", "NA"]]), "vector", False, 2),
        (pa.array([["5", "7"], ["1", "NA"]]), "bag", False, None),
        (pa.array([["0.5", "x"], ["0.125", "y"]]), "bag", False, None),
        (pa.array([[Decimal("0.50"), Decimal("1.25")], [Decimal("1.00"), Decimal("2.00")]]), "vector", False, 2),
        (pa.array([[Decimal("0.50")], [Decimal("1.00"), Decimal("2.00")]]), "bag", True, None),
        (pa.array(["0.5|1.25|3", "0.125|-3|2"]), "vector", False, 3),
        (pa.array(["0.5;1.25;3", None, "0.125;-3;2e-3"]), "vector", False, 3),
        (pa.array(["0.5 1.25 nan", "0.125 -3 2"]), "vector", False, 3),
        (pa.array(["45.07, 7.68", "44.4, 8.93"]), "category", False, None),
        (pa.array(["1|2|3", "3|1|2", "2|1|3"]), "bag", False, None),
        (pa.array(["0.5 of 1", "1.5 of 2"]), "category", False, None),
        (pa.array([[0.5] * 65_535, [1.0] * 65_535]), "vector", True, None),
    ],
)
def test_numbers_in_text_and_decimals_make_vectors_as_floats_do(values, type_, left_out, length):
    guess = guess_column("embedding", values)
    assert (guess.type, guess.left_out, guess.length) == (type_, left_out, length)
