"""The HTML report of a training, a comparison or a search; docs/report.md says what each figure means."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from fieldwise.counted import counted
from fieldwise.metrics.titles import title_of
from fieldwise.report.content import ModelLine, ReportContent
from fieldwise.report.page import facts, figures, key_figures, note, page, section, table
from fieldwise.report.pictures import Series, chart, intervals
from fieldwise.report.quality import MOST_FIELDS, quality
from fieldwise.report.tables import difference_table, figure, interval, model_tables, trial_table

__all__ = ["training_page"]

_MARK = '<meta name="generator" content="fieldwise">'
_GIGABYTE = 1e9


def training_page(content: ReportContent) -> str:
    """Return the page; every text that comes from the log is escaped.

    Raises
    ------
    ModuleNotFoundError
        Matplotlib is not installed.
    """
    return page(
        content.title,
        _MARK,
        [
            f"<h1>{escape(content.title)}</h1>",
            note(_about(content)),
            key_figures(_key(content)),
            *(f'<div class="warning"><p>{escape(text)}</p></div>' for text in content.warnings),
            section("Models", *model_tables(content.models)),
            section("Differences", *_differences(content)),
            section("Search", *_trials(content)),
            section("Learning curves", *_learning(content)),
            *(quality(content.figures) if content.figures is not None else ()),
            section("Data", *_data(content)),
            section("Speed and memory", figures(*_moments(content))),
            section("How to reproduce it", *_facts(content)),
        ],
    )


def _key(content: ReportContent) -> Iterator[tuple[str, str, str]]:
    """Yield what one looks for first: the figures of the part that is judged by, with their intervals."""
    found = content.figures
    if found is None:
        return
    for name, estimate in (("auc", found.auc), ("logloss", found.logloss), ("calibration_ratio", None)):
        if getattr(found.metrics, name) is not None:
            yield f"{found.part} {title_of(name)}", figure(found.metrics, name), interval(estimate)


def _about(content: ReportContent) -> str:
    of = f"{content.label} = {content.positive}" if content.positive is not None else content.label
    shown = f" All that follows the tables is of {content.model}." if len(content.models) > 1 else ""
    rows, features = counted(content.rows_read, "row"), counted(content.num_features, "feature")
    return f"Probability of {of}; {rows} read, {features}.{shown}"


def _differences(content: ReportContent) -> Iterator[str]:
    if not content.differences:
        return
    metric = content.differences[0].metric
    shown = [each for each in content.differences if each.metric == metric]
    what = f"{title_of(metric)} less that of {content.against}"
    names, estimates = [each.model for each in shown], [each.estimate for each in shown]
    yield figures(
        (
            intervals("differences", f"{what}, with intervals", names, estimates, what, reference=0.0),
            f"{what}, on the same rows, with {100 * (1 - content.level):g} % intervals.",
        )
    )
    yield difference_table(content.differences, content.against)


def _trials(content: ReportContent) -> Iterator[str]:
    title = f"valid {title_of(content.stop_on)}"
    known = [(each.number, each.value) for each in content.trials if each.value is not None]
    if known:
        better = min if (content.best, min(value for _, value in known)) in known else max
        along, values = [float(number) for number, _ in known], [value for _, value in known]
        best: Series = ("best so far", along, [better(values[: place + 1]) for place in range(len(values))])
        picture = chart("trials", f"{title} by trial", [best, ("trial", along, values)], "trial", title)
        yield figures((picture, f"{title} of each trial, and the best so far. Trial {content.best} was kept."))
    yield trial_table(content.trials, content.stop_on)


def _learning(content: ReportContent) -> Iterator[str]:
    curves = [each for each in content.models if each.history]
    metric = title_of(content.stop_on)
    if len(curves) == 1:
        yield figures(*_of_one(curves[0], metric))
        return
    series: list[Series] = [
        (each.label, [float(point.epoch) for point in each.history], [point.value for point in each.history])
        for each in curves
        if each.history[0].l2 is None
    ]
    if series:
        picture = chart("learning", f"valid {metric} of each model by epoch", series, "epoch", f"valid {metric}")
        yield figures((picture, f"{metric} on valid after each epoch; the table above says which one was kept."))


def _of_one(model: ModelLine, metric: str) -> Iterator[tuple[str, str]]:
    """Yield the learning curves of a model by epoch; of logistic regression that was solved, by penalty."""
    solved = model.history[0].l2 is not None
    places = {each.epoch: float(each.epoch if each.l2 is None else each.l2) for each in model.history}
    history = sorted(model.history, key=lambda each: places[each.epoch])
    along = [places[each.epoch] for each in history]
    x, loss = ("penalty", "objective") if solved else ("epoch", "loss")
    kept = places.get(model.best_epoch or 0)
    mark = None if kept is None else (kept, f"kept: {x} {kept:g}")
    losses: list[Series] = [("training", along, [each.loss for each in history])]
    if any(each.logloss is not None for each in history):
        losses.append(("valid", along, [each.logloss for each in history]))
    chosen = f", by which the {x} was chosen"
    if solved and kept is None:
        chosen += "; then each field was given its own"
    yield (
        chart("loss", f"training and validation loss by {x}", losses, x, loss, mark=mark, log=solved),
        f"Mean {loss} of training, and logloss on valid{chosen * solved}.",
    )
    if any(each.value is not None for each in history):
        of_valid: Series = ("", along, [each.value for each in history])
        yield (
            chart("valid", f"validation {metric} by {x}", [of_valid], x, f"valid {metric}", mark=mark, log=solved),
            f"{metric} on valid{chosen * (not solved)}.",
        )


def _data(content: ReportContent) -> Iterator[str]:
    yield table(
        ["part", "examples", "rows read", "rows rejected"],
        [[name, *(f"{count:,}" for count in counts)] for name, counts in content.parts.items()],
    )
    yield note(*content.reading)
    fields = sorted(content.fields, key=lambda each: -each.features)
    shown = table(
        ["field", "type", "features", "missing", "in training", "unseen", "expected"],
        [
            [
                each.name,
                each.type,
                f"{each.features:,}",
                *map(_share, (each.missing, each.training_missing, each.unseen, each.training_unseen)),
            ]
            for each in fields
        ],
        num_texts=2,
    )
    is_open = " open" * (len(fields) <= MOST_FIELDS)
    yield f"<details{is_open}><summary>{counted(len(fields), 'field')}</summary>{shown}</details>"


def _moments(content: ReportContent) -> Iterator[tuple[str, str]]:
    timed = [each for each in content.moments if each.examples_per_second is not None]
    series: list[Series] = [
        (
            stage,
            [each.seconds for each in timed if each.stage == stage],
            [each.examples_per_second for each in timed if each.stage == stage],
        )
        for stage in dict.fromkeys(each.stage for each in timed)
    ]
    if series:
        rates = [each.examples_per_second or 0.0 for each in timed]
        far = min(rates) > 0 and max(rates) > 30 * min(rates)  # solved logistic regression beside a network
        picture = chart("speed", "examples per second over time", series, "seconds", "examples/s", log_y=far)
        yield picture, "Training examples per second."
    held = [(each.seconds, each.memory / _GIGABYTE) for each in content.moments if each.memory is not None]
    if held:
        of_memory: Series = ("", [seconds for seconds, _ in held], [gigabytes for _, gigabytes in held])
        yield (
            chart("memory", "memory over time", [of_memory], "seconds", "GB"),
            "Memory that the process held, including what it had read of mapped files.",
        )


def _facts(content: ReportContent) -> Iterator[str]:
    for title, values in content.facts.items():
        yield f"<h3>{escape(title)}</h3>{facts(values.items())}"
    yield f"<h3>Configuration</h3><pre>{escape(content.config)}</pre>"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
