"""An encoder that learns from new days."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.encoder import ReferenceEncoder

from fieldwise.errors import DataError
from fieldwise.features.encoder import Encoder
from fieldwise.features.scratch import Scratch
from fieldwise.kernels.layout import BAG, SINGLE, Layout
from fieldwise.schema import Field, Schema

FIELDS = (
    Field(name="word", column="word"),
    Field(name="frequent", column="word", min_count=2, max_features=3),
    Field(name="hashed", column="word", buckets=5),
    Field(name="tags", type="bag", column="tags", default="none", max_length=2),
    Field(name="bins", type="number", column="number", bins=3),
    Field(name="scaled", type="number", column="number", scale="log"),
    Field(name="hour", type="time", column="number", part="hour", unit="s"),
    Field(name="word x bins", type="cross", parts=("word", "bins"), min_count=2),
    Field(name="tags x hour", type="cross", parts=("tags", "hour"), buckets=7),
)
SCHEMA = Schema(fields=FIELDS, label="label")
ROWS = st.fixed_dictionaries(
    {
        "word": st.none() | st.text("abcd", min_size=1, max_size=2),
        "tags": st.none() | st.lists(st.sampled_from("vwxyz"), max_size=3).map("|".join),
        "number": st.none() | st.integers(-99_999, 99_999).map(float),
        "label": st.booleans(),
    }
)
KINDS = pa.schema({"word": pa.string(), "tags": pa.string(), "number": pa.float64(), "label": pa.bool_()})
EMPTY = dict.fromkeys(KINDS.names)
DAYS = st.lists(ROWS, max_size=12)


def table_of(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=KINDS)


def with_both_labels(rows: list[dict]) -> list[dict]:
    return [*rows, EMPTY | {"label": True}, EMPTY | {"label": False}]


def features(encoder: Encoder, table: pa.Table) -> dict[str, list[list[int]]]:
    """Local ids by field and row."""
    batch, layout = encoder.transform(table).batch, encoder.layout
    found = {}
    for f, field in enumerate(encoder.schema.fields):
        if layout.form[f] == BAG:
            bounds = batch.offsets[layout.bag[f]].tolist()
            found[field.name] = [batch.bag_ids[a:b].tolist() for a, b in zip(bounds[:-1], bounds[1:], strict=True)]  # noqa: RUF007
        else:
            found[field.name] = [[id_] for id_ in batch.ids[layout.single[f]].tolist()]
    return found


def counted(encoder: Encoder) -> dict[str, np.ndarray]:
    base = encoder.layout.base
    return {name: encoder.counts[base[f] : base[f + 1]] for f, name in enumerate(encoder.rows)}


def saved(encoder: Encoder) -> tuple[object, dict[str, bytes]]:
    return encoder.describe(), {name: array.tobytes() for name, array in encoder.arrays().items()}


@settings(max_examples=60)
@given(DAYS, DAYS, DAYS)
def test_new_values_get_ids_as_the_reference_gives_them_and_old_ids_never_move(first, second, third):
    first = with_both_labels(first)
    encoder = Encoder(SCHEMA).fit([table_of(first)])
    reference = ReferenceEncoder(FIELDS, first)
    everything = table_of([*first, *second, *third])
    for day in (second, third):
        before, before_all = saved(encoder), features(encoder, everything)
        grown = encoder.partial_fit([table_of(day)])
        reference.grow(day)
        assert saved(encoder) == before
        after = features(grown, everything)
        for name, rows in before_all.items():
            for old_ids, new_ids in zip(rows, after[name], strict=True):
                assert all(old in (new, 1) for old, new in zip(old_ids, new_ids, strict=True))
            expected = [[id_ for id_, _ in reference.encode(name, row)] for row in [*first, *second, *third]]
            assert after[name] == expected, name
        for name in encoder.rows:
            texts = encoder.feature_texts(name, range(encoder.rows[name]))
            assert grown.feature_texts(name, range(encoder.rows[name])) == texts
        encoder = grown


@settings(max_examples=30)
@given(DAYS, DAYS)
def test_rows_of_old_values_are_encoded_as_before_to_the_last_bit(first, second):
    table = table_of(with_both_labels(first))
    schema = Schema(fields=tuple(field for field in FIELDS if field.min_count == 1), label="label")
    encoder = Encoder(schema).fit([table])
    grown = encoder.partial_fit([table_of(second)])
    for old, new in zip(encoder.transform(table).batch, grown.transform(table).batch, strict=True):
        assert old.dtype == new.dtype
        assert np.array_equal(old, new)


@settings(max_examples=30)
@given(DAYS, DAYS)
def test_counts_are_those_of_all_rows(first, second):
    first = with_both_labels(first)
    encoder = Encoder(SCHEMA).fit([table_of(first)])
    grown = encoder.partial_fit([table_of(second)])
    before, after, of_day = counted(encoder), counted(grown), features(grown, table_of(second))
    for name, counts in after.items():
        expected = np.bincount([id_ for row in of_day[name] for id_ in row], minlength=len(counts))
        expected[: len(before[name])] += before[name]
        assert np.array_equal(counts, expected), name


@settings(max_examples=20)
@given(DAYS, DAYS, st.integers(0, 12))
def test_growth_adds_up_and_is_spilled_as_if_one_encoder_had_read_all(first, second, cut):
    encoder = Encoder(SCHEMA).fit([table_of(with_both_labels(first))])
    one, other = encoder.growing(Scratch()), encoder.growing()
    other.fit_chunk(table_of(second[cut:]))
    one.add_learned(other.learned())
    one.fit_chunk(table_of(second[:cut]))
    one.spill(0)
    one.finish()
    assert one.fitted
    assert saved(one) == saved(encoder.partial_fit([table_of(second)]))


DAY_1 = pa.table({"word": ["a", "b", "a", None], "label": [0, 1, 0, 1]})
DAY_2 = pa.table({"word": ["c", "d", "d", "a", None], "label": [0, 0, 0, 0, 0]})
WORDS = Schema(fields=(Field(name="word", column="word"), Field(name="again", column="word")), label="label")


def test_an_encoder_that_was_saved_grows_like_the_one_it_was_and_is_saved_again():
    encoder = Encoder(WORDS).fit([DAY_1])
    frozen = {name: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape) for name, a in encoder.arrays().items()}
    grown = Encoder.from_arrays(encoder.describe(), frozen).partial_fit([DAY_2])
    assert saved(grown) == saved(encoder.partial_fit([DAY_2]))
    again = Encoder.from_arrays(grown.describe(), grown.arrays())
    assert again.transform(DAY_2).batch.ids[0].tolist() == [5, 4, 4, 2, 0]
    assert again.feature_texts("word", range(6)) == [None, None, "a", "b", "d", "c"]


def test_the_layout_says_where_the_rows_of_a_table_have_gone():
    encoder = Encoder(WORDS).fit([DAY_1])
    grown = encoder.partial_fit([DAY_2])
    rows = grown.layout.rows_of(encoder.layout)
    assert rows.tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
    table = np.arange(8) * 10
    moved = np.full(grown.num_features, -1)
    moved[rows] = table
    ids = encoder.transform(DAY_1).batch.ids
    for f in range(2):
        assert np.array_equal(table[encoder.layout.base[f] + ids[f]], moved[grown.layout.base[f] + ids[f]])


def test_layouts_that_did_not_grow_out_of_each_other_are_refused():
    layout = Layout.of([SINGLE, BAG], [4, 3])
    for other in (Layout.of([SINGLE, BAG], [5, 3]), Layout.of([SINGLE], [4]), Layout.of([BAG, BAG], [4, 3])):
        with pytest.raises(DataError, match="have not grown"):
            layout.rows_of(other)


def test_nothing_new_changes_nothing_and_a_day_of_one_class_is_enough():
    encoder = Encoder(WORDS).fit([DAY_1])
    assert saved(encoder.partial_fit([])) == saved(encoder)
    assert encoder.partial_fit([DAY_2]).schema.classes == ("0", "1")


def test_a_label_that_is_no_class_is_rejected_and_not_learned_from():
    encoder = Encoder(WORDS).fit([DAY_1])
    grown = encoder.growing()
    rejects = grown.fit_chunk(pa.table({"word": ["e", "f"], "label": [2, 1]}))
    grown.finish()
    assert [reject.row for reject in rejects] == [0]
    assert grown.rows["word"] == encoder.rows["word"] + 1


def test_a_vocabulary_without_texts_learns_those_of_new_values():
    encoder = Encoder(WORDS).fit([DAY_1])
    silent = {name: array[:0] if ".text_" in name else array for name, array in encoder.arrays().items()}
    grown = Encoder.from_arrays(encoder.describe(), silent).partial_fit([DAY_2])
    assert grown.feature_texts("word", range(6)) == [None, None, None, None, "d", "c"]


def test_only_a_fitted_encoder_grows():
    with pytest.raises(DataError, match="not fitted"):
        Encoder(WORDS).partial_fit([DAY_2])


def test_a_new_day_without_any_moment_is_refused():
    schema = Schema(fields=(Field(name="t", type="time", column="t", part="hour"),), label="label")
    encoder = Encoder(schema).fit([pa.table({"t": ["2026-11-08", "2026-11-09"], "label": [0, 1]})])
    with pytest.raises(DataError, match="no value of the column is a point in time"):
        encoder.partial_fit([pa.table({"t": ["soon"], "label": [0]})])
