"""The sections of a report about the rows of one part: quality, calibration, fields, values and days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from fieldwise.counted import counted
from fieldwise.metrics.intervals import Estimate, wilson
from fieldwise.metrics.titles import title_of
from fieldwise.report.content import FieldValues, PartFigures, ValueRates
from fieldwise.report.page import figures, note, section, table
from fieldwise.report.pictures import chart, histogram, intervals
from fieldwise.report.tables import figure, interval, metric_table, of_estimate

__all__ = ["MOST_FIELDS", "quality"]

MOST_FIELDS = 30


def quality(found: PartFigures) -> Iterator[str]:
    """Yield the sections."""
    optimistic = "There is no test part: valid was used to choose the epoch, so its figures are optimistic."
    estimates = {"auc": found.auc, "logloss": found.logloss}
    yield section(
        f"Quality on the {counted(found.metrics.num_examples, f'{found.part} row')}",
        note(*([optimistic] if found.part == "valid" else []), *found.notes),
        *(metric_table(metrics, estimates, name) for name, metrics in found.metrics.by_label().items()),
        figures(*_curves(found)),
    )
    yield section("Calibration", *_calibration(found))
    yield section("Fields", *_importance(found))
    yield section("Values of the most important fields", *_values(found.values))
    yield section("By day", *_days(found.days))


def _curves(found: PartFigures) -> Iterator[tuple[str, str]]:
    curves, rate = found.curves, found.metrics.label_rate or 0.0
    if curves is None:
        return
    roc = ("model", curves.false_positive_rate, curves.true_positive_rate)
    yield (
        chart(
            "roc",
            "ROC curve",
            [roc],
            "false positive rate",
            "true positive rate",
            reference=("chance", [0, 1], [0, 1]),
            markers=False,
        ),
        f"ROC curve, AUC {figure(found.metrics, 'auc')}: the shares of the examples of label 0 and of label 1 that are "
        "above each threshold.",
    )
    yield (
        chart(
            "pr",
            "precision-recall curve",
            [("model", curves.recall, curves.precision)],
            "recall",
            "precision",
            reference=("chance", [0, 1], [rate, rate]),
            markers=False,
        ),
        f"Precision-recall curve, PR-AUC {figure(found.metrics, 'pr_auc')}. Chance is the label rate.",
    )


def _calibration(found: PartFigures) -> Iterator[str]:
    bins = found.by_probability
    if not bins:
        return
    observed = [wilson(each.observed, each.examples) for each in bins]
    predicted = [each.predicted for each in bins]
    top = max([*predicted, *(each.high for each in observed)])
    calibration = chart(
        "calibration",
        "observed label rate by mean probability",
        [("model", predicted, [each.value for each in observed])],
        "mean probability",
        "label rate",
        band=observed,
        reference=("perfect", [0, top], [0, top]),
    )
    said = "Label rate against mean probability in ten ranges of as many examples each, with Wilson's 95 % intervals."
    drawn = [(calibration, said)]
    if found.curves is not None:
        shares = [("label 0", found.curves.negative), ("label 1", found.curves.positive)]
        edges = found.curves.edges
        alt = "histogram of the probabilities by label"
        share = "share of the label's examples"
        drawn.append(
            (
                histogram("histogram", alt, edges, shares, "probability", share),
                "Probabilities of the examples of each label.",
            )
        )
    yield figures(*drawn)
    yield table(
        ["probability", "examples", "predicted", "observed", "95 % interval", "ratio", "z"],
        [
            [
                each.name,
                f"{each.examples:,}",
                f"{each.predicted:.4f}",
                f"{each.observed:.4f}",
                interval(rate),
                "-" if each.ratio is None else f"{each.ratio:.3f}",
                "-" if each.z is None else f"{each.z:+.1f}",
            ]
            for each, rate in zip(bins, observed, strict=True)
        ],
    )


def _importance(found: PartFigures) -> Iterator[str]:
    shown = found.importance[:MOST_FIELDS]
    if not shown:
        return
    of_all = f" The {len(shown)} most important of {len(found.importance):,}." * (len(found.importance) > len(shown))
    names, estimates = [each.name for each in shown], [each.estimate for each in shown]
    yield figures(
        (
            intervals("importance", "AUC lost without each field", names, estimates, "AUC lost", reference=0.0),
            "AUC that is lost when the values of a field are exchanged between the rows, with DeLong's 95 % intervals. "
            f"Fields that say the same stand in for each other.{of_all}",
        )
    )


def _values(fields: Sequence[FieldValues]) -> Iterator[str]:
    titles = "label rate", "mean probability"
    drawn = [
        (
            intervals(
                f"values{number}",
                f"label rate and mean probability by {each.field}",
                [rates.name for rates in each.values],
                [rates.observed for rates in each.values],
                "",
                others=[rates.predicted for rates in each.values],
                titles=titles,
            ),
            f"{each.field}: label rate with Wilson's 95 % intervals, and mean probability.",
        )
        for number, each in enumerate(fields)
        if each.values
    ]
    yield figures(*drawn)
    for each in fields:
        yield f"<details><summary>{escape(each.field)}</summary>{_rates('value', each.values)}</details>"


def _days(days: Sequence[ValueRates]) -> Iterator[str]:
    if not days:
        return
    drawn = []
    for name in ("auc", "logloss"):
        known = [(place, getattr(each, name)) for place, each in enumerate(days) if getattr(each, name) is not None]
        band: list[Estimate] = [estimate for _, estimate in known]
        series = ("", [float(place) for place, _ in known], [estimate.value for estimate in band])
        alt, names = f"{title_of(name)} by day, with intervals", [each.name for each in days]
        if known:
            picture = chart(f"day-{name}", alt, [series], "", title_of(name), band=band, names=names)
            drawn.append((picture, f"{title_of(name)} of each day (UTC), with 95 % intervals."))
    yield figures(*drawn)
    yield _rates("day", days)


def _rates(heading: str, rates: Sequence[ValueRates]) -> str:
    ends = "95 % interval"
    return table(
        [heading, "examples", "label rate", ends, "predicted", "AUC", ends, "logloss", ends],
        [
            [
                each.name[:80],
                f"{each.examples:,}",
                f"{each.observed.value:.4f}",
                interval(each.observed),
                f"{each.predicted:.4f}",
                of_estimate(each.auc),
                interval(each.auc),
                of_estimate(each.logloss),
                interval(each.logloss),
            ]
            for each in rates
        ],
    )
