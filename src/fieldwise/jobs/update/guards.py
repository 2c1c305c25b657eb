"""The guards: whether a day's log is what a day's log usually is. No version is kept that learned from another.

A day is compared with the median of the days before, and with what the encoder knows of the training log. What cannot
be right is refused: nothing is learned, the day can be given again once it is mended. What may be right is a warning.
Shares are compared by their difference, rates and numbers of rows by their ratio, and where chance could explain what
was found (three standard errors) nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import log, sqrt
from statistics import median
from typing import NamedTuple, TypeVar

import msgspec

from fieldwise.jobs.update.day import MOST_DIGESTS, DaySummary, FieldSummary
from fieldwise.training.update_config import GuardsConfig

__all__ = ["Finding", "Findings", "inspect_day", "inspect_predictions"]

_ERRORS = 3.0
_HALF = 0.5
_NEARLY_ALL = 0.9
"""A column is stuck, too, where its other values are a tenth of what is usual."""
_Summary = TypeVar("_Summary", DaySummary, FieldSummary)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as usual.

    Attributes
    ----------
    what
        In words; where a field is meant, with its name.
    expected, got
        What is usual and what came.
    setting
        The key of ``[guards]`` that says how much is too much; None where none does.
    """

    what: str
    expected: str
    got: str
    setting: str | None = None

    def __str__(self) -> str:
        setting = f" (guards.{self.setting})" if self.setting else ""
        return f"{self.what}: expected {self.expected}, got {self.got}{setting}"


class Findings(NamedTuple):
    """Why a day is refused, and what else is unusual; nothing is learned where there is a refusal."""

    refusals: list[Finding]
    warnings: list[Finding]


def inspect_day(
    day: DaySummary,
    before: Sequence[DaySummary],
    settings: GuardsConfig,
    versions: Mapping[str, int] = {},
) -> Findings:
    """Compare a day with those before it.

    Parameters
    ----------
    day
        The new one.
    before
        The days that were learned from, in order, after what is known of the training log (`day.summary_of_training`).
    versions
        Which version learned from a day, by the day's digest: told where the day is that one once more.

    Examples
    --------
    >>> usual = DaySummary(rows=1000, used=1000, classes=[900, 100], digest="a")
    >>> flipped = DaySummary(rows=1000, used=1000, classes=[100, 900], digest="b")
    >>> [str(finding) for finding in inspect_day(flipped, [usual], GuardsConfig()).refusals]
    ['the share of label 1: expected 0.1, got 0.9 (guards.label_rate)']
    """
    found = Findings([], [])
    for is_refusal, finding in _of_content(day, before, versions):
        (found.refusals if is_refusal else found.warnings).append(finding)
    if day.used:
        recent = [*before[:1], *before[1:][-settings.days :]]
        for check in (_size, _labels, _repeated, _fields, _auc):
            for is_refusal, finding in check(day, recent, settings):
                (found.refusals if is_refusal else found.warnings).append(finding)
    return found


_Found = Iterator[tuple[bool, Finding]]


def _of_content(day: DaySummary, before: Sequence[DaySummary], versions: Mapping[str, int]) -> _Found:
    """Days that are empty, came before, or come late."""
    if not day.used:
        got = "none" if not day.rows else f"none of {day.rows:,} that can be used"
        yield True, Finding(what="rows with a label", expected="some", got=got)
        return
    for number, old in enumerate(before):
        if old.digest and old.digest == day.digest:
            labels = "the same rows" if old.labels == day.labels else "the same rows, with other labels"
            name = f"of {old.day}" if old.day else f"{len(before) - number} before"
            learned = f", from which version {versions[old.digest]} has learned" if old.digest in versions else ""
            got = f"{labels} as those of the day {name}{learned}"
            yield True, Finding(what="the day", expected="a new one", got=got)
    if len([count for count in day.classes if count]) < 2:
        present = ", ".join(str(number) for number, count in enumerate(day.classes) if count)
        yield True, Finding(what="labels", expected="two classes or more", got=f"class {present} alone")
    known = [old.day for old in before if old.day is not None]
    if day.day is not None and known:
        newest = max(known)
        if day.day < newest:
            yield False, Finding(what="the day is late", expected=f"one after {newest}", got=day.day)
        off = 1 - day.days[day.day] / sum(day.days.values())
        if off > 0.5:
            yield False, Finding(what="rows of one day", expected="most of them", got=_days(day.days))
    columns = next((old.columns for old in reversed(before) if old.columns), day.columns)
    for what, names in (("new columns", set(day.columns) - set(columns)), ("lost", set(columns) - set(day.columns))):
        if names:
            got = f"{what}: {', '.join(sorted(names)[:10])}"
            yield False, Finding(what="columns", expected="those of the day before", got=got)


def _size(day: DaySummary, before: Sequence[DaySummary], settings: GuardsConfig) -> _Found:
    assert day.rows is not None
    assert day.used is not None
    usual = _usual(before, lambda old: old.rows)
    if usual:
        for is_refusal, key in ((True, "largest"), (False, "smallest")):
            bound = getattr(settings, key) * usual
            if day.rows > bound if key == "largest" else day.rows < bound:
                yield is_refusal, Finding(what="rows", expected=f"about {usual:,.0f}", got=f"{day.rows:,}", setting=key)
    rejected = 1 - day.used / max(day.rows, 1)
    usual = _usual(before, lambda old: 1 - old.used / old.rows if old.rows and old.used is not None else None)
    yield from _share("rows that cannot be used", "rejected", rejected, usual or 0.0, day.rows, settings.rejected)


def _labels(day: DaySummary, before: Sequence[DaySummary], settings: GuardsConfig) -> _Found:
    total = sum(day.classes)
    for number, count in enumerate(day.classes):
        if number == 0 and len(day.classes) == 2:
            continue  # the other one says the same
        usual = _usual(before, lambda old, number=number: _rate(old, number))  # type: ignore[misc]
        if usual is None or not 0 < usual < 1 or not 0 < count < total:
            continue
        moved = abs(log(count / (total - count)) - log(usual / (1 - usual)))
        if moved - _ERRORS * sqrt(1 / count + 1 / (total - count)) > log(settings.label_rate):
            expected, got = f"{usual:.3g}", f"{count / total:.3g}"
            yield True, Finding(what=f"the share of label {number}", expected=expected, got=got, setting="label_rate")


def _repeated(day: DaySummary, before: Sequence[DaySummary], settings: GuardsConfig) -> _Found:
    assert day.used is not None
    usual = _usual(before, lambda old: old.repeated)
    num_seen = min(day.used, MOST_DIGESTS // 2)
    what = "rows that repeat one of the same day"
    for _, finding in _share(what, "repeated", day.repeated or 0.0, usual or 0.0, num_seen, settings.repeated):
        # Without an identifier rows may repeat by themselves; how often, the first day cannot know.
        yield usual is not None, finding
    usual = _usual(before, lambda old: old.known if old.digest else None)
    num_held = max(day.used // 10, 1)
    yield from _share("rows that earlier days had", "repeated", day.known, usual or 0.0, num_held, settings.repeated)


def _fields(day: DaySummary, before: Sequence[DaySummary], settings: GuardsConfig) -> _Found:
    assert day.used is not None
    for name, field in day.fields.items():
        old = [each.fields[name] for each in before if name in each.fields]
        for is_refusal, key, what in (
            (True, "missing", "missing values"),
            (False, "unseen", "values that the model does not know"),
            (True, "unknown", "values that the model does not know"),
            (True, "top", "its most frequent value"),
        ):
            figure, among = key, old
            if key == "unknown":  # what a model was trained on, it knows: only days tell how much of a day it knows
                figure, among = "unseen", [each.fields[name] for each in before if each.rows and name in each.fields]
            usual = _usual(among, lambda each, figure=figure: getattr(each, figure))  # type: ignore[misc]
            if usual is not None and getattr(field, figure) is not None:
                title, bound = f"field {name}, the share of {what}", getattr(settings, key)
                if key == "unknown":  # where few values are known on any day, as of sessions, none more says nothing
                    bound = bound * (1 - usual) if usual < _HALF else 1.0
                if key == "top" and bound < 1:  # of a value that is most of a field already, less is enough
                    bound = min(bound, _NEARLY_ALL * (1 - usual))
                for _, finding in _share(title, key, getattr(field, figure), usual, day.used, bound):
                    yield is_refusal, finding


def _auc(day: DaySummary, before: Sequence[DaySummary], settings: GuardsConfig) -> _Found:
    num_held = [count // 10 for count in day.classes if count]
    for finding in _fallen(day.auc, _usual(before, lambda old: old.auc), num_held, settings):
        yield True, finding


def inspect_predictions(
    auc: float | None, before: Sequence[float | None], classes: Sequence[int], settings: GuardsConfig
) -> list[Finding]:
    """Compare the AUC of what was predicted of a day, each batch before it was learned from, with that of the days
    before: ten times the examples of those that are held out, so a third of their error.

    Parameters
    ----------
    auc
        Of the day; None where it is undefined.
    before
        Of the days that were learned from, in order.
    classes
        How many examples of each class the day has.
    """
    known = [each for each in before if each is not None][-settings.days :]
    return [*_fallen(auc, median(known) if known else None, [count for count in classes if count], settings)]


def _fallen(
    auc: float | None, usual: float | None, classes: Sequence[int], settings: GuardsConfig
) -> Iterator[Finding]:
    if auc is None or usual is None:
        return
    error = sqrt(0.25 / max(min(classes), 1))  # of an AUC, at most
    fall = usual - auc
    if fall > _ERRORS * error and fall > settings.auc_fall * (usual - 0.5):
        what, expected = "the AUC of the version in use", f"about {usual:.4f}"
        yield Finding(what=what, expected=expected, got=f"{auc:.4f}", setting="auc_fall")


def _share(what: str, key: str, share: float, usual: float, count: int, bound: float) -> _Found:
    if share - usual - _ERRORS * sqrt(max(usual * (1 - usual), share * (1 - share)) / count) > bound > 0:
        yield True, Finding(what=what, expected=f"about {usual:.1%}", got=f"{share:.1%}", setting=key)


def _usual(before: Sequence[_Summary], figure: Callable[[_Summary], float | None]) -> float | None:
    known = [value for value in map(figure, before) if value is not None]
    return median(known) if known else None


def _rate(day: DaySummary, number: int) -> float | None:
    return day.classes[number] / sum(day.classes) if sum(day.classes) else None


def _days(days: dict[str, int]) -> str:
    return ", ".join(f"{count:,} of {day}" for day, count in sorted(days.items())[:5])
