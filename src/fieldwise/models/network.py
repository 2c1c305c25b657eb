"""A model's dense part as one ONNX graph, from what the table has gathered to logits.

::

    units (B, F, K)   for each field, co-occurrence bags last, the sum of its features' rows, times their inputs
    full  (B, W)      sums over the fields of the log
    logits (B, O)     of the model, before calibration

An input that the model does not have is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor

from fieldwise.bundle import Bundle
from fieldwise.calibration import sigmoid
from fieldwise.errors import ArtefactError
from fieldwise.models.click import ClickModel
from fieldwise.models.heads import Units, heads_of, own_columns
from fieldwise.models.lc import LocallyConnected
from fieldwise.models.load import load_model
from fieldwise.models.member import Member
from fieldwise.nn.emit import emit_own, emit_part, emit_standardise
from fieldwise.nn.graph import Graph, NotExportable

__all__ = [
    "NotExportable", "export_network", "joint", "network_of", "refuse_another_answer", "refuse_other_logits", "weighed",
]  # fmt: skip

_CLOSE = 1e-5
"""Probabilities of the graph and of torch differ by rounding alone."""
_SIZES = (1, 3)
"""Batches of these sizes are answered, too: what was traced may hold the size that it was traced with."""


def export_network(model: ClickModel) -> bytes:
    """Return the graph of a model's dense part.

    Raises
    ------
    NotExportable
        A part of somebody else's cannot be said in ONNX.
    """
    table = model.table
    graph = Graph(np.dtype(table.dtype))
    heads: list[str] = []
    for name, member in model.members.items():
        assert isinstance(member, Member)
        heads += _heads(graph, model, name, member)
    logits = joint(graph, model, weighed(graph, model, heads))
    shapes: dict[str, tuple[str | int, ...]] = {}
    if table.num_local:
        shapes["units"] = ("B", table.layout.num_fields, table.num_local)
    if table.num_full:
        shapes["full"] = ("B", table.num_full)
    written = graph.finish(shapes, {"logits": ("B", model.num_outputs)}, {"logits": logits})
    content: bytes = written.SerializeToString(deterministic=True)
    return content


def network_of(bundle: Bundle) -> bytes:
    """Return the graph of a saved model that has none, because an earlier version saved it.

    Raises
    ------
    ArtefactError
        The model cannot be loaded, or a part of it cannot be said in ONNX.
    """
    try:
        return export_network(load_model(bundle))
    except NotExportable as error:
        raise ArtefactError("the model has no network", where=bundle.folder, got=error) from None


def refuse_another_answer(network: bytes, model: ClickModel, units: Tensor, full: Tensor) -> None:
    """Compare a graph with torch, on what the table has gathered for real rows.

    Raises
    ------
    NotExportable
        A runtime cannot take the graph, or it answers otherwise.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    for size in (*_SIZES, len(units)):
        some, of_full = units[:size], full[:size]
        with torch.inference_mode():
            expected = model.logits_of(some, of_full).cpu().double().numpy()
        try:
            session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
            given = {"units": some.cpu().numpy(), "full": of_full.cpu().numpy()}
            [found] = session.run(None, {each.name: given[each.name] for each in session.get_inputs()})
        except Exception as error:  # the runtime has exceptions of its own
            raise NotExportable(f"ONNX Runtime: {str(error).strip().splitlines()[0][:200]}") from None
        refuse_other_logits(expected, found)


def refuse_other_logits(expected: npt.NDArray[np.float64], found: npt.NDArray[np.floating[Any]]) -> None:
    """Raise NotExportable where the logits (B, O) of a graph are not those of torch."""
    if found.shape != expected.shape:
        raise NotExportable(f"its answers differ from torch's: {found.shape}, and {expected.shape}")
    apart = float(np.abs(sigmoid(found.astype(np.float64)) - sigmoid(expected)).max(initial=0.0))
    if not apart <= _CLOSE:
        raise NotExportable(f"its answers to {len(expected)} rows differ from torch's, by {apart:.2g}")


def _heads(graph: Graph, model: ClickModel, name: str, member: Member) -> list[str]:
    """Return the names of a member's logits (B, O), one for each head."""
    units = Units("units", model.table.layout.num_fields)
    known = heads_of(graph, model, name, member, units, "full", _deep)
    if known is not None:
        return known
    (own, num_fields, *_), full = own_columns(graph, model, name, member, units, "full")
    # What a model does not have comes without columns, as in training.
    if not member.num_full:
        full = graph.repeated(own, graph.constant(np.zeros((1, 0))), 0)
    if not member.num_local:
        own = graph.repeated(full, graph.constant(np.zeros((1, 1, 0))), num_fields, 0)
    shapes = [(num_fields, member.num_local), (member.num_full,)]
    logits = emit_own(graph, member, [own, full], shapes)
    return [
        graph.add("Squeeze", graph.cut(logits, 1, head, head + 1), graph.integers(1))
        for head in range(member.num_heads)
    ]


def _deep(graph: Graph, member: LocallyConnected, units: Units) -> str:
    """Return (B, O): what the deep part says."""
    assert member.network is not None
    assert member.reading is not None
    of_fields = None if member.read is None else graph.constant(member.read.cpu().numpy(), np.int64)
    read = units.own if of_fields is None else graph.add("Gather", units.own, of_fields, axis=1)
    x = graph.add("Flatten", read, axis=1)
    network = member.network
    if member.standardise is not None:
        network, x = emit_standardise(graph, member.standardise, network, x)
    return emit_part(graph, network, x, len(member.reading.moves))


def weighed(graph: Graph, model: ClickModel, heads: list[str]) -> str:
    """Return the logits of a model from those of its heads: their mean, or as its stacker weighs them."""
    if model.stacker is None:
        total = heads[0]
        for head in heads[1:]:
            total = graph.add("Add", total, head)
        return total if len(heads) == 1 else graph.add("Mul", total, graph.constant(1.0 / len(heads)))
    offset, *weights = model.stacker.weight.double().tolist()
    total = graph.constant(offset)
    for head, weight in zip(heads, weights, strict=True):
        total = graph.add("Add", total, graph.add("Mul", head, graph.constant(weight)))
    return total


def joint(graph: Graph, model: ClickModel, logits: str) -> str:
    """Return logits over all examples, of labels that are counted among others (`nn.joint_logits`)."""
    if all(label.among is None for label in model.labels):
        return logits
    found: list[str] = []
    for number, label in enumerate(model.labels):
        z = graph.cut(logits, 1, number, number + 1)
        if label.among is not None:
            minus = [graph.add("Neg", found[label.among]), graph.add("Neg", z)]
            terms = graph.add("Concat", *minus, graph.add("Add", *minus), axis=1)
            z = graph.add("Neg", graph.add("ReduceLogSumExp", terms, axes=[1], keepdims=1))
        found.append(z)
    return graph.add("Concat", *found, axis=1)
