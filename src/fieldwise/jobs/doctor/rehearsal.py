"""Runs every job on tiny logs, so that every kernel is compiled in all variants that the jobs use.

Unlike a list of kernels and types, this cannot become outdated. Where PyTorch is not installed, nothing is trained:
models of each type of rows stand in for trained ones (`jobs.doctor.stand_in`), and answer.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from fieldwise.config import Config, load_config
from fieldwise.data.csv_dialect import CsvOptions
from fieldwise.errors import ConfigError
from fieldwise.jobs.check.check import check
from fieldwise.jobs.compact import compact
from fieldwise.jobs.doctor.stand_in import write_stand_ins
from fieldwise.jobs.evaluate import evaluate
from fieldwise.jobs.init.inference import starting_config
from fieldwise.jobs.init.sample import look_at
from fieldwise.jobs.predict.predict import predict
from fieldwise.jobs.prepare.prepare import prepare
from fieldwise.kernels.auc import lexsort
from fieldwise.kernels.compact import Compact
from fieldwise.kernels.counter import ranked
from fieldwise.kernels.threads import num_threads, set_num_threads
from fieldwise.kernels.transpose import transpose
from fieldwise.serving.predictor import Predictor

__all__ = ["can_answer", "can_train", "rehearse"]

_ROWS, _ASKED = 1200, 40
_FIELDS = """
weight = "weight"
group = "user"
id = "row"

[fields.user]
[fields.price]
type = "number"
scale = "log"
[fields.age]
type = "number"
bins = 5
[fields.hashed]
column = "item"
buckets = 1000
[fields.user_x_item]
cross = ["user", "item"]
buckets = 1000
"""
_SMALL = (
    "train.epochs=1",
    "pretrain.epochs=1",
    "train.sampler.sweeps=3",
    "train.sampler.burn_in=1",
    "model.hidden=[8]",
)
_MODELS: tuple[tuple[str, ...], ...] = (
    ("model.kind=lr",),
    ("model.kind=lr", "train.negative_rate=0.5", "train.calibration=isotonic"),
    ("model.kind=dnn",),
    ("model.kind=lc-dnn+bayesian-fm",),
    ("model.kind=lc-dnn", "model.cooccurrence=none"),
    ("model.kind=lc-dnn", "model.units=1"),
    ("model.kind=lc-wide-deep", "model.deep=cross"),
    ("model.kind=lc-resnet", "model.initial_model=random", "model.dropout=0.1"),
    *(
        ("model.kind=lc-dnn", f"train.table.name={name}", "model.cooccurrence=none")
        for name in ("rowwise-adagrad", "adam", "ftrl")
    ),
    ("model.kind=lc-dnn", "train.table.storage=bfloat16"),
    ("model.kind=lc-dnn", "train.precision=float64"),
)


def can_train() -> bool:
    """Whether what training needs is installed."""
    return all(find_spec(name) is not None for name in ("torch", "onnx", "onnxruntime"))


def can_answer() -> bool:
    """Whether what a saved model needs to answer is installed."""
    return find_spec("onnxruntime") is not None


def rehearse(listen: Callable[[str], None]) -> float:
    """Run all jobs that what is installed allows, and return the CPU seconds that they took.

    Parameters
    ----------
    listen
        Called with a description of each step before it begins.
    """
    began, threads = time.process_time(), num_threads()
    set_num_threads(max(threads, 2))  # kernels for one thread and for several
    try:
        _unreached()
        with tempfile.TemporaryDirectory(prefix="fieldwise-") as folder:
            for place, (name, log) in enumerate(_logs(Path(folder))):
                listen(name)
                _verbs(Path(folder) / f"of-{place}", log, _MODELS if place == 0 else _MODELS[:1], listen)
    finally:
        set_num_threads(threads)
    return time.process_time() - began


def _unreached() -> None:
    """Call the kernels that jobs call for more rows only, or for parts of an array there and a whole one here."""
    for kind in (np.uint32, np.uint64):
        lexsort(np.zeros(2, dtype=kind), few=0)
    ranked(np.ones((1, 2), dtype=np.uint64), 1, few=0)
    for number in (np.float32, np.float64, np.uint16):  # the last is how bfloat16 is held
        square, wide = np.zeros((32, 32), dtype=number), np.zeros((32, 64), dtype=number)
        for source, out in product((square, wide[:, :32]), repeat=2):
            transpose(source, out)


def _verbs(folder: Path, log: Path, models: tuple[tuple[str, ...], ...], listen: Callable[[str], None]) -> None:
    folder.mkdir()
    label = None if log.suffix in (".libsvm", ".libffm") else "click"
    text, _ = starting_config(look_at([log], None, CsvOptions()), [str(log)], label)
    for place, config in enumerate(_configs(folder, log, text)):
        loaded = load_config(config, _SMALL)
        check(loaded)
        of_config = folder / f"of-{place}"
        for run in _models(config, loaded, models if place == 0 else models[:2], of_config, listen):
            evaluate(run, log)
            for suffix in ("csv", "parquet"):
                predict(run, log, of_config / f"{run.name}.{suffix}")
            _serve(run, log)
    if len(models) > 1 and can_train():
        compare: Callable[..., Any] = import_module("fieldwise.jobs.compare.compare").compare
        compare(loaded, folder / "compared", models=["lr", "dnn"], seeds=2)


def _models(
    config: Path, loaded: Config, models: tuple[tuple[str, ...], ...], folder: Path, listen: Callable[[str], None]
) -> Iterator[Path]:
    """Prepare a log, and yield the folders of models of it: trained, or made where nothing can be trained."""
    prepared = prepare(loaded)
    if can_train():
        train: Callable[..., Any] = import_module("fieldwise.jobs.train.train").train
        for number, model in enumerate(models):
            listen(" ".join(model))
            train(load_config(config, (*_SMALL, *model)), folder / f"run-{number}")
            yield folder / f"run-{number}"
    elif can_answer():
        for name, model_folder in write_stand_ins(prepared, folder):
            listen(f"answers of {name}")
            yield model_folder


def _serve(run: Path, log: Path) -> None:
    """Answer rows in every form, as a server does, from the model and from smaller ones made of it."""
    predictor = Predictor(run)
    predictor.warm()
    if log.suffix not in (".csv", ".parquet"):
        return
    rows = _table().slice(0, _ASKED)
    for given in (rows, rows.to_pylist(), rows.to_pydict()):
        predictor.predict(given)
    predictor.rank(rows.to_pylist()[0], rows.select(["item"]).to_pylist())
    predictor.explain(rows)
    with suppress(ConfigError):  # most models have no posterior
        predictor.predict_with_std(rows)
    if predictor.bundle.table.dtype == np.float32:
        kinds: tuple[Compact, ...] = ("float16", "int8")
        for kind in kinds:
            smaller = run.with_name(f"{run.name}-{kind}")
            compact(run, smaller, kind)
            Predictor(smaller).warm()
            Predictor(smaller).explain(rows)


def _configs(folder: Path, log: Path, text: str) -> Iterator[Path]:
    """Write the configuration that `init` prints, and one that names fields of all types."""
    (folder / "init.toml").write_text(text)
    yield folder / "init.toml"
    if log.suffix in (".csv", ".parquet"):
        head = f'[data]\ntrain = {json.dumps(str(log))}\nvalid = 0.2\ntest = 0.2\nlabel = "click"'
        (folder / "all.toml").write_text(head + _FIELDS)
        yield folder / "all.toml"


def _logs(folder: Path) -> Iterator[tuple[str, Path]]:
    table = _table()
    csv.write_csv(table, folder / "log.csv", csv.WriteOptions(quoting_style="none"))
    yield "a log in CSV", folder / "log.csv"
    csv.write_csv(table, folder / "quoted.csv", csv.WriteOptions(quoting_style="all_valid"))
    yield "a log in CSV with quotes", folder / "quoted.csv"
    parquet.write_table(table, folder / "log.parquet")
    yield "a log in Parquet", folder / "log.parquet"
    rows = table.to_pylist()
    for kind, entry in (("libsvm", "{}:{}"), ("libffm", "0:{}:{}")):
        lines = [f"{row['click']} {entry.format(row['user'] + 1, 1)} {entry.format(900, row['age'])}" for row in rows]
        (folder / f"log.{kind}").write_text("\n".join(lines) + "\n")
        yield f"a log in {kind}", folder / f"log.{kind}"


def _table() -> pa.Table:
    """Return rows with a column of every type."""
    random_ = random.Random(0)
    users = [random_.randrange(40) for _ in range(_ROWS)]
    counts = [random_.randrange(4) for _ in range(_ROWS)]
    return pa.table(
        {
            "row": list(range(_ROWS)),
            "click": [int(random_.random() < 0.2 + 0.4 * (user % 2)) for user in users],
            "user": users,
            "item": [f"item {random_.randrange(30)}" for _ in range(_ROWS)],
            "state": [random_.choice(["5.0", "7.0", "TRUE", "nan", "x", ""]) for _ in range(_ROWS)],
            "age": [random_.choice([None, *range(18, 80)]) for _ in range(_ROWS)],
            "price": [round(random_.lognormvariate(0, 1), 2) for _ in range(_ROWS)],
            "tags": ["|".join(f"t{random_.randrange(9)}" for _ in range(count)) for count in counts],
            "scores": ["|".join(f"t{place}:{random_.random():.2f}" for place in range(count)) for count in counts],
            "weight": [random_.choice([0.5, 1.0, 2.0]) for _ in range(_ROWS)],
            "at": pa.array([1_700_000_000 + 600 * row for row in range(_ROWS)], pa.timestamp("s")),
            "seen": [f"2023-11-{1 + row % 28:02d} 0{row % 9}:30:00.5" for row in range(_ROWS)],
        }
    )
