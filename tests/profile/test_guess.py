"""What a single column is taken for."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from fieldwise.profile.infer.guess import guess_column

ROWS = 4000
RNG = np.random.default_rng(0)
WEIGHTED = pa.struct([("value", pa.string()), ("weight", pa.float32())])


def guess(name: str, values: object, kind: pa.DataType | None = None):
    return guess_column(name, pa.array(values, kind))


def draw(choices: list[str], num: int = ROWS) -> list[str]:
    return [choices[i] for i in RNG.integers(0, len(choices), num)]


def hashes(num_distinct: int, num: int = ROWS) -> list[str]:
    return [f"{i * 2_654_435_761 % 2**32:08x}" for i in RNG.integers(0, num_distinct, num).tolist()]


def joined(separator: str, tokens: list[str], least: int = 1, most: int = 4) -> list[str]:
    """Cells of several tokens, in the order of the list and without repetition."""
    chosen = [sorted(RNG.choice(len(tokens), RNG.integers(least, most + 1), replace=False)) for _ in range(ROWS)]
    return [separator.join(tokens[i] for i in places) for places in chosen]


GENRES = ["Action", "Adventure", "Animation", "Children's", "Comedy", "Drama", "Sci-Fi", "War"]
WORDS = [f"word{i}" for i in range(2000)]
TITLES = [" ".join([*RNG.choice(WORDS, RNG.integers(1, 4)), f"({y})"]) for y in RNG.integers(1919, 2001, 1500)]
PEOPLE = [f"Anna{i % 70} Smith{i // 70}" for i in range(2000)]
BROWSERS = [
    f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.{w}.1 Safari/537.36"
    for v in range(80, 110)
    for w in range(20)
]

CATEGORIES = {
    "hashes": hashes(300),
    "few_texts": draw(["Private", "Self-emp-not-inc", "Never-worked"]),
    "native-country": draw(["United-States", "Mexico", "Trinadad&Tobago"]),
    "few_whole_numbers": RNG.integers(0, 7, ROWS),
    "banner_pos": draw(["0", "1", "7"]),
    "user_id": RNG.integers(0, 3000, ROWS),
    "movieId": RNG.integers(0, 3000, ROWS),
    "zip": RNG.integers(10_000, 99_999, ROWS),
    "C14": draw([str(i) for i in range(15_000, 24_000)]),
    "leading_zeros": [f"{i:05d}" for i in RNG.integers(500, 99_999, ROWS)],
    "beyond_floats": RNG.choice(RNG.integers(2**40, 2**62, 999), ROWS),
    "six_digits": RNG.integers(100_000, 999_999, ROWS),
    "app_version": draw(["1.2", "10.3", "11.0"]),
    "release_year": RNG.integers(1919, 2001, ROWS),
    "titles": draw(TITLES),
    "people": draw(PEOPLE),
    "browsers": draw(BROWSERS),
    "cities": draw(["Los Angeles, CA", "San Jose, CA", "New York, NY", "Buffalo, NY", "Boston, MA"]),
    "thousands": [f"{a:,}" for a in RNG.integers(0, 10**6, ROWS)],
    "numbers_but_for_a_word": [*["cheap"] * 9, *(f"{x:.2f}" for x in RNG.lognormal(size=ROWS))],
    "beside_infinity": [float("inf"), *RNG.random(ROWS)],
    "clock": [f"{h:02d}:{m:02d}" for h, m in RNG.integers(0, 24, (ROWS, 2))],
    "a_value_or_none": [None, "x"] * ROWS,
    "booleans": [True, False] * ROWS,
    "decimals_of_few_values": [Decimal("5.00"), Decimal("6.00")] * ROWS,
}

NUMBERS = {
    "age": RNG.integers(17, 91, ROWS),
    "age_in_a_csv": [str(a) for a in RNG.integers(17, 91, ROWS)],
    "fnlwgt": RNG.lognormal(12, 0.55, ROWS).astype(int),
    "capital-gain": np.where(RNG.random(ROWS) < 0.9, 0, RNG.integers(100, 99_999, ROWS)),
    "hours-per-week": RNG.integers(1, 100, ROWS),
    "I1": [None, *RNG.lognormal(2, 2, ROWS).astype(int)],
    "whole_floats_with_nan": [float("nan"), *RNG.integers(0, 500, ROWS).astype(float)],
    "price": [f"{x:.2f}" for x in RNG.lognormal(2, 1, ROWS)],
    "bid": RNG.lognormal(5, 1, ROWS).astype(int),
    "decimal_commas": [f"{a},{b:02d}" for a, b in RNG.integers(0, 99, (ROWS, 2))],
    "spaced": [f" {x:.3f}" for x in RNG.random(ROWS)],
    "latitude": RNG.random(ROWS) * 90,
    "small": [18, 25, 31, 44, 60],
}

LEFT_OUT = {
    "all_missing": ([None, "", "nan"], "no value"),
    "constant": (["x"] * 5, "same in every row: 'x'"),
    "times_of_day": ([dt.time(9), dt.time(10)], "unsupported type|dates or times"),
    "durations": ([dt.timedelta(1), dt.timedelta(2)], "unsupported type|dates or times"),
    "one_day": ([dt.date(2026, 11, 8)] * 5, "same in every row"),
    "hour_of_several_lengths": (["20261108", "2026110810"] * 5, "looks like times"),
    "American": (draw(["11/08/2026", "11/09/2026 10:00"]), "looks like times"),
    "row_numbers": (np.arange(ROWS), "row identifier"),
    "row_numbers_shuffled": (RNG.permutation(ROWS), "row identifier"),
    "rising": (RNG.integers(1, 9, ROWS).cumsum(), "row identifier"),
    "uuids": ([str(uuid.UUID(int=i * 7**40)) for i in range(1, ROWS)], "row identifier"),
    "md5": ([f"{i * 7**44:032x}"[-32:] for i in range(ROWS)], "row identifier"),
    "id": ([str(i) for i in RNG.integers(10**12, 2**63, ROWS)], "row identifier"),
    "part": (draw(["train", "valid", "test"]), "train, valid or test"),
    "review": ([" ".join(RNG.choice(WORDS, 12)) for _ in range(ROWS)], "rarely recur"),
    "": (["a", "b"], "no name"),
    "vectors": ([[0.25, 0.5], [0.125, 1.0, 7.5]], "vector"),
    "empty_lists": ([[], None], "no value"),
    "constant_lists": ([["x"], ["x"]], "same in every row"),
    "structs": ([{"a": 1}, {"a": 2}], "unsupported type"),
    "lists_of_structs": ([[{"a": 1}], [{"a": 2}]], "unsupported type"),
}

CLOCKS = {
    "timestamps": [dt.datetime(2026, 11, 8, i) for i in range(9)],
    "iso": draw(["2026-11-08T10:00:00Z", "2026-11-09 11:00:00.25"]),
    "one_hour_of_many": ["2026-11-08 10:00"] * 5,
    "timestamp": RNG.integers(874_724_710, 893_286_638, ROWS),
    "event_time": 1.7e12 + RNG.integers(0, 10**9, ROWS).cumsum(),
    "shown_at": 1_700_000_000_000 + RNG.integers(0, 10**9, ROWS).cumsum(),
    "createdAt": ["2026-11-08T10:00:00.25+02:00", "1793566914920", "1793566914"],
}


@pytest.mark.parametrize("name", CLOCKS)
def test_points_in_time_have_an_hour_and_a_weekday(name):
    found = guess(name, CLOCKS[name])
    assert (found.type, found.left_out, found.parts, found.format) == ("time", False, ("hour", "weekday"), None)
    assert "points in time" in found.reason


@pytest.mark.parametrize(
    ("name", "values", "parts", "format_"),
    [
        ("days", [dt.date(2026, 11, 8), dt.date(2026, 11, 9)], ("weekday",), None),
        ("midnights", ["2026-11-08 00:00:00", "2026-11-09 00:00:00"], ("weekday",), None),
        ("a_few_zero_dates", ["2026-11-08", "2026-11-09"] * 9 + ["0000-00-00"], ("weekday",), None),
        ("zero_dates", ["2026-11-08", "0000-00-00"] * 9, ("weekday",), None),
        ("zero_times", ["2026-11-08 09:30:00", "0000-00-00 00:00:00"] * 9, ("hour", "weekday"), None),
        ("a_day_or_none", [None, "2026-11-08"], ("weekday",), None),
        ("yyyymmdd", draw(["20261108", "20261109", "20261110"]), ("weekday",), "%Y%m%d"),
        ("yyyymmddhh", draw(["2026110823", "2026110900", "2026111007"]), ("hour", "weekday"), "%Y%m%d%H"),
        ("release", draw(["01-Jan-1995", "14-Feb-1996"]), ("weekday",), "%d-%b-%Y"),
        ("hour", ["14102100"] * 5, ("hour", "weekday"), "%y%m%d%H"),
        ("hour", [14102100, 14102101], ("hour", "weekday"), "%y%m%d%H"),
    ],
)
def test_dates_have_a_weekday_and_patterns_a_format(name, values, parts, format_):
    found = guess(name, values)
    assert (found.type, found.parts, found.format) == ("time", parts, format_)


@pytest.mark.parametrize("name", CATEGORIES)
def test_categories(name):
    found = guess(name, CATEGORIES[name])
    assert (found.type, found.left_out, found.separator) == ("category", False, None)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name):
    found = guess(name, NUMBERS[name])
    assert (found.type, found.left_out) == ("number", False)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_tells_nothing_is_left_out_with_the_reason(name):
    values, reason = LEFT_OUT[name]
    found = guess(name, values)
    assert found.left_out
    assert any(part in found.reason for part in reason.split("|"))


@pytest.mark.parametrize(
    ("values", "separator", "weighted"),
    [
        (joined(" ", GENRES), " ", False),
        (joined("|", WORDS), "|", False),
        (joined("|", ["new wave", "hip hop", "rock"], 1, 3), "|", False),
        (joined(";", GENRES), ";", False),
        (joined("; ", GENRES), "; ", False),
        (joined(", ", ["Dramas", "International Movies", "TV Shows", "Comedies"], 1, 3), ", ", False),
        (joined(",", [str(i) for i in range(700)], 2, 6), ",", False),
        (joined(" ", [str(i) for i in range(700)], 0, 6), " ", False),
        (joined("|", [f"{word}:{i / 8}" for i, word in enumerate(WORDS[:200])]), "|", True),
        (joined(" ", [f"{i}:1" for i in range(500)]), " ", True),
        (["a|b", "b", None, "a|c"], "|", False),
        (["1:0.5|2:1", "2:3"], "|", True),
    ],
)
def test_cells_whose_values_recur_are_bags(values, separator, weighted):
    found = guess("genre", values)
    assert (found.type, found.left_out) == ("bag", False)
    assert (found.separator, found.weighted) == (separator, weighted)


def test_the_columns_of_libffm_are_bags_of_one_weighted_value():
    assert guess("field_3", ["12:0.5", "7:1"])[1:5] == ("bag", False, None, "|")
    assert guess("field_3", ["12:0.5", "7:1"]).weighted
    assert guess("ratio", ["12:05", "7:10", "12:05"]).type == "category"


@pytest.mark.parametrize(
    ("values", "kind", "weighted"),
    [
        ([["a", "b"], ["b"], None], None, False),
        ([[1, 2], [], [2]], pa.large_list(pa.int32()), False),
        ([[1, 2], [2, 3]], pa.list_(pa.int64(), 2), False),
        ([[1.0, 2.0], [2.0]], None, False),
        ([{"a": 0.5}, {"b": 2.0}], pa.map_(pa.string(), pa.float64()), True),
        ([[{"value": "a", "weight": 0.5}], [{"value": "b", "weight": 1}]], pa.list_(WEIGHTED), True),
    ],
)
def test_lists_are_bags(values, kind, weighted):
    found = guess("tags", values, kind)
    assert (found.type, found.left_out, found.weighted) == ("bag", False, weighted)


def test_a_slice_of_maps_is_looked_at_alone():
    maps = pa.array([{"x": 1.0}, {"a": 0.5}, {"b": 2.0}, {"y": 1.0}], pa.map_(pa.string(), pa.float64()))
    assert "2 values" in guess_column("tags", maps.slice(1, 2)).reason


def test_a_dictionary_is_a_category_whatever_it_holds():
    values = pa.array(RNG.random(ROWS)).dictionary_encode()
    assert guess_column("price", values).type == "category"


@pytest.mark.parametrize(
    ("values", "min_count"),
    [
        (draw(WORDS), 1),
        (hashes(10**6), 2),
        ([f"v{i % 1500}" for i in range(ROWS)], 1),
        ([f"v{i}" for i in range(900)], 1),
        ([f"v{i % 10_500}" for i in range(21_000)], 2),
    ],
)
def test_rare_values_share_a_feature_where_they_are_most_of_a_large_vocabulary(values, min_count):
    assert guess("query", values).min_count == min_count


def test_identifiers_of_rows_are_offered_as_such():
    assert guess("uuids", LEFT_OUT["uuids"][0]).role == "id"
    assert guess("part", LEFT_OUT["part"][0]).role == "split"
    assert guess("constant", ["x"] * 5).role is None


def test_a_thousand_rows_are_needed_to_tell_an_identifier():
    assert guess("rising", np.arange(999)).type == "number"
    assert not guess("rising", np.arange(999)).left_out


@pytest.mark.parametrize("name", [*NUMBERS, "user_id", "few_whole_numbers", "booleans", "decimals_of_few_values"])
def test_a_csv_tells_the_same_as_the_column_that_it_was_written_from(name):
    values = pa.array({**CATEGORIES, **NUMBERS}[name])
    if pa.types.is_string(values.type):
        text = values
    else:
        text = pa.array([None if cell is None else str(cell) for cell in values.to_pylist()])
    assert guess_column(name, text)[1:] == guess_column(name, values)[1:]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(2)])
def test_bytes_that_are_no_text_are_a_category(kind):
    found = guess_column("key", pa.array([b"\xff\xfe", b"ab", None, b"\xff\xfe"], kind))
    assert (found.type, found.left_out) == ("category", False)


@pytest.mark.parametrize(
    ("cells", "parts", "format_"),
    [
        (["01.11.2026 10:01", "28.11.2026 23:59"], ("hour", "weekday"), "%d.%m.%Y %H:%M"),
        (["28/11/2026 10:01:02", "NULL", "01/11/2026 10:01:02"], ("hour", "weekday"), "%d/%m/%Y %H:%M:%S"),
        (["11/28/2026", "11/01/2026"], ("weekday",), "%m/%d/%Y"),
        (["2026/11/28 10:01:02", "2026/11/01 11:01:02"], ("hour", "weekday"), "%Y/%m/%d %H:%M:%S"),
        (["11/01/2026", "11/02/2026"], (), None),  # the day or the month may be first
    ],
)
def test_how_times_are_written_is_told_where_it_can_be(cells, parts, format_):
    found = guess("at", cells * 50)
    assert (found.role, found.parts, found.format) == ("time", parts, format_)


@pytest.mark.parametrize(
    ("values", "role"),
    [(["Train", "VALIDATION", "test"], "split"), (["training", "val"], "split"), (["valid", "test"], None),
     (["train", "bus"], None)],
)  # fmt: skip
def test_a_column_of_parts_names_the_training_part_in_any_spelling(values, role):
    assert guess_column("status", pa.array(values * 20)).role == role


def test_numbers_beyond_all_bounds_make_no_number_of_a_column():
    assert guess_column("price", pa.array(["1.5", "2.25", "1e400"] * 50)).type == "category"


@pytest.mark.parametrize("beyond", [np.inf, -np.inf, 1e300])
def test_vectors_with_a_number_that_would_cost_their_rows_are_left_out_with_what_to_do(beyond):
    vectors = RNG.normal(size=(100, 3))
    vectors[7, 1] = beyond
    found = guess("embedding", vectors.tolist())
    assert found.left_out
    assert found.reason.startswith('vectors of 3 numbers, 1 with inf or a number beyond float32: type = "vector"')
    vectors[7, 1] = np.nan  # a missing number costs nothing
    assert not guess("embedding", vectors.tolist()).left_out


WEIGHTS = pa.map_(pa.string(), pa.float64())


@pytest.mark.parametrize("weight", [np.inf, np.nan, None, 1e300])
def test_a_weight_that_would_cost_its_row_leaves_the_column_out_with_what_to_do(weight):
    rows = [[("a", 1.0), ("b", weight)], [("a", 2.0)], None]
    guess = guess_column("interests", pa.array(rows, WEIGHTS))
    assert guess.left_out
    assert (guess.type, guess.weighted) == ("bag", True)
    assert "1 row with a weight that is no finite number" in guess.reason
    assert 'type = "bag"' in guess.reason


@pytest.mark.parametrize("weight", ["inf", "-Infinity", "NaN", "null", ""])
def test_so_does_one_that_is_written_in_text(weight):
    guess = guess_column("interests", pa.array([f"a:1|b:{weight}", "a:2|b:1", f"a:1|b:{weight}", "b:0.5"]))
    assert guess.left_out
    assert (guess.type, guess.weighted, guess.separator) == ("bag", True, "|")
    assert "2 rows with a weight that is no finite number" in guess.reason


@pytest.mark.parametrize(
    "cells",
    [
        ["array([0.1, 0.2], dtype=float32)", "array([0.3, 0.2], dtype=float32)"],
        ["tensor([[0.1, 0.2]])", "tensor([[0.3, 0.2]])"],
        ["[np.float64(0.1), np.float64(0.2)]", "[np.float64(0.3), np.float64(0.2)]"],
        ["[Decimal('0.1')]", "[Decimal('0.3')]"],
        ["[0.1 0.2 ... 0.9]", "[0.3 0.2 ... 0.9]"],
    ],
)
def test_arrays_as_python_prints_them_are_left_out_with_what_to_write_in_their_place(cells):
    guess = guess_column("embedding", pa.array(cells))
    assert guess.left_out
    assert "write x.tolist() instead" in guess.reason
