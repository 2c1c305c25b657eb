"""The model card: what a report says in figures, as Markdown for those who decide whether to use a model.

The headings are those of Mitchell et al., Model Cards for Model Reporting, 2019. What only people know (who answers for
the model, what it is for) is left to them, and marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fieldwise.counted import counted
from fieldwise.metrics.titles import TITLES, title_of
from fieldwise.report.content import PartFigures, ReportContent
from fieldwise.report.tables import figure, interval, of_estimate

__all__ = ["model_card"]

_TO_FILL = "*To be filled in.*"
_MOST = 10


def model_card(content: ReportContent) -> str:
    """Return the model card as Markdown, with texts of the log escaped.

    Parameters
    ----------
    content
        The figures of the report; sections without figures are left out.
    """
    return "\n".join([f"# Model card: {content.model}", "", *_details(content), *_use(), *_data(content),
                      *_evaluation(content), *_caveats(content)]) + "\n"  # fmt: skip


def _details(content: ReportContent) -> Iterator[str]:
    line = next((each for each in content.models if each.label == content.model), content.models[0])
    of = _plain(content.label if content.positive is None else f"{content.label} = {content.positive}")
    yield from ("## Model details", "")
    yield f"- Estimates the probability of {of}."
    if line.parameters is not None:
        weights = f"{counted(line.parameters, 'parameter')} and {counted(line.biases or 0, 'bias', 'biases')}"
        yield f"- {line.label}: {weights}, {counted(content.num_features, 'feature')}."
    if line.note:
        yield f"- {_plain(line.note)}."
    for title, values in content.facts.items():
        yield f"- {title}: {', '.join(f'{name} {value}' for name, value in values.items())}."
    yield f"- Person or team that answers for it: {_TO_FILL}"


def _use() -> Iterator[str]:
    yield from ("", "## Intended use", "", _TO_FILL)


def _data(content: ReportContent) -> Iterator[str]:
    yield from ("", "## Data", "")
    yield from _table(
        ["part", "examples", "rows read", "rows rejected"],
        [[name, *(f"{count:,}" for count in counts)] for name, counts in content.parts.items()],
    )
    if content.reading:
        yield from ("", *(f"- {_plain(line.strip())}" for line in content.reading))


def _evaluation(content: ReportContent) -> Iterator[str]:
    found = content.figures
    yield from ("", "## Evaluation", "")
    if found is None:
        yield "There are only the rows that the model was trained on."
        return
    yield f"On the {counted(found.metrics.num_examples, f'{found.part} row')}:"
    yield ""
    estimates = {"auc": found.auc, "logloss": found.logloss}
    yield from _table(
        ["metric", "value", "95 % interval"],
        [
            [title_of(name, found.metrics.cutoff), figure(found.metrics, name), interval(estimates.get(name))]
            for name in TITLES
            if getattr(found.metrics, name) is not None
        ],
    )
    yield from _factors(found)


def _factors(found: PartFigures) -> Iterator[str]:
    """Yield how the figures differ between fields' values."""
    if found.importance:
        yield from ("", "AUC lost when the values of a field are exchanged between the rows:", "")
        yield from _table(
            ["field", "AUC lost", "95 % interval"],
            [[each.name, f"{each.estimate.value:.4f}", interval(each.estimate)] for each in found.importance[:_MOST]],
        )
    for each in found.values:
        yield from ("", f"By {_plain(each.field)}:", "")
        yield from _table(
            ["value", "examples", "label rate", "predicted", "AUC"],
            [
                [
                    rates.name[:40],
                    f"{rates.examples:,}",
                    f"{rates.observed.value:.4f}",
                    f"{rates.predicted:.4f}",
                    of_estimate(rates.auc),
                ]
                for rates in each.values[:_MOST]
            ],
        )


def _caveats(content: ReportContent) -> Iterator[str]:
    found = content.figures
    yield from ("", "## Caveats", "")
    if found is not None and found.part == "valid":
        yield "- The figures are of the validation rows, by which the epoch was chosen: they are optimistic."
    yield "- Intervals are of the sampling of the evaluated rows, taken as independent; not of training."
    yield from (f"- {_plain(text)}" for text in (*content.warnings, *(found.notes if found is not None else ())))
    yield f"- Ethical considerations: {_TO_FILL}"


def _table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|---|{'---:|' * (len(headings) - 1)}"
    yield from (f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _plain(text: str) -> str:
    """Return text that is no Markdown: names and values come from a log."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|" else letter for letter in " ".join(text.split()))
