"""A model's dense part for many candidates of one context: the context's share of the first layer is computed once.

A first layer is linear, and the fields of an example are either the context's, C, or the candidate's, K::

    W' x + b  =  (W_C' x_C + b)  +  W_K' x_K          once, and for every candidate

and so are sums over fields. Interactions are halves of a square::

    sum over f < g of u_f . u_g  =  within C  +  sum over f in K of u_f . (sum over g in C of u_g)  +  within K

Which fields are whose is told with every request. The graph takes::

    context (1, F, K)    units of the context, zeros in the fields of candidates
    units (B, F_K, K)    units of the candidates' fields, co-occurrence bags last
    fields (F_K,)        which they are, in increasing order
    full (B, W)          sums over the fields of the log
    weight@N             a constant of the network's graph, whose bytes begin at N of its file
    columns@N            (H, F_K, K), the columns of such a constant (H, F K) that the candidates' fields have

and gives logits (B, O). The constants that it shares with the network are inputs, so that no weight is saved twice, and
the columns of a first layer are copied once for all requests with the same fields.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldwise.models.bayesian_fm import BayesianFM
from fieldwise.models.click import ClickModel
from fieldwise.models.dnn import DNN
from fieldwise.models.lc import LocallyConnected
from fieldwise.models.lr import LogisticRegression
from fieldwise.models.member import Member
from fieldwise.models.network import dnn_heads, joint, logistic_heads, refuse_other_logits, weighed
from fieldwise.nn.deep import Perceptron, Residual
from fieldwise.nn.emit import emit
from fieldwise.nn.fm_interactions import FMInteractions
from fieldwise.nn.graph import Graph, NotExportable
from fieldwise.nn.standardise import Standardise
from fieldwise.serving.ranking import COLUMNS, WEIGHT, RankingGraph

__all__ = ["export_ranking", "refuse_another_order"]

_LEAST_BYTES = 1 << 10
"""Smaller constants are the graph's own."""


class _Whose(NamedTuple):
    """What the context and the candidates have: the names of units (1, F, K) and (B, F_K, K), and of fields (F_K,)."""

    context: str
    units: str
    fields: str


def export_ranking(model: ClickModel, network: bytes) -> bytes | None:
    """Return the graph of a model for candidates of one context; None where there is nothing to gain.

    Parameters
    ----------
    model
        Whose network this is.
    network
        What `models.network.export_network` returns.

    Returns
    -------
    None for a model without units, whose context has a share of `full` alone, and for one with a part that reads all
    fields together from the start: cross layers, and parts of somebody's own.
    """
    table = model.table
    if not table.num_local:
        return None
    graph = _SharingGraph(np.dtype(table.dtype), network)
    heads: list[str] = []
    for name, member in model.members.items():
        assert isinstance(member, Member)
        known = _MEMBERS.get(type(member))
        if known is None or not _can_be_cut(member):
            return None
        (local, of_full), full = model.columns(name), "full"
        whose = _Whose("context", "units", "fields")
        if member.num_local and local != slice(0, table.num_local):
            context, units = (graph.cut(each, 2, local.start, local.stop) for each in whose[:2])
            whose = _Whose(context, units, whose.fields)
        if member.num_full and of_full != slice(0, table.num_full):
            full = graph.cut(full, 1, of_full.start, of_full.stop)
        num_bags = table.layout.num_fields - model.num_log_fields
        if member.num_local and not member.reads_bags and num_bags:
            context = graph.cut(whose.context, 1, 0, model.num_log_fields)
            whose = _Whose(context, graph.cut(whose.units, 1, 0, -num_bags), graph.cut(whose.fields, 0, 0, -num_bags))
        heads += known(graph, member, whose, full)
    logits = joint(graph, model, weighed(graph, model, heads))
    num_fields = table.layout.num_fields
    shapes: dict[str, Sequence[str | int]] = {
        "context": (1, num_fields, table.num_local),
        "units": ("B", "F_K", table.num_local),
        "fields": ("F_K",),
        "full": ("B", table.num_full),
        **graph.shared,
    }
    written = graph.finish(shapes, {"logits": ("B", model.num_outputs)}, {"logits": logits}, whole=["fields"])
    content: bytes = written.SerializeToString(deterministic=True)
    return content


def refuse_another_order(ranking: bytes, network: bytes, model: ClickModel, units: Tensor, full: Tensor) -> None:
    """Compare a graph with torch, on what the table has gathered for real rows: every other field is the first row's.

    Raises
    ------
    NotExportable
        A runtime cannot take the graph, or it answers otherwise.
    """
    num_log = model.num_log_fields
    is_own = np.arange(units.shape[1]) >= num_log
    is_own[1:num_log:2] = True
    fields = np.flatnonzero(is_own)
    mixed, context = units.clone(), torch.zeros_like(units[:1])
    mixed[:, ~is_own] = context[:, ~is_own] = units[:1, ~is_own]
    with torch.inference_mode():
        expected = model.logits_of(mixed, full).cpu().double().numpy()
    graph = RankingGraph(ranking, network)
    found = graph.logits(context.cpu().numpy(), mixed[:, fields].cpu().numpy(), fields, full.cpu().numpy())
    refuse_other_logits(expected, found)


class _SharingGraph(Graph):
    """A graph whose large constants are inputs where another file has the same bytes."""

    def __init__(self, dtype: np.dtype[Any], content: bytes) -> None:
        super().__init__(dtype)
        self._content = content
        self.shared: dict[str, Sequence[str | int]] = {}

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> str:
        """Return the name of a constant, or of an input that has its numbers."""
        array = np.ascontiguousarray(value, dtype=dtype or self.dtype)
        place = self._content.find(array.tobytes()) if array.nbytes >= _LEAST_BYTES else -1
        if place < 0:
            return super().constant(array, array.dtype)
        name = f"{WEIGHT}{place}"
        self.shared[name] = array.shape
        return name

    def columns(self, weight: str, num_units: int) -> str | None:
        """Return the name of the columns of a shared constant that the candidates' fields have; None for others."""
        if weight not in self.shared:
            return None
        name = COLUMNS + weight.removeprefix(WEIGHT)
        self.shared[name] = (self.shared[weight][0], "F_K", num_units)
        return name


def _can_be_cut(member: Member) -> bool:
    return not isinstance(member, LocallyConnected) or type(member.network) in (type(None), Perceptron, Residual)


def _factorisation(graph: Graph, member: BayesianFM, whose: _Whose, full: str) -> list[str]:
    linear = graph.add("Add", _sum(graph, whose, np.eye(member.num_local)[:, :1]), graph.weight(member.bias))
    return [graph.add("Add", linear, _pairs(graph, member.interactions, whose, np.eye(member.num_local)[:, 1:]))]


def _locally_connected(graph: _SharingGraph, member: LocallyConnected, whose: _Whose, full: str) -> list[str]:
    terms = [full] if member.num_full else []
    if member.skips:
        terms.append(_sum(graph, whose, np.eye(member.num_local)[:, : member.num_linear]))
    if member.interactions is not None:
        takes = np.eye(member.num_local)[:, member.num_linear : member.num_shared]
        terms.append(_pairs(graph, member.interactions, whose, takes))
    linear = None
    for term in terms:
        linear = graph.add("Add", term, graph.weight(member.bias) if linear is None else linear)
    if member.network is None:
        if linear is None:
            raise NotExportable("the model reads nothing")
        return [linear]
    deep = _deep(graph, member, whose)
    whole = graph.add("Add", graph.weight(member.bias) if linear is None else linear, deep)
    return [whole] if member.num_heads == 1 or linear is None else [linear, whole]


def _sums(graph: Graph, units: str, takes: npt.NDArray[Any]) -> str:
    """Return (B, O): the sums over the fields of units (B, F, K) times `takes` (K, O).

    As a product of matrices: runtimes sum over the middle of three axes several times as slowly.
    """
    num_outputs = takes.shape[1]
    shape = graph.add("Concat", graph.add("Shape", units, start=1, end=2), graph.integers(*takes.shape), axis=0)
    of_fields = graph.add("Reshape", graph.add("Expand", graph.constant(takes), shape), graph.integers(-1, num_outputs))
    return graph.add("MatMul", graph.add("Flatten", units, axis=1), of_fields)


def _sum(graph: Graph, whose: _Whose, takes: npt.NDArray[Any]) -> str:
    """Return the sums over the fields of both, (B, O)."""
    return graph.add("Add", *(_sums(graph, units, takes) for units in (whose.context, whose.units)))


def _pairs(graph: Graph, module: FMInteractions, whose: _Whose, takes: npt.NDArray[Any]) -> str:
    """Return the interactions of the units that `takes` (K, U) takes, (B, 1), or (B, O) where outputs have a weight
    each; the context's zeros have none.
    """
    total = _all_pairs(graph, module, whose, takes)
    return total if module.scale is None else graph.add("Mul", total, graph.weight(module.scale))


def _all_pairs(graph: Graph, module: FMInteractions, whose: _Whose, takes: npt.NDArray[Any]) -> str:
    half = graph.constant(0.5)
    if bool(module.mask.all()):
        whole = _sum(graph, whose, takes)
        context, units = (graph.add("Mul", each, each) for each in whose[:2])
        of_squares = _sum(graph, _Whose(context, units, whose.fields), takes.sum(axis=1, keepdims=True))
        of_sums = graph.sum(graph.add("Mul", whole, whole), 1, keepdims=True)
        return graph.add("Mul", graph.add("Sub", of_sums, of_squares), half)
    context, units = (graph.add("MatMul", each, graph.constant(takes)) for each in whose[:2])
    upper = module.mask.triu(1)
    taken = graph.weight(upper + upper.T)
    of_candidates = graph.add("Gather", taken, whose.fields, axis=0)
    among_them = graph.add("Gather", of_candidates, whose.fields, axis=1)
    others = graph.add(
        "Add",
        graph.add("MatMul", of_candidates, context),
        graph.add("Mul", graph.add("MatMul", among_them, units), half),
    )
    once = graph.add("Mul", graph.add("MatMul", taken, context), half)
    sums = (graph.sum(graph.add("Mul", u, v), 1, 2) for u, v in ((context, once), (units, others)))
    return graph.add("Unsqueeze", graph.add("Add", *sums), graph.integers(1))


def _deep(graph: _SharingGraph, member: LocallyConnected, whose: _Whose) -> str:
    """Return (B, O): what the deep part says."""
    context, units, fields = whose
    if member.read is not None:
        read = member.read.cpu().numpy()
        places = np.full(int(read.max()) + 1 if len(read) else 1, -1)
        places[read] = np.arange(len(read))
        # One more, so that fields beyond the last that is read have a place, too.
        inside = graph.add("Min", fields, graph.constant(len(places), np.int64))
        fields = graph.add("Gather", graph.constant(np.append(places, -1), np.int64), inside)
        is_read = graph.add("GreaterOrEqual", fields, graph.constant(0, np.int64))
        units, fields = graph.add("Compress", units, is_read, axis=1), graph.add("Compress", fields, is_read, axis=0)
        context = graph.add("Gather", context, graph.constant(read, np.int64), axis=1)
    num_units = member.num_local
    if member.standardise is not None:
        context, units = _standardised(
            graph, member.standardise, num_units, context, units, fields, all_read=member.read is None
        )
    assert isinstance(member.network, (Perceptron, Residual))
    first, rest = _split(member.network)
    weight = graph.weight(first.weight)
    bias = () if first.bias is None else (graph.weight(first.bias),)
    once = graph.add("Gemm", graph.add("Flatten", context, axis=1), weight, *bias, transB=1)
    of_fields = _of_fields(graph, weight, num_units, fields, all_read=member.read is None)
    own = graph.add("Reshape", of_fields, graph.integers(first.out_features, -1))
    x = graph.add("Gemm", graph.add("Flatten", units, axis=1), own, once, transB=1)
    for module in rest:
        x = emit(graph, module, x)
    return x


def _split(network: Perceptron | Residual) -> tuple[nn.Linear, list[nn.Module]]:
    """Return the first layer of a deep part, and what follows it."""
    if isinstance(network, Residual):
        return network.trunk, [network.blocks, network.activation, network.output]
    first, *rest = network.children()
    assert isinstance(first, nn.Linear)
    return first, rest


def _standardised(
    graph: _SharingGraph, module: Standardise, num_units: int, context: str, units: str, fields: str, *, all_read: bool
) -> tuple[str, str]:
    """Return the units of both, standardised together: ``(c - mean) s + u s``, for one of c and u is zero."""
    assert module.running_mean is not None
    assert module.running_var is not None
    mean = module.running_mean.double().cpu().numpy().reshape(1, -1, num_units)
    scale = (module.running_var.double() + module.eps).rsqrt().cpu().numpy().reshape(1, -1, num_units)
    of_scale = graph.constant(scale)
    own = _of_fields(graph, of_scale, num_units, fields, all_read=all_read)
    moved = graph.add("Sub", context, graph.constant(mean))
    return graph.add("Mul", moved, of_scale), graph.add("Mul", units, own)


def _of_fields(graph: _SharingGraph, weight: str, num_units: int, fields: str, *, all_read: bool) -> str:
    """Return (H, F_K, K): what the candidates' fields have of a weight with H F K numbers."""
    found = graph.columns(weight, num_units) if all_read else None
    if found is None:
        by_field = graph.add("Reshape", weight, graph.constant([0, -1, num_units], np.int64))
        found = graph.add("Gather", by_field, fields, axis=1)
    return found


_MEMBERS: dict[type[Member], Callable[[_SharingGraph, Any, _Whose, str], list[str]]] = {
    LogisticRegression: lambda graph, member, whose, full: logistic_heads(graph, member, "", full),
    DNN: lambda graph, member, whose, full: dnn_heads(graph, member, "", full),
    BayesianFM: _factorisation,
    LocallyConnected: _locally_connected,
}
