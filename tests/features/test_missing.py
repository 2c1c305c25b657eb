"""The texts that mean missing give the same features as empty cells, in every type of field and of column."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwise.config import parse_config
from fieldwise.features.columns import Columns
from fieldwise.features.encoder import Encoder
from fieldwise.features.missing import IN_NUMBERS
from fieldwise.features.moments import read_moments
from fieldwise.features.numerals import read_numbers
from fieldwise.features.target import TargetEncoder
from fieldwise.jobs.init.fields import complete_schema
from fieldwise.schema import Field, Schema

CATEGORY = Field(name="f", column="f", missing=("NULL", "\\N"))
NUMBER = Field(name="f", column="f", type="number", bins=4, missing=IN_NUMBERS)
SCALED = Field(name="f", column="f", type="number", missing=IN_NUMBERS)
HOUR = Field(name="f", column="f", type="time", part="hour", missing=IN_NUMBERS)
BAG = Field(name="f", column="f", type="bag", missing=("NULL", "\\N"))
WEIGHTED = Field(name="f", column="f", type="bag", weighted=True, missing=("NULL", "\\N"))
CASES = {
    "category": (CATEGORY, ["a", "b", "NA", "null"], ["NULL", "\\N"]),
    "category_with_default": (
        Field(name="f", column="f", default="b", missing=("NULL",)),
        ["a", "b"],
        ["NULL"],
    ),
    "hashed": (Field(name="f", column="f", buckets=50, missing=("NULL",)), ["a", "b", "c"], ["NULL"]),
    "number": (NUMBER, ["1", "2.5", "-3", "1e2"], ["NULL", "na", "N/A", " n/a ", "-", "\\N", "None", "nAn", "<NA>"]),
    "scaled": (SCALED, ["1", "2.5", "-3"], ["null", "?", "(null)", "#N/A", "nil"]),
    "hour": (HOUR, ["2026-11-08 09:30:00", "2026-11-08T10:00:00Z"], ["NULL", "-", "none", "NaT"]),
    "hour_by_format": (
        Field(name="f", column="f", type="time", part="hour", format="%d.%m.%Y %H:%M", missing=IN_NUMBERS),
        ["08.11.2026 09:30", "08.11.2026 17:30"],
        ["NULL", " na "],
    ),
    "bag": (BAG, ["a|b", "b", "c|c"], ["NULL", "\\N", "NULL|\\N"]),
    "weighted_bag": (WEIGHTED, ["a:1|b:2", "b:0.5"], ["NULL", "\\N", "NULL|NULL"]),
}


def encoded(field: Field, cells: list[str], form) -> tuple[list[list[float]], int]:
    """Ids, values and bags of the rows, of an encoder that has learned from them."""
    log = pa.table({"f": form(pa.array(cells, pa.string())), "y": [str(i % 2) for i in range(len(cells))]})
    encoder = Encoder(Schema(fields=(field,), label="y")).fit([log])
    got = encoder.transform(log)
    batch = got.batch
    arrays = [batch.ids, batch.values, batch.offsets, batch.bag_ids, batch.bag_weights, encoder.counts]
    return [array.ravel().tolist() for array in arrays], len(got.rejects)


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=15)
@given(data=st.data())
def test_a_text_that_means_missing_gives_the_ids_of_an_empty_cell(case, data):
    field, values, markers = CASES[case]
    rows = data.draw(st.lists(st.sampled_from(values + markers), min_size=2, max_size=20))
    form = data.draw(st.sampled_from([lambda a: a, pa.Array.dictionary_encode, lambda a: a.cast(pa.large_string())]))
    emptied = ["" if cell in markers else cell for cell in rows]
    assert encoded(field, rows, form) == encoded(field, emptied, lambda a: a)


def test_a_field_without_a_list_knows_what_it_knew_before():
    old = Field(name="f", column="f")
    log = pa.table({"f": ["NULL", "NULL", "", "a"], "y": ["0", "1", "0", "1"]})
    encoder = Encoder(Schema(fields=(old,), label="y")).fit([log])
    assert encoder.transform(log).batch.ids.tolist() == [[2, 2, 0, 3]]
    assert read_numbers(Columns(log), "f")[1].tolist() == [True, True, False, True]


def test_categories_are_compared_as_they_are_written():
    log = pa.table({"f": ["NULL", "null", " NULL", "NULLS"], "y": ["0", "1", "0", "1"]})
    encoder = Encoder(Schema(fields=(CATEGORY,), label="y")).fit([log])
    assert [id_ == 0 for id_ in encoder.transform(log).batch.ids[0].tolist()] == [True, False, False, False]


@pytest.mark.parametrize("cells", [["1", "-999", "-999.0"], [1.0, -999.0, -999.0], [1, -999, -999]])
def test_a_number_can_mean_missing_however_it_is_written(cells):
    table = Columns(pa.table({"f": cells}))
    numbers, bad = read_numbers(table, "f", ("-999",))
    assert np.isnan(numbers).tolist() == [False, True, True]
    assert not bad.any()
    as_category = Field(name="f", column="f", missing=("-999",))
    assert (as_category.missing, bad.any()) == (("-999",), False)
    log = pa.table({"f": cells, "y": ["0", "1", "1"]})
    encoder = Encoder(Schema(fields=(as_category,), label="y")).fit([log])
    assert encoder.transform(log).batch.ids.tolist() == [[2, 0, 0]]


def test_a_date_can_mean_missing():
    field = Field(name="f", type="time", column="f", part="hour", missing=("1900-01-01",))
    table = pa.table({"f": ["1900-01-01 00:00:00", "2026-11-08 09:30"]})
    seconds, bad = read_moments(Columns(table), "f", field)
    assert np.isnan(seconds).tolist() == [True, False]
    assert not bad.any()


def test_label_weight_and_group_know_missing_texts_too():
    schema = Schema(fields=(CATEGORY,), label="y", weight="w", group="g", missing=("NULL",))
    rows = pa.table({"y": ["1", "NULL", "0"], "w": ["1", "1", "NULL"], "g": ["a", "a", "NULL"]})
    target = TargetEncoder(schema).read(Columns(rows))
    assert [(reject.row, reject.reason) for reject in target.rejects] == [
        (1, "the label is missing"),
        (2, "the weight is missing, negative or too large"),
    ]
    assert target.groups is not None
    assert (target.groups == 0).tolist() == [False, False, True]


NUMBERS_AND = [*map(str, range(100))] * 3


@pytest.mark.parametrize(
    ("cells", "missing", "kind", "expected"),
    [
        ([*NUMBERS_AND, "NA", "-"], None, "number", IN_NUMBERS),
        ([*NUMBERS_AND, "unknown"], None, "category", ("NULL", "\\N")),
        ([*NUMBERS_AND, "unknown"], ["unknown"], "number", ("unknown",)),
        ([*NUMBERS_AND, "NULL"], [], "category", ()),
        (["NA", "DE", "NULL"] * 99, None, "category", ("NULL", "\\N")),
        (["1", "2", "NA"] * 99, None, "category", IN_NUMBERS),
        (["a|b", "b", "\\N"] * 99, None, "bag", ("NULL", "\\N")),
        (["2026-11-08 09:00", "2026-11-09 10:00", "NULL", "-"] * 99, None, "time", IN_NUMBERS),
        (["2026-11-08 09:00:00", "2026-11-09 10:30:00", "0000-00-00 00:00:00"] * 99, None, "time", IN_NUMBERS),
        (["08.11.2026 09:00", "19.11.2026 10:30", "0000-00-00 00:00:00"] * 99, None, "time", IN_NUMBERS),
        ([*NUMBERS_AND, "#DIV/0!", "#VALUE!"], None, "number", IN_NUMBERS),
        ([*NUMBERS_AND, "."], None, "number", IN_NUMBERS),
    ],
)
def test_what_means_missing_follows_from_the_other_values(cells, missing, kind, expected):
    config = parse_config('data = { train = "log.csv", label = "y" }')
    if missing is not None:
        config = parse_config(f'data = {{ train = "log.csv", label = "y", missing = {missing} }}')
    rng = random.Random(0)  # a label that the numbers tell would make codes of them
    log = pa.table({"f": cells, "y": [rng.choice("01") for _ in cells]})
    field = complete_schema(config, log).fields[0]
    assert (field.type, field.missing) == (kind, expected)


def test_one_field_can_have_a_list_of_its_own():
    config = parse_config('data = { train = "l", label = "y" }\nfields = { f = { missing = ["NA"] } }')
    schema = complete_schema(config, pa.table({"f": ["NA", "a"], "g": ["b", "NULL"], "y": ["0", "1"]}))
    assert [field.missing for field in schema.fields] == [("NA",), ("NULL", "\\N")]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "NULL", "\\N", "b"]),
            st.sampled_from(["1.5", "NA", "null", "-", "7", "\\N", "nan"]),
            st.sampled_from(["2026-11-08 09:30:00", "N/A", "NULL", "2026-11-09T10:00:00Z"]),
            st.sampled_from(["0", "1", "NULL"]),
        ),
        min_size=2,
        max_size=12,
    ),
    st.sampled_from(["", " ", "  ", "\t"]),
    st.sampled_from(["", " ", "   "]),
)
def test_blanks_around_a_marker_change_nothing_in_numbers_times_and_labels(rows, before, after):
    """As files with blanks after their delimiters have them; categories are compared as they are written."""
    fields = (
        Field(name="cat", column="cat", missing=("NULL", "\\N")),
        Field(name="num", column="num", type="number", missing=IN_NUMBERS),
        Field(name="bin", column="num", type="number", edges=(2.0,), missing=IN_NUMBERS),
        Field(name="at", column="at", type="time", part="hour", missing=IN_NUMBERS),
    )
    rows = [*rows, ("a", "1", "2026-11-08", "0"), ("a", "1", "2026-11-08", "1")]
    encoder = Encoder(Schema(fields=fields, label="y", missing=("NULL",)))
    plain = pa.table(dict(zip(("cat", "num", "at", "y"), map(list, zip(*rows, strict=True)), strict=True)))
    blank = plain
    for name in ("num", "at", "y"):
        cells = [before + cell + after for cell in plain.column(name).to_pylist()]
        blank = blank.set_column(blank.column_names.index(name), name, pa.array(cells))
    encoder.fit([plain])
    one, other = encoder.transform(plain), encoder.transform(blank)
    assert one.accepted.tolist() == other.accepted.tolist()
    assert one.labels.tolist() == other.labels.tolist()
    assert one.batch.ids.tolist() == other.batch.ids.tolist()
    assert one.batch.values.tolist() == other.batch.values.tolist()
