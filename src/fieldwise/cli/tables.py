"""The tables that verbs print: at most 100 characters wide, readable without colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from fieldwise.cli.coverage import print_coverage
from fieldwise.cli.names import compact, duration
from fieldwise.cli.output import Footnotes, print_commands, print_table
from fieldwise.data.read_report import ReadReport, describe
from fieldwise.io.memory import readable_bytes
from fieldwise.models.registry import model_label

if TYPE_CHECKING:  # most verbs need no torch, and none needs what the others print
    from fieldwise.config import Config
    from fieldwise.distributed.traffic import Traffic
    from fieldwise.jobs.by_day import DayMetrics
    from fieldwise.jobs.evaluate import Evaluation
    from fieldwise.jobs.predict.predict import Prediction
    from fieldwise.jobs.prepare.estimate import Estimate
    from fieldwise.jobs.run import MemberResult, Result
    from fieldwise.jobs.train.plan import TrainingPlan
    from fieldwise.jobs.tune.trial import Tuning
    from fieldwise.jobs.verify import Verification
    from fieldwise.metrics import Metrics
    from fieldwise.metrics.slices import FieldSlices, Slice
    from fieldwise.models.memory import TrainingMemory
    from fieldwise.models.sizes import Size

__all__ = [
    "METRICS",
    "evaluated",
    "figure",
    "predicting",
    "print_estimate",
    "print_evaluation",
    "print_facts",
    "print_members",
    "print_parts",
    "print_plan",
    "print_prepared",
    "print_read",
    "print_result",
    "print_sizes",
    "print_verification",
    "print_warnings",
    "probability_of",
]

_MAX_FIELDS = 40
METRICS = {
    "auc": "AUC",
    "gauc": "GAUC (AUC inside groups)",
    "logloss": "logloss",
    "normalized_entropy": "normalized entropy",
    "pr_auc": "PR-AUC",
    "calibration_ratio": "calibration ratio",
    "calibration_error": "expected calibration error",
    "label_rate": "label rate",
    "mean_probability": "mean probability",
    "accuracy": "accuracy",
}
_RANKING = {"ndcg": "NDCG@{}", "mrr": "MRR", "hit_rate": "hit rate@{}", "recall": "recall@{}"}
"""Titles, with the cutoff."""
_MAIN_METRICS = ("auc", "gauc", "logloss", "normalized_entropy")


def print_sizes(
    sizes: Sequence[Size],
    memories: Sequence[TrainingMemory],
    num_fields: int,
    num_features: int,
    hidden: Sequence[int],
) -> None:
    """Print the number of weights of models, and the memory to train them."""
    widths = ", ".join(map(str, hidden)) or "none"
    print_table(
        f"Parameters with {num_fields:,} fields, {num_features:,} features, hidden layers {widths}",
        ["model", "parameters", "biases", "in float32", "table in training", "training memory"],
        [
            [
                model_label(size.model, size.units),
                f"{size.parameters:,}",
                f"{size.biases:,}",
                readable_bytes(4 * (size.parameters + size.biases)),
                readable_bytes(memory.table),
                readable_bytes(memory.total),
            ]
            for size, memory in zip(sizes, memories, strict=True)
        ],
    )


def print_plan(expected: TrainingPlan) -> None:
    """Print an estimate of the memory and disk that training needs."""
    about = "" if expected.prepared else "about "
    print_table(
        f"{about}{expected.examples:,} training examples, {expected.fields:,} fields, {expected.features:,} features",
        ["training", "parameters", "bytes per row", "table", "memory", "disk"],
        [
            [
                stage.model,
                f"{stage.parameters:,}",
                f"{stage.row_bytes}",
                readable_bytes(stage.table_bytes),
                readable_bytes(stage.memory),
                readable_bytes(stage.disk),
            ]
            for stage in expected.stages
        ],
    )
    free = "" if expected.memory_free is None else f", {readable_bytes(expected.memory_free)} free"
    click.echo(f"memory   {readable_bytes(expected.memory)}{free}")
    if any(stage.gpu_memory is not None for stage in expected.stages):
        most = max(stage.gpu_memory or 0 for stage in expected.stages)
        click.echo(f"GPU      {readable_bytes(most)} for the table and its average")
    click.echo(f"disk     {readable_bytes(expected.disk)}")


def print_prepared(summary: dict[str, Any]) -> None:
    """Print a summary of an encoded log."""
    print_parts(summary)
    for note in summary.get("notes", ()):  # absent from logs prepared by older versions
        click.echo(f"warning: {note}\n")
    fields = summary["fields"]
    title = f"{summary['num_features']:,} features in {len(fields):,} fields"
    if len(fields) > _MAX_FIELDS:
        title += f", the {_MAX_FIELDS} largest:"
        fields = sorted(fields, key=lambda field: -field["features"])[:_MAX_FIELDS]
    print_table(
        title,
        ["field", "type", "features"],
        [[field["name"], field["type"], f"{field['features']:,}"] for field in fields],
        num_texts=2,
    )
    if constant := summary["constant_fields"]:
        names = ", ".join(constant[:_MAX_FIELDS]) + (", ..." if len(constant) > _MAX_FIELDS else "")
        click.echo(f"Constant in the training rows: {names}\n")
    for field in summary["fields"]:
        if cut := field.get("cut_cells"):
            click.echo(
                f"{field['name']}: {cut:,} cells of training rows had more than max_length values and were truncated; "
                f"to keep more, set max_length in [fields.{field['name']}]\n"
            )
    _print_left_out(summary["left_out"])
    click.echo(f"Cache: {summary['folder']} ({readable_bytes(summary['num_bytes'])})")
    print_read(msgspec.convert(summary["read"], ReadReport), columns=False)


def print_read(read: ReadReport | None, *, columns: bool = True) -> None:
    """Print which rows, files and (if `columns`) columns of a log were not used; nothing if all were."""
    if read is not None:
        read = read if columns else msgspec.structs.replace(read, columns_not_used={})
        lines = describe(read)
        click.echo("\n".join(lines), nl=bool(lines))


def print_estimate(expected: Estimate) -> None:
    """Print an estimate of what preparing a log needs."""
    fields = sorted(expected.fields, key=lambda field: -field.features)
    title = f"About {compact(expected.features)} features in {len(fields):,} fields"
    if len(fields) > _MAX_FIELDS:
        title += f", the {_MAX_FIELDS} largest:"
    print_table(
        title,
        ["field", "type", f"in {compact(expected.sample_rows)} rows", f"in {compact(expected.rows)} rows"],
        [
            [field.name, field.type, f"{field.features_in_sample:,}", compact(field.features)]
            for field in fields[:_MAX_FIELDS]
        ],
        num_texts=2,
    )
    spills = "; counts beyond the limit go to disk" if expected.memory > expected.memory_limit else ""
    limit = readable_bytes(expected.memory_limit)
    click.echo(f"rows     {'' if expected.exact_rows else 'about '}{expected.rows:,}")
    click.echo(f"memory   about {readable_bytes(expected.memory)}, {limit} allowed{spills}")
    meanwhile = f", plus {readable_bytes(expected.aside)} of temporary files" if expected.aside else ""
    click.echo(f"disk     about {readable_bytes(expected.disk)}{meanwhile}")
    readings = "once" if expected.readings == 1 else "twice" if expected.readings == 2 else f"{expected.readings} times"
    click.echo(f"reading  {readings}{'' if expected.aside else ': the disk has no room for temporary files'}")
    click.echo(f"time     about {duration(expected.seconds)}")


def _print_left_out(left_out: dict[str, str]) -> None:
    if not left_out:
        return
    title = "1 column left out" if len(left_out) == 1 else f"{len(left_out):,} columns left out"
    title += ", judging by the first rows of the log; add [fields.NAME] to use one"
    if len(left_out) > _MAX_FIELDS:
        title += f"; the first {_MAX_FIELDS}:"
    print_table(title, ["column", "reason"], list(left_out.items())[:_MAX_FIELDS], num_texts=2)


def print_parts(summary: dict[str, Any]) -> None:
    """Print the number of rows of each part of a log."""
    print_table(
        _label_title(summary["label"], summary["classes"]),
        ["part", "examples", "rows read", "rows rejected"],
        [
            [name, f"{part['examples']:,}", f"{part['read']:,}", f"{part['rejected']:,}"]
            for name, part in summary["parts"].items()
        ],
    )


def _label_title(label: str, classes: Sequence[str]) -> str:
    """Return a title that names the label and its classes, the positive class first if there are two."""
    if len(classes) == 2:
        return f"Label {label}: positive class {classes[1]}, negative class {classes[0]}"
    return f"Label {label}, classes {', '.join(classes[:10])}{', ...' * (len(classes) > 10)}"


def print_facts(parts: dict[str, Any]) -> None:
    """Print the facts known about the parts of a synthetic log."""
    notes = Footnotes()

    def cell(value: float | None) -> str:
        return notes.mark("this part has only one class") if value is None else f"{value:.4f}"

    print_table(
        "Best possible metrics, and best AUC of a linear model",
        ["part", "examples", "click rate", "AUC", "logloss", "AUC, linear"],
        [
            [
                name,
                f"{part['examples']:,}",
                *map(cell, (part["click_rate"], part["best"]["auc"], part["best"]["logloss"], part["linear_auc"])),
            ]
            for name, part in parts.items()
        ],
        notes=notes,
    )


def print_days(days: dict[str, Any]) -> None:
    """Print the facts known about the days of a synthetic log, a week apart where there are many."""
    notes = Footnotes()
    shown = list(days.items())
    if len(shown) > 14:
        shown = [*shown[:-1:7], shown[-1]]
    print_table(
        "Best possible metrics of a day" + (f", {len(shown)} of {len(days)} days" if len(shown) < len(days) else ""),
        ["day", "examples", "click rate", "new features", "AUC", "logloss"],
        [
            [
                day,
                f"{facts['examples']:,}",
                f"{facts['click_rate']:.4f}",
                f"{facts['born']:.1%}",
                notes.mark("this day has only one class")
                if facts["best"]["auc"] is None
                else f"{facts['best']['auc']:.4f}",
                f"{facts['best']['logloss']:.4f}",
            ]
            for day, facts in shown
        ],
        notes=notes,
    )


def print_evaluation(evaluation: Evaluation, by: Sequence[str] = ()) -> None:
    """Print all metrics of a model on a log."""
    metrics, notes = evaluation.metrics, Footnotes()
    print_table(
        f"{metrics.num_examples:,} examples{probability_of(evaluation)}",
        ["metric", "value"],
        [
            *([title, figure(metrics, name, notes)] for name, title in METRICS.items()),
            *(
                [title.format(metrics.cutoff), figure(metrics, name, notes)]
                for name, title in _RANKING.items()
                if metrics.ranked_groups is not None
            ),
            *_own([metrics]),
        ],
        notes=notes,
    )
    _print_days(evaluation.by_day)
    _print_slices("Calibration by deciles of the probability", "probability", evaluation.by_probability)
    _print_fields(evaluation.by_field)
    for found in evaluation.by_field:
        if found.field in by:
            title = f"Calibration by {found.field}"
            if len(found.slices) > _MAX_FIELDS:
                title += f", the {_MAX_FIELDS} most frequent of {len(found.slices):,} values"
            _print_slices(title, "value", found.slices[:_MAX_FIELDS])
    print_read(evaluation.read)
    print_coverage(evaluation.fields, evaluation.warnings)


def _print_days(days: Sequence[DayMetrics]) -> None:
    """Print the main metrics of each day."""
    if not days:
        return
    notes = Footnotes()
    names = [name for name in (*_MAIN_METRICS, "calibration_ratio") if any(getattr(it.metrics, name) for it in days)]
    print_table(
        "Metrics by day, in UTC",
        ["day", "examples", *(METRICS[name] for name in names)],
        [
            [
                it.day or "(no time)",
                f"{it.metrics.num_examples:,}",
                *(figure(it.metrics, name, notes) for name in names),
            ]
            for it in days
        ],
        notes=notes,
    )


def _print_slices(title: str, what: str, slices: Sequence[Slice]) -> None:
    if slices:
        print_table(
            title,
            [what, "examples", "predicted", "observed", "ratio", "z"],
            [
                [each.name, f"{each.examples:,}", f"{each.predicted:.4f}", f"{each.observed:.4f}", *_ratio_and_z(each)]
                for each in slices
            ],
        )


def _print_fields(fields: Sequence[FieldSlices]) -> None:
    """Print each field's calibration error, the largest first, and its value with the largest deviation."""
    fields = [found for found in fields if found.slices]
    if not fields:
        return
    title = "Calibration by field, with the value that deviates most"
    if len(fields) > _MAX_FIELDS:
        title += f"; the {_MAX_FIELDS} fields with the largest error"
    lines = []
    for found in sorted(fields, key=lambda found: -found.error)[:_MAX_FIELDS]:
        worst = max(found.slices, key=lambda each: abs(each.z or 0.0))
        cells = [f"{found.error:.4f}", f"{worst.predicted:.4f}", f"{worst.observed:.4f}", *_ratio_and_z(worst)]
        lines.append([found.field, worst.name, *cells])
    print_table(title, ["field", "value", "error", "predicted", "observed", "ratio", "z"], lines, num_texts=2)


def _ratio_and_z(found: Slice) -> tuple[str, str]:
    ratio = "-" if found.ratio is None else f"{found.ratio:.3f}"
    return ratio, "-" if found.z is None else f"{found.z:+.1f}"


def print_result(result: Result, path: Path, config: Config) -> None:
    """Print the result of training one model, and commands to continue with."""
    name = f"{model_label(result.model, result.units)}: {result.parameters:,} parameters"
    if result.l2 is not None and result.kept is None:
        seconds = result.epochs * result.seconds_per_epoch
        click.echo(f"{name}, solved for {result.epochs} penalties (best: {result.l2:g}) in {seconds:.1f} s")
    else:
        click.echo(
            f"{name}, {result.epochs} epochs (best: {result.best_epoch}), {result.seconds_per_epoch:.1f} s per epoch, "
            f"{compact(result.examples_per_second)} examples/s"
        )
    if result.kept is not None:
        click.echo(f"{model_label(result.kept)} was better on valid, and is the model that was saved.")
    if result.pretrain_seconds is not None:
        click.echo(f"Pre-training took {result.pretrain_seconds:.1f} s.")
    click.echo()
    parts, notes = evaluated(result), Footnotes()
    if parts:
        print_table(
            f"Metrics{probability_of(result)}",
            ["metric", *parts],
            [[METRICS[name], *(figure(part, name, notes) for part in parts.values())] for name in _MAIN_METRICS]
            + _own(list(parts.values())),
            notes=notes,
        )
    print_members([result])
    print_warnings(result.warnings)
    if result.workers:
        _print_workers(result.workers)
    print_read(result.read)
    click.echo(f"Run saved in {result.folder}")
    compare = ["fieldwise", "compare", str(path), "--out", f"{result.folder}-compared"]
    print_commands("Next:", [predicting(result.folder, config), ("compare the models", compare)])


def print_members(results: Sequence[Result]) -> None:
    """Print what each member of the stacks among some models reaches alone; nothing where there is no stack."""
    lines, notes = [], Footnotes()
    columns = [(part, name) for part in evaluated(results[0]) for name in ("auc", "logloss")]
    for result in results:
        for member in result.members:
            metrics = evaluated(member)
            cells = [figure(metrics[part], name, notes) for part, name in columns]
            weights = " + ".join(f"{weight:.2f}" for weight in member.weights)
            lines.append([model_label(result.model), model_label(member.model), weights, *cells])
    if lines:
        print_table(
            "Members of a stack, each alone, and its weight in the stack",
            ["stack", "member", "weight", *(f"{part} {METRICS[name]}" for part, name in columns)],
            lines,
            num_texts=3,
            notes=notes,
        )


def _print_workers(workers: Sequence[Traffic]) -> None:
    """Print the work and the traffic of each worker per step, and which worker the others wait for."""
    from fieldwise.distributed.traffic import find_straggler

    print_table(
        "Workers, averages per step",
        ["worker", "examples", "rows requested", "rows served", "bytes sent", "compute", "waiting"],
        [
            [
                str(number),
                f"{each.examples / steps:,.0f}",
                f"{each.rows_asked / steps:,.0f} of {each.ids / steps:,.0f}",
                f"{each.rows_served / steps:,.0f}",
                readable_bytes(round(each.step_bytes / steps)),
                f"{each.own_seconds * 1e3:.1f} ms",
                f"{each.waiting_seconds / steps * 1e3:.1f} ms",
            ]
            for number, each in enumerate(workers)
            for steps in [max(each.steps, 1)]
        ],
    )
    if straggler := find_straggler(workers):
        number, times = straggler
        click.echo(f"Worker {number} is the bottleneck: it computes {times:.1f} times as long per step as the others.")


def probability_of(result: Result | Evaluation | Prediction | Tuning) -> str:
    """Return a suffix for a title that says which class the probabilities refer to; empty if it is not known."""
    if result.positive is not None:
        return f"; probability of {result.label} = {result.positive}"
    return f"; probabilities of the {len(result.classes)} classes of {result.label}" if result.classes else ""


def print_warnings(warnings: Sequence[str]) -> None:
    """Print warnings, one per line."""
    for text in warnings:
        click.echo(f"warning: {text}")
    if warnings:
        click.echo()


def evaluated(result: Result | MemberResult) -> dict[str, Metrics]:
    """Return the metrics by part, for the parts that the log has."""
    parts = {"valid": result.valid, "test": result.test}
    return {name: metrics for name, metrics in parts.items() if metrics is not None}


def predicting(run: str, config: Config) -> tuple[str, list[str]]:
    """Return a comment and the command that applies the model of a run to the last log of the configuration."""
    paths = config.paths("test") or config.paths("valid") or config.paths("train")
    log = paths[-1].removeprefix(f"{Path.cwd()}/")
    words = ["fieldwise", "predict", run, "--data", log, "--out", "predictions.parquet"]
    return "predict the probabilities of raw rows", words


def _own(parts: Sequence[Metrics]) -> list[list[str]]:
    """Return the lines of the user's own metrics."""
    values = {name: [part.own.get(name) for part in parts] for name in parts[0].own}
    return [[name, *("-" if each is None else f"{each:.4f}" for each in of_parts)] for name, of_parts in values.items()]


def figure(metrics: Metrics, name: str, notes: Footnotes) -> str:
    """Return a metric as a cell, or the mark of a footnote if it is undefined."""
    value = getattr(metrics, name)
    return notes.mark(metrics.undefined[name]) if value is None else f"{value:.4f}"


def print_verification(verification: Verification) -> None:
    """Print the artefacts that were verified and their state; the damages themselves are printed elsewhere."""
    root = Path(verification.folder)
    print_table(
        f"Verified {readable_bytes(verification.num_bytes)} in {root}",
        ["artefact", "kind", "state", "files", "bytes"],
        [
            [
                str(Path(verified.folder).relative_to(root)),
                verified.kind,
                "ok" if verified.damage is None else "DAMAGED",
                f"{verified.files:,}" if verified.damage is None else "-",
                f"{verified.num_bytes:,}" if verified.damage is None else "-",
            ]
            for verified in verification.artefacts
        ],
        num_texts=3,
    )
    if verification.unchecked:
        names = ", ".join(str(Path(name).relative_to(root)) for name in verification.unchecked[:10])
        more = f" and {len(verification.unchecked) - 10:,} more" if len(verification.unchecked) > 10 else ""
        click.echo(f"Without a checksum: {names}{more}")
    num_files = sum(verified.files for verified in verification.artefacts)
    damaged = f"{len(verification.damages)} of {len(verification.artefacts)} artefacts DAMAGED; " * bool(
        verification.damages
    )
    click.echo(f"{damaged}{num_files:,} files match their checksums")
