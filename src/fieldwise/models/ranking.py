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

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldwise.models.click import ClickModel
from fieldwise.models.heads import Units, heads_of
from fieldwise.models.lc import LocallyConnected
from fieldwise.models.member import Member
from fieldwise.models.network import joint, refuse_other_logits, weighed
from fieldwise.nn.deep import Perceptron, Residual
from fieldwise.nn.emit import emit, emit_standardise
from fieldwise.nn.graph import Graph
from fieldwise.serving.ranking import COLUMNS, WEIGHT, RankingGraph

__all__ = ["export_ranking", "refuse_another_order"]

_LEAST_BYTES = 1 << 10
"""Smaller constants are the graph's own."""


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
    units, heads = Units("units", table.layout.num_fields, "context", "fields"), list[str]()
    for name, member in model.members.items():
        assert isinstance(member, Member)
        if not _can_be_cut(member):
            return None
        found = heads_of(graph, model, name, member, units, "full", graph.deep)
        if found is None:
            return None
        heads += found
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

    def deep(self, graph: Graph, member: LocallyConnected, units: Units) -> str:
        """Return (B, O): what the deep part says."""
        own, _, context, fields = units
        assert context is not None
        assert fields is not None
        if member.read is not None:
            own, context, fields = self._of_read(member.read.cpu().numpy(), own, context, fields)
        network, context = member.network, self.add("Flatten", context, axis=1)
        assert isinstance(network, (Perceptron, Residual))
        if member.standardise is not None:
            # (c - mean) + u, for one of c and u is zero; the scale is in the matrix.
            network, context = emit_standardise(self, member.standardise, network, context)
        first, rest = _split(network)
        weight = self.weight(first.weight)
        bias = () if first.bias is None else (self.weight(first.bias),)
        once = self.add("Gemm", context, weight, *bias, transB=1)
        of_fields = self._of_fields(weight, member.num_local, fields, all_read=member.read is None)
        of_own = self.add("Reshape", of_fields, self.integers(first.out_features, -1))
        x = self.add("Gemm", self.add("Flatten", own, axis=1), of_own, once, transB=1)
        for module in rest:
            x = emit(self, module, x)
        return x

    def _of_read(self, read: npt.NDArray[np.int64], own: str, context: str, fields: str) -> tuple[str, str, str]:
        """Return units and fields without those fields that are linear, and the others' places among themselves."""
        places = np.full(int(read.max()) + 1 if len(read) else 1, -1)
        places[read] = np.arange(len(read))
        # One more, so that fields beyond the last that is read have a place, too.
        inside = self.add("Min", fields, self.constant(len(places), np.int64))
        fields = self.add("Gather", self.constant(np.append(places, -1), np.int64), inside)
        is_read = self.add("GreaterOrEqual", fields, self.constant(0, np.int64))
        own, fields = self.add("Compress", own, is_read, axis=1), self.add("Compress", fields, is_read, axis=0)
        return own, self.add("Gather", context, self.constant(read, np.int64), axis=1), fields

    def _of_fields(self, weight: str, num_units: int, fields: str, *, all_read: bool) -> str:
        """Return (H, F_K, K): what the candidates' fields have of a matrix (H, F K)."""
        if all_read and weight in self.shared:
            name = COLUMNS + weight.removeprefix(WEIGHT)
            self.shared[name] = (self.shared[weight][0], "F_K", num_units)
            return name
        by_field = self.add("Reshape", weight, self.constant([0, -1, num_units], np.int64))
        return self.add("Gather", by_field, fields, axis=1)


def _can_be_cut(member: Member) -> bool:
    return not isinstance(member, LocallyConnected) or type(member.network) in (type(None), Perceptron, Residual)


def _split(network: nn.Module) -> tuple[nn.Linear, list[nn.Module]]:
    """Return the first matrix of a deep part, and what follows it."""
    assert isinstance(network, (Perceptron, Residual))
    if isinstance(network, Residual):
        return network.trunk, [network.blocks, network.activation, network.output]
    first, *rest = network.children()
    assert isinstance(first, nn.Linear)
    return first, rest
