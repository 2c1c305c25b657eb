"""What the members of a model make of units and sums, as operators of ONNX: `models.network` and `models.ranking`.

Sums over fields are products of matrices: runtimes sum over the middle of three axes several times as slowly.

Letters: B examples, F fields, K units per field, W fully connected units, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.models.bayesian_fm import BayesianFM
from fieldwise.models.click import ClickModel
from fieldwise.models.dnn import DNN
from fieldwise.models.lc import LocallyConnected
from fieldwise.models.lr import LogisticRegression
from fieldwise.models.member import Member
from fieldwise.nn.emit import emit, emit_part
from fieldwise.nn.fm_interactions import FMInteractions
from fieldwise.nn.graph import Graph

__all__ = ["Deep", "Units", "heads_of", "own_columns"]


class Units(NamedTuple):
    """The units of a batch's fields; where some fields have the same in all rows, those are apart.

    Attributes
    ----------
    own
        (B, F, K), or (B, F_K, K) of the fields of which rows have their own.
    context
        (1, F, K) of the others, zeros in the fields that are in `own`; None where there are none.
    fields
        (F_K,): which fields are in `own`; None where all are.
    num_fields
        F.
    """

    own: str
    num_fields: int
    context: str | None = None
    fields: str | None = None

    def changed(self, change: Callable[[str], str]) -> Units:
        """Return units that have been changed in the same way."""
        return self._replace(own=change(self.own), context=None if self.context is None else change(self.context))


Deep = Callable[[Graph, LocallyConnected, Units], str]
"""Writes what a deep part makes of units, (B, O)."""


def heads_of(
    graph: Graph, model: ClickModel, name: str, member: Member, units: Units, full: str, deep: Deep
) -> list[str] | None:
    """Return the names of a member's logits (B, O), one for each head; None for a member of somebody's own.

    Parameters
    ----------
    units, full
        Those of the whole model: what is the member's own is cut from them.
    deep
        Writes the deep part of a locally connected model.

    Raises
    ------
    NotExportable
        The member has a part that cannot be said.
    """
    known = _MEMBERS.get(type(member))
    return None if known is None else known(graph, member, *own_columns(graph, model, name, member, units, full), deep)


def own_columns(
    graph: Graph, model: ClickModel, name: str, member: Member, units: Units, full: str
) -> tuple[Units, str]:
    """Return a member's own units and sums, cut from those of the whole model."""
    table, (local, of_full) = model.table, model.columns(name)
    if member.num_local and local != slice(0, table.num_local):
        units = units.changed(lambda each: graph.cut(each, 2, local.start, local.stop))
    if member.num_full and of_full != slice(0, table.num_full):
        full = graph.cut(full, 1, of_full.start, of_full.stop)
    num_bags = table.layout.num_fields - model.num_log_fields
    if member.num_local and not member.reads_bags and num_bags:  # bags are the last fields, and no context has them
        units = units.changed(lambda each: graph.cut(each, 1, 0, -num_bags))._replace(num_fields=model.num_log_fields)
        if units.fields is not None:
            units = units._replace(fields=graph.cut(units.fields, 0, 0, -num_bags))
    return units, full


def _logistic(graph: Graph, member: LogisticRegression, units: Units, full: str, deep: Deep) -> list[str]:
    return [graph.add("Add", full, graph.weight(member.bias))]


def _dnn(graph: Graph, member: DNN, units: Units, full: str, deep: Deep) -> list[str]:
    first = emit(graph, member.activation, graph.add("Add", full, graph.weight(member.hidden_bias)))
    return [graph.add("Add", emit_part(graph, member.network, first, member.num_full), graph.weight(member.bias))]


def _factorisation(graph: Graph, member: BayesianFM, units: Units, full: str, deep: Deep) -> list[str]:
    takes = np.eye(member.num_local)
    linear, pairs = _sums_and_pairs(graph, member.interactions, units, takes[:, :1], takes[:, 1:])
    return [graph.add("Add", graph.add("Add", linear, graph.weight(member.bias)), pairs)]


def _locally_connected(graph: Graph, member: LocallyConnected, units: Units, full: str, deep: Deep) -> list[str]:
    terms = [full] if member.num_full else []
    takes = np.eye(member.num_local)
    of_skip = takes[:, : member.num_linear if member.skips else 0]
    if member.interactions is not None:
        of_pairs = takes[:, member.num_linear : member.num_shared]
        skip, pairs = _sums_and_pairs(graph, member.interactions, units, of_skip, of_pairs)
        terms += [skip, pairs] if member.skips else [pairs]
    elif member.skips:
        terms.append(_sum(graph, units, of_skip))
    linear = None
    for term in terms:
        linear = graph.add("Add", term, graph.weight(member.bias) if linear is None else linear)
    if linear is None:
        linear = graph.repeated(units.own, graph.weight(member.bias.unsqueeze(0)), len(member.bias))
    if member.network is None:
        return [linear]
    whole = graph.add("Add", linear, deep(graph, member, units))
    return [whole] if member.num_heads == 1 else [linear, whole]


def _sums(graph: Graph, units: str, num_fields: int | None, takes: npt.NDArray[Any]) -> str:
    """Return (B, O): the sums over the fields of units (B, F, K) times `takes` (K, O); F is None where it varies."""
    if num_fields is None:
        of_fields = graph.add("Shape", units, start=1, end=2)
        size = graph.add("Concat", of_fields, graph.integers(*takes.shape), axis=0)
    else:  # a runtime makes the matrix once
        size = graph.integers(num_fields, *takes.shape)
    repeated = graph.add("Expand", graph.constant(takes), size)
    matrix = graph.add("Reshape", repeated, graph.integers(-1, takes.shape[1]))
    return graph.add("MatMul", graph.add("Flatten", units, axis=1), matrix)


def _sum(graph: Graph, units: Units, takes: npt.NDArray[Any]) -> str:
    """Return the sums over all fields, (B, O)."""
    if units.context is None:
        return _sums(graph, units.own, units.num_fields, takes)
    own = _sums(graph, units.own, None, takes)
    return graph.add("Add", _sums(graph, units.context, units.num_fields, takes), own)


def _sums_and_pairs(
    graph: Graph, module: FMInteractions, units: Units, of_sums: npt.NDArray[Any], of_pairs: npt.NDArray[Any]
) -> tuple[str, str]:
    """Return the sums over fields of the units that `of_sums` (K, S) takes, (B, S), and the interactions of those that
    `of_pairs` (K, U) takes, (B, 1), or (B, O) where outputs have a weight each.

    Interactions are halves of a square, whose sums are taken together with the others; the context's zeros have none.
    """
    num_sums, ones = of_sums.shape[1], of_pairs.sum(axis=1, keepdims=True)
    if bool(module.mask.all()):
        together = _sum(graph, units, np.concatenate([of_sums, of_pairs], axis=1))
        sums, whole = together, together
        if num_sums:
            sums = graph.cut(together, 1, 0, num_sums)
            whole = graph.cut(together, 1, num_sums, num_sums + of_pairs.shape[1])
        of_squares = _sum(graph, units.changed(lambda each: graph.add("Mul", each, each)), -0.5 * ones)
        halves = graph.constant(np.full((of_pairs.shape[1], 1), 0.5))
        total = graph.add("Add", graph.add("MatMul", graph.add("Mul", whole, whole), halves), of_squares)
    else:
        sums = _sum(graph, units, of_sums) if num_sums else ""
        total = _some_pairs(graph, module, units, ones)
    return sums, total if module.scale is None else graph.add("Mul", total, graph.weight(module.scale))


def _some_pairs(graph: Graph, module: FMInteractions, units: Units, ones: npt.NDArray[Any]) -> str:
    """Return the interactions of the pairs that are not left out, (B, 1)."""
    upper = module.mask.triu(1)
    own, num_fields, context, fields = units
    if context is None or fields is None:
        others = graph.add("MatMul", graph.weight(upper), own)
        return _sums(graph, graph.add("Mul", own, others), num_fields, ones)
    half, taken = graph.constant(0.5), graph.weight(upper + upper.T)
    of_candidates = graph.add("Gather", taken, fields, axis=0)
    among_them = graph.add("Gather", of_candidates, fields, axis=1)
    with_context = graph.add("MatMul", of_candidates, context)
    with_others = graph.add("Mul", graph.add("MatMul", among_them, own), half)
    once = graph.add("Mul", graph.add("MatMul", taken, context), half)
    return _sum(
        graph,
        Units(
            graph.add("Mul", own, graph.add("Add", with_context, with_others)),
            num_fields,
            graph.add("Mul", context, once),
        ),
        ones,
    )


_MEMBERS: dict[type[Member], Callable[[Graph, Any, Units, str, Deep], list[str]]] = {
    LogisticRegression: _logistic,
    DNN: _dnn,
    BayesianFM: _factorisation,
    LocallyConnected: _locally_connected,
}
