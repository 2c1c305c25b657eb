"""What ``fieldwise evaluate`` prints: all metrics of a model on a log, and its calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fieldwise.cli.coverage import print_coverage
from fieldwise.cli.figures import MAIN_METRICS, figure, own_figures, probability_of
from fieldwise.cli.output import Footnotes, print_table
from fieldwise.cli.tables import MAX_FIELDS, print_read
from fieldwise.metrics.titles import RANKING, TITLES, title_of

if TYPE_CHECKING:  # most verbs need no torch, and none needs what the others print
    from fieldwise.jobs.by_day import DayMetrics
    from fieldwise.jobs.evaluate import Evaluation
    from fieldwise.metrics.slices import FieldSlices, Slice

__all__ = ["print_evaluation"]


def print_evaluation(evaluation: Evaluation, by: Sequence[str] = ()) -> None:
    """Print all metrics of a model on a log."""
    metrics, notes = evaluation.metrics, Footnotes()
    each = metrics.by_label()
    sizes = ", ".join(f"{of.num_examples:,}{f' of {label}' if label else ''}" for label, of in each.items())
    names = [name for name in TITLES if name not in RANKING or metrics.ranked_groups is not None]
    print_table(
        f"{sizes} examples{probability_of(evaluation)}",
        ["metric", *(label or "value" for label in each)],
        [
            *([title_of(name, metrics.cutoff), *(figure(of, name, notes) for of in each.values())] for name in names),
            *own_figures(list(each.values())),
        ],
        notes=notes,
    )
    _print_days(evaluation.by_day)
    _print_slices("Calibration by deciles of the probability", "probability", evaluation.by_probability)
    _print_fields(evaluation.by_field)
    for found in evaluation.by_field:
        if found.field in by:
            title = f"Calibration by {found.field}"
            if len(found.slices) > MAX_FIELDS:
                title += f", the {MAX_FIELDS} most frequent of {len(found.slices):,} values"
            _print_slices(title, "value", found.slices[:MAX_FIELDS])
    print_read(evaluation.read)
    print_coverage(evaluation.fields, evaluation.warnings)


def _print_days(days: Sequence[DayMetrics]) -> None:
    """Print the main metrics of each day."""
    if not days:
        return
    notes = Footnotes()
    names = [name for name in (*MAIN_METRICS, "calibration_ratio") if any(getattr(it.metrics, name) for it in days)]
    several = bool(days[0].metrics.labels)
    print_table(
        "Metrics by day, in UTC",
        ["day", *(["label"] if several else []), "examples", *map(title_of, names)],
        [
            [
                it.day or "(no time)",
                *([label] if several else []),
                f"{metrics.num_examples:,}",
                *(figure(metrics, name, notes) for name in names),
            ]
            for it in days
            for label, metrics in it.metrics.by_label().items()
        ],
        num_texts=1 + several,
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
    if len(fields) > MAX_FIELDS:
        title += f"; the {MAX_FIELDS} fields with the largest error"
    lines = []
    for found in sorted(fields, key=lambda found: -found.error)[:MAX_FIELDS]:
        worst = max(found.slices, key=lambda each: abs(each.z or 0.0))
        cells = [f"{found.error:.4f}", f"{worst.predicted:.4f}", f"{worst.observed:.4f}", *_ratio_and_z(worst)]
        lines.append([found.field, worst.name, *cells])
    print_table(title, ["field", "value", "error", "predicted", "observed", "ratio", "z"], lines, num_texts=2)


def _ratio_and_z(found: Slice) -> tuple[str, str]:
    ratio = "-" if found.ratio is None else f"{found.ratio:.3f}"
    return ratio, "-" if found.z is None else f"{found.z:+.1f}"
