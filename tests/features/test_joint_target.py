"""What rows say of several labels: codes, rejected rows, and what is missing."""

import pyarrow as pa
import pytest

from fieldwise.errors import ConfigError, DataError
from fieldwise.features.encoder import Encoder
from fieldwise.schema import Field, Label, Schema

FIELDS = (Field(name="x", column="x"),)


def schema(*labels, **settings):
    return Schema(fields=FIELDS, label=labels[0].label, labels=labels, **settings)


def fitted(columns, *labels):
    table = pa.table({"x": ["a"] * len(next(iter(columns.values()))), **columns})
    return Encoder(schema(*labels)).fit([table]), table


CLICK, BUY = Label(label="click"), Label(label="buy")


def test_a_code_holds_two_bits_of_every_label():
    encoder, table = fitted({"click": [0, 1, 0, 1, None], "buy": ["no", "no", "yes", "yes", "no"]}, CLICK, BUY)
    # negative 0, positive 1, missing 2; the first label in the lowest bits
    assert encoder.transform(table).labels.tolist() == [0b00_00, 0b00_01, 0b01_00, 0b01_01, 0b00_10]
    assert [label.classes for label in encoder.schema.labels] == [("0", "1"), ("no", "yes")]


def test_a_row_that_says_nothing_of_any_label_is_rejected_and_one_that_says_something_is_not():
    encoder, table = fitted({"click": [0, 1, None, None], "buy": [0, 1, None, 1]}, CLICK, BUY)
    encoded = encoder.transform(table)
    assert encoded.accepted.tolist() == [0, 1, 3]
    assert [(reject.row, reject.reason) for reject in encoded.rejects] == [(2, "the label is missing")]
    assert [note for note in encoder.notes if "buy" in note] == []
    [note] = encoder.notes
    assert note == "label click: 1 of 3 training rows have no value for it, and are left out of its loss"


def test_what_was_not_clicked_was_not_bought_and_cannot_have_been():
    columns = {"click": [0, 1, 0, 1, 1, 0], "buy": [None, None, 0, 0, 1, 1]}
    encoder, table = fitted(columns, CLICK, Label(label="buy", among="click"))
    encoded = encoder.transform(table)
    assert encoded.labels.tolist() == [0b00_00, 0b10_01, 0b00_00, 0b00_01, 0b01_01]
    [reject] = encoded.rejects
    assert (reject.row, reject.column, reject.value) == (5, "buy", "1")
    assert "click, among which it is counted, is not" in reject.reason
    assert encoder.notes == ("label buy: 1 of 5 training rows have no value for it, and are left out of its loss",)


def test_a_text_that_is_no_class_is_rejected_with_its_own_column():
    encoder, _ = fitted({"click": [0, 1], "buy": [0, 1]}, CLICK, BUY)
    rejects = encoder.transform(pa.table({"x": ["a", "a"], "click": ["0", "1"], "buy": ["1", "perhaps"]})).rejects
    assert [(each.row, each.column, each.value) for each in rejects] == [(1, "buy", "perhaps")]


def test_chunks_in_any_order_and_other_encoders_learn_the_same():
    parts = [pa.table({"x": ["a"], "click": [number % 2], "buy": [number % 3 == 0]}) for number in range(6)]
    one, other, third = (Encoder(schema(CLICK, BUY)) for _ in range(3))
    for part in parts:
        one.fit_chunk(part)
    for part in parts[:3]:
        other.fit_chunk(part)
    for part in parts[:2:-1]:
        third.fit_chunk(part)
    other.add_learned(third.learned())
    one.finish()
    other.finish()
    assert one.schema == other.schema
    assert one.schema.labels[1].classes == ("false", "true")


def test_an_encoder_from_its_arrays_has_the_same_labels():
    encoder, table = fitted({"click": [0, 1, 1], "buy": [0, 1, None]}, CLICK, Label(label="buy", among="click"))
    again = Encoder.from_arrays(encoder.describe(), encoder.arrays())
    assert again.schema == encoder.schema
    assert again.transform(table).labels.tolist() == encoder.transform(table).labels.tolist()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"click": [0, 1], "buy": [1, 1]}, "one class only"),
        ({"click": [0, 1, 0], "buy": ["a", "b", "c"]}, "where each has two classes"),
        ({"click": [0, 1], "buy": ["bought", "left"]}, "not known which of two classes"),
    ],
)
def test_a_label_that_has_not_two_classes_is_an_error_that_names_it(columns, message):
    with pytest.raises(DataError, match=f"{message}(.|\n)*column buy"):
        fitted(columns, CLICK, BUY)


def test_a_column_of_many_values_is_no_label():
    with pytest.raises(DataError, match=r"too many values(.|\n)*column buy"):
        fitted({"click": [0, 1] * 600, "buy": list(range(1200))}, CLICK, BUY)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((CLICK, CLICK), "distinct columns"),
        ((CLICK,), "2 to 4"),
        ([Label(label=f"l{number}") for number in range(5)], "2 to 4"),
        ((Label(label="buy", among="click"), CLICK), "one before it"),
        ((CLICK, Label(label="buy", among="buy")), "one before it"),
        ((CLICK, Label(label="x")), "the label cannot be a field"),
    ],
)
def test_labels_that_cannot_be_learned_together_are_refused(labels, message):
    with pytest.raises(ConfigError, match=message):
        schema(*labels).check()


def test_the_label_of_a_role_is_refused_whichever_it_is():
    with pytest.raises(ConfigError, match="cannot be the weight"):
        schema(CLICK, BUY, weight="buy").check()
