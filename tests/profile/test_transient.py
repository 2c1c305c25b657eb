"""Fields whose effects do not last are found where the log drifts, and left out of what is prepared."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.reference import effects as reference

import fieldwise as fw
from fieldwise.jobs.prepare.prepare import find_prepared, prepare
from fieldwise.profile.transient import effects

MONTHS, ROWS = 12, 1500


def log(seed=0):
    """Return a log of twelve months: every day has weather of its own, every place an effect that lasts."""
    rng = np.random.default_rng(seed)
    month, day, place, noise = (rng.integers(0, size, MONTHS * ROWS) for size in (1, 28, 20, 40))
    month = np.repeat(np.arange(MONTHS), ROWS)
    weather = rng.normal(0, 1, (MONTHS, 28)) + rng.normal(0, 0.5, (MONTHS, 1))
    z = weather[month, day] + rng.normal(0, 0.5, 20)[place] - 1.0
    fields = {"month": month, "day": day, "place": place, "noise": noise}
    columns = {name: [f"{name} {value}" for value in values] for name, values in fields.items()}
    part = np.select([month == 10, month == 11], ["valid", "test"], "train")
    return pa.table({**columns, "click": (rng.random(len(z)) < 1 / (1 + np.exp(-z))).astype(int), "split": part})


def names(prepared):
    return [field.name for field in prepared.encoder.schema.fields]


def config(folder, **data):
    return fw.Config(
        data=fw.DataConfig(train="log.parquet", label="click", split="split", **data),
        model=fw.ModelConfig(kind="lr"),
        base=str(folder),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transient")
    pq.write_table(log(), folder / "log.parquet")
    return folder


def test_variances_are_those_of_pairs_of_rows():
    rng = np.random.default_rng(0)
    values, labels = rng.integers(0, 6, 203), rng.integers(0, 2, 203)
    found, (lasting, whole) = effects(values, labels), reference.effects(values.tolist(), labels.tolist())
    assert found.lasting == pytest.approx(lasting)
    # What is taken off for a row and itself is p (1 - p), the expectation of its square.
    assert found.whole == pytest.approx(whole, abs=0.01)


def test_the_day_and_the_month_of_a_drifting_log_are_left_out_and_it_is_said(folder):
    heard = []
    prepared = prepare(config(folder), listen=heard.append)
    assert names(prepared) == ["place", "noise"]
    assert [event.text for event in heard if "do not last" in getattr(event, "text", "")]
    assert set(prepared.read.columns_not_used) >= {"month", "day"}
    assert names(find_prepared(config(folder))) == ["place", "noise"]
    assert names(prepare(config(folder, transient="keep"))) == ["month", "day", "place", "noise"]


def test_a_part_of_a_cross_stays(folder):
    crossed = names(prepare(config(folder, crosses=(("day", "place"),))))
    assert crossed == ["day", "place", "noise", "day_x_place"]


def test_nothing_is_left_out_where_rows_are_dealt_at_random(tmp_path):
    table = log(1)
    rng = np.random.default_rng(1)
    rows = table.take(rng.permutation(table.num_rows))
    part = pa.array(rng.choice(["train", "valid", "test"], table.num_rows, p=[0.8, 0.1, 0.1]))
    for name, each in (("random", rows), ("in_time", table)):
        (tmp_path / name).mkdir()
        each = each.set_column(each.schema.get_field_index("split"), "split", part)
        pq.write_table(each, tmp_path / name / "log.parquet")
        assert names(prepare(config(tmp_path / name))) == ["month", "day", "place", "noise"]
