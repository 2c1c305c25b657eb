import builtins
import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwise.errors import ConfigError, DataError
from fieldwise.features.encoder import Encoded, Encoder
from fieldwise.kernels import threads
from fieldwise.kernels.layout import BAG, SINGLE, VALUE
from fieldwise.schema import Field, Schema

SCHEMA = Schema(
    fields=(
        Field(name="user", column="user", min_count=2),
        Field(name="user.hashed", column="user", buckets=11),
        Field(name="age", type="number", column="age", bins=4),
        Field(name="price", type="number", column="price", scale="log"),
        Field(name="tags", type="bag", column="tags", weighted=True),
        Field(name="user × age", type="cross", parts=("user", "age")),
        Field(name="tags × user", type="cross", parts=("tags", "user"), buckets=13),
    ),
    label="click",
    weight="weight",
    group="user",
)


def log(num_rows: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    draw = rng.integers
    return pa.table(
        {
            "user": pa.array([None if u == 0 else f"u{u}" for u in draw(0, 30, num_rows)], pa.string()),
            "age": pa.array([None if a == 0 else int(a) for a in draw(0, 60, num_rows)], pa.int16()),
            "price": pa.array(np.round(rng.lognormal(2, 2, num_rows), 2)),
            "tags": pa.array(
                ["|".join(f"t{t}:{t}.5" for t in draw(0, 9, draw(0, 4))) for _ in range(num_rows)], pa.string()
            ),
            "click": pa.array(draw(0, 2, num_rows)),
            "weight": pa.array(rng.random(num_rows)),
            "unused": pa.array(range(num_rows), pa.int64()),
        }
    )


LOG = log(300)


def assert_same(one: Encoded, other: Encoded) -> None:
    for a, b in zip([*one.batch, *one.examples[1:]], [*other.batch, *other.examples[1:]], strict=True):
        if a is None:
            assert b is None
            continue
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    assert one.rejects == other.rejects
    assert np.array_equal(one.accepted, other.accepted)


def saved(encoder: Encoder) -> tuple[str, dict[str, bytes]]:
    arrays = {name: array.dtype.str.encode() + array.tobytes() for name, array in encoder.arrays().items()}
    return json.dumps(encoder.describe()), arrays


@settings(max_examples=15)
@given(st.lists(st.integers(0, 300), max_size=5), st.randoms())
def test_neither_chunks_nor_their_order_change_what_is_learned(cuts, random):
    cuts = [0, *sorted(cuts), 300]
    chunks = [LOG.slice(begin, end - begin) for begin, end in zip(cuts[:-1], cuts[1:], strict=True)]  # noqa: RUF007
    random.shuffle(chunks)
    assert saved(Encoder(SCHEMA).fit(chunks)) == saved(Encoder(SCHEMA).fit([LOG]))


def test_an_encoder_opened_from_mapped_arrays_encodes_alike_and_copies_nothing(tmp_path):
    encoder = Encoder(SCHEMA).fit([LOG])
    opened = {}
    for i, (name, array) in enumerate(encoder.arrays().items()):
        np.save(tmp_path / f"{i}.npy", array)
        opened[name] = np.load(tmp_path / f"{i}.npy", mmap_mode="r")
    described = msgspec.json.decode(msgspec.json.encode(encoder.describe()))
    again = Encoder.from_arrays(described, opened)
    assert_same(again.transform(log(50, seed=1)), encoder.transform(log(50, seed=1)))
    assert again.schema == encoder.schema
    assert again.rows == encoder.rows
    assert np.array_equal(again.counts, encoder.counts)
    assert all(np.shares_memory(again.arrays()[name], array) for name, array in opened.items() if array.size)
    assert again.feature_texts("user", [0, 2]) == encoder.feature_texts("user", [0, 2])


def test_a_batch_has_the_shapes_of_the_layout():
    encoder = Encoder(SCHEMA).fit([LOG])
    batch, layout = encoder.transform(LOG.slice(0, 7)).batch, encoder.layout
    assert layout.form.tolist() == [SINGLE, SINGLE, SINGLE, VALUE, BAG, SINGLE, BAG]
    assert batch.num_examples == 7
    assert (batch.ids.shape, batch.ids.dtype) == ((5, 7), np.uint32)
    assert (batch.values.shape, batch.values.dtype) == ((1, 7), np.float32)
    assert (batch.offsets.shape, batch.offsets.dtype) == ((2, 8), np.int64)
    assert batch.offsets[0, 0] == 0
    assert batch.offsets[0, -1] == batch.offsets[1, 0]
    assert batch.offsets[1, -1] == len(batch.bag_ids) == len(batch.bag_weights)
    assert (np.diff(batch.offsets, axis=1) >= 1).all()
    rows = list(encoder.rows.values())
    assert encoder.num_features == layout.num_features == len(encoder.counts) == sum(rows)
    assert all((batch.ids[layout.single[f]] < rows[f]).all() for f in range(7) if layout.form[f] != BAG)


def test_counts_are_how_often_the_features_occur_in_the_training_rows():
    encoder = Encoder(SCHEMA).fit([LOG])
    batch, layout = encoder.transform(LOG).batch, encoder.layout
    for f, rows in enumerate(encoder.rows.values()):
        if layout.form[f] == BAG:
            begin, end = batch.offsets[layout.bag[f], [0, -1]]
            ids = batch.bag_ids[begin:end]
        else:
            ids = batch.ids[layout.single[f]]
        occurred = np.bincount(ids, minlength=rows)
        assert np.array_equal(occurred, encoder.counts[layout.base[f] : layout.base[f + 1]])


@pytest.mark.parametrize("num_rows", [0, 1])
def test_small_tables_make_small_batches(num_rows):
    encoded = Encoder(SCHEMA).fit([LOG]).transform(LOG.slice(0, num_rows))
    assert encoded.batch.num_examples == num_rows
    assert encoded.batch.ids.shape == (5, num_rows)
    assert len(encoded.labels) == len(encoded.weights) == len(encoded.groups) == len(encoded.accepted) == num_rows


def test_one_row_at_a_time_is_what_all_rows_at_once_are():
    encoder = Encoder(SCHEMA).fit([LOG])
    together = encoder.transform(LOG.slice(0, 20))
    alone = [encoder.transform(LOG.slice(row, 1)) for row in range(20)]
    assert np.array_equal(np.concatenate([one.batch.ids for one in alone], axis=1), together.batch.ids)
    assert np.array_equal(np.concatenate([one.batch.values for one in alone], axis=1), together.batch.values)
    assert np.array_equal(np.concatenate([one.labels for one in alone]), together.labels)
    first_bag = together.batch.bag_ids[: together.batch.offsets[0, -1]]
    assert np.array_equal(np.concatenate([one.batch.bag_ids[: one.batch.offsets[0, -1]] for one in alone]), first_bag)


DIRTY = pa.table(
    {
        "user": ["u1", "u2", "u3", "u4", "u5", "u6"],
        "age": ["20", "old", "30", "40", "50", "60"],
        "price": ["1", "2", "3", "4", "inf", "6"],
        "tags": ["a:1", "b:1", "c:x", "", "e:1", "f:1"],
        "click": ["1", "2", "0", "", "1", "0"],
        "weight": ["1", "1", "1", "1", "-1", "2"],
    }
)


def test_rejected_rows_are_left_out_of_all_arrays_and_reported_once_with_the_first_reason():
    encoder = Encoder(SCHEMA).fit([LOG])
    encoded = encoder.transform(DIRTY)
    assert encoded.accepted.tolist() == [0, 5]
    assert [(reject.row, reject.column, reject.value) for reject in encoded.rejects] == [
        (1, "click", "2"),
        (2, "tags", "c:x"),
        (3, "click", ""),
        (4, "weight", "-1"),
    ]
    assert_same(encoded._replace(rejects=[], accepted=np.arange(2)), encoder.transform(DIRTY.take([0, 5])))


def test_rows_that_would_be_rejected_are_not_learned_from():
    assert saved(Encoder(SCHEMA).fit([DIRTY])) == saved(Encoder(SCHEMA).fit([DIRTY.take([0, 5])]))


def test_rows_to_predict_need_no_label_weight_or_group():
    encoder = Encoder(msgspec.structs.replace(SCHEMA, group="session")).fit([LOG.append_column("session", LOG["user"])])
    encoded = encoder.transform(LOG.drop_columns(["click", "weight"]), labelled=False)
    assert (encoded.labels, encoded.weights, encoded.groups) == (None, None, None)
    assert encoded.batch.num_examples == LOG.num_rows


def test_a_missing_column_is_an_error_with_its_name():
    with pytest.raises(DataError, match="column tags"):
        Encoder(SCHEMA).fit([LOG.drop_columns(["tags"])])
    with pytest.raises(DataError, match="column click"):
        Encoder(SCHEMA).fit([LOG]).transform(LOG.drop_columns(["click"]))


def test_a_cross_with_quantile_bins_asks_for_a_second_pass():
    encoder = Encoder(SCHEMA)
    assert encoder.num_passes == 2
    encoder.fit_chunk(LOG)
    encoder.finish()
    assert not encoder.fitted
    encoder.fit_chunk(LOG)
    encoder.finish()
    assert encoder.fitted
    assert saved(encoder) == saved(Encoder(SCHEMA).fit([LOG]))


def test_threads_that_learn_and_encode_at_once_change_nothing():
    chunks = [LOG.slice(begin, 20) for begin in range(0, 300, 20)]
    encoder = Encoder(SCHEMA)
    with ThreadPoolExecutor(4) as pool:
        while not encoder.fitted:
            list(pool.map(encoder.fit_chunk, chunks))
            encoder.finish()
    assert saved(encoder) == saved(Encoder(SCHEMA).fit([LOG]))


def test_what_encoders_learned_from_parts_of_the_rows_adds_up_to_what_one_learns_from_all():
    schema = msgspec.structs.replace(SCHEMA, fields=SCHEMA.fields[:5])  # without the cross that needs two passes
    encoders = [Encoder(schema) for _ in range(3)]
    for encoder, part in zip(encoders, [LOG.slice(0, 100), LOG.slice(100, 0), LOG.slice(100)], strict=True):
        encoder.keep_all_texts()
        encoder.fit_chunk(part)
    encoders[0].add_learned(encoders[1].learned())
    encoders[0].add_learned(encoders[2].learned())
    encoders[0].finish()
    assert saved(encoders[0]) == saved(Encoder(schema).fit([LOG]))


def test_encoders_that_were_told_of_each_others_first_pass_add_up_in_the_second():
    encoders, parts = [Encoder(SCHEMA), Encoder(SCHEMA)], [LOG.slice(0, 100), LOG.slice(100)]
    for encoder, part in zip(encoders, parts, strict=True):
        encoder.keep_all_texts()
        encoder.fit_chunk(part)
    for encoder, of_the_other in zip(encoders, [encoder.learned() for encoder in encoders][::-1], strict=True):
        encoder.add_learned(of_the_other)
        encoder.finish()
    assert not encoders[0].fitted, "the cross needs the bins first"
    for encoder, part in zip(encoders, parts, strict=True):
        encoder.fit_chunk(part)
    encoders[0].add_learned(encoders[1].learned())
    encoders[0].finish()
    assert saved(encoders[0]) == saved(Encoder(SCHEMA).fit([LOG]))


def test_an_encoder_fitted_on_a_generator_lacks_nothing():
    schema = msgspec.structs.replace(SCHEMA, fields=SCHEMA.fields[:5])
    assert saved(Encoder(schema).fit(table for table in [LOG])) == saved(Encoder(schema).fit([LOG]))


def test_a_generator_cannot_be_read_in_two_passes():
    with pytest.raises(DataError, match="not on a generator"):
        Encoder(SCHEMA).fit(table for table in [LOG])


def test_an_encoder_that_is_not_fitted_does_not_encode_and_one_that_is_does_not_learn():
    with pytest.raises(DataError, match="not fitted"):
        Encoder(SCHEMA).transform(LOG)
    with pytest.raises(DataError, match="fitted already"):
        Encoder(SCHEMA).fit([LOG]).fit_chunk(LOG)


def test_one_class_in_training_is_an_error():
    with pytest.raises(DataError, match=r"one class only(.|\n)*got: 0"):
        Encoder(SCHEMA).fit([LOG.set_column(LOG.column_names.index("click"), "click", pa.array([0] * 300))])


def test_a_schema_that_contradicts_itself_is_refused():
    with pytest.raises(ConfigError, match="the label cannot be a field"):
        Encoder(Schema(fields=(Field(name="click", column="click"),), label="click"))


def test_fields_of_one_column_do_not_disturb_each_other():
    both = Encoder(Schema(fields=(SCHEMA.fields[0], SCHEMA.fields[1]), label="click")).fit([LOG]).transform(LOG)
    for f in range(2):
        alone = Encoder(Schema(fields=(SCHEMA.fields[f],), label="click")).fit([LOG]).transform(LOG)
        assert np.array_equal(alone.batch.ids[0], both.batch.ids[f])


def test_fields_that_are_the_same_in_every_training_row_are_named():
    table = pa.table(
        {"x": ["a", "a"], "y": ["a", None], "z": [7.0, 7.0], "gone": pa.nulls(2), "bag": ["b|b", "b"], "click": [0, 1]}
    )
    fields = (
        Field(name="x", column="x"),
        Field(name="y", column="y"),
        Field(name="z", type="number", column="z"),
        Field(name="z in bins", type="number", column="z", bins=3),
        Field(name="gone", type="number", column="gone"),
        Field(name="bag", type="bag", column="bag"),
    )
    encoder = Encoder(Schema(fields=fields, label="click")).fit([table])
    assert encoder.constant_fields == ["x", "z in bins", "gone", "bag"]


@pytest.mark.parametrize("apart", [True, False])
def test_large_inputs_that_enter_as_they_are_are_pointed_out_wherever_they_stand(apart):
    fields = (
        Field(name="qty", column="qty", type="bag", weighted=True),
        Field(name="few", column="few", type="bag", weighted=True),
        Field(name="log", column="qty", type="bag", weighted=True, weight_scale="log"),
        Field(name="raw", column="raw", type="number", scale="none"),
        Field(name="std", column="raw", type="number"),
        Field(name="tags", column="few", type="bag"),
    )
    schema = Schema(fields=fields, label="click")
    small = pa.table({"click": [0, 1], "qty": ["a:1|b:2", "a:3"], "few": ["a:1", "b:100"], "raw": ["-3", ""]})
    large = pa.table({"click": [0, 1], "qty": ["a:-1e6", ""], "few": ["", "b:2"], "raw": ["-5000", "1"]})
    encoder, other = Encoder(schema), Encoder(schema)
    encoder.fit_chunk(small)
    (other if apart else encoder).fit_chunk(large)
    if apart:
        encoder.add_learned(other.learned())
    encoder.finish()
    assert encoder.notes == (
        "field qty: weights as large as 1e+06 enter unscaled, and training may diverge: "
        'set weight_scale = "log" in [fields.qty]',
        "field raw: numbers as large as 5000 enter unscaled, and training may diverge: "
        'set scale = "standard" in [fields.raw]',
    )


def test_a_row_is_encoded_without_threads_files_or_memory_for_each_feature(monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a row alone needs neither threads nor files")

    fields = (Field(name="many", column="user", buckets=1 << 26), *SCHEMA.fields)
    encoder = Encoder(msgspec.structs.replace(SCHEMA, fields=fields)).fit([LOG])
    opened = Encoder.from_arrays(encoder.describe(), encoder.arrays())
    row = LOG.slice(5, 1)
    expected = opened.transform(row, labelled=False)
    monkeypatch.setattr(threads, "team", refused)
    monkeypatch.setattr(threads, "ThreadPoolExecutor", refused)
    monkeypatch.setattr(builtins, "open", refused)
    tracemalloc.start()
    found = opened.transform(row, labelled=False)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_same(found, expected)
    assert most < 1 << 20
