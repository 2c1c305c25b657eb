import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwise.errors import ConfigError
from fieldwise.features.columns import Columns
from fieldwise.features.numerals import Style, read_numbers, why_no_numbers
from fieldwise.profile.infer.guess import guess_column
from fieldwise.schema import Field


def read(cells: list[str | None], decimal: str, symbol: str | None = None) -> list[float | str | None]:
    """Return numbers, None for missing and "bad" for what is none."""
    columns = Columns(pa.table({"x": pa.array(cells, pa.string())}))
    numbers, bad = read_numbers(columns, "x", ("NA", "-"), Style(decimal, symbol))
    return [
        "bad" if is_bad else None if math.isnan(number) else number
        for number, is_bad in zip(numbers.tolist(), bad.tolist(), strict=True)
    ]


AMOUNTS = st.integers(-(10**9), 10**9)
GERMAN = str.maketrans(",.", ".,")


@settings(max_examples=50)
@given(st.lists(AMOUNTS, min_size=1, max_size=20))
def test_numbers_with_separators_are_those_that_were_written(cents):
    american = [f"{amount / 100:,.2f}" for amount in cents]
    expected = [amount / 100 for amount in cents]
    assert read(american, ".") == expected
    assert read([text.translate(GERMAN) for text in american], ",") == expected
    assert read([text.replace(",", "\u202f").replace(".", ",") for text in american], ",") == expected
    assert read([f"{text} €".translate(GERMAN) for text in american], ",", "€") == expected
    assert read([f"${text}".replace("$-", "-$") for text in american], ".", "$") == expected


@settings(max_examples=50)
@given(st.lists(AMOUNTS, min_size=1, max_size=20))
def test_the_style_of_a_column_is_told_by_what_only_one_style_has(cents):
    american = [f"{amount / 100:,.2f}" for amount in [*cents, 123_456_789]]
    guess = guess_column("price", pa.array(american))
    assert (guess.type, guess.decimal, guess.symbol) == ("number", ".", None)
    guess = guess_column("price", pa.array([text.translate(GERMAN) for text in american]))
    assert (guess.type, guess.decimal, guess.symbol) == ("number", ",", None)
    guess = guess_column("price", pa.array([f"{text} %" for text in american]))
    assert (guess.type, guess.decimal, guess.symbol) == ("number", ".", "%")


def test_a_number_in_the_other_style_is_none():
    assert read(["1.5", "1.234", "1.234,5", "12.34,5", "1,5E+05", "5.000", "5.0", "1.25e+10"], ",") == [
        "bad", 1234.0, 1234.5, "bad", 150_000.0, 5000.0, 5.0, 1.25e10,
    ]  # fmt: skip
    assert read(["1,5", "1,234", "1,23,456.5", "0,123", "1.5", "(7.5)", "\u22127", "1e3", "."], ".") == [
        "bad", 1234.0, 123_456.5, "bad", 1.5, -7.5, -7.0, 1000.0, "bad",
    ]  # fmt: skip


def test_missing_texts_stay_missing_and_a_number_without_its_symbol_is_none():
    assert read(["NA", " na", "-", "", None, "$5", "5", "€5", "$"], ".", "$") == [
        None, None, None, None, None, 5.0, "bad", "bad", "bad",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "decimal", "symbol"),
    [
        (["3,14", "7"], ",", None),
        (["0,123", "0,456"], ",", None),
        (["1,234,567", "12,000,000", "999"], ".", None),
        (["1 234,5", "2,1"], ",", None),
        (["-", "3,14"], ",", None),
        (["USD 5", "USD 7.5"], ".", "USD"),
        (["12%", "7%"], ".", "%"),
        (["(1,234.50)", "5.00"], ".", None),
    ],
)
def test_a_style_is_recognised(cells, decimal, symbol):
    guess = guess_column("x", pa.array(cells * 60))
    assert (guess.type, guess.decimal, guess.symbol) == ("number", decimal, symbol)


@pytest.mark.parametrize(
    "cells",
    [
        ["1,234", "5,678"],
        ["$5", "$1,200"],
        ["$5", "€5"],
        ["101,205,333", "104,200,300"],
        ["101 205", "104 200"],
        ["8,32,5", "5,1", "7"],
        ["12A", "13B"],
        ["10.0.1", "1.2.3"],
    ],
)
def test_what_may_be_something_else_is_no_number(cells):
    guess = guess_column("x", pa.array(cells * 60))
    assert guess.type == "category"
    assert (guess.decimal, guess.symbol) == (None, None)


def test_what_may_be_a_number_is_said_with_what_to_do():
    assert 'set type = "number" and decimal' in guess_column("n", pa.array(["1,234", "5,678"])).reason
    points = pa.array([f"{number}.{number + 100}" for number in range(1, 30)])
    assert "if points separate thousands" in guess_column("n", points).reason


def test_decimal_and_symbol_belong_to_numbers():
    for settings_ in ({"decimal": ","}, {"symbol": "$"}):
        with pytest.raises(ConfigError, match="only allowed for numbers"):
            Field(name="x", column="x", **settings_).check()
    with pytest.raises(ConfigError, match="invalid symbol"):
        Field(name="x", column="x", type="number", symbol="-").check()


GROUP = st.integers(100, 999).map(str)


@settings(max_examples=50)
@given(st.integers(2, 3), st.data())
def test_addresses_versions_and_codes_of_equally_many_groups_are_no_numbers(num_groups, data):
    groups = st.tuples(st.integers(1, 999).map(str), *[GROUP] * num_groups)
    codes = data.draw(st.lists(groups.map(".".join), min_size=2, max_size=20))
    assert guess_column("code", pa.array(codes)).type == "category"


@pytest.mark.parametrize(
    "texts",
    [
        ["192.168.100", "10.168.100"],
        ["12.11.2026", "1.2.2026"],
        ["04.06", "12.24"],
        ["09.30", "23.59"],
        ["1.10.2", "1.9.12"],
        ["0171 123456", "030 555123"],
        ["555.123.4567", "555.123.4568"],
    ],
)
def test_dates_times_versions_and_phone_numbers_are_no_numbers(texts):
    assert guess_column("value", pa.array(texts * 100)).type != "number"


def test_separators_that_stand_in_numbers_only_make_numbers_of_whole_amounts():
    for between in ("\u202f", "\u00a0", "'", "’"):
        texts = [f"{number:,}".replace(",", between) for number in (5, 1_234, 1_234_567)]
        assert guess_column("sold", pa.array(texts)).type == "number"


@pytest.mark.parametrize(
    ("values", "style", "reason"),
    [
        (["unknown"], None, "if it means missing, name it in missing"),
        (["3,14"], None, 'decimal = "," would read it'),
        (["$5"], None, 'symbol = "$" would read it'),
        (["1.234,50 €"], None, 'decimal = ",", symbol = "€" would read it'),
        (["1.5"], Style(","), 'decimal = "." would read it'),
        (["5"], Style(".", "$"), "no symbol would read it"),
        (["12b"], None, None),
        (["1e999"], None, None),
    ],
)
def test_a_rejected_number_comes_with_the_setting_that_reads_it(values, style, reason):
    assert why_no_numbers(values, style) == ["not a finite number" + (f": {reason}" if reason else "")]
    if reason is None or "name it" in reason:
        return
    parts = reason.removesuffix(" would read it").replace("no symbol", 'symbol = ""').split(", ")
    found = {key: value.strip('"') or None for key, value in (part.split(" = ") for part in parts)}
    now = (style or Style())._asdict()
    assert "bad" not in read(values, **{**now, **found}), "and it does"
