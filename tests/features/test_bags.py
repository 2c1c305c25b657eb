import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldwise.errors import DataError
from fieldwise.features.bags import BagEncoder, measure_bags
from fieldwise.features.cells import Cells
from fieldwise.features.columns import Columns
from fieldwise.features.encoder import Encoder
from fieldwise.schema import Field, Schema


def read(array: pa.Array, **settings) -> Cells:
    encoder = BagEncoder(Field(name="bag", type="bag", column="bag", **settings))
    return encoder.read(Columns(pa.table({"bag": array})), {})


def contents(cells: Cells) -> list[list[tuple[str | None, float]]]:
    """Texts and weights by row; None for missing."""
    assert cells.offsets is not None
    present = [i for i, value in enumerate(cells.fingerprints) if value]
    texts = dict(zip(present, cells.texts(pa.array(present, pa.int64()).to_numpy()).to_pylist(), strict=True))
    bounds = cells.offsets.tolist()
    return [
        [(texts.get(i), float(cells.weights[i])) for i in range(begin, end)]
        for begin, end in zip(bounds[:-1], bounds[1:], strict=True)  # noqa: RUF007
    ]


MISSING = [(None, 1.0)]


def test_no_rows_have_no_bags():
    assert contents(read(pa.array([], pa.string()))) == []


def test_text_is_split_and_empty_values_are_passed_over():
    cells = read(pa.array(["a|b", "a||", "", None, "|", "b|a|b"]))
    a, b = ("a", 1.0), ("b", 1.0)
    assert contents(cells) == [[a, b], [a], MISSING, MISSING, MISSING, [b, a, b]]


def test_a_separator_may_be_several_characters_and_is_no_pattern():
    assert contents(read(pa.array(["a.*b.*5.0"]), separator=".*")) == [[("a", 1.0), ("b", 1.0), ("5", 1.0)]]


@pytest.mark.parametrize("separator", ["-", ".", " ", ":"])
def test_a_cell_is_split_before_it_is_respelled(separator):
    cell = "2026-11-08 09:00:00.500"
    assert [text for text, _ in contents(read(pa.array([cell]), separator=separator))[0]] == cell.split(separator)


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.float64()), pa.list_(pa.string())])
def test_lists_are_bags_of_their_canonical_texts(kind):
    array = pa.array([[7, 5], None, [], [None], [5, None]], pa.list_(pa.int64())).cast(kind)
    expected = [[("7", 1.0), ("5", 1.0)], MISSING, MISSING, MISSING, [("5", 1.0)]]
    assert contents(read(array)) == expected
    assert contents(read(array.slice(3))) == expected[3:]


def test_lists_of_fixed_length_are_bags():
    array = pa.array([[1, 2], None, [3, None]], pa.list_(pa.int8(), 2))
    assert contents(read(array)) == [[("1", 1.0), ("2", 1.0)], MISSING, [("3", 1.0)]]


def test_a_dictionary_of_texts_and_a_column_of_numbers_are_split_as_text():
    assert contents(read(pa.array(["a|b", "a|b"]).dictionary_encode())) == [[("a", 1.0), ("b", 1.0)]] * 2
    assert contents(read(pa.array([5, None]))) == [[("5", 1.0)], MISSING]


@pytest.mark.parametrize("array", [pa.nulls(2), pa.array([[], None]), pa.array(["", None]), pa.array([[None], []])])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_column_without_any_value_is_missing_in_every_row(array, weighted):
    cells = read(array, weighted=weighted)
    assert contents(cells) == [MISSING, MISSING]
    assert cells.rejects == ()


def test_values_without_text_are_refused_by_name():
    with pytest.raises(DataError, match=r"no text(.|\n)*where: column bag"):
        read(pa.array([[[1]]]))


def test_text_lists_and_pairs_carry_weights():
    pairs = pa.struct([("value", pa.string()), ("weight", pa.float64())])
    expected = [[("a", 0.5), ("b", -1.0)], MISSING]
    for array in (
        pa.array(["a:0.5|b:-1", None]),
        pa.array([["a:0.5", "b:-1"], []]),
        pa.array([[{"value": "a", "weight": 0.5}, {"value": "b", "weight": -1.0}], None], pa.list_(pairs)),
        pa.array([[("a", 0.5), ("b", -1.0)], None], pa.map_(pa.string(), pa.float64())),
    ):
        assert contents(read(array, weighted=True)) == expected


def beside(values: pa.Array, weights: pa.Array, **settings) -> Cells:
    encoder = BagEncoder(Field(name="bag", type="bag", column="bag", weights="weights", **settings))
    assert encoder.strict
    return encoder.read(Columns(pa.table({"bag": values, "weights": weights})), {})


@pytest.mark.parametrize(
    ("values", "weights"),
    [
        (pa.array([["a", None, "b"], [], None]), pa.array([[0.5, 9.0, -1.0], None, []])),
        (pa.array([["a", None, "b"], [None], None]), pa.array([["0.5", "x", "-1"], [], ["3"]])),
        (pa.array(["a||b", "", None]), pa.array(["0.5||-1", None, ""])),
        (pa.array(["a|b", None, "|"]), pa.array([[0.5, -1.0], [7.0], []], pa.list_(pa.float32()))),
    ],
)  # fmt: skip
def test_weights_may_stand_in_a_column_of_their_own(values, weights):
    cells = beside(values, weights)
    assert contents(cells) == [[("a", 0.5), ("b", -1.0)], MISSING, MISSING]
    assert cells.rejects == ()
    assert contents(beside(values, weights, max_length=1))[0] == [("a", 0.5)]
    assert contents(beside(values.slice(1), weights.slice(1))) == [MISSING, MISSING]


def test_values_with_more_or_fewer_weights_or_bad_ones_are_rejects():
    values = pa.array([["a"], ["a", "b"], ["a"], ["a"], ["a", "b"]])
    weights = pa.array([[1.0, 2.0], [1.0], None, [2.0], [None, float("inf")]])
    rejects = beside(values, weights).rejects
    assert [(reject.row, reject.column) for reject in rejects] == [(row, "weights") for row in (0, 1, 2, 4)]
    assert "as many weights" in rejects[0].reason
    assert "no finite weight" in rejects[-1].reason
    cells = beside(values, weights)
    assert contents(cells)[3] == [("a", 2.0)]


def test_weights_that_are_no_numbers_are_refused_by_the_name_of_their_column():
    with pytest.raises(DataError, match="column weights"):
        beside(pa.array([["a"]]), pa.array([[[1]]]))


def test_pairs_are_refused_where_no_weights_are_expected():
    with pytest.raises(
        DataError, match=r"carry weights\n  where: column bag\n  expected: values alone\n  hint: set weighted = true"
    ):
        read(pa.array([[("a", 0.5)]], pa.map_(pa.string(), pa.float64())))


def test_a_pair_may_name_its_weight_first():
    pairs = pa.list_(pa.struct([("weight", pa.float64()), ("value", pa.string())]))
    assert contents(read(pa.array([[{"weight": 2.0, "value": "a"}]], pairs), weighted=True)) == [[("a", 2.0)]]


def test_the_first_values_that_are_present_are_kept_with_their_weights():
    cells = read(pa.array(["||a|b|c", "a", None, "b|a||c|d"]), max_length=2)
    a, b = ("a", 1.0), ("b", 1.0)
    assert contents(cells) == [[a, b], [a], MISSING, [b, a]]
    cells = read(pa.array([[("a", 0.5), ("b", 2.0)]], pa.map_(pa.string(), pa.float64())), weighted=True, max_length=1)
    assert contents(cells) == [[("a", 0.5)]]


def test_a_value_beyond_the_first_ones_still_needs_a_weight():
    assert [reject.row for reject in read(pa.array(["a:1|b"]), weighted=True, max_length=1).rejects] == [0]


def test_the_last_colon_parts_value_and_weight():
    assert contents(read(pa.array(["http://x:2||:3"]), weighted=True)) == [[("http://x", 2.0)]]


@pytest.mark.parametrize("bad", ["a", "a:", "a:b", "a:inf", "a:1e39", "a:nan", "b:1|a"])
def test_a_value_without_a_finite_weight_rejects_its_row(bad):
    rejects = read(pa.array(["a:1", bad, f"{bad}|{bad}", None]), weighted=True).rejects
    assert [(reject.row, reject.value) for reject in rejects] == [(1, bad), (2, f"{bad}|{bad}")]


def test_a_pair_without_a_weight_rejects_its_row_and_one_without_a_value_is_passed_over():
    pairs = pa.list_(pa.struct([("value", pa.string()), ("weight", pa.float32())]))
    array = pa.array([[{"value": "a", "weight": None}], [{"value": None, "weight": 2.0}], [None]], pairs)
    cells = read(array, weighted=True)
    assert [reject.row for reject in cells.rejects] == [0]
    assert contents(cells)[1:] == [MISSING, MISSING]


@pytest.mark.parametrize(
    ("cell", "expected"), [("a:0.5|b:-1|c:1", [0.5, -1, 1]), ("a:2.718281828|b:-20.08553692|c:0", [2, -4, 0])]
)
def test_large_weights_enter_by_their_logarithm_and_small_ones_as_they_are(cell, expected):
    field = Field(name="bag", column="bag", type="bag", weighted=True, weight_scale="log")
    log = pa.table({"bag": [cell, cell], "y": ["0", "1"]})
    batch = Encoder(Schema(fields=(field,), label="y")).fit([log]).transform(log).batch
    assert batch.bag_weights[:3].tolist() == pytest.approx(expected, rel=1e-6)


def test_cells_that_are_cut_are_counted_and_the_count_is_saved():
    field = Field(name="bag", column="bag", type="bag", max_length=2)
    log = pa.table({"bag": ["a|b|c", "a|b", "a||b", "|".join("abcdefgh"), ""], "y": ["0", "1", "0", "1", "0"]})
    encoder = Encoder(Schema(fields=(field,), label="y")).fit([log])
    assert encoder.cut_cells == {"bag": 2}
    assert encoder.transform(log).cut == {"bag": 2}
    assert encoder.transform(log.slice(1, 2)).cut == {}
    assert Encoder.from_arrays(encoder.describe(), encoder.arrays()).cut_cells == {"bag": 2}


@given(
    st.lists(st.none() | st.from_regex(r"\A([ab]|5\.0|NA|nan|)?(:-?[0-9]{1,3}|:x)?(\|([ab]|NA)(:2)?)*\Z"), max_size=6),
    st.booleans(),
)
def test_bags_are_measured_as_they_are_read(cells, is_weighted):
    field = Field(name="bag", type="bag", column="bag", missing=("NA",), weighted=is_weighted)
    columns = Columns(pa.table({"bag": pa.array(cells, pa.string())}))
    read = BagEncoder(field).read(columns, {})
    longest, largest = measure_bags(columns, field)
    present = read.fingerprints != 0
    assert longest == max(1, *np.add.reduceat(present, read.offsets[:-1])) if cells else longest == 1
    assert largest == np.abs(read.weights[present]).max(initial=0)
