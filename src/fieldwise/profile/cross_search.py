"""The rows of a search for crosses (`profile.crosses`), their logits, and what each cross would add to them.

Letters: B examples, of which parts 0 to 2 are searched and part 3 is put aside; F fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.cells_of_pairs import combine_ids, held_out_gain, move_logits, sum_cells
from fieldwise.kernels.layout import BAG, SINGLE, Batch, Layout, select
from fieldwise.kernels.newton import LogisticProblem, LogisticSolution, logits_of
from fieldwise.kernels.threads import num_threads, run_each

__all__ = ["CHANCE", "CrossSearch", "RankedCross"]

Float64s = npt.NDArray[np.float64]

_PARTS = 3
_PENALTIES = (2.0, 8.0, 32.0, 128.0)
_CROSS_PENALTIES = (3.0, 10.0, 30.0, 100.0)
_NUM_CELLS = 1 << 20
CHANCE = 0.01
"""How likely it may be that any cross is taken where there is none."""
_MAX_FIELDS = 60


class RankedCross(NamedTuple):
    """A cross, what it would add and with what penalty; the gain in the loss, and in its standard deviations."""

    fields: tuple[int, ...]
    gain: float
    deviations: float
    l2: float


class CrossSearch:
    """The rows of a search, their logits, and the cells of crosses."""

    def __init__(
        self,
        batch: Batch,
        layout: Layout,
        labels: npt.NDArray[np.integer],
        weights: npt.NDArray[np.floating] | None,
        without: Sequence[int],
        in_order: bool,
        num_aside: int,
        seed: int,
    ) -> None:
        num_examples = len(labels)
        self.labels = labels.astype(np.float64)
        self.weights = np.ones(num_examples) if weights is None else weights.astype(np.float64)
        num_dealt, count = num_examples - num_aside, _PARTS if num_aside else _PARTS + 1
        if in_order:
            dealt = np.arange(num_dealt) * count // max(num_dealt, 1)
        else:
            dealt = np.random.default_rng(seed).permutation(num_dealt) % count
        # 0 .. 2 are searched, 3 is put aside.
        self.parts = np.concatenate([dealt, np.full(num_aside, _PARTS)]).astype(np.uint8)
        self.batch, self.layout = batch, layout
        self.sizes = np.diff(layout.base).tolist()
        self.single, strength = self._single_logits()
        self.logits = self.single.copy()
        self.left_out = dict.fromkeys(without, "it is a cross")
        for field in range(layout.num_fields):
            if layout.form[field] != SINGLE:
                self.left_out[field] = "bags are not combined" if layout.form[field] == BAG else "a number without bins"
            elif self.sizes[field] <= 3:
                self.left_out.setdefault(field, "it has one value")
        fields = [field for field in range(layout.num_fields) if field not in self.left_out]
        fields.sort(key=lambda field: -strength[field])
        self.left_out |= dict.fromkeys(fields[_MAX_FIELDS:], f"{_MAX_FIELDS} others say more alone")
        self.fields = sorted(fields[:_MAX_FIELDS])
        self._set_slopes()

    def _single_logits(self) -> tuple[Float64s, list[float]]:
        """Return the logits of each part by logistic regression on the others (of the last: on all three), and how
        much each field has a part in them.
        """
        searched = self.parts < _PARTS
        whole = self._problem(searched)
        logits = np.empty(len(self.labels))
        l2, solution = _PENALTIES[-1], None
        for part in range(_PARTS):
            others, own = searched & (self.parts != part), self.parts == part
            problem = self._problem(others)
            if part == 0:
                l2 = self._best_penalty(problem, own)
            logits[own] = _logits_of(problem.solve(np.full(self.layout.num_fields, l2)), self.batch, self.layout, own)
        solution = whole.solve(np.full(self.layout.num_fields, l2))
        aside = self.parts == _PARTS
        logits[aside] = _logits_of(solution, self.batch, self.layout, aside)
        strength = []
        for field in whole.fields:
            weights = solution.weights[field.base : field.base + len(field.starts) - 1]
            strength.append(float((np.diff(field.starts) * weights**2).sum()))
        return logits, strength

    def _problem(self, rows: npt.NDArray[np.bool_]) -> LogisticProblem:
        labels = self.labels[rows].astype(np.int64)
        return LogisticProblem(select(self.batch, rows), self.layout, labels, self.weights[rows])

    def _loss(self, logits: Float64s, rows: npt.NDArray[np.bool_]) -> Float64s:
        """Return the loss of each of some examples, times its weight over their mean."""
        weights, labels = self.weights[rows], self.labels[rows]
        loss: Float64s = (np.logaddexp(0.0, logits) - labels * logits) * weights / max(float(weights.mean()), 1e-300)
        return loss

    def _best_penalty(self, problem: LogisticProblem, own: npt.NDArray[np.bool_]) -> float:
        losses, solution = [], None
        for l2 in reversed(_PENALTIES):
            solution = problem.solve(np.full(self.layout.num_fields, l2), solution, close=1e-6)
            losses.append(self._loss(_logits_of(solution, self.batch, self.layout, own), own).mean())
        return _PENALTIES[::-1][int(np.argmin(losses))]

    def _set_slopes(self) -> None:
        p = 1.0 / (1.0 + np.exp(-self.logits))
        weights = np.where(self.parts == _PARTS, 0.0, self.weights)
        self.slope = (weights * (self.labels - p)).astype(np.float32)
        self.bend = (weights * p * (1.0 - p)).astype(np.float32)
        self.alone = [self._judge((field,))[0] if field in self.fields else 0.0 for field in range(len(self.sizes))]

    def cells(self, fields: Sequence[int]) -> tuple[npt.NDArray[np.uint32], int]:
        """Return the cell of every example, and how many cells there are."""
        lines = [self.batch.ids[self.layout.single[field]] for field in fields]
        cells, count = lines[0], self.sizes[fields[0]]
        for line, field in zip(lines[1:], fields[1:], strict=True):
            combined = np.empty_like(cells)
            combine_ids(cells, line, self.sizes[field], _NUM_CELLS, combined)
            cells = combined
            count = min(count * self.sizes[field], _NUM_CELLS)
        return cells, count

    def _sums(self, fields: Sequence[int]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
        cells, count = self.cells(fields)
        sums = np.zeros((count, _PARTS + 1, 2), np.float32)
        sum_cells(cells, self.parts, self.slope, self.bend, sums)
        return cells, sums

    def _judge(self, fields: tuple[int, ...]) -> tuple[float, float, float]:
        """Return the gain of a cross, its deviation and its penalty."""
        _, sums = self._sums(fields)
        best = (-math.inf, 1.0, _CROSS_PENALTIES[0])
        for l2 in _CROSS_PENALTIES:
            gain, variance = held_out_gain(sums, l2)
            if gain > best[0]:
                best = (gain, math.sqrt(max(variance, 1e-12)), l2)
        return best

    def rank(
        self, crosses: Sequence[tuple[int, ...]], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> list[RankedCross]:
        """Judge crosses: what each adds to the logits as they are, beyond what one of its fields would."""
        ranked = []
        step = max(4 * num_threads(), 1)
        for first in range(0, len(crosses), step):
            some = crosses[first : first + step]
            for fields, (gain, deviation, l2) in zip(some, _each(self._judge, some), strict=True):
                net = gain - max(0.0, *(self.alone[field] for field in fields))
                ranked.append(RankedCross(fields, net, net / deviation, l2))
            progress(min(first + step, len(crosses)), len(crosses))
        return ranked

    def take(self, cross: RankedCross) -> None:
        """Move the logits by a cross."""
        cells, sums = self._sums(cross.fields)
        move_logits(cells, self.parts, sums, cross.l2, self.logits)
        self._set_slopes()

    def _start_anew(self, crosses: Sequence[RankedCross]) -> None:
        self.logits = self.single.copy()
        self._set_slopes()
        for cross in crosses:
            self.take(cross)

    def without_redundant(self, taken: list[RankedCross], least: float) -> list[RankedCross]:
        """Leave out the pairs that say nothing beside a triple that they are part of."""
        triples = [set(one.fields) for one in taken if len(one.fields) > 2]
        for one in list(taken):
            if len(one.fields) == 2 and any(set(one.fields) < triple for triple in triples):
                others = [other for other in taken if other is not one]
                self._start_anew(others)
                [again] = self.rank([one.fields])
                if again.deviations < least:
                    taken = others
        return taken

    def confirmed(self, taken: Sequence[RankedCross]) -> tuple[list[RankedCross], tuple[float, float]]:
        """Return those that lower the loss of the rows put aside, and that loss before and after."""
        aside = self.parts == _PARTS
        self._start_anew([])
        first = before = self._loss(self.logits[aside], aside)
        crosses = []
        for one in taken:
            kept = self.logits.copy()
            self.take(one)
            after = self._loss(self.logits[aside], aside)
            fall = before - after
            deviations = float(fall.mean() / max(fall.std() / math.sqrt(len(fall)), 1e-12)) if len(fall) else 0.0
            if deviations < NormalDist().inv_cdf(1.0 - CHANCE):
                self.logits = kept
                self._set_slopes()
                continue
            crosses.append(one._replace(gain=float(fall.mean()), deviations=deviations))
            before = after
        crosses.sort(key=lambda cross: -cross.gain)
        return crosses, (float(first.mean()), float(before.mean()))


def _each(
    judge: Callable[[tuple[int, ...]], tuple[float, float, float]], some: Sequence[tuple[int, ...]]
) -> list[tuple[float, float, float]]:
    """Judge each in a thread."""
    results: list[tuple[float, float, float]] = []
    for first in range(0, len(some), num_threads()):
        results += run_each(judge, [(one,) for one in some[first : first + num_threads()]])
    return results


def _logits_of(solution: LogisticSolution, batch: Batch, layout: Layout, own: npt.NDArray[np.bool_]) -> Float64s:
    """Return the logits of some of the examples."""
    return logits_of(solution, select(batch, own), layout)
