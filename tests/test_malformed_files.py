"""Files that are cut off or garbled, in every format: read, or refused with their name; no crash, hang or lost row.

What is read is accounted for: rows read are rows accepted and rejected, and `predict` has a line for each.
"""

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest
from tests.logs import make_table
from tests.processes import FORKS

import fieldwise as fw
from fieldwise.errors import UserError

SECONDS = 10.0
"""Of the processor for one file; of the clock, where other work keeps the machine busy, so many times more."""
PATIENCE = 12
_RIGHT = "(prepared(, some rejected)?|refused), (predicted|refused)"
CONFIG = """
[data]
train = ["{log}"]
label = "{label}"
{classes}
{fields}
[model]
kind = "lr"
[train]
epochs = 1
threads = 1
"""
TABLE = make_table(400).select(["user", "item", "price", "age", "tags", "click"])
FIELDS = """
[fields.user]
type = "category"
[fields.item]
type = "category"
[fields.price]
type = "number"
bins = 8
[fields.age]
type = "number"
[fields.tags]
type = "bag"
"""
SPARSE = b"".join(b"%d %d:1:0.5 2:%d:1\n" % (i % 2, i % 3, i % 7) for i in range(400))


def formats() -> dict[str, bytes]:
    """Return a whole file of each format, by its ending."""
    text, plain, zipped, dictionary = (io.BytesIO() for _ in range(4))
    pyarrow.csv.write_csv(TABLE, text)
    pyarrow.parquet.write_table(TABLE, plain, compression="none", use_dictionary=False, row_group_size=150)
    pyarrow.parquet.write_table(TABLE, zipped, compression="zstd", write_page_checksum=True)
    pyarrow.parquet.write_table(TABLE, dictionary, data_page_version="2.0")
    csv = text.getvalue()
    return {
        "csv": csv,
        "tsv": csv.replace(b'"', b"").replace(b",", b"\t"),
        "csv.gz": gzip.compress(csv),
        "plain.parquet": plain.getvalue(),
        "zstd.parquet": zipped.getvalue(),
        "dictionary.parquet": dictionary.getvalue(),
        "libsvm": SPARSE.replace(b":1:", b":").replace(b"2:", b"").replace(b":0.5", b":1"),
        "libffm": SPARSE,
        "libffm.gz": gzip.compress(SPARSE),
    }


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 1, 3, 30])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, rng: random.Random) -> None:
    at, length = rng.randrange(len(data)), rng.randint(1, 200)
    data[at : at + length] = rng.choice([bytes(length), b"\xff" * length, rng.randbytes(length)])


def _remove(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randint(1, 300)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at:at] = data[at : at + rng.randint(1, 300)]


def _quote(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 5)):
        data.insert(rng.randrange(len(data)), rng.choice(b"\"'\r\n\0,\t:#"))


def _append(data: bytearray, rng: random.Random) -> None:
    data += rng.randbytes(rng.randint(1, 100))


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _cut, _flip, _flip, _overwrite, _overwrite, _remove, _repeat, _quote, _append,
)  # fmt: skip


def work(folder: Path, names: list[str], reports: multiprocessing.SimpleQueue) -> None:
    """Prepare each file, and predict its rows; report what came out, or whatever exception that is no message."""
    for name in ("whole.csv", "whole.libsvm", "whole.libffm"):  # compiles what is not compiled yet
        _use(folder, name)
    for name in names:
        reports.put(("begin", name, None))
        try:
            outcome = _use(folder, name)
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        reports.put(("end", name, outcome))


def _use(folder: Path, name: str) -> str:
    path = folder / name
    sparse = "lib" in name
    outcomes = []
    config = folder / f"{name}.toml"
    label, fields = ("label", "") if sparse else ("click", FIELDS)
    config.write_text(CONFIG.format(log=name, label=label, classes='classes = ["0", "1"]', fields=fields))
    rows = None
    try:
        summary = fw.prepare(fw.load_config(config)).summary
        rows = summary["rows_read"]
        rejects = (Path(summary["folder"]) / "rejects.jsonl").read_bytes().splitlines()
        assert all(str(path) == json.loads(line)["file"] for line in rejects)
        assert summary["rows_read"] == summary["parts"]["train"]["examples"] + len(rejects), "a row is lost"
        outcomes.append("prepared, some rejected" if rejects else "prepared")
    except UserError as error:
        outcomes.append(_refusal(error, path))
    run = folder / ("run-ffm" if "ffm" in name else "run-svm" if sparse else "run")
    out = folder / f"{name}.out.csv"
    try:
        prediction = fw.predict(run, path, out)
        lines = len(out.read_bytes().splitlines())
        num_rejects = len(Path(prediction.rejects).read_bytes().splitlines()) if prediction.rejects else 0
        assert prediction.examples == max(lines - 1, 0), "a line is lost"
        assert prediction.rejected_rows == num_rejects
        if rows is not None:
            assert prediction.examples + num_rejects == rows, "predict reads other rows than prepare"
        outcomes.append("predicted")
    except UserError as error:
        outcomes.append("HALF OF THE PREDICTIONS" if out.exists() else _refusal(error, path))
    return ", ".join(outcomes)


def _refusal(error: UserError, path: Path) -> str:
    return "refused" if str(path) in str(error) else f"THE FILE IS NOT NAMED: {error}"


def train(folder: Path) -> None:
    """Train the models that predict."""
    whole = formats()
    for run, name in (("run", "csv"), ("run-svm", "libsvm"), ("run-ffm", "libffm")):
        (folder / f"whole.{name}").write_bytes(whole[name])
        label, fields = ("click", FIELDS) if run == "run" else ("label", "")
        (folder / "whole.toml").write_text(CONFIG.format(log=f"whole.{name}", label=label, classes="", fields=fields))
        fw.train(fw.load_config(folder / "whole.toml"), folder / run)


def outcomes_of(folder: Path, names: list[str]) -> Iterator[tuple[str, str]]:
    """Use the files in a process of their own, and yield what came of each; a crash or a hang is an outcome."""
    left = list(names)
    while left:
        reports = FORKS.SimpleQueue()
        process = FORKS.Process(target=work, args=(folder, left, reports))
        process.start()
        current, began, worked = None, time.monotonic(), 0.0
        while left:
            if reports.empty():
                hangs = current is not None and _worked(process.pid) - worked > SECONDS
                if process.is_alive() and not hangs and time.monotonic() - began < PATIENCE * SECONDS:
                    time.sleep(0.002)
                    continue
                if reports.empty():
                    yield current or left[0], "HANG" if process.is_alive() else f"CRASH: exit code {process.exitcode}"
                    left = left[left.index(current or left[0]) + 1 :]
                    process.kill()
                    break
            kind, name, outcome = reports.get()
            if kind == "begin":
                current, began, worked = name, time.monotonic(), _worked(process.pid)
            else:
                yield name, outcome
                left = left[left.index(name) + 1 :]
        process.join()


def _worked(pid: int | None) -> float:
    """Return the seconds of the processor that a process has taken."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def check(folder: Path, count: int, seed: int) -> Counter[str]:
    rng = random.Random(seed)
    whole = formats()
    train(folder)
    names: list[str] = []
    for number in range(count):
        ending = list(whole)[number % len(whole)]
        data = bytearray(whole[ending])
        if ending.endswith(".gz") and rng.random() < 0.5:  # whole gzip around damaged text
            data = bytearray(gzip.decompress(data))
            rng.choice(DAMAGES)(data, rng)
            data = bytearray(gzip.compress(data))
        else:
            rng.choice(DAMAGES)(data, rng)
        names.append(f"{number:04d}.{ending}")
        (folder / names[-1]).write_bytes(data)
    found = dict(outcomes_of(folder, names))
    assert list(found) == names
    wrong = {name: outcome for name, outcome in found.items() if not re.fullmatch(_RIGHT, outcome)}
    assert not wrong, wrong
    return Counter(found.values())


def test_damaged_files_are_read_row_by_row_or_refused_by_name(tmp_path):
    outcomes = check(tmp_path, 90, seed=0)
    assert outcomes["refused, refused"] >= 20
    assert outcomes["prepared, some rejected, predicted"] >= 10


@pytest.mark.long
def test_two_thousand_damaged_files(tmp_path):
    outcomes = check(tmp_path, 2_000, seed=1)
    sys.stdout.write(f"{dict(outcomes)}\n")
