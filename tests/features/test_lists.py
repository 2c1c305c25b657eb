"""Lists that were written as text give the features of a list column of Parquet with the same values."""

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwise.features.encoder import Encoder
from fieldwise.features.lists import split_lists
from fieldwise.profile.infer.guess import guess_column
from fieldwise.schema import Field, Schema

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6).filter(
    lambda text: text not in ("nan", "NaN")
)
WORDS = st.sampled_from(
    ["a", "b,c", "it's", 'say "x"', "back\\slash", "città", "ü, ö", " blank ", "[x]", "{y}", "null"]
)
LISTS = st.lists(st.lists(WORDS | TEXT, max_size=4), min_size=2, max_size=6)


def ids(field: Field, column: pa.Array) -> list[list[float]]:
    rows = pa.table({"f": column, "y": [str(i % 2) for i in range(len(column))]})
    batch = Encoder(Schema(fields=(field,), label="y")).fit([rows]).transform(rows).batch
    return [batch.offsets.tolist(), batch.bag_ids.tolist()]


@settings(max_examples=60)
@given(LISTS, st.sampled_from([json.dumps, lambda x: json.dumps(x, ensure_ascii=False, separators=(",", ":")), repr]))
def test_json_and_python_lists_give_the_ids_of_a_list_column(lists, write):
    listed = ids(Field(name="f", column="f", type="bag"), pa.array(lists, pa.list_(pa.string())))
    field = Field(name="f", column="f", type="bag", separator=",", brackets=True)
    assert ids(field, pa.array([write(cell) for cell in lists])) == listed


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(-5, 50), max_size=4), min_size=2, max_size=6))
def test_lists_of_numbers_give_the_ids_of_a_list_column(lists):
    listed = ids(Field(name="f", column="f", type="bag"), pa.array(lists, pa.list_(pa.int64())))
    for separator, write in [
        (",", str),
        (",", lambda x: "{" + ",".join(map(str, x)) + "}"),
        (",", lambda x: str([float(v) for v in x])),
        (" ", lambda x: "[" + " ".join(map(str, x)) + " ]"),
    ]:
        field = Field(name="f", column="f", type="bag", separator=separator, brackets=True)
        assert ids(field, pa.array([write(cell) for cell in lists])) == listed
    for separator in ("^", "\x01", "\x03"):
        field = Field(name="f", column="f", type="bag", separator=separator)
        assert ids(field, pa.array([separator.join(map(str, cell)) for cell in lists])) == listed


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("[]", []),
        ("  [ ]  ", []),
        ("", []),
        (None, []),
        ('[""]', [""]),
        ("[null, None, 'null']", [None, None, "null"]),
        ("('a',)", ["a", ""]),
        ("plain", ["plain"]),
        ('["a\\u00e9", "\\ud83d\\ude00", "\\n"]', ["aé", "😀", "\n"]),
        ("['\\xe9\\'']", ["é'"]),
        ('["unclosed, b]', ['"unclosed, b']),
    ],
)
def test_one_cell_is_read(cell, expected):
    assert split_lists(pa.array([cell], pa.string()), ",").to_pylist() == [expected]


@pytest.mark.parametrize(
    ("cells", "separator", "brackets"),
    [
        (['["a", "b"]', '["b"]', "[]"], ",", True),
        (["['a', 'b']", "['b']"], ",", True),
        (["[8, 32]", "[8]"], ",", True),
        (["{a,b}", "{b}"], ",", True),
        (["(1,2)", "(2,1)"], ",", True),
        (["[8 32]", "[ 8  9]"], " ", True),
        (["8^32", "8", "32^8"], "^", False),
        (["8\x0332", "8", "32\x038"], "\x03", False),
        (["a;b", "b", "b;a", "a"], ";", False),
    ],
)
def test_lists_in_texts_are_bags(cells, separator, brackets):
    guess = guess_column("f", pa.array(cells * 50))
    assert (guess.type, guess.separator, guess.brackets, guess.left_out) == ("bag", separator, brackets, False)


@pytest.mark.parametrize("cells", [["[link]", "[photo]"], ["(a)", "(b)"], ["x [1]", "y"], ["[[1, 2], [3]]", "[[4]]"]])
def test_other_brackets_are_no_lists(cells):
    assert guess_column("f", pa.array(cells * 50)).brackets is False


@pytest.mark.parametrize("cells", [['{"a": 1}', '{"b": 2}'], ["[{'id': 1, 'name': 'x'}]", "[]"]])
def test_objects_are_said_to_be_such(cells):
    guess = guess_column("f", pa.array(cells * 50))
    assert guess.left_out
    assert "looks like JSON objects" in guess.reason
