"""Real logs, cut by time, for `benchmarks/daily.py`.

python benchmarks/daily_logs.py OUT movielens-1m                    # its 30 densest days
python benchmarks/daily.py OUT --days 30

python benchmarks/public_logs.py --out data
python benchmarks/daily_logs.py OUT flights --csv data/flights.csv  # by month
python benchmarks/daily.py OUT --days 12 --first 3
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from fieldwise.datasets import movielens

DENSEST = 30
_SECONDS = 86_400


def movielens_days() -> dict[str, pa.Table]:
    """Return the densest days of MovieLens-1M, each in the order of time."""
    movielens._TYPES["time"] = pa.int64()  # the log of `fieldwise datasets` has no times
    log = movielens.click_log(movielens._ratings()).drop_columns(["split"]).sort_by("time")
    days, rows = np.unique(log["time"].to_numpy() // _SECONDS, return_counts=True)
    of_row = log["time"].to_numpy() // _SECONDS
    densest = sorted(days[np.argsort(-rows, kind="stable")[:DENSEST]].tolist())
    return {str(np.datetime64(day, "D")): log.filter(pa.array(of_row == day)) for day in densest}


def flight_months(path: Path) -> dict[str, pa.Table]:
    """Return the months of a log of flights, each in the order of time."""
    log = csv.read_csv(path).sort_by([("month", "ascending"), ("day", "ascending"), ("sched_dep_time", "ascending")])
    log = log.rename_columns([{"label": "click"}.get(name, name) for name in log.column_names])
    months = log["month"].to_numpy()
    return {f"{month:02d}": log.filter(pa.array(months == month)) for month in range(1, 13)}


def main() -> None:
    """Read the arguments, and write the days."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("name", choices=("movielens-1m", "flights"))
    parser.add_argument("--csv", type=Path, help="the log of flights")
    arguments = parser.parse_args()
    days = movielens_days() if arguments.name == "movielens-1m" else flight_months(arguments.csv)
    folder = arguments.out / "seed0"
    (folder / "log").mkdir(parents=True, exist_ok=True)
    for name, rows in days.items():
        pq.write_table(rows, folder / "log" / f"{name}.parquet", compression="zstd")
    facts = {name: {"examples": rows.num_rows, "best": {"auc": None}} for name, rows in days.items()}
    (folder / "log.json").write_text(json.dumps({"days": facts}))
    apart = '["time"]' if arguments.name == "movielens-1m" else '["month"]'
    bag = '[fields.genre]\ntype = "bag"\nseparator = " "\n' if arguments.name == "movielens-1m" else ""
    data = f'[data]\ntrain = []\nvalid = 0.1\nlabel = "click"\nexclude = {apart}\n'
    (folder / "log.toml").write_text(data + bag)
    print(f"{len(days)} files of {min(map(len, days.values())):,} to {max(map(len, days.values())):,} rows")


if __name__ == "__main__":
    main()
