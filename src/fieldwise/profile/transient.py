"""Fields whose effects do not last: the day of a month, which says something in its own month only, or the month.

A log in the order of time has rows of one moment together, and what they share is learned as an effect of whatever
names the moment. The training rows are cut into T = 10 blocks in their order. With r the label minus the base rate p of
its block, S_vt and N_vt sum and number of the rows of value v in block t, N_v all of them, ::

    lasting   sum_v 1/N_v sum_{s<t} S_vs S_vt              / sum_v 1/N_v sum_{s<t} N_vs N_vt
    whole     sum_v 1/N_v sum_t (S_vt^2 - N_vt p_t(1-p_t)) / sum_v 1/N_v sum_t N_vt (N_vt - 1)

are the variance of effects that are the same in two blocks and of those within one, as in a random-effects model: of
rows in random order both are the same. A field is transient if

* it has an effect within blocks beyond chance (5 standard errors), and less than a quarter of that lasts, two standard
  errors allowed for; or
* half of the validation rows or more have values that no training row has, and nothing is seen to last (2 standard
  errors).

Standard errors are those where nothing lasts: products of different blocks are then uncorrelated. It is asked only
where the validation rows have another base rate than the training rows (3 standard errors), as rows of another time do
(docs/log/2026-11/initial-model.md#which-fields-make-a-network-fall-below-lr).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.data.cache import Cache, Examples
from fieldwise.kernels.layout import BAG, UNSEEN, VALUE

__all__ = ["Effects", "Transient", "effects", "transient_fields"]

_BLOCKS, _MOST_EXAMPLES, _FEWEST_EXAMPLES = 10, 200_000, 1000
_LASTING, _UNSEEN = 0.25, 0.5
_SURE, _SEEN, _OTHER_RATE = 5.0, 2.0, 3.0

Floats = npt.NDArray[np.float64]


class Transient(NamedTuple):
    """A field by its number, and why."""

    field: int
    why: str


class Effects(NamedTuple):
    """The variances of the effects of a field's values, and their standard errors where there is no effect."""

    lasting: float
    lasting_error: float
    whole: float
    whole_error: float


def transient_fields(train: Cache, valid: Cache) -> list[Transient]:
    """Return the fields of two-class examples that are transient; bags and numbers that are inputs are not asked."""
    layout = train.layout
    rows, later = _some(train), _some(valid)
    assert rows.labels is not None, "both have labels"
    assert later.labels is not None, "both have labels"
    if min(len(rows.labels), len(later.labels)) < _FEWEST_EXAMPLES or not _differ(rows.labels, later.labels):
        return []
    found = []
    for field in np.flatnonzero((layout.form != VALUE) & (layout.form != BAG)).tolist():
        line = layout.single[field]
        of = effects(rows.batch.ids[line], rows.labels)
        unseen = float((later.batch.ids[line] == UNSEEN).mean())
        if unseen >= _UNSEEN and of.lasting <= _SEEN * of.lasting_error:
            found.append(Transient(field, f"{unseen:.0%} of the validation rows have new values"))
        elif of.whole > _SURE * of.whole_error and of.lasting + _SEEN * of.lasting_error < _LASTING * of.whole:
            share = max(of.lasting / of.whole, 0.0)
            found.append(
                Transient(field, f"{share:.0%} of what it says in a tenth of the training rows holds in others")
            )
    return found if len(found) < layout.num_fields else []


def effects(values: npt.NDArray[np.integer], labels: npt.NDArray[np.integer]) -> Effects:
    """Return the variances of effects on labels 0 and 1, of rows (B,) in the order of time.

    Examples
    --------
    >>> values = np.tile([0, 1], 500)
    >>> same, turned = values, np.where(np.arange(1000) // 100 % 2, values, 1 - values)
    >>> [round(effects(values, labels).lasting, 2) for labels in (same, turned)]
    [0.25, -0.03]
    """
    codes = np.unique(values, return_inverse=True)[1]
    block = np.arange(len(labels)) * _BLOCKS // len(labels)
    rate = np.bincount(block, labels, _BLOCKS) / np.bincount(block, minlength=_BLOCKS)
    shape = int(codes.max()) + 1, _BLOCKS
    cell, size = codes * _BLOCKS + block, shape[0] * _BLOCKS
    counts = np.bincount(cell, minlength=size).reshape(shape).astype(np.float64)
    sums = np.bincount(cell, labels - rate[block], size).reshape(shape).astype(np.float64)
    chance = counts * (rate * (1.0 - rate))
    each = 1.0 / counts.sum(axis=1)
    # Sums, and no matrix products: their last bits depend on the number of threads.
    pairs = max(float((each * _of_blocks(counts)).sum()), 1.0)
    twice = max(float((each[:, None] * counts * (counts - 1.0)).sum()), 1.0)
    return Effects(
        float((each * _of_blocks(sums)).sum()) / pairs,
        float((each**2 * _of_blocks(sums**2)).sum()) ** 0.5 / pairs,
        float((each[:, None] * (sums**2 - chance)).sum()) / twice,
        float((2.0 * each[:, None] ** 2 * chance**2).sum()) ** 0.5 / twice,
    )


def _of_blocks(cells: Floats) -> Floats:
    """Return (V,) the sums over pairs of different blocks of the products of cells (V, T)."""
    found: Floats = (cells.sum(axis=1) ** 2 - (cells**2).sum(axis=1)) / 2.0
    return found


def _differ(labels: npt.NDArray[np.integer], others: npt.NDArray[np.integer]) -> bool:
    """Whether two base rates differ beyond chance."""
    rates, sizes = (labels.mean(), others.mean()), (len(labels), len(others))
    error = sum(rate * (1.0 - rate) / size for rate, size in zip(rates, sizes, strict=True)) ** 0.5
    return bool(abs(rates[0] - rates[1]) > _OTHER_RATE * error)


def _some(cache: Cache) -> Examples:
    """Return examples spread evenly, in their order."""
    return cache.gather(np.arange(0, cache.num_examples, -(-cache.num_examples // _MOST_EXAMPLES) or 1))
