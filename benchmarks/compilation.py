"""What the first use of each verb costs in compilation: which kernels, in which variants, for how many seconds.

    python benchmarks/compilation.py
    python benchmarks/compilation.py --verbs check prepare --format csv --kernels
    python benchmarks/compilation.py --together --cold
    python benchmarks/compilation.py --rows 50000 --json

Every verb runs in a process of its own, once with an empty folder of compiled kernels ("cold") and once more with what
the first run left ("warm"). With --together all of them have one folder, as a user has who runs one after the other.
Seconds are of the processor, in the thread that compiles: `compiling` what numba took for kernels that were not in the
folder, saving them included; `loading` what it took to read those that were; `verb` all that the process took.
`starting` is what numba takes to get ready for the first kernel that it compiles.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

VERBS = ("init", "check", "prepare", "predict", "evaluate", "train lr", "train lc-dnn")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--format", choices=("csv", "parquet", "libsvm"), default="csv")
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=VERBS)
    parser.add_argument("--cold", action="store_true", help="leave the warm runs out")
    parser.add_argument("--together", action="store_true", help="one folder of compiled kernels for all verbs")
    parser.add_argument("--kernels", action="store_true", help="list the kernels of each verb")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--watch", help=argparse.SUPPRESS, nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if arguments.watch:
        watch(Path(arguments.watch[0]), arguments.watch[1:])
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for verb, run, figures in runs(Path(folder), arguments):
            results.append({"verb": verb, "run": run, **figures})
            if not arguments.json:
                show(results, arguments.kernels)
    if arguments.json:
        print(json.dumps(results, indent=1))


def show(results: list[dict[str, Any]], kernels: bool) -> None:
    """Print the last result, and headings above the first."""
    if len(results) == 1:
        print(
            f"{'':24}{'compiled':>10}{'compiling s':>12}{'loaded':>8}{'loading s':>10}{'starting s':>11}{'verb s':>8}"
        )
    result = results[-1]
    print(
        f"{result['verb'] + ', ' + result['run']:24}{len(result['compiled']):10}{result['compiling']:12.2f}"
        f"{result['loaded']:8}{result['loading']:10.2f}{result['starting']:11.2f}{result['seconds']:8.2f}",
        flush=True,
    )
    if kernels:
        for kernel in sorted(result["compiled"], key=lambda each: -each["seconds"]):
            print(f"    {kernel['seconds']:6.2f}  {kernel['name']}{kernel['signature']}")


def runs(folder: Path, arguments: argparse.Namespace) -> Any:
    """Run verbs, each cold and warm, or cold only; yield the verb, which run it was, and its figures."""
    verbs, kind = arguments.verbs, arguments.format
    log = write_log(folder, kind, arguments.rows)
    config, model = folder / "fieldwise.toml", folder / "model"
    before = None  # what is only needed for others may use kernels that are kept
    label = [] if kind == "libsvm" else ["--label", "click"]
    config.write_text(verb(folder, before, ["init", str(log), *label])["output"])
    small = ["-q", "--set", "train.epochs=1"]
    if {"predict", "evaluate"} & set(verbs):
        verb(folder, before, ["train", str(config), "--out", str(model), *small, "--set", "model.kind=lr"])
    words = {
        "init": ["init", str(log), *label],
        "check": ["check", str(config)],
        "prepare": ["prepare", str(config)],
        "predict": ["predict", str(model), "--data", str(log), "--out", str(folder / "predictions.csv")],
        "evaluate": ["evaluate", str(model), "--data", str(log)],
        "train lr": ["train", str(config), "--out", str(folder / "lr"), *small, "--set", "model.kind=lr"],
        "train lc-dnn": ["train", str(config), "--out", str(folder / "lc"), *small, "--set", "model.kind=lc-dnn"],
    }
    for name in verbs:
        for run in ("cold",) if arguments.cold else ("cold", "warm"):
            if name == "prepare":
                subprocess.run(["rm", "-rf", folder / ".fieldwise"], check=True)
            extra = ["--overwrite"] if name.startswith(("train", "predict")) and run == "warm" else []
            if name == "predict":
                (folder / "predictions.csv").unlink(missing_ok=True)
                extra = []
            cache = "cache" if arguments.together else f"cache-{name.replace(' ', '-')}"
            yield name, run, verb(folder, folder / cache, [*words[name], *extra])


def verb(folder: Path, cache: Path | None, words: list[str]) -> dict[str, Any]:
    """Run a verb in a process with a folder of compiled kernels; return what was compiled."""
    report = folder / "report.json"
    command = [sys.executable, __file__, "--watch", str(report), *words]
    environment = dict(os.environ) if cache is None else {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-3000:]}")
    return {**json.loads(report.read_text()), "output": done.stdout}


def watch(report: Path, words: list[str]) -> None:
    """Run a verb in this process, and write down what numba compiles."""
    import time

    from numba.core.cpu import CPUContext
    from numba.core.dispatcher import Dispatcher

    original, prepare = Dispatcher.compile, CPUContext.refresh
    compiled: list[dict[str, Any]] = []
    own = threading.local()
    total = {"starting": 0.0, "compiling": 0.0, "loading": 0.0, "loaded": 0}

    def watched(self: Any, signature: Any) -> Any:
        misses, known = sum(self.stats.cache_misses.values()), len(self.overloads)
        started = time.thread_time()
        stack = own.__dict__.setdefault("stack", [])
        stack.append([0.0])
        try:
            return original(self, signature)
        finally:
            taken = time.thread_time() - started
            inner = stack.pop()[0]
            if stack:
                stack[-1][0] += taken
            if sum(self.stats.cache_misses.values()) > misses and len(self.overloads) > known:
                name = f"{self.py_func.__module__.removeprefix('fieldwise.kernels.')}.{self.py_func.__qualname__}"
                arguments = next(reversed(self.overloads))
                compiled.append({"name": name, "signature": str(arguments), "seconds": taken - inner})
                total["compiling"] += taken - inner
            elif len(self.overloads) > known:
                total["loading"] += taken - inner
                total["loaded"] += 1

    def prepared(self: Any) -> None:
        started = time.thread_time()
        prepare(self)
        taken = time.thread_time() - started
        total["starting"] += taken
        if own.__dict__.get("stack"):
            own.stack[-1][0] += taken

    Dispatcher.compile, CPUContext.refresh = watched, prepared
    from fieldwise.cli import main

    code = 0
    try:
        main(words)
    except SystemExit as error:
        code = int(error.code or 0)
    report.write_text(json.dumps({"compiled": compiled, **total, "seconds": time.process_time()}))
    sys.exit(code)


def write_log(folder: Path, kind: str, rows: int) -> Path:
    """Write a log with every type of field."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv, parquet

    rng = np.random.default_rng(0)
    user, item = rng.zipf(1.3, rows) % 5000, rng.integers(0, 800, rows)
    click = rng.random(rows) < 0.2 + 0.3 * (user % 3 == 0)
    path = folder / f"log.{kind}"
    if kind == "libsvm":
        lines = (f"{int(c)} {u + 1}:1 {6001 + i}:0.5" for c, u, i in zip(click, user, item, strict=True))
        path.write_text("\n".join(lines) + "\n")
        return path
    table = pa.table(
        {
            "click": click.astype(np.int64),
            "user": user,
            "item": [f"item {i}" for i in item],
            "age": rng.integers(18, 80, rows),
            "price": rng.lognormal(size=rows).round(2),
            "tags": ["|".join(f"t{t}" for t in rng.integers(0, 30, size)) for size in rng.integers(0, 4, rows)],
            "at": pa.array(1_700_000_000 + np.arange(rows) * 60, pa.timestamp("s")),
        }
    )
    if kind == "csv":
        csv.write_csv(table, path)
    else:
        parquet.write_table(table, path)
    return path


if __name__ == "__main__":
    main()
