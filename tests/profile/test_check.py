"""A log surveyed, and every figure held against plain Python and scikit-learn."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.metrics import roc_auc_score
from tests.logs import write
from tests.profile.logs import FIELDS, config_text, planted

from fieldwise.config import parse_config
from fieldwise.errors import ConfigError, DataError
from fieldwise.jobs.check.check import check
from fieldwise.kernels.threads import num_threads, set_num_threads


def survey_of(table: pa.Table, folder, data: str = 'split = "split"\nweight = "weight"', fields=FIELDS, **options):
    name = write(table, folder / "log.parquet").name
    return check(parse_config(config_text(name, data, fields), base=folder), **options)


@pytest.fixture(scope="module")
def table():
    return planted()


@pytest.fixture(scope="module")
def survey(table, tmp_path_factory):
    return survey_of(table, tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def columns(survey):
    return {column.name: column for column in survey.columns}


def warned(survey) -> set[tuple[str, str]]:
    return {(warning.kind, warning.where) for warning in survey.warnings}


def rates_of(values, labels) -> dict:
    """Label rates of values, shrunk by 20 rows of the overall rate; None has the overall rate."""
    rows, clicks = Counter(values), Counter(value for value, y in zip(values, labels, strict=True) if y)
    overall = sum(labels) / len(labels)
    rates = {value: (clicks[value] + 20 * overall) / (rows[value] + 20) for value in rows}
    return {**rates, "never met": overall}


def halves(table):
    """Training and test rows as lists."""
    train = table.filter(pc.equal(table["split"], "train")).to_pydict()
    test = table.filter(pc.equal(table["split"], "test")).to_pydict()
    return train, test


@pytest.mark.parametrize("name", ["city", "billed", "size", "row", "country", "browser"])
def test_the_auc_of_a_field_alone_is_that_of_rates_learned_on_training_rows(table, columns, name):
    train, test = halves(table)
    rates = rates_of(train[name], train["click"])
    scores = [rates.get(value, rates["never met"]) for value in test[name]]
    assert columns[name].auc == pytest.approx(roc_auc_score(test["click"], scores), abs=1e-9)


def test_the_auc_of_a_bag_is_that_of_the_mean_rate_of_its_values(table, columns):
    train, test = halves(table)

    def values(cell):
        return [value for value in cell.split("|") if value] or ["(missing)"]

    flat = [(value, y) for cell, y in zip(train["tags"], train["click"], strict=True) for value in values(cell)]
    rates = rates_of(*zip(*flat, strict=True))
    scores = [np.mean([rates.get(value, rates["never met"]) for value in values(cell)]) for cell in test["tags"]]
    assert columns["tags"].auc == pytest.approx(roc_auc_score(test["click"], scores), abs=1e-9)


def test_values_that_do_not_come_again_have_no_auc_to_boast_of(columns):
    assert columns["session"].auc == 0.5
    assert columns["row"].auc == 0.5


def test_distinct_values_coverage_and_missing_are_those_of_the_log(table, columns):
    for name in ("city", "billed", "size", "price", "row", "session", "country", "browser"):
        cells = table[name].to_pylist()
        present = [cell for cell in cells if cell is not None]
        column = columns[name]
        assert (column.num_values, column.exact) == (len(set(present)), True)
        assert column.missing == len(cells) - len(present)
        assert column.coverage == pytest.approx(len(present) / len(cells))
    assert (columns["empty"].num_values, columns["empty"].coverage) == (0, 0)


@pytest.mark.parametrize("name", ["city", "size", "browser"])
def test_frequent_values_have_their_counts_and_label_rates(table, columns, name):
    cells, clicks = table[name].to_pylist(), table["click"].to_pylist()
    counts = Counter(str(cell) for cell in cells if cell is not None)
    found = columns[name].frequent
    assert [group.rows for group in found] == [rows for _, rows in counts.most_common(5)]
    for group in found:
        of_value = [y for cell, y in zip(cells, clicks, strict=True) if str(cell) == group.value]
        assert (group.rows, group.label_rate) == (len(of_value), pytest.approx(np.mean(of_value)))


def test_a_bag_counts_a_row_once_for_each_of_its_values(table, columns):
    tokens = Counter(token for cell in table["tags"].to_pylist() for token in cell.split("|") if token)
    assert {group.value: group.rows for group in columns["tags"].frequent} == tokens
    assert next(group.label_rate for group in columns["tags"].frequent if group.value == "hot") == 1


def test_the_ranges_of_a_number_cover_its_rows_and_have_their_label_rates(table, columns):
    price, clicks = np.array(table["price"]), np.array(table["click"])
    ranges = columns["price"].ranges
    assert len(ranges) == 10
    assert sum(group.rows for group in ranges) == len(price)
    first = float(ranges[0].value.removeprefix("< "))
    below = price < first
    assert ranges[0].rows == pytest.approx(below.sum(), abs=3)
    assert ranges[0].label_rate == pytest.approx(clicks[below].mean(), abs=0.01)
    assert columns["price"].quantiles == pytest.approx((price.min(), np.median(price), price.max()), rel=0.01)


def test_drift_is_the_population_stability_index_over_frequent_values_rest_and_missing(table, columns):
    train, test = halves(table)
    a, b = Counter(train["city"]), Counter(test["city"])  # None is missing
    bins = sorted(set(a) | set(b), key=str)
    p = np.array([a[v] + 0.5 for v in bins]) / (len(train["city"]) + len(bins) / 2)
    q = np.array([b[v] + 0.5 for v in bins]) / (len(test["city"]) + len(bins) / 2)
    assert columns["city"].drift.psi == pytest.approx(float(((q - p) * np.log(q / p)).sum()))
    assert columns["city"].drift.psi_by_chance == pytest.approx((len(bins) - 1) * (1 / 4800 + 1 / 1200))
    assert columns["city"].drift.unseen == 0
    assert columns["browser"].drift.unseen == 1


def test_days_are_those_of_the_calendar(table, survey):
    days = {day.day: day for day in survey.days["time"]}
    assert list(days) == ["2023-11-15", "2023-11-16", "2023-11-17"]
    stamps, clicks = np.array(table["time"]), np.array(table["click"])
    second = (stamps - stamps.min() // 86_400 * 86_400) // 86_400 == 1
    assert days["2023-11-16"].rows == second.sum()
    assert days["2023-11-16"].label_rate == pytest.approx(clicks[second].mean())
    assert sum(day.parts["test"] for day in days.values()) == 1200


def test_every_planted_fault_is_found_and_nothing_else(survey):
    assert warned(survey) == {
        ("leak", "[fields.billed]"),
        ("leak", "[fields.tags]"),
        ("row_number", "[fields.row]"),
        ("near_unique", "[fields.session]"),
        ("constant", "[fields.country]"),
        ("all_missing", "[fields.empty]"),
        ("zero_weights", "column weight"),
        ("drift", "[fields.browser]"),
        ("unseen", "[fields.browser]"),
    }
    assert next(w for w in survey.warnings if w.kind == "zero_weights").what.startswith("600 rows")
    assert all(warning.why and warning.fix and warning.what for warning in survey.warnings)


def test_test_rows_that_training_has_too_are_counted(tmp_path):
    table = planted().select(["click", "city", "price", "tags", "split"])
    train = table.filter(pc.equal(table["split"], "train"))
    copies = train.slice(0, 300).set_column(4, "split", pa.array(["test"] * 300))
    fields = {"city": "category", "tags": "bag", "price": "number"}
    survey = survey_of(pa.concat_tables([table, copies]), tmp_path, 'split = "split"', fields)
    rows = [tuple(row.values()) for row in table.select(["city", "price", "tags"]).to_pylist()]

    def key(row):
        return row[0], row[1], tuple(sorted(row[2].split("|")))

    known = {key(row) for row, part in zip(rows, table["split"].to_pylist(), strict=True) if part == "train"}
    expected = 300 + sum(key(row) in known for row in rows[4800:])
    overlap = next(each for each in survey.overlap if each.part == "test")
    assert overlap.rows == expected
    assert overlap.share == pytest.approx(expected / 1500)
    assert ("overlap", "the test rows") in warned(survey)


def test_bags_of_the_same_values_with_other_weights_do_not_equal_each_other(tmp_path):
    bags = [f"a:{row % 40}|b:1" if row % 2 else f"b:1|a:{row % 40}" for row in range(2000)]
    table = pa.table({"click": [row % 3 == 0 for row in range(2000)], "tags": bags})
    table = table.append_column("split", pa.array(["train"] * 30 + ["test"] * 1970))
    survey = survey_of(table, tmp_path, 'split = "split"', {"tags": "bag"})
    assert [(each.part, each.rows) for each in survey.overlap] == [("test", 1470)]  # 30 of 40 weights, 10 rows further


def test_a_log_without_overlap_is_not_accused_of_one(survey):
    assert [(each.part, each.rows) for each in survey.overlap] == [("test", 0)]


def test_identifiers_of_test_rows_that_training_has_too_are_an_overlap(tmp_path):
    table = planted(3000)
    ids = [f"i{n}" for n in range(2990)] + [f"i{n}" for n in range(10)]
    table = table.append_column("impression", pa.array(ids))
    survey = survey_of(table, tmp_path, 'split = "split"\nid = "impression"', {"city": "category"})
    assert ("overlap", "column impression") in warned(survey)


def test_without_validation_and_test_rows_half_of_the_training_rows_is_measured(tmp_path):
    table = planted().set_column(13, "split", pa.array(["train"] * 6000))
    survey = survey_of(table, tmp_path)
    found = {column.name: column for column in survey.columns}
    assert survey.measured_on == "half of the training rows"
    assert 0.97 < found["billed"].auc < 1
    assert found["session"].auc == 0.5
    assert found["city"].drift is None


def test_a_label_of_one_class_in_a_part_is_a_warning_and_no_auc(table, tmp_path):
    clicks = np.where(np.array(table["split"]) == "test", 0, np.array(table["click"]))
    survey = survey_of(table.set_column(0, "click", pa.array(clicks)), tmp_path)
    assert ("constant_label", "the test rows") in warned(survey)
    city = survey.columns[0]
    assert (city.auc, city.auc_undefined) == (None, "the rows to measure on have only one class")


def test_the_auc_of_more_than_two_classes_is_the_mean_of_one_against_the_rest(tmp_path):
    rng = np.random.default_rng(3)
    table = planted()
    label = (np.array(table["size"]) + rng.integers(0, 6, 6000)) // 6
    table = table.set_column(0, "click", pa.array([("b", "a", "c")[i] for i in label]))
    survey = survey_of(table, tmp_path)
    train, test = halves(table)
    aucs = []
    for one in "abc":
        rates = rates_of(train["size"], [label == one for label in train["click"]])
        scores = [rates.get(value, rates["never met"]) for value in test["size"]]
        aucs.append(roc_auc_score([label == one for label in test["click"]], scores))
    size = next(column for column in survey.columns if column.name == "size")
    assert survey.classes == ("a", "b", "c")
    assert size.auc == pytest.approx(np.mean(aucs), abs=1e-9)
    assert size.frequent[0].label_rate is None


def test_a_label_of_many_classes_has_no_auc_and_says_why(tmp_path):
    table = planted(2000)
    survey = survey_of(table.set_column(0, "click", pa.array([n * 7 % 25 for n in range(2000)])), tmp_path)
    assert survey.classes == tuple(str(n) for n in range(25))
    assert {column.auc for column in survey.columns} == {None}
    assert survey.columns[0].auc_undefined == "the label has more than 20 classes"
    assert sum(survey.parts["train"].classes.values()) == 1600


def test_a_row_number_that_starts_anew_in_each_file_is_one(tmp_path):
    table = planted(2000)
    write(table.slice(0, 1600), tmp_path / "a.parquet")
    write(table.slice(1600).set_column(6, "row", pa.array(range(400))), tmp_path / "b.parquet")
    text = config_text("a.parquet", 'test = "b.parquet"', {"city": "category", "row": "number"})
    survey = check(parse_config(text, base=tmp_path))
    assert next(column for column in survey.columns if column.name == "row").counts_rows


def test_a_column_that_holds_texts_where_numbers_are_expected_is_named(tmp_path):
    table = planted(2000)
    prices = ["free" if n % 100 == 0 else str(n % 7) for n in range(2000)]
    survey = survey_of(table.set_column(4, "price", pa.array(prices)), tmp_path)
    assert ("not_a_number", "[fields.price]") in warned(survey)
    assert next(column for column in survey.columns if column.name == "price").not_numbers == 20
    assert (survey.read.rows_read, survey.read.rows_used, survey.rows_rejected) == (2000, 1980, 20)
    [reason] = survey.read.reasons
    assert (reason.column, reason.row, reason.value, reason.rows) == ("price", 1, "free", 20)
    assert sum(part.rows for part in survey.parts.values()) == 1980


def test_rows_that_cannot_be_used_are_counted_with_the_first_of_them(tmp_path):
    table = planted(1000)
    label = pa.array([None if n in (5, 6) else int(n % 2) for n in range(1000)])
    split = pa.array(["never" if n == 9 else "train" for n in range(1000)])
    survey = survey_of(table.set_column(0, "click", label).set_column(13, "split", split), tmp_path)
    assert survey.rows_rejected == 3
    assert survey.parts["train"].rows == 997
    assert [(each.column, each.row, each.rows) for each in survey.read.reasons] == [("click", 6, 2), ("split", 10, 1)]
    assert "rejected_rows" in {warning.kind for warning in survey.warnings}


def test_fewer_rows_are_chosen_evenly_and_are_the_same_each_time(table, tmp_path):
    survey = survey_of(table, tmp_path, rows=1500)
    assert survey.rows_in_log == 6000
    assert 1350 < survey.rows_read < 1650
    assert 0.17 < survey.parts["test"].rows / survey.rows_read < 0.23
    assert survey_of(table, tmp_path, rows=1500) == survey


def test_beyond_the_values_that_fit_in_memory_figures_are_estimates_and_say_so(tmp_path, monkeypatch):
    rng = np.random.default_rng(5)
    user = (rng.random(40_000) ** 2 * 12_000).astype(int)
    rates = np.random.default_rng(6).beta(0.5, 0.5, 12_000)
    table = pa.table(
        {
            "click": (rng.random(40_000) < rates[user]).astype(int),
            "user": [f"u{n}" for n in user],
            "split": rng.choice(["train", "test"], 40_000, p=[0.7, 0.3]),
        }
    )
    exact = survey_of(table, tmp_path, 'split = "split"', {"user": "category"}).columns[0]
    monkeypatch.setattr("fieldwise.jobs.check.counts._VALUES_IN_ALL", 1)
    estimate = survey_of(table, tmp_path, 'split = "split"', {"user": "category"}).columns[0]
    assert (exact.exact, exact.num_values) == (True, len(set(user)))
    assert not estimate.exact
    assert estimate.num_values == pytest.approx(exact.num_values, rel=0.1)
    assert estimate.auc == pytest.approx(exact.auc, abs=0.02)
    assert estimate.drift.unseen == pytest.approx(exact.drift.unseen, abs=0.03)
    assert estimate.frequent == exact.frequent


def test_threads_change_nothing(table, survey, tmp_path_factory):
    before = num_threads()
    set_num_threads(1 if before > 1 else 2)
    try:
        again = survey_of(table, tmp_path_factory.mktemp("log"))
    finally:
        set_num_threads(before)
    assert (again.columns, again.warnings) == (survey.columns, survey.warnings)


@pytest.mark.parametrize(("rows", "label", "error"), [(0, "click", ConfigError), (10, "price", DataError)])
def test_what_cannot_be_surveyed_is_refused(table, tmp_path, rows, label, error):
    name = write(table, tmp_path / "log.parquet").name
    text = config_text(name, fields={"city": "category"}).replace('label = "click"', f'label = "{label}"')
    with pytest.raises(error):
        check(parse_config(text, base=tmp_path), rows=rows if rows != 10 else None)


def test_columns_that_no_field_can_read_are_listed(tmp_path):
    table = pa.table(
        {"click": [0, 1] * 50, "city": ["a", "b"] * 50, "vector": [[0.1, 0.2], [0.3]] * 50, "pair": [{"a": 1}] * 100}
    )
    survey = survey_of(table, tmp_path, "test = 0.3", {"city": "category"})
    assert {column.name: (column.type, column.role) for column in survey.columns[1:]} == {
        "vector": ("other", "left out"),
        "pair": ("other", "left out"),
    }
    assert not math.isnan(survey.columns[0].auc)


def test_bytes_that_are_no_text_are_shown_as_far_as_they_can_be(tmp_path):
    table = pa.table({"key": pa.array([b"\xbf\x01", b"a\xff", b"\xbf\x01"] * 40), "click": [0, 1, 1] * 40})
    surveyed = survey_of(table, tmp_path, "", {"key": "category"})
    [key] = [column for column in surveyed.columns if column.name == "key"]
    assert {group.value for group in key.frequent} == {"\ufffd\x01", "a\ufffd"}


def test_days_that_pythons_dates_do_not_hold_are_named(tmp_path):
    second = 10**6
    far = pa.array([253_402_300_800 * second, 0, 86_400 * second, -(2**61)] * 30, pa.timestamp("us"))
    surveyed = survey_of(pa.table({"at": far, "click": [0, 1, 1] * 40}), tmp_path, "", {"at": 'time"\npart = "hour'})
    days = [each.day for each in next(iter(surveyed.days.values()))]
    assert days[-3:] == ["1970-01-01", "1970-01-02", "10000-01-01"]
