"""What labels that come late do to a model that is updated every night, and what puts it right.

    python -m benchmarks.late_labels OUT --rows 4000 --days 20

The log is `fieldwise datasets synth-days`: clicks become known some hours after their rows. The first seven days, with
all their labels, train a model. Every midnight it is updated with the day and the clicks that are known by then:

    ignored         a row without a click by midnight is a negative, for good
    wait            rows wait until their window closes (`update.late_labels = "wait"`)
    fake-negatives  learned from at once, and once more when the click comes
    known           all clicks are known at midnight: what no method can have

Each version answers the next day. Calibration is the sum of its predictions over the clicks that come in the end.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import fieldwise as fw
from fieldwise.config import load_config
from fieldwise.datasets.synth_days import DaysOptions, make_synth_days
from fieldwise.metrics import BinaryMetrics

FIRST = 7
WAYS = "ignored", "wait", "fake-negatives", "known"


def simulate(folder: Path, options: DaysOptions, way: str, window: float, kind: str) -> dict[str, Any]:
    """Return the metrics of all days after the first in which labels are late."""
    text = make_synth_days(folder, options).read_text()
    text = text.replace('exclude = ["time", "clicked_at"]', 'time = "time"\nexclude = ["clicked_at"]')
    (folder / "late.toml").write_text(text)
    run = folder / way
    settings = [f"model.kind={kind}", "train.threads=1", *(["model.units=1"] if kind != "lr" else [])]
    fw.train(load_config(folder / "late.toml", settings), run)
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(options.days)]
    tables = [pq.read_table(folder / "synth-days" / f"{day}.parquet") for day in days]
    settings = [f"update.label_window={window}", "update.late_labels=" + ("wait" if way != "fake-negatives" else way)]
    metrics, by_day = BinaryMetrics(), []
    for number in range(FIRST, options.days):
        table, midnight = tables[number], pa.scalar(np.datetime64(days[number], "ms") + np.timedelta64(1, "D"))
        if number > FIRST:
            answers, labels = np.asarray(fw.Predictor(run).predict(table)), table["click"].to_numpy().astype(np.int32)
            metrics.update(answers, labels)
            by_day.append(float(answers.sum() / labels.sum()))
        if way == "known":
            fw.update(run, table, gate=False, overrides=settings)
            continue
        is_known = pc.less_equal(table["clicked_at"], midnight).fill_null(False).cast(pa.int8())
        seen = table.set_column(table.column_names.index("click"), "click", is_known)
        if way == "ignored":
            fw.update(run, seen, gate=False, overrides=settings)
            continue
        before = pa.concat_tables(tables[FIRST:number]) if number > FIRST else table.slice(0, 0)
        came = before.filter(pc.less_equal(before["clicked_at"], midnight)).select(["id", "click"])
        pq.write_table(came, folder / "labels.parquet")
        until = f"{days[number] + timedelta(days=1)}T00:00"
        labels = [folder / "labels.parquet"] if came.num_rows else []
        fw.update(run, seen, labels=labels, labels_until=until, gate=False, overrides=settings)
    whole = metrics.compute()
    later = by_day[len(by_day) // 2 :]
    return {
        "way": way,
        "auc": whole.auc,
        "logloss": whole.logloss,
        "calibration": whole.calibration_ratio,
        "calibration_of_the_later_half": float(np.mean(later)),
    }


def main() -> None:
    """Measure all ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--delay", type=float, default=12.0, help="hours, on average")
    parser.add_argument("--window", type=float, default=3.0, help="days")
    parser.add_argument("--kind", default="lr")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    options = DaysOptions(
        days=given.days, rows=given.rows, fields=6, features=300, delay=given.delay, season=0.0, seed=given.seed
    )
    for way in WAYS:
        found = simulate(given.out / way, options, way, given.window, given.kind)
        sys.stdout.write(json.dumps({name: round(v, 4) if isinstance(v, float) else v for name, v in found.items()}))
        sys.stdout.write("\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
