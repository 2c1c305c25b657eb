"""A column whose cells are no single values has no role, and the message names the role."""

import pyarrow as pa
import pytest

import fieldwise as fw
from fieldwise.jobs.init.fields import complete_schema

ROLES = ("label", "weight", "group", "id", "split")
KINDS = {
    "list": pa.array([["a", "b"]] * 40),
    "struct": pa.array([{"a": 1}] * 40),
    "map": pa.array([[("a", 1)]] * 40, pa.map_(pa.string(), pa.int64())),
    "vector": pa.array([[1.0, 2.0]] * 40, pa.list_(pa.float64(), 2)),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", KINDS)
def test_lists_and_structs_have_no_role(role, kind):
    table = pa.table({"click": [0, 1] * 20, "ad": ["a", "b"] * 20, "odd": KINDS[kind]})
    data = fw.DataConfig(**({"train": ("log.parquet",), "label": "click"} | {role: "odd"}))
    with pytest.raises(fw.DataError, match=rf"(?s)cannot be the.*data\.{role}, column odd.*one value in each row"):
        complete_schema(fw.Config(data=data), table)


@pytest.mark.parametrize("kind", [pa.string(), pa.int8(), pa.float64(), pa.dictionary(pa.int8(), pa.string())])
def test_columns_of_single_values_may_group(kind):
    table = pa.table({"click": [0, 1] * 20, "ad": ["a", "b"] * 20, "user": pa.array(["1", "2"] * 20).cast(kind)})
    data = fw.DataConfig(train=("log.parquet",), label="click", group="user")
    assert complete_schema(fw.Config(data=data), table).group == "user"
