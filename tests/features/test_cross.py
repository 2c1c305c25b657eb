import pyarrow as pa

from fieldwise.features.encoder import Encoder
from fieldwise.schema import Field, Schema

A, B, BAG = (
    Field(name="a", column="a"),
    Field(name="b", column="b"),
    Field(name="bag", type="bag", column="bag", weighted=True),
)
LOG = pa.table(
    {
        "a": ["x", "y", None, "x"],
        "b": ["1", "1", "1", "1"],
        "n": [1.0, 2.0, 3.0, 4.0],
        "bag": ["p:2|q:3", "p:0.5", "p:1", None],
        "label": [0, 1, 0, 1],
    }
)


def fitted(*fields: Field) -> Encoder:
    return Encoder(Schema(fields=fields, label="label")).fit([LOG])


def test_a_cross_of_single_values_has_one_feature_per_example():
    encoder = fitted(A, B, Field(name="cross", type="cross", parts=("a", "b")))
    ids = encoder.transform(LOG).batch.ids[2]
    assert ids[0] == ids[3] != ids[1]
    assert ids[2] == 0
    assert encoder.feature_texts("cross", ids) == ["x × 1", "y × 1", None, "x × 1"]


def test_an_unseen_combination_of_seen_values_is_unseen():
    encoder = fitted(A, B, Field(name="cross", type="cross", parts=("a", "b")))
    new = LOG.slice(0, 1).set_column(1, "b", pa.array(["2"]))
    assert encoder.transform(new).batch.ids[2].tolist() == [1]


def test_a_bag_takes_part_with_each_value_and_multiplies_weights():
    encoder = fitted(BAG, A, Field(name="cross", type="cross", parts=("bag", "a", "bag")))
    batch = encoder.transform(LOG).batch
    begin, end = batch.offsets[1, 0], batch.offsets[1, 1]
    texts = encoder.feature_texts("cross", batch.bag_ids[begin:end])
    assert texts == ["p × x × p", "p × x × q", "q × x × p", "q × x × q"]
    assert batch.bag_weights[begin:end].tolist() == [4.0, 6.0, 6.0, 9.0]


def test_a_cross_with_a_missing_part_is_one_missing_feature_of_weight_one():
    batch = fitted(BAG, A, Field(name="cross", type="cross", parts=("bag", "a"))).transform(LOG).batch
    last_two = slice(batch.offsets[1, 2], batch.offsets[1, 4])
    assert batch.bag_ids[last_two].tolist() == [0, 0]
    assert batch.bag_weights[last_two].tolist() == [1.0, 1.0]


def test_a_number_takes_part_with_its_bin():
    number = Field(name="n", type="number", column="n", bins=2)
    encoder = fitted(A, number, Field(name="cross", type="cross", parts=("n", "a")))
    ids = encoder.transform(LOG).batch.ids[2]
    assert encoder.feature_texts("cross", ids) == ["< 3 × x", "< 3 × y", None, ">= 3 × x"]


def test_crosses_of_one_column_under_two_names_are_different_features():
    first = fitted(A, B, Field(name="cross", type="cross", parts=("a", "b"), buckets=2**20)).transform(LOG).batch.ids[2]
    second = (
        fitted(A, B, Field(name="other", type="cross", parts=("a", "b"), buckets=2**20)).transform(LOG).batch.ids[2]
    )
    assert first[0] != second[0]
