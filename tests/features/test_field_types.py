"""Field types of one's own: one function for preparing and for prediction, named in what is saved."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fieldwise.config import parse_config
from fieldwise.errors import ArtefactError, ConfigError, DataError
from fieldwise.features import field_types
from fieldwise.features.encoder import Encoder
from fieldwise.features.field_types import convert, custom_type, register_field_type
from fieldwise.jobs.init.fields import complete_schema
from fieldwise.schema import Field, Schema

LOG = pa.table(
    {"mail": ["a@x.org", "b@x.org", "c@y.org", "x.org", None, "NULL", "d@y.org", "e@y.org"], "click": [0, 1] * 4}
)


@pytest.fixture(autouse=True)
def no_types(monkeypatch):
    monkeypatch.setattr(field_types, "_TYPES", {})


def domain(texts):
    return pc.replace_substring_regex(texts, "^.*@", "")


def parts(texts):
    return pc.split_pattern(texts, "@")


def schema_of(type_: str, settings: str = "") -> Schema:
    text = f'data = {{ train = "l.csv", label = "click" }}\n[fields.mail]\ntype = "{type_}"\n{settings}'
    return complete_schema(parse_config(text), LOG)


def test_texts_of_a_category_are_those_that_the_function_returns():
    register_field_type("domain", domain)
    encoder = Encoder(schema_of("domain")).fit([LOG])
    ids = encoder.transform(LOG).batch.ids[0].tolist()
    texts = ["x.org", "x.org", "y.org", "x.org", None, None, "y.org", "y.org"]
    assert encoder.feature_texts("mail", ids) == texts


def test_lists_of_texts_are_a_bag_and_one_row_is_encoded_as_in_a_batch():
    register_field_type("parts", parts, bag=True)
    encoder = Encoder(schema_of("parts", "min_count = 1")).fit([LOG])
    np.testing.assert_array_equal(np.diff(encoder.transform(LOG).batch.offsets[0]), [2, 2, 2, 1, 1, 1, 2, 2])
    for row in range(len(LOG)):
        texts = LOG["mail"][row].as_py()
        expected = [] if texts in (None, "NULL") else texts.split("@")
        got = encoder.transform(LOG.slice(row, 1)).batch
        names = encoder.feature_texts("mail", got.bag_ids.tolist())
        assert names == (expected or [None])


def test_missing_cells_and_texts_that_mean_missing_reach_the_function_as_null():
    seen: list[object] = []

    def note(texts):
        seen.extend(texts.to_pylist())
        return texts

    register_field_type("note", note)
    Encoder(schema_of("note", 'missing = ["x.org"]')).fit([LOG])
    assert "x.org" not in seen
    assert None in seen


def test_a_saved_encoder_is_opened_with_the_type_in_the_same_version_only():
    register_field_type("domain", domain, version=2)
    fitted = Encoder(schema_of("domain")).fit([LOG])
    described, arrays = msgspec.json.decode(msgspec.json.encode(fitted.describe())), fitted.arrays()
    again = Encoder.from_arrays(described, arrays)
    np.testing.assert_array_equal(again.transform(LOG).batch.ids, fitted.transform(LOG).batch.ids)

    field_types._TYPES.clear()
    with pytest.raises(
        ConfigError, match=r"(?s)field mail.*domain in version 2.*no type of this name.*--import MODULE"
    ):
        Encoder.from_arrays(described, arrays)
    register_field_type("domain", domain, version=3)
    with pytest.raises(ConfigError, match=r"(?s)domain in version 2.*version 3"):
        Encoder.from_arrays(described, arrays)


def test_the_version_is_part_of_the_schema_so_that_a_log_is_prepared_anew():
    register_field_type("domain", domain)
    first = schema_of("domain")
    field_types._TYPES.clear()
    register_field_type("domain", domain, version=2)
    assert msgspec.to_builtins(first) != msgspec.to_builtins(schema_of("domain"))


def test_built_in_types_are_stored_as_before():
    assert "custom" not in msgspec.to_builtins(schema_of("category"))["fields"][0]


def test_an_unknown_type_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r"(?s)unknown field type.*\[fields.mail.type\].*got: catgory.*category"):
        schema_of("catgory")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda texts: texts.slice(1), "an array of 8 texts"),
        (lambda texts: texts.to_pylist(), "an array of 8 texts"),
        (lambda texts: pa.array(range(len(texts))), "an array of 8 texts"),
        (lambda texts: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_function_that_fails_or_returns_something_else_is_named(function, message):
    register_field_type("wrong", function)
    with pytest.raises(DataError, match=rf"(?s)field type wrong.*column mail.*{message}"):
        schema_of("wrong")


def test_weights_of_a_bag_are_refused():
    register_field_type("parts", parts, bag=True)
    with pytest.raises(ConfigError, match="no weights and no brackets"):
        schema_of("parts", "weighted = true")


def test_names_of_others_are_not_taken():
    register_field_type("domain", domain)
    register_field_type("domain", domain)
    for name in ("domain", "category", "a b", ""):
        with pytest.raises(ConfigError):
            register_field_type(name, parts)


def test_a_saved_field_of_ones_own_type_that_is_read_as_a_number_is_refused():
    register_field_type("domain", domain)
    fitted = Encoder(schema_of("domain")).fit([LOG])
    described = msgspec.json.decode(msgspec.json.encode(fitted.describe()))
    described["schema"]["fields"][0]["type"] = "number"
    with pytest.raises(ArtefactError, match="must be read as a category or bag"):
        Encoder.from_arrays(described, fitted.arrays())


@pytest.mark.parametrize(("bag", "nothing"), [(False, None), (True, []), (True, None)])
def test_cells_that_are_all_missing_need_no_type(bag, nothing):
    register_field_type(f"nothing-{bag}-{nothing is None}", lambda texts: pa.array([nothing] * len(texts)), bag=bag)
    custom, kind = custom_type(f"nothing-{bag}-{nothing is None}")
    field = Field(name="f", column="f", type=kind, custom=custom)
    for texts in ([], ["a"], ["a", None]):
        found = convert(field, pa.array(texts, pa.string()))
        assert len(found) == len(texts)
        assert found.type in (pa.string(), pa.large_string(), pa.list_(pa.string()))
