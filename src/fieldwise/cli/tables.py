"""Tables of logs, plans and files: at most 100 characters wide, readable without colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from fieldwise.cli.output import Footnotes, compact, duration, print_table
from fieldwise.counted import counted
from fieldwise.data.read_report import ReadReport, describe
from fieldwise.io.memory import readable_bytes
from fieldwise.models.registry import model_label

if TYPE_CHECKING:  # most verbs need no torch, and none needs what the others print
    from fieldwise.jobs.compare.plan import ComparisonPlan
    from fieldwise.jobs.prepare.estimate import Estimate
    from fieldwise.jobs.train.plan import TrainingPlan
    from fieldwise.jobs.verify import Verification
    from fieldwise.models.memory import TrainingMemory
    from fieldwise.models.sizes import Size

__all__ = [
    "MAX_FIELDS",
    "print_comparison_plan",
    "print_days",
    "print_estimate",
    "print_facts",
    "print_parts",
    "print_plan",
    "print_prepared",
    "print_read",
    "print_sizes",
    "print_verification",
]

MAX_FIELDS = 40
"""As many are printed of a longer list."""


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
        f"Parameters with {counted(num_fields, 'field')}, {counted(num_features, 'feature')}, hidden layers {widths}",
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
        f"{about}{counted(expected.examples, 'training example')}, {counted(expected.fields, 'field')}, "
        f"{counted(expected.features, 'feature')}",
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


def print_comparison_plan(expected: ComparisonPlan) -> None:
    """Print an estimate of what each model of a comparison needs, and of what they need together."""
    some = next(iter(expected.models.values()))
    print_table(
        f"{'' if some.prepared else 'about '}{counted(some.examples, 'training example')}, "
        f"{counted(some.fields, 'field')}, {counted(some.features, 'feature')}",
        ["model", "parameters", "memory", "disk"],
        [
            [name, f"{each.stages[-1].parameters:,}", readable_bytes(each.memory), readable_bytes(each.disk)]
            for name, each in expected.models.items()
        ],
    )
    free = "" if some.memory_free is None else f", {readable_bytes(some.memory_free)} free"
    click.echo(f"memory   {readable_bytes(expected.memory)}{free}")
    click.echo(f"disk     {readable_bytes(expected.disk)} for each seed")


def print_prepared(summary: dict[str, Any]) -> None:
    """Print a summary of an encoded log."""
    print_parts(summary)
    for note in summary.get("notes", ()):  # absent from logs prepared by older versions
        click.echo(f"warning: {note}\n")
    fields = summary["fields"]
    title = f"{counted(summary['num_features'], 'feature')} in {counted(len(fields), 'field')}"
    if len(fields) > MAX_FIELDS:
        title += f", the {MAX_FIELDS} largest:"
        fields = sorted(fields, key=lambda field: -field["features"])[:MAX_FIELDS]
    print_table(
        title,
        ["field", "type", "features"],
        [[field["name"], field["type"], f"{field['features']:,}"] for field in fields],
        num_texts=2,
    )
    if constant := summary["constant_fields"]:
        names = ", ".join(constant[:MAX_FIELDS]) + (", ..." if len(constant) > MAX_FIELDS else "")
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
    title = f"About {compact(expected.features)} features in {counted(len(fields), 'field')}"
    if len(fields) > MAX_FIELDS:
        title += f", the {MAX_FIELDS} largest:"
    print_table(
        title,
        ["field", "type", f"in {compact(expected.sample_rows)} rows", f"in {compact(expected.rows)} rows"],
        [
            [field.name, field.type, f"{field.features_in_sample:,}", compact(field.features)]
            for field in fields[:MAX_FIELDS]
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
    title = f"{counted(len(left_out), 'column')} left out"
    title += ", judging by the first rows of the log; add [fields.NAME] to use one"
    if len(left_out) > MAX_FIELDS:
        title += f"; the first {MAX_FIELDS}:"
    print_table(title, ["column", "reason"], list(left_out.items())[:MAX_FIELDS], num_texts=2)


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
    click.echo(f"{damaged}{counted(num_files, 'file matches its checksum', 'files match their checksums')}")
