"""The configuration that `fieldwise init` prints, on samples like the public logs."""

from __future__ import annotations

import re
import tomllib

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwise.config import Config, DataConfig, parse_config
from fieldwise.data.csv_dialect import CsvOptions
from fieldwise.errors import DataError
from fieldwise.jobs.init.fields import complete_schema
from fieldwise.jobs.init.starter import write_config

ROWS = 5000


def texts(values: object) -> list[str]:
    return [str(value) for value in values]


def hexes(rng: np.random.Generator, num_distinct: int) -> list[str]:
    skewed = (rng.random(ROWS) ** 3 * num_distinct).astype(int)
    return [f"{i * 2_654_435_761 % 2**32:08x}" for i in skewed.tolist()]


def criteo() -> pa.Table:
    rng = np.random.default_rng(0)
    columns = {"label": texts(rng.integers(0, 2, ROWS))}
    for i in range(1, 14):
        counts = texts(rng.lognormal(1 + i % 5, 1.5, ROWS).astype(int))
        columns[f"I{i}"] = [None if gone else count for gone, count in zip(rng.random(ROWS) < 0.2, counts, strict=True)]
    for i in range(1, 27):
        columns[f"C{i}"] = [
            "" if gone else key for gone, key in zip(rng.random(ROWS) < 0.1, hexes(rng, 4 ** (i % 8 + 1)), strict=True)
        ]
    return pa.table(columns)


def avazu() -> pa.Table:
    rng = np.random.default_rng(1)
    return pa.table(
        {
            "id": texts(rng.integers(10**14, 1.8e19, ROWS, dtype=np.uint64)),
            "click": texts(rng.integers(0, 2, ROWS)),
            "hour": [f"141021{i * 3 // ROWS:02d}" for i in range(ROWS)],
            "C1": texts(rng.choice([1005, 1002, 1010], ROWS)),
            "banner_pos": texts(rng.integers(0, 2, ROWS)),
            "site_id": hexes(rng, 800),
            "app_category": hexes(rng, 20),
            "device_ip": hexes(rng, 10**6),
            "device_type": texts(rng.integers(0, 2, ROWS)),
            "C14": texts(rng.integers(15_706, 24_000, ROWS)),
            "C17": texts(rng.integers(112, 2758, ROWS)),
            "C20": texts(rng.choice([-1, 100_084, 100_111], ROWS)),
        }
    )


def movielens() -> pa.Table:
    rng = np.random.default_rng(2)
    genres = np.array(["Action", "Adventure", "Animation", "Children's", "Comedy", "Drama", "Musical", "War"])
    titles = [
        f"{' '.join(rng.choice(['The', 'Toy', 'Story', 'Night', 'Man', 'of', f'W{i}'], 3))} ({1919 + i % 82})"
        for i in range(900)
    ]
    kinds = [" ".join(genres[np.sort(rng.choice(len(genres), rng.integers(1, 4), replace=False))]) for _ in titles]
    item = (rng.random(ROWS) ** 2 * len(titles)).astype(int)
    return pa.table(
        {
            "user_id": pa.array(np.sort(rng.integers(1, 200, ROWS)), pa.int32()),
            "item_id": [titles[i] for i in item],
            "age": pa.array(rng.choice([1, 18, 25, 35, 45, 50, 56], ROWS), pa.int16()),
            "gender": rng.choice(["F", "M"], ROWS).tolist(),
            "release_year": pa.array(1919 + item % 82, pa.int16()),
            "genre": [kinds[i] for i in item],
            "click": pa.array(rng.integers(0, 2, ROWS), pa.int8()),
            "split": rng.choice(["train", "valid", "test"], ROWS).tolist(),
        }
    )


def adult() -> pa.Table:
    rng = np.random.default_rng(3)
    return pa.table(
        {
            "age": rng.integers(17, 91, ROWS),
            "workclass": rng.choice(["Private", "Self-emp-not-inc", "Local-gov", "?"], ROWS).tolist(),
            "fnlwgt": rng.lognormal(12, 0.55, ROWS).astype(int),
            "education": rng.choice(["HS-grad", "Some-college", "11th"], ROWS).tolist(),
            "education-num": rng.integers(1, 17, ROWS),
            "capital-gain": np.where(rng.random(ROWS) < 0.9, 0, rng.integers(100, 99_999, ROWS)),
            "hours-per-week": np.clip(rng.normal(40, 12, ROWS), 1, 99).astype(int),
            "native-country": rng.choice(["United-States", "Mexico", "Philippines"], ROWS).tolist(),
            "income": rng.choice(["<=50K", ">50K"], ROWS).tolist(),
        }
    )


LOGS = {
    "criteo": (criteo(), "label"),
    "avazu": (avazu(), "click"),
    "movielens": (movielens(), "click"),
    "adult": (adult(), "income"),
}


def types(name: str) -> dict[str, str]:
    table, label = LOGS[name]
    schema = complete_schema(Config(data=DataConfig(train="log", label=label)), table)
    return {field.name: field.type for field in schema.fields}


def test_criteo_has_thirteen_numbers_and_twenty_six_categories():
    expected = {f"I{i}": "number" for i in range(1, 14)} | {f"C{i}": "category" for i in range(1, 27)}
    assert types("criteo") == expected


def test_avazu_has_codes_and_hashes_and_a_clock_without_the_identifier():
    expected = set(LOGS["avazu"][0].column_names) - {"id", "click", "hour"}
    assert types("avazu") == dict.fromkeys(expected, "category") | {"hour_hour": "time", "hour_weekday": "time"}


def test_movielens_has_a_bag_of_genres_and_titles_that_are_none():
    expected = dict.fromkeys(["user_id", "item_id", "age", "gender", "release_year"], "category") | {"genre": "bag"}
    assert types("movielens") == expected


def test_adult_has_numbers_and_categories():
    numbers = ["age", "fnlwgt", "capital-gain", "hours-per-week"]
    categories = ["workclass", "education", "education-num", "native-country"]
    assert types("adult") == dict.fromkeys(numbers, "number") | dict.fromkeys(categories, "category")


@pytest.mark.parametrize("name", LOGS)
def test_what_is_written_reads_back_as_what_is_inferred(name):
    table, label = LOGS[name]
    config = parse_config(write_config(table, ["log.csv"], label))
    inferred = complete_schema(Config(data=DataConfig(train="log.csv", label=label)), table)
    written = complete_schema(config, table)
    assert written.fields == inferred.fields
    assert list(config.fields) == [field.name for field in inferred.fields]
    assert (written.label, written.weight, written.group, written.id) == (label, None, None, None)


def test_a_tenth_of_the_rows_is_set_aside_unless_a_column_says_which():
    data = parse_config(write_config(*LOGS["adult"][:1], ["log.csv"], "income")).data
    assert (data.valid, data.test, data.split) == (0.1, 0.1, None)
    data = parse_config(write_config(LOGS["movielens"][0], ["log.csv"])).data
    assert (data.valid, data.test, data.split) == (None, None, "split")


def test_the_label_is_guessed_or_asked_for():
    assert parse_config(write_config(LOGS["avazu"][0], ["log.csv"])).data.label == "click"
    with pytest.raises(DataError, match=r"(?s)no column looks like the label.*two values"):
        write_config(LOGS["adult"][0], ["log.csv"])
    with pytest.raises(DataError, match=r"did you mean income\?"):
        write_config(LOGS["adult"][0], ["log.csv"], "incom")


def test_rows_without_a_label_and_a_label_of_one_class_are_said():
    text = write_config(pa.table({"click": ["1", "NULL", "1", "", ""], "ad": list("ababa")}), ["log.csv"])
    assert "label = \"click\"                   # 1 value: '1'\n# 3 of 5 rows without a label, left out" in text
    assert "# Unless later rows have another class, training rejects this label: " in text
    text = write_config(pa.table({"click": ["1", "0"] * 2, "ad": list("abab")}), ["log.csv"])
    assert "no label" not in text
    assert "training stops" not in text


def test_every_field_and_every_column_left_out_has_its_reason():
    table = LOGS["avazu"][0].append_column("constant", pa.array(["x"] * ROWS))
    text = write_config(table, ["log.csv"])
    assert re.search(r'"constant", +# the same in every row', text)
    assert re.search(r'"id", +# a different value in every row', text)
    headers = [line for line in text.splitlines() if line.startswith("[fields.")]
    assert len(headers) == 11
    assert all(re.fullmatch(r"\[fields\.\w+\] +# \S.*", line) for line in headers)


def test_columns_that_could_have_a_role_are_offered():
    assert '# id = "id"' in write_config(LOGS["avazu"][0], ["log.csv"])
    assert '# group = "user_id"' in write_config(LOGS["movielens"][0], ["log.csv"])
    assert '# weight = "COLUMN"' in write_config(LOGS["movielens"][0], ["log.csv"])
    table = LOGS["adult"][0].append_column("weight", pa.array(np.random.default_rng(0).random(ROWS)))
    assert '# weight = "weight"' in write_config(table, ["log.csv"], "income")


def test_a_position_may_have_one_value_when_a_model_answers():
    [line] = re.findall('# serve_as = "1" .*', write_config(LOGS["avazu"][0], ["log.csv"]))
    assert "the value in every answer" in line


def test_the_options_shown_are_the_defaults():
    text = write_config(LOGS["adult"][0], ["log.csv"], "income")
    start = text.index("# [model]")
    shown = tomllib.loads(re.sub("(?m)^# ", "", text[start:]))
    assert set(shown) == {"model", "train"}
    config, defaults = parse_config(text[:start] + re.sub("(?m)^# ", "", text[start:])), parse_config(text[:start])
    assert config == defaults
    assert shown["model"]["kind"] == "auto"


def test_roles_and_the_way_the_files_are_written_are_written_down():
    table = LOGS["adult"][0].append_column("w", pa.array(np.arange(ROWS) % 3 + 0.5))
    text = write_config(
        table,
        ["logs/*.txt", 'odd "name"\\.txt'],
        "income",
        weight="w",
        group="workclass",
        id="fnlwgt",
        split="education",
        format="csv",
        csv=CsvOptions(header=False, delimiter="\t", columns=tuple(table.column_names)),
    )
    data = parse_config(text).data
    assert data.train == ("logs/*.txt", 'odd "name"\\.txt')
    assert (data.weight, data.group, data.id, data.split) == ("w", "workclass", "fnlwgt", "education")
    assert (data.format, data.csv.delimiter, data.csv.header) == ("csv", "\t", False)
    assert data.csv.columns == tuple(table.column_names)


CELLS = st.sampled_from(
    ["a", "a|b", "b", "1:2|3:4", "1:5", "0.5", "7", "\x7f\n#", "2026-11-09 10:00", '"', "é", "", "2026-11-08", "train"]
)


@settings(max_examples=100)
@given(
    st.dictionaries(
        (st.text(max_size=6) | st.sampled_from(["a", "a_hour", "a_weekday"])).filter(lambda name: name != "click"),
        st.lists(CELLS, min_size=4, max_size=4),
    )
)
def test_any_names_and_cells_read_back(columns):
    table = pa.table({"click": ["0", "1", "1", "0"], **columns})
    inferred_from = Config(data=DataConfig(train=("log.csv",), label="click"))
    try:
        expected = complete_schema(inferred_from, table)
    except DataError:
        return
    config = parse_config(write_config(table, ["log.csv"], "click"))
    written = complete_schema(config, table)
    assert msgspec.structs.replace(written, split=None) == expected
