"""Results as the lines of a report's tables, and as the tables that notebooks show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fieldwise.metrics.intervals import Estimate
from fieldwise.metrics.own import metric_value, turned
from fieldwise.models.registry import model_label
from fieldwise.report.content import DifferenceLine, EpochPoint, ModelLine, TrialLine
from fieldwise.report.tables import difference_table, metric_table, model_tables, trial_table

if TYPE_CHECKING:  # they show themselves by this module
    from fieldwise.jobs.compare.comparison import Comparison
    from fieldwise.jobs.evaluate import Evaluation
    from fieldwise.jobs.result import Result
    from fieldwise.jobs.tune.trial import Tuning

__all__ = [
    "comparison_html",
    "comparison_lines",
    "difference_lines",
    "evaluation_html",
    "member_lines",
    "model_line",
    "result_html",
    "search_html",
    "trial_lines",
]


def result_html(result: Result) -> str:
    """Return what a notebook shows of a result: the tables of its report; so do those below."""
    return "".join(model_tables([model_line(result, "auc", curve=False), *member_lines(result)]))


def comparison_html(comparison: Comparison) -> str:
    """Return the tables of a comparison."""
    lines, against = difference_lines(comparison)
    return "".join([*model_tables(comparison_lines(comparison, "auc")), difference_table(lines, against)])


def search_html(tuning: Tuning) -> str:
    """Return the trials of a search."""
    return trial_table(trial_lines(tuning), tuning.metric)


def evaluation_html(evaluation: Evaluation) -> str:
    """Return the metrics of an evaluation."""
    return "".join(metric_table(each, {}, label) for label, each in evaluation.metrics.by_label().items())


def comparison_lines(comparison: Comparison, stop_on: str) -> list[ModelLine]:
    """Return the models of a comparison, of the first seed, as lines."""
    return [model_line(result, stop_on) for result in comparison.models]


def difference_lines(comparison: Comparison) -> tuple[list[DifferenceLine], str]:
    """Return the differences of a comparison as lines, and the label of the reference model."""
    labels = {
        spread.model: model_label(result.model, result.units)
        for spread, result in zip(comparison.spreads, comparison.models, strict=True)
    }
    lines = [
        DifferenceLine(
            model=labels[each.model],
            metric=each.metric,
            estimate=Estimate(each.difference, each.low, each.high),
            p_value=each.corrected_p_value,
            verdict=each.verdict,
        )
        for each in comparison.differences
    ]
    return lines, labels.get(comparison.against or "", "")


def trial_lines(tuning: Tuning) -> list[TrialLine]:
    """Return the trials of a search as lines."""
    return [
        TrialLine(
            number=each.number,
            state=each.state,
            value=None if each.value is None else turned(each.value, tuning.metric),
            settings=", ".join(f"{key} = {value}" for key, value in each.values.items()) or "as configured",
        )
        for each in tuning.trials
    ]


def model_line(result: Result, stop_on: str, suffix: str = "", *, curve: bool = True) -> ModelLine:
    """Return a model as a line; `suffix` is added to its label, and without `curve` it has no learning curve."""
    return ModelLine(
        label=model_label(result.model, result.units) + suffix,
        parameters=result.parameters,
        biases=result.biases,
        valid=result.valid,
        test=result.test,
        seconds_per_epoch=result.seconds_per_epoch,
        pretrain_seconds=result.pretrain_seconds,
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        examples_per_second=result.examples_per_second,
        history=[
            EpochPoint(
                epoch=each.epoch,
                loss=each.loss,
                logloss=None if each.valid is None else each.valid.logloss,
                value=metric_value(each.valid, stop_on),
                l2=each.l2,
            )
            for each in result.history
            if curve and not each.own
        ],
        note="" if result.kept is None else f"{model_label(result.kept)} was better on valid, and was saved",
    )


def member_lines(result: Result) -> list[ModelLine]:
    """Return the members of a stack as lines."""
    return [
        ModelLine(
            label=f"{model_label(each.model)} (member)",
            parameters=None,
            biases=None,
            valid=each.valid,
            test=each.test,
            note=f"weight in the stack {' + '.join(f'{weight:.2f}' for weight in each.weights)}",
        )
        for each in result.members
    ]
