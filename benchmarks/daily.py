"""A model that is updated every night, against one that is trained again, one that is frozen, and the best possible.

    python benchmarks/daily.py OUT --quick                   # 16 days x 20,000 rows, one seed: some minutes
    python benchmarks/daily.py OUT --seeds 0 1 2             # 60 days x 200,000 rows, 20 fields
    python benchmarks/daily.py OUT --table                   # what has been measured so far

The log is `fieldwise datasets synth-days` with its drift, births, deaths and seasons. The first seven days train a
model; then, each day, every method answers the day before it has seen it::

    frozen   the first model
    update   `fieldwise update`, once a day; the version in use answers
    window   a model trained on the last seven days; every `--retrain-every` days, for it takes long
    best     the true probabilities

On `--bad-days` days, `update` is first given each of the bad days of `BAD` in a copy of the run. A bad version that was
published is compared with the one before it on the next day, as it truly is: it is worse where the 95 % interval of the
paired difference of AUC (DeLong) is below 0. So is a refused version of a good day.

Each figure is a line of ``OUT/figures.jsonl``, written as it comes; what is there is not measured again, so a long
simulation can be made in pieces (`--until DAY`). Seconds are of the processor, all threads together.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import fieldwise as fw
from fieldwise.config import load_config
from fieldwise.datasets.synth_days import DaysOptions, make_synth_days
from fieldwise.errors import UserError
from fieldwise.jobs.update.update import update
from fieldwise.metrics.delong import delong


def with_column(day: pa.Table, name: str, values: Any) -> pa.Table:
    """Return a day with another column in the place of one."""
    return day.set_column(day.column_names.index(name), name, values)


def flipped(day: pa.Table, before: pa.Table) -> pa.Table:
    """Return a day whose clicks are none, and the other way round."""
    return with_column(day, "click", pc.subtract(1, day["click"]))


def stuck(day: pa.Table, before: pa.Table) -> pa.Table:
    """Return a day of which one column has one value."""
    return with_column(day, "f003", pa.array([day["f003"][0].as_py()] * day.num_rows))


def lost_clicks(day: pa.Table, before: pa.Table) -> pa.Table:
    """Return a day with four clicks of ten."""
    keep = np.random.default_rng(0).random(day.num_rows) < 0.4
    return with_column(day, "click", pa.array(np.where(keep, day["click"].to_numpy(), 0)))


def missing(day: pa.Table, before: pa.Table) -> pa.Table:
    """Return a day with most of a column missing."""
    gone = np.random.default_rng(1).random(day.num_rows) < 0.6
    return with_column(day, "f004", pc.if_else(pa.array(gone), None, day["f004"]))


def exchanged(day: pa.Table, before: pa.Table) -> pa.Table:
    """Return a day whose first two columns have each other's names."""
    names = [{"f000": "f001", "f001": "f000"}.get(name, name) for name in day.column_names]
    return day.rename_columns(names)


def shuffled(day: pa.Table, before: pa.Table) -> pa.Table:
    """Return a day whose rows have the labels of others."""
    order = np.random.default_rng(2).permutation(day.num_rows)
    return with_column(day, "click", day["click"].take(pa.array(order)))


def half_shuffled(day: pa.Table, before: pa.Table) -> pa.Table:
    """Return a day of which half of the rows have the labels of others."""
    return with_column(day, "click", pc.if_else(some(day, 0.5), shuffled(day, before)["click"], day["click"]))


def fifth_flipped(day: pa.Table, before: pa.Table) -> pa.Table:
    """Return a day whose labels are wrong in one row of five."""
    return with_column(day, "click", pc.if_else(some(day, 0.2), flipped(day, before)["click"], day["click"]))


def some(day: pa.Table, share: float) -> pa.Array:
    """Return which rows are hit."""
    return pa.array(np.random.default_rng(4).random(day.num_rows) < share)


BAD: dict[str, Callable[[pa.Table, pa.Table], pa.Table]] = {
    "twice": lambda day, before: before,
    "twice, other order": lambda day, before: before.take(
        pa.array(np.random.default_rng(3).permutation(before.num_rows))
    ),
    "half of it the day before": lambda day, before: pa.concat_tables([day, before.slice(0, day.num_rows // 2)]),
    "without labels": lambda day, before: with_column(day, "click", pa.nulls(day.num_rows, pa.int8())),
    "one class": lambda day, before: day.filter(pc.equal(day["click"], 0)),
    "empty": lambda day, before: day.slice(0, 0),
    "a column gone": lambda day, before: day.drop_columns(["f002"]),
    "30 times too large": lambda day, before: pa.concat_tables(
        [with_column(day, "id", pc.add(day["id"], (1 + copy) << 40)) for copy in range(30)]
    ),
    "flipped labels": flipped,
    "a stuck column": stuck,
    "a tenth of the rows twice": lambda day, before: pa.concat_tables([day, day.slice(0, day.num_rows // 10)]),
    "60 % of the clicks lost": lost_clicks,
    "60 % of a field missing": missing,
    "two columns exchanged": exchanged,
    "labels of other rows": shuffled,
    "half of the labels of other rows": half_shuffled,
    "a fifth of the labels flipped": fifth_flipped,
}


class Figures:
    """The lines of a file, and what has been measured."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        self._keys = {self._key(line) for line in self.lines}

    def _key(self, line: dict[str, Any]) -> tuple[Any, ...]:
        return line["seed"], line["day"], line["method"], line.get("kind")

    def has(self, seed: int, day: int, method: str, kind: str | None = None) -> bool:
        """Whether this has been measured."""
        return (seed, day, method, kind) in self._keys

    def add(self, **line: Any) -> None:
        """Keep a line."""
        self.lines.append(line)
        self._keys.add(self._key(line))
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def answers(run: Path, day: pa.Table) -> np.ndarray[Any, Any]:
    """Return what the model of a run says of a day."""
    predictor = fw.Predictor(run)
    rows = day.drop_columns([name for name in ("click", "clicked_at") if name in day.column_names])
    return np.concatenate([predictor.predict(rows.slice(first, 20_000)) for first in range(0, rows.num_rows, 20_000)])


def auc(day: pa.Table, probabilities: np.ndarray[Any, Any]) -> float:
    """Return the AUC on a day."""
    return delong(day["click"].to_numpy(), probabilities, probabilities).auc_a


def trained(config_path: Path, days: list[Path], run: Path, kind: str) -> float:
    """Train a model on some days, and return the seconds of the processor."""
    started = time.process_time()
    files = json.dumps([str(path) for path in days])
    cache = json.dumps(str(run / "cache"))
    settings = [f"model.kind={kind}", "train.threads=2", f"data.train={files}", f"data.cache={cache}"]
    config = load_config(config_path, settings)
    fw.train(config, run / "run")
    shutil.rmtree(run / "cache", ignore_errors=True)
    return time.process_time() - started


def simulate(out: Path, figures: Figures, options: DaysOptions, arguments: argparse.Namespace) -> None:
    """Go through the days of one log."""
    seed, first_days = options.seed, arguments.first
    folder = out / f"seed{seed}"
    config = folder / "log.toml"
    if not config.exists():
        make_synth_days(folder, options, name="log")
    facts = json.loads((folder / "log.json").read_text())["days"]
    paths = [folder / "log" / f"{day}.parquet" for day in facts]
    first, updated = folder / "first", folder / "updated"
    if not (first / "done").exists():
        shutil.rmtree(first, ignore_errors=True)
        seconds = trained(config, paths[:first_days], first, arguments.kind)
        shutil.copytree(first / "run", updated, dirs_exist_ok=True)
        figures.add(seed=seed, day=first_days - 1, method="first", seconds=seconds)
        (first / "done").touch()
    bad_days = np.linspace(first_days + 3, options.days - 2, arguments.bad_days).astype(int)
    for number in range(first_days, min(options.days, arguments.until)):
        day = pq.read_table(paths[number])
        mark = {"seed": seed, "day": number}
        if not figures.has(seed, number, "frozen"):
            if (best := facts[paths[number].stem]["best"]["auc"]) is not None:
                figures.add(**mark, method="best", auc=best)
            figures.add(**mark, method="frozen", auc=auc(day, answers(first / "run", day)))
        if not figures.has(seed, number, "window") and (number - first_days) % arguments.retrain_every == 0:
            with_run = folder / "window"
            shutil.rmtree(with_run, ignore_errors=True)
            seconds = trained(config, paths[number - first_days : number], with_run, arguments.kind)
            figures.add(**mark, method="window", auc=auc(day, answers(with_run / "run", day)), seconds=seconds)
        if not figures.has(seed, number, "update"):
            before = pq.read_table(paths[number - 1])
            for kind, make in BAD.items() if number in bad_days else ():
                if not figures.has(seed, number, "bad", kind):
                    found = tried(
                        updated, folder / "tried", pq.read_table(paths[number + 1]), make(day, before), arguments.set
                    )
                    figures.add(**mark, method="bad", kind=kind, **found)
            before_update = auc(day, answers(updated, day))
            started = time.process_time()
            done = update(updated, str(paths[number]), overrides=arguments.set)
            seconds = time.process_time() - started
            record = done.record
            refused = updated / "refused" / str(record.version)
            is_refused = not record.published and refused.exists() and number + 1 < options.days
            truth = compared(pq.read_table(paths[number + 1]), refused, updated) if is_refused else {}
            figures.add(
                **mark,
                method="update",
                auc=before_update,
                seconds=seconds,
                published=record.published,
                reasons=record.reasons,
                living=record.features.living,
                rows=record.features.rows,
                **truth,
            )
        print_day(figures, seed, number)


def tried(run: Path, copy: Path, next_day: pa.Table, bad: pa.Table, overrides: list[str]) -> dict[str, Any]:
    """Give a copy of a run a bad day, and return what became of it."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    try:
        done = update(copy, bad, overrides=overrides)
        published = done.record.published and not done.repeated
        reasons = ["repeated"] if done.repeated else done.record.reasons or done.record.warnings
    except UserError as error:
        published, reasons = False, [str(error)]
    found: dict[str, Any] = {"published": published, "reasons": reasons[:3], "worse": False}
    if published:
        found |= compared(next_day, copy, run)
    shutil.rmtree(copy)
    return found


def compared(day: pa.Table, new: Path, old: Path) -> dict[str, Any]:
    """Return by how much the AUC of a version is above that of another on a day, and whether it is worse."""
    result = delong(day["click"].to_numpy(), answers(new, day), answers(old, day))
    return {"change": result.difference, "worse": result.difference + 1.96 * result.standard_error < 0}


def print_day(figures: Figures, seed: int, number: int) -> None:
    """Say how the methods did on a day."""
    lines = [line for line in figures.lines if line["seed"] == seed and line["day"] == number and "auc" in line]
    text = "  ".join(f"{line['method']} {line['auc']:.4f}" for line in sorted(lines, key=lambda line: line["method"]))
    update_line: dict[str, Any] = next((line for line in lines if line["method"] == "update"), {})
    said = "" if update_line.get("published", True) else f"  refused: {'; '.join(update_line['reasons'])}"
    print(f"seed {seed}, day {number}: {text}{said}", flush=True)


def mean_of(lines: dict[int, dict[str, Any]], key: str, days: list[int]) -> float:
    """Return the mean of a figure over some days; NaN of none."""
    found = [lines[day][key] for day in days if day in lines]
    return float(np.mean(found)) if found else float("nan")


def table(figures: Figures) -> Iterator[str]:
    """Yield what has been measured, in lines of Markdown."""
    yield "| seed | days | best | update | window | frozen | update - window | its time | rows / living | published |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for seed in sorted({line["seed"] for line in figures.lines}):
        of = {
            method: {line["day"]: line for line in figures.lines if (line["seed"], line["method"]) == (seed, method)}
            for method in ("best", "update", "window", "frozen")
        }
        days, both = list(of["update"]), [day for day in of["update"] if day in of["window"]]
        aucs = {method: mean_of(of[method], "auc", both if method == "window" else days) for method in of}
        gain = mean_of(of["update"], "auc", both) - aucs["window"]
        ratio = mean_of(of["update"], "seconds", both) / mean_of(of["window"], "seconds", both)
        size = max((line["rows"] / line["living"] for line in of["update"].values() if line["living"]), default=np.nan)
        published = mean_of(of["update"], "published", days)
        texts = [f"{aucs[method]:.4f}" if of[method] else "" for method in of]
        texts += [f"{gain:+.4f}", f"{ratio:.3f}", f"{size:.3f}", f"{published:.0%}"]
        yield f"| {seed} | {len(days)} | {' | '.join(texts)} |"
    refused = [line["change"] for line in figures.lines if line["method"] == "update" and "change" in line]
    if refused:
        yield ""
        worse = sum(change < 0 for change in refused)
        yield (
            f"Of {len(refused)} versions of good days that were refused, {worse} were worse on the next day than the "
            f"version in use; the mean change of AUC was {np.mean(refused):+.4f}."
        )
    bad = [line for line in figures.lines if line["method"] == "bad"]
    if bad:
        yield ""
        yield "| bad day | given | published | worse | why refused, most often |"
        yield "|---|---:|---:|---:|---|"
    for kind in BAD:
        own = [line for line in bad if line["kind"] == kind]
        if own:
            why = Counter(
                line["reasons"][0].splitlines()[0].split(": ")[0]
                for line in own
                if not line["published"] and line["reasons"]
            )
            yield (
                f"| {kind} | {len(own)} | {sum(line['published'] for line in own)} | "
                f"{sum(line['worse'] for line in own)} | {why.most_common(1)[0][0] if why else ''} |"
            )


def draw(figures: Figures, path: Path, seeds: list[int]) -> None:
    """Draw the AUC of every method on each day, the mean of some seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    lines = [line for line in figures.lines if line["seed"] in seeds and "auc" in line]
    for method, name, style in (
        ("best", "best possible", "-"),
        ("window", "trained on the last 7 days", "o"),
        ("update", "updated", "-"),
        ("frozen", "first model, frozen", "-"),
    ):
        days = sorted({line["day"] for line in lines if line["method"] == method})
        of_days = ([line["auc"] for line in lines if (line["method"], line["day"]) == (method, day)] for day in days)
        axes.plot(days, [float(np.mean(aucs)) for aucs in of_days], style, label=name, markersize=5)
    axes.set(xlabel="day", ylabel="AUC of the day, before it is learned from")
    axes.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.12))
    axes.grid(alpha=0.3)
    figure.savefig(path)


def main() -> None:
    """Read the arguments, simulate, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quick", action="store_true", help="16 days x 20,000 rows, one seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--fields", type=int, default=20)
    parser.add_argument("--features", type=int, default=50_000)
    parser.add_argument("--kind", default="lc-dnn", help="the model")
    parser.add_argument("--first", type=int, default=7, help="days that the first model, and every window, has")
    parser.add_argument("--until", type=int, default=10_000, help="stop before this day")
    parser.add_argument("--retrain-every", type=int, default=1, help="measure retraining on every N-th day alone")
    parser.add_argument("--bad-days", type=int, default=0, help="days on which each bad day is tried")
    parser.add_argument("--set", nargs="+", default=[], help="settings of the updates, as update.learning_rate=1")
    parser.add_argument("--table", action="store_true", help="print what has been measured, and measure nothing")
    parser.add_argument("--picture", type=Path, help="draw what has been measured into this file")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    figures = Figures(arguments.out / "figures.jsonl")
    if not arguments.table:
        sizes = {name: getattr(arguments, name) for name in ("days", "rows", "fields", "features")}
        if arguments.quick:
            sizes = {"days": 16, "rows": 20_000, "fields": 8, "features": 5_000}
            arguments.bad_days = 1
        for seed in arguments.seeds:
            simulate(arguments.out, figures, DaysOptions(seed=seed, **sizes), arguments)
    if arguments.picture:
        draw(figures, arguments.picture, arguments.seeds)
    print("\n".join(table(figures)))


if __name__ == "__main__":
    main()
