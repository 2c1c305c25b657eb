"""How a model is updated day by day, as data: the ``[update]``, ``[gate]`` and ``[guards]`` tables of a configuration
file.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["GateConfig", "GuardsConfig", "UpdateConfig"]

_Level = Annotated[float, Meta(gt=0, lt=1)]
_Bound = Annotated[float, Meta(gt=0, le=1)]


class GateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an updated model is refused (`jobs.update.gate`).

    Attributes
    ----------
    window
        Days whose held-out examples are judged together, >= 1.
    half_life
        Days after which a day's examples count half as much, > 0; a large number: all days alike.
    newest
        Share of the newest day in all that counts, at most, in (0, 1]: it may be what is wrong.
    min_clicks
        Held-out clicks, and as many examples without one, below which the version in use stays.
    level
        One minus the confidence of the intervals of differences of AUC and logloss.
    max_fall, fall_level
        A fall of AUC by this much or more is refused where its interval of confidence one minus `fall_level` lies below
        0; a level of 1 refuses it whatever the interval, a fall of 1 none.
    calibration_low, calibration_high
        Bounds of the sum of predictions over clicks.
    calibration_level
        One minus the confidence of its interval; divided by the number of slices for each of them.
    calibration_step
        A version whose calibration is out of bounds is refused where it is further from 1 than the one in use, or than
        that of a week before, by this share: where all are out, a version that is nearer is no harm.
    days_level
        One minus the confidence of the interval in which another day's level lies: a calibration of all examples that
        is out of bounds is no harm within it.
    slice_clicks
        Clicks, or predicted ones, and as many examples without one, below which a slice is not looked at.
    slices
        Fields with one value per example, whose values are slices; those with at most 50 features unless given.
    """

    window: Annotated[int, Meta(ge=1)] = 7
    half_life: Annotated[float, Meta(gt=0)] = 2.0
    newest: Annotated[float, Meta(gt=0, le=1)] = 0.33
    min_clicks: Annotated[int, Meta(ge=2)] = 200
    level: _Level = 0.05
    max_fall: Annotated[float, Meta(gt=0, le=1)] = 0.003
    fall_level: Annotated[float, Meta(gt=0, le=1)] = 0.2
    calibration_low: Annotated[float, Meta(gt=0, le=1)] = 0.95
    calibration_high: Annotated[float, Meta(ge=1)] = 1.05
    calibration_level: _Level = 0.01
    calibration_step: Annotated[float, Meta(ge=0)] = 0.01
    days_level: _Level = 0.05
    slice_clicks: Annotated[int, Meta(ge=1)] = 50
    slices: tuple[str, ...] | None = None


class GuardsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which days are refused, so that no version learns from them (`jobs.update.guards`).

    *Usual* is the median of the days before. A setting of 1, or a large one, turns a guard of a share, or of a ratio,
    off.

    Attributes
    ----------
    days
        How many days before are compared with, >= 1.
    largest, smallest
        Rows of a day, over those that are usual: refused above `largest`, warned of below `smallest`.
    rejected
        Share of the rows that cannot be used (without a label, for one), beyond the usual: refused above it.
    label_rate
        The odds of a class over the usual ones, or the other way round: refused above it.
    repeated
        Share of the rows that repeat an earlier row of the day, or were learned from before, beyond the usual: refused
        above it.
    missing
        Share of a field's values that are missing, beyond the usual: refused above it.
    unseen
        As `missing`, of values that the model does not know: warned of above it.
    unknown
        Share of a field's values that are usually known, and are not: refused above it (a column of another meaning).
    top
        Share of a field's most frequent value, beyond the usual: refused above it.
    auc_fall
        How far the AUC of the version in use, on the day, is below the usual, as a share of what that is above .5:
        refused above it. Where half of the labels are those of other rows it is .5, of flipped ones 2.
    """

    days: Annotated[int, Meta(ge=1)] = 14
    largest: Annotated[float, Meta(gt=1)] = 10.0
    smallest: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    rejected: _Bound = 0.1
    label_rate: Annotated[float, Meta(gt=1)] = 2.0
    repeated: _Bound = 0.05
    missing: _Bound = 0.3
    unseen: _Bound = 0.3
    unknown: _Bound = 0.9
    top: _Bound = 0.3
    auc_fall: Annotated[float, Meta(gt=0)] = 0.4


class UpdateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model learns from a day (`jobs.update.update`).

    Attributes
    ----------
    keep_days
        After how many updates without it a value leaves the vocabulary of its field, with its weights; 0: never.
    learning_rate
        What the learning rates of training are multiplied by, > 0: a model that is trained moves too far at its full
        rates. FTRL, whose steps shrink by themselves, keeps its own.
    passes
        How often a day is learned from, >= 1: more than once where it is large beside the training log and much has
        changed, as from month to month.
    keep_versions
        How many versions are kept, with what training goes on from, >= 3.
    label_window
        Days after a row was answered within which its label may come, > 0 (`jobs.update.late`).
    unlabelled
        What a row is that has no label when its window closes: ``left-out``, or ``negative`` where the labels that come
        are the clicks alone.
    late_labels
        What becomes of rows whose window is open: ``wait``, until their label comes; or ``fake-negatives``, where they
        are learned from at once, as no click yet, with the weight that puts this right (`jobs.update.late`).
    """

    keep_days: Annotated[int, Meta(ge=0)] = 30
    learning_rate: Annotated[float, Meta(gt=0)] = 0.25
    passes: Annotated[int, Meta(ge=1)] = 1
    keep_versions: Annotated[int, Meta(ge=3)] = 3
    label_window: Annotated[float, Meta(gt=0)] = 1.0
    unlabelled: Literal["left-out", "negative"] = "left-out"
    late_labels: Literal["wait", "fake-negatives"] = "wait"
