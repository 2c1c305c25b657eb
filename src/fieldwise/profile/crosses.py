"""Which crosses of fields say more than their fields do alone.

A cross is judged by what it adds to logistic regression on the single fields, on rows that it has not counted:

1. A quarter of the training rows is put aside for the end; the others are dealt to three parts. Logistic regression at
   its optimum (`kernels.newton`) on two of them gives the logits of the third.
2. Every pair of fields moves these logits by what the rows of the other parts say of each combination of two values
   (`kernels.cells_of_pairs`). The pair with the largest gain is taken, the logits move, and what is left is ranked
   again, until no gain is significant. Triples are grown from the pairs that were taken.
3. Of what was taken stays what also lowers the loss on the rows that were put aside, beyond chance.

As in AutoCross (Luo et al. 2019), crosses are added to what a linear model already knows; as in FAST (Lou et al. 2013),
a pair is judged by the residuals alone, in one pass over the rows. Rows in the order of time are cut, not drawn, so
that what is found holds for later rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import NormalDist

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.kernels.layout import Batch, Layout
from fieldwise.outcome import Outcome
from fieldwise.profile.cross_search import CHANCE, CrossSearch, RankedCross

__all__ = ["FoundCross", "FoundCrosses", "find_crosses"]

_CANDIDATES = 100


class FoundCross(msgspec.Struct, frozen=True, kw_only=True):
    """A cross that says more than its fields.

    Attributes
    ----------
    fields
        Their names, two or three.
    gain
        By how much it lowers the logloss of rows that were not used to choose, per example, beside those before it.
    deviations
        The same in standard deviations.
    """

    fields: tuple[str, ...]
    gain: float
    deviations: float


class FoundCrosses(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """What a search for crosses came to.

    Attributes
    ----------
    crosses
        The largest gain first.
    examples
        How many training rows were looked at, evenly spread.
    pairs_tried, triples_tried
        How many crosses were judged.
    fields_left_out
        Fields that took no part, and why.
    logloss
        Of rows put aside: logistic regression on single fields, and with the crosses; None where nothing was searched.
    seconds
        What it took.
    """

    crosses: list[FoundCross]
    examples: int
    pairs_tried: int = 0
    triples_tried: int = 0
    fields_left_out: dict[str, str] = {}
    logloss: tuple[float, float] | None = None
    seconds: float = 0.0


def find_crosses(
    batch: Batch,
    layout: Layout,
    labels: npt.NDArray[np.integer],
    weights: npt.NDArray[np.floating] | None = None,
    *,
    names: Sequence[str],
    without: Sequence[int] = (),
    max_crosses: int = 32,
    in_order: bool = False,
    num_aside: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FoundCrosses:
    """Look for crosses of two and three fields.

    Parameters
    ----------
    batch, layout, labels
        Training examples in memory, B of them, and their labels 0 and 1.
    weights
        (B,), of the examples; None where all are 1.
    names
        Of the fields.
    without
        Numbers of fields that take no part.
    max_crosses
        The most that are taken.
    in_order
        Whether rows are in the order of time.
    num_aside
        So many of the last rows are put aside, validation rows for example; a quarter of all where it is 0.
    seed
        Of the parts that rows are dealt to.
    progress
        Called with how many pairs were judged, and of how many.
    """
    started = time.monotonic()
    search = CrossSearch(batch, layout, labels, weights, without, in_order, num_aside, seed)
    pairs = list(combinations(search.fields, 2))
    ranked = search.rank(pairs, progress)
    ranked = sorted((one for one in ranked if one.deviations > 2.0), key=lambda one: -one.gain)[:_CANDIDATES]
    least = NormalDist().inv_cdf(1.0 - CHANCE / max(len(pairs), 1))
    taken: list[RankedCross] = []
    triples_tried = 0
    while ranked and len(taken) < max_crosses:
        best = max(ranked, key=lambda one: one.gain)
        if best.deviations < least:
            ranked = [one for one in ranked if one.deviations >= least]
            if not ranked:
                break
            best = max(ranked, key=lambda one: one.gain)
        taken.append(best)
        search.take(best)
        wanted = [one.fields for one in ranked if one.fields != best.fields]
        if len(best.fields) == 2:
            grown = {tuple(sorted((*best.fields, other))) for other in search.fields if other not in best.fields}
            new = sorted(grown - set(wanted) - {one.fields for one in taken})
            triples_tried += len(new)
            wanted += new
        ranked = [one for one in search.rank(wanted) if one.deviations > 2.0]
    taken = search.without_redundant(taken, least)
    crosses, logloss = search.confirmed(taken)
    return FoundCrosses(
        crosses=[
            FoundCross(fields=tuple(names[field] for field in one.fields), gain=one.gain, deviations=one.deviations)
            for one in crosses
        ],
        examples=len(labels) - num_aside,
        pairs_tried=len(pairs),
        triples_tried=triples_tried,
        fields_left_out={names[field]: reason for field, reason in search.left_out.items()},
        logloss=logloss,
        seconds=time.monotonic() - started,
    )
