"""The tables printed by ``fieldwise compare``: those of the paper, and which differences are significant."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import click

from fieldwise.cli.figures import evaluated, figure, predicting, print_warnings
from fieldwise.cli.output import Footnotes, compact, print_commands, print_table
from fieldwise.cli.result import print_members
from fieldwise.cli.tables import print_parts, print_read
from fieldwise.config import Config
from fieldwise.counted import counted
from fieldwise.jobs.compare.comparison import Comparison
from fieldwise.jobs.compare.differences import Difference
from fieldwise.metrics.titles import title_of
from fieldwise.models.registry import model_label

__all__ = ["print_comparison", "print_first"]


def print_first(comparison: Comparison, waiting: Sequence[str]) -> None:
    """Print the results so far, while the models in `waiting` are still to be trained."""
    labels = _labels(comparison)
    _print_metrics(comparison, labels, f"First {len(labels)} of {len(labels) + len(waiting)} models: ")
    click.echo(f"Remaining: {', '.join(waiting)}\n")


def print_comparison(comparison: Comparison, path: Path, config: Config) -> None:
    """Print parameters, AUC and logloss, differences, and seconds per epoch."""
    labels = _labels(comparison)
    print_parts(comparison.data)
    print_table(
        f"Parameters: {counted(comparison.data['num_features'], 'feature')} in "
        f"{counted(len(comparison.data['fields']), 'field')}",
        ["model", "parameters", "biases"],
        [
            [label, f"{result.parameters:,}", f"{result.biases:,}"]
            for label, result in zip(labels.values(), comparison.models, strict=True)
        ],
    )
    _print_metrics(comparison, labels)
    print_members(comparison.models)
    first = "" if comparison.folds is None else ", first fold"
    for label, result in zip(labels.values(), comparison.models, strict=True):
        if result.kept is not None:
            click.echo(
                f"{label}{first}: {model_label(result.kept)} was saved and measured: nothing was better "
                "on valid beyond noise.\n"
            )
    if comparison.differences:
        _print_differences(comparison, labels)
    _print_seconds(comparison, labels)
    print_warnings(
        [
            f"{label}: {text}"
            for label, each in zip(labels.values(), comparison.models, strict=True)
            for text in each.warnings
        ]
    )
    print_read(comparison.read)
    click.echo(f"Runs saved in {comparison.folder}")
    wider = ["--out", f"{comparison.folder}-wider", "--set", "model.kind=lc-wide-deep", "--set", "model.units=16"]
    paper = ["--out", f"{comparison.folder}-paper", "--set", "model.hidden=[2048,1024]"]
    again = ["fieldwise", "compare", str(path), "--out", comparison.folder, "--seeds", "3"]
    print_commands(
        "Next:",
        [
            predicting(comparison.models[comparison.best].folder, config),
            *(
                [("mean and standard deviation over training seeds", again)]
                if len(comparison.seeds) == 1 and comparison.folds is None
                else []
            ),
            ("train another model", ["fieldwise", "train", str(path), *wider]),
            ("compare with the hidden layers of the paper", ["fieldwise", "compare", str(path), *paper]),
        ],
    )


def _labels(comparison: Comparison) -> dict[str, str]:
    return {
        spread.model: model_label(result.model, result.units)
        for spread, result in zip(comparison.spreads, comparison.models, strict=True)
    }


def _print_metrics(comparison: Comparison, labels: dict[str, str], before: str = "") -> None:
    notes = Footnotes()
    columns = [(part, name) for part in evaluated(comparison.models[0]) for name in ("auc", "logloss")]
    if not columns:
        return
    title = f"{before}AUC and logloss"
    if comparison.folds is not None:
        title += f", mean \N{PLUS-MINUS SIGN} standard deviation over {comparison.folds} folds"
    elif len(comparison.seeds) > 1:
        title += f", mean \N{PLUS-MINUS SIGN} standard deviation over {len(comparison.seeds)} training seeds"
    lines = []
    for spread, result in zip(comparison.spreads, comparison.models, strict=True):
        cells = []
        for part, name in columns:
            mean, deviation = spread.mean.get(part, {}).get(name), spread.deviation.get(part, {}).get(name)
            if mean is None or deviation is None:
                cells.append(figure(evaluated(result)[part], name, notes))
            else:
                cells.append(f"{mean:.4f} \N{PLUS-MINUS SIGN} {deviation:.4f}")
        lines.append([labels[spread.model], *cells])
    print_table(title, ["model", *(f"{part} {title_of(name)}" for part, name in columns)], lines, notes=notes)


def _print_differences(comparison: Comparison, labels: dict[str, str]) -> None:
    confidence = f"{100 * (1 - comparison.level):g} %"
    rows = f"{comparison.part} rows"
    for of_label in dict.fromkeys(each.metric.partition(":")[2] for each in comparison.differences):
        of_all = [each for each in comparison.differences if each.metric.partition(":")[2] == of_label]
        _print_differences_of(of_all, labels, confidence, rows)
    num_models = len({each.model for each in comparison.differences})
    method = comparison.differences[0].method
    method = "DeLong" if method == "delong" else "bootstrap"
    sources = f"The intervals cover the sampling of the {rows} ({method})"
    if comparison.folds is not None:
        sources = f"The intervals are those of the mean over {comparison.folds} folds (Student's t)."
    elif len(comparison.seeds) > 1:
        sources += f" and of the {len(comparison.seeds)} training seeds (Student's t)."
    else:
        sources += " but not the variation between training seeds; use --seeds 3 to include it."
    together = f", family-wise over {num_models} models (Holm)" if num_models > 1 else ""
    sources += f" Significance level {comparison.level:g}{together}."
    if comparison.part == "valid":
        sources += " There is no test part: results on valid are optimistic for the models selected on it."
    click.echo(textwrap.fill(sources, 100) + "\n")


def _print_differences_of(
    differences: Sequence[Difference], labels: dict[str, str], confidence: str, rows: str
) -> None:
    """Print the differences in the metrics of a label."""
    metrics = list(dict.fromkeys(each.metric for each in differences))
    # AUC decides; where it is not defined, logloss.
    decisive, *rest = metrics
    others = {(each.model, each.metric): each for each in differences}
    lines = [
        [
            labels[each.model],
            each.verdict,
            f"{each.difference:+.4f}",
            f"{each.low:+.4f} to {each.high:+.4f}",
            _p_value(each.corrected_p_value),
            *(_short(others.get((each.model, metric))) for metric in rest),
        ]
        for each in differences
        if each.metric == decisive
    ]
    print_table(
        f"{title_of(decisive)} minus that of {labels[differences[0].against]}, paired on the same {rows}",
        [
            "model",
            "",
            "difference",
            f"{confidence} interval",
            "p",
            *(title_of(metric.partition(":")[0]) for metric in rest),
        ],
        lines,
        num_texts=2,
    )


def _print_seconds(comparison: Comparison, labels: dict[str, str]) -> None:
    print_table(
        "Training time per epoch" + (", first seed" if len(comparison.seeds) > 1 else ""),
        ["model", "seconds per epoch", "pretraining", "epochs", "best", "examples/s"],
        [
            [
                label,
                f"{result.seconds_per_epoch:.2f}",
                "" if result.pretrain_seconds is None else f"{result.pretrain_seconds:.1f}",
                str(result.epochs),
                str(result.best_epoch),
                compact(result.examples_per_second),
            ]
            for label, result in zip(labels.values(), comparison.models, strict=True)
        ],
    )


def _short(difference: Difference | None) -> str:
    """Return a difference of a second metric, followed by its verdict where there is one."""
    if difference is None:
        return "-"
    mark = {"better": " (better)", "worse": " (worse)"}.get(difference.verdict, "")
    return f"{difference.difference:+.4f}{mark}"


def _p_value(value: float) -> str:
    return "<.0001" if value < 1e-4 else f"{value:.4f}"
