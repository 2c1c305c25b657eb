"""How fast, and in how much memory, logs are prepared, against the engines that people use for it.

    python benchmarks/prepare.py --json           # about an hour, 41 GB of disk
    python benchmarks/prepare.py --quick --json   # about a minute

Every run is a process of its own; figures are medians, of one run where a part takes minutes. polars and DuckDB are
installed into an environment of their own below `--folder`. `--only NAME` runs one part:

strings   20 M rows of 3 high-cardinality string columns in Parquet, fit and transform, against polars and DuckDB
csv       39 columns of short ids as CSV, each pass against pyarrow's CSV reader alone on all cores
wide      2,311 fields x 1 M rows (20 GB of disk) and 158 fields x 9 M rows (10 GB), under 10 GB: seconds, memory, bytes
          per row; time per value against that of 39 fields
limit     100 M rows x 40 fields under 2 GB (35 GB of disk)
billion   10^9 rows x 10 fields, hashed: a log of 100 files, all of them links to one of 10 M rows (41 GB of disk)
cache     batches of 39 fields from the cache
training  logistic regression, the model that needs batches fastest: the share of its time that it waits for them
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

sys.path.insert(0, str(Path(__file__).parent))  # measure.py beside this file, however it is started

from environment import peer_python
from measure import in_process, measured, medians

_PEERS = str(Path(__file__).with_name("prepare_peers.py"))
_CHUNK = 1 << 18
_TABLE = 1 << 21
_WARM_ROWS, _WARM_CELLS = 50_000, 2_000_000
_LETTERS = np.frombuffer(b"0123456789abcdefghijklmnopqrstuvwxyz", dtype=np.uint8)


def main() -> None:
    """Run the parts, or one task in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="small logs, one run each")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs/prepare"), help="for logs and caches")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--options", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        measured(TASKS[arguments.task], json.loads(arguments.options))
        return
    repeats = 1 if arguments.quick else arguments.repeats
    figures = {}
    for name in arguments.only or PARTS:
        figures[name] = PARTS[name](arguments.folder, arguments.quick, repeats)
        if not arguments.json:
            print(name, json.dumps(figures[name], indent=1))
    if arguments.json:
        print(json.dumps(figures, indent=1))


def repeated(repeats: int, task: str, **options: object) -> dict[str, Any]:
    """Return the medians over several runs of a task."""
    return medians([in_process(__file__, task, **options) for _ in range(repeats)])


# The parts.


def strings(folder: Path, quick: bool, repeats: int) -> dict[str, Any]:
    """Fit and transform three string columns: ours (to a cache), polars and DuckDB (to Parquet)."""
    log = folder / f"strings{'-quick' if quick else ''}.parquet"
    num_rows = 400_000 if quick else 20_000_000
    make_log(log, num_rows, [num_rows // 2, num_rows // 16, num_rows // 180], skew=0.6)
    fields = {f"f{i}": {"type": "category", "min_count": 2} for i in range(3)}
    figures: dict[str, Any] = {"rows": num_rows}
    figures["fieldwise"] = repeated(repeats, "ours", log=str(log), fields=fields)
    python = str(peer_python("engines", "polars", "duckdb", root=folder / "peers"))
    for peer in ("polars", "duckdb"):
        out = folder / f"{peer}.parquet"
        figures[peer] = medians(
            [in_process(_PEERS, peer, python=python, log=str(log), out=str(out)) for _ in range(repeats)]
        )
        out.unlink()
    peers = [figures["polars"], figures["duckdb"]]
    kept = {name: figures[name]["features"] for name in ("fieldwise", "polars", "duckdb")}
    if {kept["polars"], kept["duckdb"]} != {kept["fieldwise"] - 2 * len(fields)}:  # less missing and unseen
        raise SystemExit(f"they did not do the same: {kept}")
    figures["times_faster_than_the_better"] = min(p["seconds"] for p in peers) / figures["fieldwise"]["seconds"]
    figures["memory_against_the_smaller"] = figures["fieldwise"]["peak_bytes"] / min(p["peak_bytes"] for p in peers)
    return figures


def csv(folder: Path, quick: bool, repeats: int) -> dict[str, Any]:
    """Each pass over 39 columns of CSV, against parsing alone."""
    log = folder / f"csv{'-quick' if quick else ''}.csv"
    make_log(log, 150_000 if quick else 4_000_000, _sizes_of_ids(39), skew=1.0)
    fields = {f"f{i}": {"type": "category", "min_count": 2} for i in range(39)}
    parse = repeated(repeats, "parse", log=str(log))
    ours = repeated(repeats, "ours", log=str(log), fields=fields)
    return {
        "rows": ours["rows"],
        "parse": parse,
        "fieldwise": ours,
        "fit_against_parsing": parse["seconds"] / ours["fit_seconds"],
        "transform_against_parsing": parse["seconds"] / ours["transform_seconds"],
    }


def wide(folder: Path, quick: bool, repeats: int) -> dict[str, Any]:
    """Many fields, and many rows of a middling number of fields."""
    figures: dict[str, Any] = {}
    shapes = [(39, 4_000_000), (2311, 1_000_000), (158, 9_000_000)]
    for num_fields, num_rows in [(39, 40_000), (231, 10_000), (158, 20_000)] if quick else shapes:
        log = folder / f"wide-{num_fields}{'-quick' if quick else ''}.parquet"
        make_log(log, num_rows, _sizes_of_ids(num_fields), skew=1.0)
        # Named as fields, for in few rows a column may look like one to leave out.
        fields = {f"f{i}": {"type": "category"} for i in range(num_fields)}
        repeats_of = 1 if num_fields > 39 else repeats
        figures[str(num_fields)] = run = repeated(repeats_of, "ours", log=str(log), fields=fields, memory="10GB")
        run["seconds_per_value"] = run["seconds"] / (run["rows"] * num_fields)
        run["peak_against_the_limit"] = run["peak_bytes"] / 1e10
        if not quick:
            log.unlink()
    for run in figures.values():
        run["per_value_against_39"] = run["seconds_per_value"] / figures["39"]["seconds_per_value"]
    return figures


def limit(folder: Path, quick: bool, repeats: int) -> dict[str, Any]:
    """A log much larger than the memory allowed."""
    log = folder / f"limit{'-quick' if quick else ''}.parquet"
    make_log(log, 200_000 if quick else 100_000_000, [2_000_000] * 3 + _sizes_of_ids(37), skew=0.9)
    fields = {f"f{i}": {"type": "category", "min_count": 2} for i in range(3)}
    figures = repeated(1, "ours", log=str(log), fields=fields, memory="2GB")
    figures["peak_against_the_limit"] = figures["peak_bytes"] / 2e9
    if not quick:
        log.unlink()
    return figures


def billion(folder: Path, quick: bool, repeats: int) -> dict[str, Any]:
    """Many rows, all fields hashed; one file stands for a hundred, to spare the disk of whoever runs this.

    The cache takes 21 GB, what lies aside between the passes 20 GB more where there is room for both.
    """
    one = folder / f"billion{'-quick' if quick else ''}.parquet"
    make_log(one, 2_000 if quick else 10_000_000, _sizes_of_ids(10), skew=0.9)
    log = one.with_suffix(".log")
    shutil.rmtree(log, ignore_errors=True)
    log.mkdir()
    for number in range(100):
        (log / f"{number:02}.parquet").hardlink_to(one)
    fields = {f"f{i}": {"type": "category", "buckets": 50_000} for i in range(10)}
    figures = repeated(1, "ours", log=str(log), fields=fields, memory="2GB")
    figures["peak_against_the_limit"] = figures["peak_bytes"] / 2e9
    shutil.rmtree(log)
    if not quick:
        one.unlink()
    return figures


def cache(folder: Path, quick: bool, repeats: int) -> dict[str, Any]:
    """Batches of 8,192 from a warm cache, on one thread."""
    log = folder / f"cache{'-quick' if quick else ''}.parquet"
    make_log(log, 150_000 if quick else 4_000_000, _sizes_of_ids(39), skew=1.0)
    return repeated(repeats, "batches", log=str(log))


def training(folder: Path, quick: bool, repeats: int) -> dict[str, Any]:
    """What training waits for the cache."""
    log = folder / f"cache{'-quick' if quick else ''}.parquet"
    make_log(log, 150_000 if quick else 4_000_000, _sizes_of_ids(39), skew=1.0)
    return repeated(repeats, "waiting", log=str(log))


PARTS = {
    "strings": strings,
    "csv": csv,
    "wide": wide,
    "limit": limit,
    "billion": billion,
    "cache": cache,
    "training": training,
}


# The tasks: each runs in a process of its own.


def ours(log: str, fields: dict[str, Any], memory: str | None = None) -> dict[str, Any]:
    """Prepare a log from nothing, and say what each pass took."""
    import fieldwise as fw
    from fieldwise.events import Preparing

    marks: dict[str, float] = {}
    cpu_marks: dict[str, float] = {}

    def listen(event: object) -> None:
        if isinstance(event, Preparing):
            marks[event.name] = event.seconds
            cpu_marks[event.name] = time.process_time()

    warm_up(fw, Path(log), fields)
    place = Path(log).with_suffix(".cache")
    shutil.rmtree(place, ignore_errors=True)
    data = fw.DataConfig(train=str(Path(log).resolve()), label="click", cache=str(place.resolve()), memory=memory)
    config = fw.Config(data=data, fields={name: fw.FieldConfig(**given) for name, given in fields.items()})
    started, cpu_started = time.perf_counter(), time.process_time()
    prepared = fw.prepare(config, listen=listen)
    figures = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu_started,
        "fit_seconds": marks["fit"],
        "fit_cpu_seconds": cpu_marks["fit"] - cpu_started,
        "transform_seconds": marks["transform"],
        "transform_cpu_seconds": cpu_marks["transform"] - cpu_marks["fit"],
        "rows": prepared.summary["rows_read"],
        "features": prepared.summary["num_features"],
        "bytes_per_row": prepared.summary["num_bytes"] / prepared.summary["rows_read"],
    }
    shutil.rmtree(place, ignore_errors=True)
    return figures


def warm_up(fw: Any, log: Path, fields: dict[str, Any]) -> None:
    """Prepare the first rows in the same way, as many as are looked at to guess types, so that kernels are compiled."""
    log = min(log.iterdir()) if log.is_dir() else log
    head = log.with_name(f"head-{log.name}")
    if log.suffix == ".csv":
        with log.open() as file:
            head.write_text("".join(islice(file, _WARM_ROWS)))
    else:
        first = next(pyarrow.parquet.ParquetFile(log).iter_batches(_WARM_ROWS))
        num_rows = max(_WARM_CELLS // first.num_columns, 2000)
        pyarrow.parquet.write_table(pa.Table.from_batches([first.slice(0, num_rows)]), head)
    place = head.with_suffix(".cache")
    data = fw.DataConfig(train=str(head.resolve()), label="click", cache=str(place.resolve()))
    fw.prepare(fw.Config(data=data, fields={name: fw.FieldConfig(**given) for name, given in fields.items()}))
    shutil.rmtree(place)
    head.unlink()


def parse(log: str) -> dict[str, Any]:
    """Parse a CSV file with pyarrow alone, on all cores, every column as a string."""
    names = pyarrow.csv.open_csv(log).schema.names
    options = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    started, cpu_started = time.perf_counter(), time.process_time()
    reader = pyarrow.csv.open_csv(log, read_options=pyarrow.csv.ReadOptions(use_threads=True), convert_options=options)
    rows = sum(batch.num_rows for batch in reader)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu_started,
        "rows": rows,
    }


def batches(log: str) -> dict[str, Any]:
    """Read an epoch of batches twice, on one thread, and time the second."""
    import fieldwise as fw
    from fieldwise.data.batches import Batches
    from fieldwise.kernels.threads import set_num_threads

    set_num_threads(1)

    place = Path(log).with_suffix(".cache")
    data = fw.DataConfig(train=str(Path(log).resolve()), label="click", cache=str(place.resolve()))
    prepared = fw.prepare(fw.Config(data=data))
    reader = Batches(prepared.parts["train"], 8192, seed=0)
    seconds = 0.0
    for epoch in range(2):
        started = time.perf_counter()
        rows = sum(examples.batch.num_examples for examples in reader.epoch(epoch))
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "rows": rows, "rows_per_second": rows / seconds}


def waiting(log: str) -> dict[str, Any]:
    """Train logistic regression for two epochs, and say what share of the second is spent on batches: their order,
    the disk, and copying them.
    """
    import fieldwise as fw
    from fieldwise.data.batches import Batches
    from fieldwise.events import EpochEnd
    from fieldwise.training.step import Stepper

    waits: list[float] = []
    epochs: list[EpochEnd] = []
    original = Stepper.reading

    @contextmanager
    def watched(stepper: Stepper, batches: Batches, epoch: int, start: int) -> Iterator[Iterator[Any]]:
        waits.append(0.0)

        def timed(batches: Iterator[Any]) -> Iterator[Any]:
            while True:
                started = time.perf_counter()
                item = next(batches, None)
                waits[-1] += time.perf_counter() - started
                if item is None:
                    return
                yield item

        with original(stepper, batches, epoch, start) as coming:
            yield timed(coming)

    def listen(event: object) -> None:
        if isinstance(event, EpochEnd):
            epochs.append(event)

    Stepper.reading = watched  # type: ignore[method-assign]
    place = Path(log).with_suffix(".cache")
    data = fw.DataConfig(train=str(Path(log).resolve()), label="click", cache=str(place.resolve()))
    settings = fw.TrainConfig(epochs=2, batch_size=8192)
    config = fw.Config(data=data, model=fw.ModelConfig(kind="lr"), train=settings)
    with tempfile.TemporaryDirectory(dir=place.parent) as run:
        fw.train(config, Path(run, "run"), listen=listen)
    return {
        "epoch_seconds": epochs[-1].seconds,
        "examples_per_second": epochs[-1].examples_per_second,
        "waiting_seconds": waits[-1],
        "waiting_share": waits[-1] / epochs[-1].seconds,
    }


TASKS = {"ours": ours, "parse": parse, "batches": batches, "waiting": waiting}


# The logs.


def _sizes_of_ids(num_fields: int) -> list[int]:
    """Return the size of each field, evenly on the logarithm to 1 M; ids are below it, and no field is constant."""
    return [int(size) for size in np.geomspace(3, 1_000_000, num_fields)]


def make_log(path: Path, num_rows: int, sizes: list[int], *, skew: float, seed: int = 0) -> None:
    """Write a log of columns f0, f1, ... and click, unless it is there; ids are texts of 2 to 9 characters.

    A field's id is floor(size^(u^(1/skew)))-like: log-uniform at skew 1, flatter below.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    schema = pa.schema([*((f"f{i}", pa.string()) for i in range(len(sizes))), ("click", pa.int8())])
    writer: Any = (
        pyarrow.csv.CSVWriter(temporary, schema, write_options=pyarrow.csv.WriteOptions(quoting_style="none"))
        if path.suffix == ".csv"
        else pyarrow.parquet.ParquetWriter(temporary, schema, compression="snappy")
    )
    with writer:
        for table in _tables(num_rows, sizes, schema, skew, seed):
            writer.write_table(table)
    temporary.rename(path)


def _tables(num_rows: int, sizes: list[int], schema: pa.Schema, skew: float, seed: int) -> Iterator[pa.Table]:
    rng = np.random.default_rng(seed)
    chunk = max(min(_CHUNK, (1 << 24) // len(sizes)), 1024)
    # The same ids give the same text in every field, so one table of texts serves all that are not much larger.
    known = _texts(_spread(np.arange(min(max(sizes), num_rows, _TABLE) + 1, dtype=np.int64)))
    for start in range(0, num_rows, chunk):
        count = min(chunk, num_rows - start)
        columns: list[Any] = []
        for size in sizes:
            uniform = rng.random(count, dtype=np.float32)
            if skew == 1.0:
                ids = np.exp(uniform * np.log(size)).astype(np.int64)
            else:  # inverse of the distribution with density x^-skew on [1, size]
                power = 1.0 - skew
                ids = ((1 + uniform.astype(np.float64) * (size**power - 1)) ** (1 / power)).astype(np.int64)
            columns.append(known.take(pa.array(ids)) if size < len(known) else _texts(_spread(ids)))
        columns.append(pa.array((rng.random(count, dtype=np.float32) < 0.2).astype(np.int8)))
        yield pa.table(columns, schema=schema)


def _spread(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return ids * 2654435761 % (1 << 31)


def _texts(numbers: npt.NDArray[np.int64]) -> pa.Array:
    """Return numbers in base 36, of 2 to 7 characters."""
    width = 7
    code = np.empty((len(numbers), width), dtype=np.uint8)
    rest = numbers
    for place in range(width - 1, -1, -1):
        rest, digit = np.divmod(rest, 36)
        code[:, place] = _LETTERS[digit]
    length = np.maximum(width - (code != _LETTERS[0]).argmax(axis=1), 2)
    offsets = np.zeros(len(numbers) + 1, dtype=np.int32)
    np.cumsum(length, out=offsets[1:])
    kept = np.arange(width) >= (width - length)[:, None]
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(code[kept]))


if __name__ == "__main__":
    main()
