"""The tables of reports, which notebooks show as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fieldwise.metrics import Metrics
from fieldwise.metrics.intervals import Estimate
from fieldwise.metrics.own import GROUP_METRICS
from fieldwise.metrics.titles import TITLES, title_of
from fieldwise.report.content import DifferenceLine, ModelLine, TrialLine
from fieldwise.report.page import note, table

__all__ = [
    "difference_table",
    "figure",
    "interval",
    "metric_table",
    "model_tables",
    "of_estimate",
    "trial_table",
]


def model_tables(some: Sequence[ModelLine]) -> Iterator[str]:
    """Yield the three tables of the paper: parameters, metrics, and seconds; last, what is special about a model."""
    yield table(
        ["model", "parameters", "biases"],
        [[each.label, f"{each.parameters:,}", f"{each.biases:,}"] for each in some if each.parameters is not None],
    )
    parts = [part for part in ("valid", "test") if any(getattr(each, part) is not None for each in some)]
    grouped = any(
        metrics is not None and metrics.gauc is not None for each in some for metrics in (each.valid, each.test)
    )
    names = ["auc", "gauc", "logloss"] if grouped else ["auc", "logloss"]
    yield table(
        ["model", *(f"{part} {title_of(name)}" for part in parts for name in names)],
        [[each.label, *(figure(getattr(each, part), name) for part in parts for name in names)] for each in some],
    )
    yield table(
        ["model", "seconds per epoch", "pretraining", "epochs", "kept", "examples/s"],
        [
            [
                each.label,
                f"{each.seconds_per_epoch:.2f}",
                "-" if each.pretrain_seconds is None else f"{each.pretrain_seconds:.1f}",
                str(each.epochs),
                str(each.best_epoch or "-"),
                f"{each.examples_per_second or 0:,.0f}",
            ]
            for each in some
            if each.seconds_per_epoch is not None
        ],
    )
    yield note(*(f"{each.label}: {each.note}" for each in some if each.note))


def difference_table(differences: Sequence[DifferenceLine], against: str) -> str:
    """Return each model less the one that they are compared with, `against`."""
    return table(
        ["model", "metric", "verdict", f"less {against}", "interval", "p"],
        [
            [
                each.model,
                title_of(each.metric),
                each.verdict,
                f"{each.estimate.value:+.4f}",
                f"{each.estimate.low:+.4f} to {each.estimate.high:+.4f}",
                "<.0001" if each.p_value < 1e-4 else f"{each.p_value:.4f}",
            ]
            for each in differences
        ],
        num_texts=3,
    )


def trial_table(trials: Sequence[TrialLine], metric: str) -> str:
    """Return the trials of a search, by the metric that decides."""
    title = f"valid {title_of(metric)}"
    return table(
        ["trial", "state", "settings", title],
        [
            [str(each.number), each.state, each.settings, "-" if each.value is None else f"{each.value:.5f}"]
            for each in trials
        ],
        num_texts=3,
    )


def figure(metrics: Metrics | None, name: str) -> str:
    """Return a metric with four decimals; a dash where it is undefined."""
    value = None if metrics is None else getattr(metrics, name)
    return "-" if value is None else f"{value:.4f}"


def metric_table(metrics: Metrics, estimates: Mapping[str, Estimate | None], label: str = "") -> str:
    """Return all metrics, with intervals where there are `estimates`; `label` is the name of one of several labels."""
    lines = []
    for name in TITLES:
        if getattr(metrics, name) is None and name in GROUP_METRICS:
            continue
        reason = metrics.undefined.get(name, "")
        lines.append([title_of(name, metrics.cutoff), figure(metrics, name), interval(estimates.get(name)) or reason])
    lines += [[name, "-" if value is None else f"{value:.4f}", ""] for name, value in metrics.own.items()]
    return table([f"{label}: metric" if label else "metric", "value", "95 % interval"], lines)


def of_estimate(estimate: Estimate | None) -> str:
    """Return the value of an estimate as a cell."""
    return "-" if estimate is None else f"{estimate.value:.4f}"


def interval(estimate: Estimate | None) -> str:
    """Return the ends of an interval as a cell."""
    return "" if estimate is None else f"{estimate.low:.4f} to {estimate.high:.4f}"
