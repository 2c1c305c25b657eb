import math

import numpy as np
import pyarrow as pa
import pytest
import xxhash

from fieldwise.errors import DataError
from fieldwise.features.columns import Columns
from fieldwise.features.target import MAX_CLASSES, TargetEncoder
from fieldwise.schema import Field, Schema

FIELDS = (Field(name="x", column="x"),)


def classes_of(*chunks: list) -> tuple[str, ...]:
    encoder = TargetEncoder(Schema(fields=FIELDS, label="y"))
    for chunk in chunks:
        encoder.fit_chunk(Columns(pa.table({"y": chunk})))
    return encoder.finish()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 0, 1], ("0", "1")),
        ([1.0, 0.0], ("0", "1")),
        ([True, False], ("false", "true")),
        (["True", "False"], ("false", "true")),
        (["no", "yes", "maybe"], ("maybe", "no", "yes")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["10", "9", "x"], ("10", "9", "x")),
        ([1, -1], ("-1", "1")),
    ],
)
def test_classes_are_sorted_by_size_or_else_by_text(labels, expected):
    assert classes_of(labels) == classes_of(*([label] for label in reversed(labels))) == expected


def test_one_class_is_an_error_that_names_it():
    with pytest.raises(DataError, match=r"one class only\n(.|\n)*got: 1\n"):
        classes_of([1, 1], [1])


def test_no_example_is_an_error():
    with pytest.raises(DataError, match="no example to learn from"):
        classes_of([])


def test_a_label_with_too_many_values_is_an_error():
    with pytest.raises(DataError, match="too many values"):
        classes_of(list(range(MAX_CLASSES + 1)))


def target(columns: dict, **settings):
    return TargetEncoder(Schema(fields=FIELDS, label="y", classes=("0", "1"), **settings)).read(
        Columns(pa.table(columns))
    )


def test_labels_are_indices_into_the_classes():
    assert target({"y": ["1", "0", "1.0"]}).labels.tolist() == [1, 0, 1]
    assert target({"y": pa.array(["1", "0"]).dictionary_encode()}).labels.tolist() == [1, 0]


def test_a_missing_label_and_one_outside_the_classes_are_rejects():
    rejects = target({"y": ["1", None, "2", "", "nan"]}).rejects
    assert {reject.row: reject.value for reject in rejects} == {1: "", 2: "2", 3: "", 4: "nan"}
    assert {reject.reason for reject in rejects} == {"the label is missing", "the label is not a class: 0, 1"}


@pytest.mark.parametrize(
    "weights", [[1.0, 0.0, -1.0, None, math.inf], ["1", "0", "-1", "", "inf"], ["1", "0", "x", "nan", "1e39"]]
)
def test_weights_are_finite_and_not_negative(weights):
    found = target({"y": [1] * 5, "w": weights}, weight="w")
    assert found.weights[:2].tolist() == [1.0, 0.0]
    assert found.weights.dtype == np.float32
    assert sorted(reject.row for reject in found.rejects) == [2, 3, 4]


def test_groups_are_fingerprints_seeded_by_their_column():
    found = target({"y": [1, 0, 1], "user": [7, None, 7]}, group="user")
    seed = xxhash.xxh64_intdigest(b"user")
    assert found.groups.tolist() == [xxhash.xxh64_intdigest(b"7", seed), 0, xxhash.xxh64_intdigest(b"7", seed)]
