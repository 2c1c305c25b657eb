"""Bad days, each refused for its own reason; good ones taken."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fieldwise.data.log import encode_log, open_table
from fieldwise.features.encoder import Encoder
from fieldwise.features.row_digests import row_digests
from fieldwise.jobs.update.day import DaySummarizer, DaySummary, FieldSummary, summary_of_training
from fieldwise.jobs.update.guards import Findings, inspect_day, inspect_predictions
from fieldwise.jobs.update.holdout import content_columns, held_out
from fieldwise.schema import Field, Schema
from fieldwise.training.update_config import GuardsConfig

ROWS = 2_000
SCHEMA = Schema(
    fields=(
        Field(name="user", column="user"),
        Field(name="price", column="price", type="number", bins=5),
        Field(name="age", column="age", type="number"),
        Field(name="tags", column="tags", type="bag", separator="|"),
    ),
    label="click",
    id="id",
    time=Field(name="time", column="time", type="time"),
)


def day_of(number: int, rows: int = ROWS) -> pa.Table:
    """A good day: everything is drawn anew from what it always is."""
    rng = np.random.default_rng(number + 1_000)
    start = np.datetime64("2026-01-01", "s") + np.timedelta64(number, "D")
    return pa.table(
        {
            "id": np.arange(rows) + number * 1_000_000,
            "time": start + np.sort(rng.integers(0, 86_400, rows)).astype("timedelta64[s]"),
            "user": [f"u{user}" for user in rng.integers(0, 50, rows)],
            "price": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.05),
            "age": rng.integers(18, 80, rows).astype(float),
            "tags": ["|".join("abcd"[tag] for tag in rng.integers(0, 4, 2)) for _ in range(rows)],
            "click": (rng.random(rows) < 0.2).astype(int),
        }
    )


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(SCHEMA).fit([day_of(-2), day_of(-1)])


def summary(encoder: Encoder, table: pa.Table, earlier: list[pa.Table] | None = None) -> DaySummary:
    columns = content_columns(SCHEMA, table.column_names)
    digests = [row_digests(old, content_columns(SCHEMA, old.column_names)) for old in earlier or []]
    held = np.concatenate([each[held_out(each)] for each in digests] or [np.zeros(0, np.uint64)])
    summarizer = DaySummarizer(encoder, held)
    for chunk, encoded in encode_log(open_table(table), encoder, labelled=True, extra=columns):
        summarizer.add(chunk, encoded)
    return summarizer.compute()


@pytest.fixture(scope="module")
def history(encoder: Encoder) -> list[DaySummary]:
    return [summary_of_training(encoder), *(summary(encoder, day_of(number)) for number in range(4))]


def inspected(encoder: Encoder, history: list[DaySummary], table: pa.Table) -> Findings:
    return inspect_day(summary(encoder, table, [day_of(number) for number in range(4)]), history, GuardsConfig())


def with_column(table: pa.Table, name: str, values: object) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def test_good_days_are_taken_without_a_word(encoder: Encoder, history: list[DaySummary]) -> None:
    for number in range(4, 10):
        found = inspected(encoder, history, day_of(number))
        assert not found.refusals
        assert not found.warnings
    assert not inspect_day(history[1], history[:1], GuardsConfig()).refusals  # the first of all


BAD: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "empty": (lambda day: day.slice(0, 0), "rows with a label: expected some, got none"),
    "without labels": (
        lambda day: with_column(day, "click", pa.nulls(ROWS, pa.int64())),
        "expected some, got none of 2,000 that can be used",
    ),
    "half without labels": (
        lambda day: with_column(day, "click", pc.if_else(pa.array(np.arange(ROWS) % 2 == 0), day["click"], None)),
        "rows that cannot be used: expected about 0.0%, got 50.0%",
    ),
    "one class": (lambda day: with_column(day, "click", np.zeros(ROWS, int)), "labels: expected two classes or more"),
    "flipped labels": (
        lambda day: with_column(day, "click", pc.subtract(1, day["click"])),
        "the share of label 1: expected 0.",
    ),
    "30 times too large": (lambda day: day_of(5, 30 * ROWS), "rows: expected about 2,000, got 60,000"),
    "a tenth of the rows twice": (
        lambda day: pa.concat_tables([day, day.slice(0, ROWS // 10)]),
        "rows that repeat one of the same day",
    ),
    "a tenth of the rows 3 times": (
        lambda day: pa.concat_tables([day, day.slice(7, ROWS // 10), day.slice(7, ROWS // 10)]),
        "rows that repeat one of the same day",
    ),
    "the day before, and other rows": (
        lambda day: pa.concat_tables([day, day_of(3).slice(0, ROWS // 2)]),
        "rows that earlier days had",
    ),
    "an earlier day": (lambda day: day_of(2), "the same rows as those of the day of 2026-01-03"),
    "an earlier day in another order": (
        lambda day: day_of(2).take(pa.array(np.random.default_rng(0).permutation(ROWS))),
        "the same rows as those of the day of 2026-01-03",
    ),
    "an earlier day with other labels": (
        lambda day: with_column(day_of(2), "click", np.roll(day_of(2)["click"].to_numpy(), 1)),
        "the same rows, with other labels",
    ),
    "a stuck category": (lambda day: with_column(day, "user", ["u7"] * ROWS), "field user, the share of its most"),
    "a column stuck at what is not known": (
        lambda day: with_column(day, "user", ["?"] * ROWS),
        "field user, the share of its most frequent value",
    ),
    "a stuck number": (lambda day: with_column(day, "age", np.full(ROWS, 20.0)), "field age, the share of its most"),
    "a stuck number with bins": (
        lambda day: with_column(day, "price", np.full(ROWS, 0.1)),
        "field price, the share of its most",
    ),
    "a column that is missing in half of the rows": (
        lambda day: with_column(day, "price", pa.array(np.arange(ROWS) * 1.0, mask=np.arange(ROWS) % 2 == 0)),
        "field price, the share of missing values",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_day_is_refused_with_what_was_expected_and_what_came(
    kind: str, encoder: Encoder, history: list[DaySummary]
) -> None:
    make, reason = BAD[kind]
    found = inspected(encoder, history, make(day_of(5)))
    assert any(reason in str(finding) for finding in found.refusals), [str(each) for each in found.refusals]


def test_a_late_day_and_columns_that_came_or_went_are_taken_with_a_warning(
    encoder: Encoder, history: list[DaySummary]
) -> None:
    late = inspected(encoder, [history[0], *history[2:]], day_of(-30))
    assert [str(finding) for finding in late.warnings] == [
        "the day is late: expected one after 2026-01-04, got 2025-12-02"
    ]
    assert not late.refusals


def test_an_answer_that_is_far_worse_than_on_other_days_is_refused(history: list[DaySummary]) -> None:
    known = [msgspec.structs.replace(day, auc=0.78 + 0.01 * (number % 3)) for number, day in enumerate(history)]
    new = msgspec.structs.replace(history[-1], digest="new", classes=[160_000, 40_000], known=0.0)
    for auc, refused in ((0.25, True), (0.68, False)):
        found = inspect_day(msgspec.structs.replace(new, rows=2_000, auc=auc), known, GuardsConfig())
        assert any("AUC of the version in use" in finding.what for finding in found.refusals) == refused


@pytest.mark.parametrize(
    ("auc", "before", "clicks", "refused"),
    [
        (0.64, [0.78, 0.8, None], 2_000, True),  # half of the labels are those of other rows
        (0.64, [0.78, 0.8, None], 60, False),  # chance
        (0.70, [0.78, 0.8, None], 2_000, False),  # another month
        (0.55, [0.6, 0.6], 10_000, True),
        (0.55, [], 10_000, False),
        (None, [0.8], 10_000, False),
    ],
)
def test_what_was_predicted_of_a_day_says_whether_its_labels_are_its_own(auc, before, clicks, refused):
    assert bool(inspect_predictions(auc, before, [10 * clicks, clicks], GuardsConfig())) == refused


def test_a_column_that_has_mostly_one_value_is_stuck_where_the_others_are_gone(history: list[DaySummary]) -> None:
    def with_top(top: float) -> DaySummary:
        fields = {"user": FieldSummary(missing=0.0, unseen=0.0, top=top)}
        return msgspec.structs.replace(history[-1], rows=10**6, used=10**6, digest=str(top), fields=fields, known=0.0)

    usual = [with_top(0.9 + 0.01 * number) for number in range(-2, 3)]
    for top, refused in ((0.93, False), (0.97, False), (1.0, True)):
        found = inspect_day(with_top(top), usual, GuardsConfig())
        assert any("user" in finding.what for finding in found.refusals) == refused
    constant = [msgspec.structs.replace(with_top(1.0), digest=name) for name in "abc"]
    assert not inspect_day(with_top(1.0), constant, GuardsConfig()).refusals


def test_chance_in_a_small_day_is_no_reason(encoder: Encoder, history: list[DaySummary]) -> None:
    for number in range(20, 40):
        assert not inspected(encoder, history, day_of(number, 30)).refusals


def test_digests_and_figures_do_not_depend_on_chunks(encoder: Encoder) -> None:
    table = day_of(6)
    columns = content_columns(SCHEMA, table.column_names)
    summarizer = DaySummarizer(encoder)
    held = []
    for begin in range(0, ROWS, 300):
        part = open_table(table.slice(begin, 300))
        for chunk, encoded in encode_log(part, encoder, labelled=True, extra=columns):
            held.append(summarizer.add(chunk, encoded))
    whole = summary(encoder, table)
    assert summarizer.compute() == whole
    expected = held_out(row_digests(table, columns))
    assert (np.concatenate(held) == expected).all()
    assert 120 < expected.sum() < 280


@pytest.mark.parametrize(("usual", "now", "refused"), [(0.05, 1.0, True), (0.05, 0.6, False), (0.99, 1.0, False)])
def test_a_column_of_another_meaning_is_refused_and_one_of_sessions_is_not(
    history: list[DaySummary], usual: float, now: float, refused: bool
) -> None:
    def with_unseen(unseen: float) -> DaySummary:
        fields = {"user": FieldSummary(missing=0.0, unseen=unseen)}
        return msgspec.structs.replace(history[-1], digest=str(unseen), fields=fields, known=0.0, repeated=0.0)

    found = inspect_day(with_unseen(now), [with_unseen(usual)], GuardsConfig())
    assert any("guards.unknown" in str(finding) for finding in found.refusals) == refused
    training = msgspec.structs.replace(with_unseen(usual), rows=None, used=None)
    assert not inspect_day(with_unseen(now), [training], GuardsConfig()).refusals  # of which the model knows all
