import json
import math

import numpy as np
import pyarrow as pa
import pytest
import xxhash

import fieldwise as fw
from fieldwise.errors import ConfigError, DataError
from fieldwise.features.columns import Columns
from fieldwise.features.target import MAX_CLASSES, TargetEncoder
from fieldwise.schema import Field, Schema

FIELDS = (Field(name="x", column="x"),)


def classes_of(*chunks: list) -> tuple[str, ...]:
    encoder = TargetEncoder(Schema(fields=FIELDS, label="y"))
    for chunk in chunks:
        labels = encoder.read(Columns(pa.table({"y": chunk}))).labels
        encoder.fit_chunk(labels, np.arange(len(chunk)))
    return encoder.finish()[0].classes


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


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["1", "0", "1.0"], [1, 0, 1]),
        (pa.array(["1", "0"]).dictionary_encode(), [1, 0]),
        ([0, 7, None], [0, -1, -1]),
    ],
)
def test_labels_are_indices_into_the_classes(labels, expected):
    encoder = TargetEncoder(Schema(fields=FIELDS, label="y", classes=("0", "1")))
    found, rejects = encoder.encode(encoder.read(Columns(pa.table({"y": labels}))).labels)
    assert found.tolist() == expected
    assert [expected[reject.row] for reject in rejects] == [-1] * expected.count(-1)


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


def test_stated_classes_keep_their_order_and_any_other_label_is_a_rejected_row(tmp_path):
    (tmp_path / "log.csv").write_text("click,ad\nyes,a\nno,b\nperhaps,a\nYES,b\n,a\nno,c\n")
    text = 'train = "log.csv"\nlabel = "click"\nclasses = ["yes", "no"]\n[fields.ad]\ntype = "category"\n'
    prepared = fw.prepare(fw.parse_config(f"[data]\n{text}", base=tmp_path))
    assert prepared.encoder.schema.classes == ("yes", "no")
    assert (prepared.summary["rows_read"], prepared.summary["rows_rejected"]) == (6, 2)
    lines = (prepared.folder / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == [3, 5]
    assert "not a class: yes, no" in lines[0]
    survey = fw.check(fw.parse_config(f"[data]\n{text}", base=tmp_path))
    assert survey.classes == ("yes", "no")
    assert survey.rows_rejected == 2


def test_stated_numbers_and_truth_values_are_classes_in_their_canonical_text(tmp_path):
    (tmp_path / "log.csv").write_text("click,ad\n1.0,a\n0,b\n")
    config = 'data = { train = "log.csv", label = "click", classes = [1, 0] }\nfields.ad.type = "category"'
    assert fw.prepare(fw.parse_config(config, base=tmp_path)).encoder.schema.classes == ("1", "0")


@pytest.mark.parametrize("classes", ['["a"]', '["a", "a"]', '["a", ""]', '["1", 1.0]'])
def test_classes_that_are_no_two_values_are_refused(tmp_path, classes):
    (tmp_path / "log.csv").write_text("click,ad\n1,a\n0,b\n")
    config = fw.parse_config(f'data = {{ train = "log.csv", label = "click", classes = {classes} }}', base=tmp_path)
    with pytest.raises(ConfigError, match="two or more distinct values of the label"):
        fw.prepare(config)
