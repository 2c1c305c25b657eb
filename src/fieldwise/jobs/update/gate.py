"""The gate: whether a new version of a model is published, or the one in use stays.

A version is judged on examples that no version compared here has learned from: a part of each of the last days
(`jobs.update.holdout`), of which newer days count more (`paired_days`). *Not worse* cannot be shown on finite data, and
a margin wide enough for one day's clicks would let a model sink step by step. So what is refused is evidence of harm::

    AUC          the upper bound of the paired difference new - old is below 0, or the fall is ``max_fall`` or more and
                 the upper bound at ``fall_level`` is below 0
    logloss      the lower bound of the paired difference new - old is above 0
    calibration  the interval of predictions / clicks lies outside its bounds, of all examples or of a slice,
                 and the version is further from 1 than the old one by more than ``calibration_step``,
                 and, of all examples, it is further out than the level of another day may be

Days differ in level: there are more clicks on Sundays, and a version is right to follow. So AUC is taken within days,
logloss and calibration of slices after each day's predictions were moved, in the logit, to the clicks of that day, the
same way for all versions. The level of all examples is judged with days as the units: with x_d = log(predictions /
clicks) of the D earlier days of the window, of mean x and standard deviation s, the level of another day lies in ::

    x -+ t s sqrt(1 + 1 / D)         t: Student's quantile for D - 1 degrees of freedom, at ``days_level``

and a version that is right for one such day is no harm. The newest day is no witness: the new version has learned from
the rest of it, and it may be what is wrong. A slice, of fewer clicks, is judged with clicks as the units; where the
slices of a field differ between the earlier days by more than chance, intervals are as much wider (`metrics.ratio`).

All is done once for the version in use as the old one, and once for that of a week before, so that small steps down do
not add up. The levels of intervals are those of `training.update_config.GateConfig`; of calibration it is divided by
the number of slices (Bonferroni). Of equal versions about one in 25 is refused: AUC and logloss have 1 in 40 each, and
mostly the same one. Where there are so few clicks that chance alone makes a ``max_fall``, it may be one in seven.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.counted import counted
from fieldwise.jobs.update.paired_days import Difference, auc_difference, by_age, logloss_difference
from fieldwise.metrics.levels import levelled
from fieldwise.metrics.ratio import CalibrationRatios, calibration_by, dispersion_between
from fieldwise.metrics.student import student_quantile
from fieldwise.training.update_config import GateConfig

__all__ = ["Check", "Decision", "HeldOutAnswers", "SliceColumn", "judge"]

Floats = npt.NDArray[np.float64]
Probabilities = npt.NDArray[np.floating[Any]]

_IN_USE, _WEEK_BEFORE = "the version in use", "the version of a week before"


class SliceColumn(NamedTuple):
    """A field whose values are slices: the slice of each example (B,), and the name of each slice."""

    ids: npt.NDArray[np.integer[Any]]
    names: list[str]


class HeldOutAnswers(NamedTuple):
    """What versions of a model say of B held-out examples of two classes.

    Attributes
    ----------
    labels
        (B,) 0 or 1.
    days
        (B,) the number of each example's day.
    new, old, week_before
        (B,) probabilities of the new version, of the one in use and of that of a week before; of the last None where
        there is none, or it is the one in use.
    weights
        (B,) >= 0; 1 by default.
    slices
        By field.
    """

    labels: npt.NDArray[np.integer[Any]]
    days: npt.NDArray[np.int64]
    new: Probabilities
    old: Probabilities
    week_before: Probabilities | None = None
    weights: npt.NDArray[np.floating[Any]] | None = None
    slices: Mapping[str, SliceColumn] = {}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes
    ----------
    what
        ``auc``, ``logloss`` or ``calibration``.
    against
        What a difference is taken to, or, of calibration, None.
    slice
        As in ``city=Rome``; None for all examples.
    value, low, high
        The difference new - old, or predictions over clicks, and its interval; None where it is infinite.
    harm
        Why it speaks against the version; None where it does not.
    """

    what: str
    against: str | None = None
    slice: str | None = None
    value: float | None
    low: float | None
    high: float | None
    harm: str | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a version is published, and why.

    Attributes
    ----------
    publish
        Whether it is.
    reasons
        Why not; empty where it is.
    warnings
        What is wrong with the version, and no reason to keep the old one.
    checks
        All comparisons, but of the slices only those that are out of bounds.
    examples, clicks, days
        On how many it was judged.
    """

    publish: bool
    reasons: list[str]
    warnings: list[str] = []
    checks: list[Check] = []
    examples: int
    clicks: int
    days: int


def judge(answers: HeldOutAnswers, settings: GateConfig) -> Decision:
    """Decide on a new version by the examples of the last ``settings.window`` days.

    The cost is that of two sorts of B probabilities a comparison; with weights, of the bootstrap of `metrics.paired`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = 1 / (1 + np.exp(1.5 - rng.normal(size=20_000)))
    >>> labels, days = (rng.random(20_000) < truth).astype(int), np.repeat(np.arange(4), 5_000)
    >>> judge(HeldOutAnswers(labels, days, new=truth, old=truth), GateConfig()).publish
    True
    >>> worse = truth[rng.permutation(20_000)]
    >>> judge(HeldOutAnswers(labels, days, new=worse, old=truth), GateConfig(min_clicks=10_000)).reasons
    ['too few held-out examples to judge by: 4,467 clicks and 15,533 others of 4 days, expected 10,000 of both']
    """
    kept = answers.days > answers.days.max(initial=0) - settings.window
    if not kept.all():
        answers = _only(answers, kept)
    clicks = int(np.count_nonzero(answers.labels))
    num_examples, num_days = len(answers.labels), len(np.unique(answers.days))
    decision = partial(Decision, examples=num_examples, clicks=clicks, days=num_days)
    if min(clicks, num_examples - clicks) < settings.min_clicks:
        reason = (
            f"too few held-out examples to judge by: {clicks:,} clicks and {num_examples - clicks:,} others of "
            f"{counted(num_days, 'day')}, expected {settings.min_clicks:,} of both"
        )
        return decision(publish=False, reasons=[reason])
    if broken := int(np.count_nonzero(~np.isfinite(answers.new))):
        reason = f"{broken:,} of {num_examples:,} probabilities are not finite numbers"
        return decision(publish=False, reasons=[reason])
    before = {_IN_USE: answers.old}
    if answers.week_before is not None:
        before[_WEEK_BEFORE] = answers.week_before
    days = np.unique(answers.days, return_inverse=True)[1]
    factors, counts = by_age(answers.days, settings.half_life, settings.newest, answers.weights)
    at_level = partial(levelled, labels=answers.labels, groups=days, weights=answers.weights)
    new, others = at_level(answers.new), {name: at_level(old) for name, old in before.items()}
    checks = [
        check
        for name, old in before.items()
        for check in (
            _auc(answers, factors, old, name, settings),
            _logloss(answers, counts, new, others[name], name, settings),
        )
    ]
    calibrations = [
        _calibration(answers, counts, before, days, settings),
        *_of_slices(answers, counts, new, others, days, settings),
    ]
    reasons = [check.harm for check in (*checks, *(check for check, _ in calibrations)) if check.harm is not None]
    return decision(
        publish=not reasons,
        reasons=reasons,
        warnings=[warning for _, warning in calibrations if warning is not None],
        checks=checks + [check for check, _ in calibrations],
    )


def _only(answers: HeldOutAnswers, kept: npt.NDArray[np.bool_]) -> HeldOutAnswers:
    arrays = {name: value[kept] for name, value in answers._asdict().items() if isinstance(value, np.ndarray)}
    slices = {name: SliceColumn(column.ids[kept], column.names) for name, column in answers.slices.items()}
    return answers._replace(**arrays, slices=slices)


def _auc(answers: HeldOutAnswers, factors: Floats, old: Probabilities, against: str, settings: GateConfig) -> Check:
    found = auc_difference(answers.labels, answers.days, factors, answers.new, old, answers.weights)
    if found is None:
        return Check(what="auc", against=against, value=None, low=None, high=None)
    falls = found.value <= -settings.max_fall and found.interval(settings.fall_level)[1] < 0
    level = settings.level if found.interval(settings.level)[1] < 0 or not falls else settings.fall_level
    return _difference("auc", "AUC", found, against, level, found.interval(level)[1] < 0)


def _logloss(
    answers: HeldOutAnswers,
    counts: Floats,
    new: Probabilities,
    old: Probabilities,
    against: str,
    settings: GateConfig,
) -> Check:
    """Compare loglosses, at the level of each day."""
    found = logloss_difference(answers.labels, counts, new, old)
    return _difference("logloss", "logloss", found, against, settings.level, found.interval(settings.level)[0] > 0)


def _difference(what: str, name: str, found: Difference, against: str, level: float, is_harm: bool) -> Check:
    direction, (low, high) = "lower" if found.value < 0 else "higher", found.interval(level)
    harm = (
        f"{name} is {abs(found.value):.4f} {direction} than that of {against} "
        f"(interval of confidence {1 - level:.4g}: {low:+.4f} to {high:+.4f})"
    )
    return Check(what=what, against=against, value=found.value, low=low, high=high, harm=harm if is_harm else None)


def _calibration(
    answers: HeldOutAnswers,
    counts: Floats,
    before: Mapping[str, Probabilities],
    days: npt.NDArray[np.int64],
    settings: GateConfig,
) -> tuple[Check, str | None]:
    """Look at the calibration of all examples; return it, and a warning where it is out of bounds and no harm."""
    one = np.zeros(len(days), dtype=np.int64)

    def of(probabilities: Probabilities) -> CalibrationRatios:
        level = settings.calibration_level
        return calibration_by(one, 1, answers.labels, probabilities, counts, level=level)

    found = of(answers.new)
    text = _out_of_bounds(found, [None], settings.calibration_level, settings).get(0)
    worse = _further(found, {name: of(old) for name, old in before.items()}, 0, settings)
    if text is None or not worse:
        return _check(found, 0, None), None if text is None else f"{text}, as far from 1 as before"
    newest = int(days.max())
    by_day = calibration_by(days, newest + 1, answers.labels, answers.new, answers.weights).ratio[:newest]
    if newest and _as_days_are(by_day, settings):
        return _check(found, 0, None), f"{text}, as far from 1 as single days are"
    return _check(found, 0, None, f"{text}, and further from 1 than that of {' and '.join(worse)}"), None


def _as_days_are(ratios: Floats, settings: GateConfig) -> bool:
    """Whether a day's level may lie within the bounds, by how those of the earlier days, (D,), differ."""
    logs = np.log(ratios[(ratios > 0) & np.isfinite(ratios)])
    if len(logs) < 2:
        return True  # nothing is known of how days differ
    half = student_quantile(settings.days_level, len(logs) - 1) * logs.std(ddof=1) * np.sqrt(1 + 1 / len(logs))
    low, high = np.log((settings.calibration_low, settings.calibration_high))
    return bool(logs.mean() - half <= high and logs.mean() + half >= low)


def _of_slices(
    answers: HeldOutAnswers,
    counts: Floats,
    new: Probabilities,
    before: Mapping[str, Probabilities],
    days: npt.NDArray[np.int64],
    settings: GateConfig,
) -> Iterator[tuple[Check, str | None]]:
    """Yield the calibration of each slice that is out of bounds, at the level of each day, and a warning where that is
    no harm.
    """
    large = {
        field: _large(answers.labels, new, column, settings.slice_clicks) for field, column in answers.slices.items()
    }
    num_slices = sum(map(len, large.values()))
    for field, column in answers.slices.items():
        if not large[field]:
            continue
        level, size = settings.calibration_level / num_slices, len(column.names)
        dispersion = min(_dispersion(answers, each, column, days) for each in (new, *before.values()))
        of = partial(
            calibration_by, column.ids, size, answers.labels, weights=counts, level=level, dispersion=dispersion
        )
        found = of(new)
        names = [f"{field}={name}" for name in column.names]
        out = _out_of_bounds(found, names, level, settings)
        texts = {place: text for place, text in out.items() if place in large[field]}
        others = {name: of(old) for name, old in before.items()} if texts else {}
        for place, text in texts.items():
            worse = _further(found, others, place, settings)
            if worse:
                harm = f"{text}, and further from 1 than that of {' and '.join(worse)}"
                yield _check(found, place, names[place], harm), None
            else:
                yield _check(found, place, names[place]), f"{text}, as far from 1 as before"


def _dispersion(
    answers: HeldOutAnswers, probabilities: Probabilities, column: SliceColumn, days: npt.NDArray[np.int64]
) -> float:
    """Return by how much the slices of a field differ between the earlier days, beyond chance; 1 of one day."""
    earlier = days < days.max()
    if not earlier.any():
        return 1.0
    weights = None if answers.weights is None else answers.weights[earlier]
    return dispersion_between(
        column.ids[earlier], days[earlier], answers.labels[earlier], probabilities[earlier], weights
    )


def _large(labels: npt.NDArray[np.integer[Any]], new: Probabilities, column: SliceColumn, least: int) -> set[int]:
    """Return the slices that have, or should have, so many clicks, and so many others."""
    examples, clicks, predicted = (np.bincount(column.ids, each, len(column.names)) for each in (None, labels, new))
    enough = np.minimum(np.maximum(clicks, predicted), examples - np.minimum(clicks, predicted)) >= least
    return set(np.flatnonzero(enough).tolist())


def _out_of_bounds(
    found: CalibrationRatios, names: Sequence[str | None], level: float, settings: GateConfig
) -> dict[int, str]:
    """Return which slices are out of bounds, in words."""
    low, high = settings.calibration_low, settings.calibration_high
    return {
        place: (
            f"calibration{f' of {names[place]}' if names[place] else ''} is {found.ratio[place]:.3f}, predictions over "
            f"clicks (interval of confidence {1 - level:.6g}: {found.low[place]:.3f} to {found.high[place]:.3f}; "
            f"allowed: {low:g} to {high:g}; {counted(found.examples[place], 'example')})"
        )
        for place in np.flatnonzero((found.low > high) | (found.high < low)).tolist()
    }


def _further(
    found: CalibrationRatios, before: Mapping[str, CalibrationRatios], place: int, settings: GateConfig
) -> list[str]:
    """Return the versions that are nearer to 1 in a slice, by more than ``calibration_step``."""
    own, step = _distance(found.ratio[place]), np.log1p(settings.calibration_step)
    return [name for name, old in before.items() if own > _distance(old.ratio[place]) + step]


def _check(found: CalibrationRatios, place: int, name: str | None, harm: str | None = None) -> Check:
    value, low, high = (
        float(each[place]) if np.isfinite(each[place]) else None for each in (found.ratio, found.low, found.high)
    )
    return Check(what="calibration", slice=name, value=value, low=low, high=high, harm=harm)


def _distance(ratio: float) -> float:
    """Return how far a calibration is from 1: twice as many predictions as clicks as far as half as many."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.abs(np.log(ratio)))
